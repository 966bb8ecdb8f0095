//! The context of an operator in its pipeline.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::StateContext;

/// Counts records that were dropped, by a short, fixed reason.
pub type CountDropped = Arc<dyn Fn(&'static str, u64) + Send + Sync>;

/// Adds busy time of an operator's thread at a stage, such as "detect".
pub type CountWorked = Arc<dyn Fn(&'static str, Duration) + Send + Sync>;

/// The context of an operator.
#[derive(Clone, Debug)]
pub struct Context<'scope> {
    /// The identity of the operator.
    pub component: Component,
    /// The handle of its state.
    pub state: StateContext<'scope>,
}

impl Context<'_> {
    /// Returns the same context without restored state, for a stateless part of the operator.
    #[must_use]
    pub(crate) fn stateless(&self) -> Self {
        Self { component: self.component.clone(), state: self.state.stateless() }
    }

    /// Returns a context that counts and saves nothing, for examples and tests.
    pub fn detached(name: &str) -> Self {
        Self { component: Component::detached(name), state: StateContext::nowhere() }
    }
}

/// The identity of an operator.
#[derive(Clone)]
pub struct Component {
    /// The pipeline's name, part of every event's id.
    pub pipeline: Arc<str>,
    /// The operator's name, the source in its records.
    pub name: Arc<str>,
    /// Counts dropped records.
    pub dropped: CountDropped,
    /// Adds busy time of the operator's threads.
    pub worked: CountWorked,
}

impl Component {
    fn detached(name: &str) -> Self {
        Self {
            pipeline: "detached".into(),
            name: name.into(),
            dropped: Arc::new(|_, _| ()),
            worked: Arc::new(|_, _| ()),
        }
    }
}

impl fmt::Debug for Component {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Component")
            .field("pipeline", &self.pipeline)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
