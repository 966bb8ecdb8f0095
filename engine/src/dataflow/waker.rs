//! Wakes an operator of the dataflow from another thread.

use std::sync::{Arc, OnceLock};

use timely::dataflow::Scope;
use timely::scheduling::SyncActivator;

use schemas::Tick;

/// Wakes one operator, once the dataflow is there. Before that, and when it is gone, there is nothing to
/// wake.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waker(Arc<OnceLock<SyncActivator>>);

impl Waker {
    /// Has the operator at an address woken; once for each waker, since it is of one dataflow.
    pub(super) fn set(&self, scope: Scope<'_, Tick>, address: &[usize]) {
        let _ = self.0.set(scope.worker().sync_activator_for(address.to_vec()));
    }

    /// Wakes the operator.
    pub(crate) fn wake(&self) {
        if let Some(activator) = self.0.get() {
            // A dataflow that is gone needs no waking.
            let _ = activator.activate();
        }
    }
}
