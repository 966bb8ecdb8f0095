//! Where the sources of a run keep the silence of their partitions: in the store.

use std::sync::Arc;

use sources::{Silence, Silences, SourceError};

use crate::StoreError;
use crate::run::control::Control;
use crate::run::retry::retry;
use crate::store::SilenceLog;

/// The silences of a run.
#[derive(Debug)]
pub(super) struct StoredSilences {
    pub(super) log: SilenceLog,
    pub(super) control: Arc<Control>,
}

impl Silences for StoredSilences {
    fn keep(&self, source: &str, partition: &str, silence: Silence) -> Result<(), SourceError> {
        // A source that is told of an outage asks again, and reads what comes meanwhile.
        self.log.keep(source, partition, silence).map_err(|error| failed(source, error))
    }

    fn kept(&self, source: &str, partition: &str) -> Result<Vec<Silence>, SourceError> {
        let kept = || self.log.kept(source, partition);
        retry(source, &self.control, kept).map_err(|error| failed(source, error))
    }
}

fn failed(name: &str, error: StoreError) -> SourceError {
    let is_outage = error.is_outage();
    SourceError::Silence { name: name.to_owned(), is_outage, source: Box::new(error) }
}
