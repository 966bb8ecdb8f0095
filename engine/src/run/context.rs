//! The inputs of a run that all steps of its start share.

use std::sync::Arc;

use crate::run::connectors::Connectors;
use crate::run::control::Control;
use crate::{Plan, RunOptions};

/// A plan, the options of its run, and the run's connectors and control.
pub(super) struct RunContext {
    pub(super) plan: Plan,
    pub(super) options: RunOptions,
    pub(super) connectors: Arc<dyn Connectors>,
    pub(super) control: Arc<Control>,
}
