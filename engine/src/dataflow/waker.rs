//! Wakes an operator of the dataflow from another thread.

use std::sync::{Arc, OnceLock};

use timely::dataflow::Scope;
use timely::scheduling::SyncActivator;

use schemas::Tick;

/// Wakes one operator while the dataflow exists. Before and after that, a wake-up has no effect.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waker(Arc<OnceLock<SyncActivator>>);

impl Waker {
    /// Sets the operator by its address; once for each waker, because a waker belongs to one dataflow.
    pub(super) fn set(&self, scope: Scope<'_, Tick>, address: &[usize]) {
        let _ = self.0.set(scope.worker().sync_activator_for(address.to_vec()));
    }

    /// Wakes the operator.
    pub(crate) fn wake(&self) {
        if let Some(activator) = self.0.get() {
            // The call fails if the dataflow has ended: then there is no operator to wake.
            let _ = activator.activate();
        }
    }
}
