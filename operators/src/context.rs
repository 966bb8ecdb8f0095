//! The context of an operator in its pipeline.

use std::fmt;
use std::sync::Arc;

use crate::StateContext;

/// Counts records that were dropped, by a short, fixed reason.
pub type CountDropped = Arc<dyn Fn(&'static str, u64) + Send + Sync>;

/// The surroundings of an operator.
#[derive(Clone, Debug)]
pub struct Context<'scope> {
    /// Who it is.
    pub component: Component,
    /// The handle of its state.
    pub state: StateContext<'scope>,
}

impl Context<'_> {
    /// The same, for a part of the operator that remembers nothing of its own.
    #[must_use]
    pub(crate) fn stateless(&self) -> Self {
        Self { component: self.component.clone(), state: self.state.stateless() }
    }

    /// A context that counts and saves nowhere, for examples and tests.
    pub fn detached(name: &str) -> Self {
        Self { component: Component::detached(name), state: StateContext::nowhere() }
    }
}

/// The identity of an operator.
#[derive(Clone)]
pub struct Component {
    /// The pipeline's name, part of every event's id.
    pub pipeline: Arc<str>,
    /// The operator's name, the source of what it makes.
    pub name: Arc<str>,
    /// Counts dropped records.
    pub dropped: CountDropped,
}

impl Component {
    fn detached(name: &str) -> Self {
        Self { pipeline: "detached".into(), name: name.into(), dropped: Arc::new(|_, _| ()) }
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
