//! Stores the decisions of a run's sources, with retries.

use std::sync::Arc;

use sources::{Decision, Decisions, SourceError};

use crate::StoreError;
use crate::run::control::Control;
use crate::run::retry::{OutageAware, retry};
use crate::store::DecisionTable;

/// The decisions of a run.
#[derive(Debug)]
pub(super) struct StoredDecisions {
    pub(super) table: DecisionTable,
    pub(super) control: Arc<Control>,
}

impl Decisions for StoredDecisions {
    fn store(&self, source: &str, partition: &str, decision: Decision) -> Result<(), SourceError> {
        // The source handles an outage itself, and reads on meanwhile.
        let store = || self.table.store(source, partition, decision).map_err(OutageAware);
        let stored = retry(source, &self.control, store);
        stored.map_err(|OutageAware(error)| failed(source, error))
    }

    fn stored(&self, source: &str, partition: &str) -> Result<Vec<Decision>, SourceError> {
        let stored = || self.table.stored(source, partition);
        retry(source, &self.control, stored).map_err(|error| failed(source, error))
    }
}

fn failed(name: &str, error: StoreError) -> SourceError {
    let is_outage = error.is_outage();
    SourceError::Decision { name: name.to_owned(), is_outage, source: Box::new(error) }
}
