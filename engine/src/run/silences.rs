//! Where the sources of a run keep the silence of their partitions: in the store, which is waited for
//! while it is away.

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
        let keep = || self.log.keep(source, partition, silence);
        retry(source, &self.control, keep).map_err(|error| failed(source, error))
    }

    fn kept(&self, source: &str, partition: &str) -> Result<Vec<Silence>, SourceError> {
        let kept = || self.log.kept(source, partition);
        retry(source, &self.control, kept).map_err(|error| failed(source, error))
    }
}

fn failed(name: &str, error: StoreError) -> SourceError {
    SourceError::Silence { name: name.to_owned(), source: Box::new(error) }
}
