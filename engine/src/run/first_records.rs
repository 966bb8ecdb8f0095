//! Reports sources that have not read a record: the address, the format or the device may be wrong.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::run::control::Control;
use crate::{Counters, Counts, PlannedSource, RunOptions, Shared};

/// Time from the start of a run until a source without a record is reported.
const PATIENCE: Duration = Duration::from_secs(5);

/// The sources of a process, with their counts.
#[derive(Clone, Debug)]
pub(super) struct FirstRecords {
    sources: Vec<PlannedSource>,
    counters: Arc<Counters>,
    directory: PathBuf,
}

impl FirstRecords {
    /// Watches all sources without a quarantined partition.
    pub(super) fn new(shared: &Shared, options: &RunOptions) -> Self {
        let is_read = |source: &&PlannedSource| {
            let mut quarantined = options.quarantine.iter();
            quarantined.all(|name| name.split('/').next() != Some(source.name.as_str()))
        };
        let sources = shared.plan.sources.iter().filter(is_read).cloned().collect();
        let (counters, directory) = (Arc::clone(&shared.counters), options.directory.clone());
        Self { sources, counters, directory }
    }

    /// Returns the sources that have read no record, with the probable cause.
    fn missing(&self) -> Vec<(String, String)> {
        let counts = self.counters.snapshot();
        let sources = self.sources.iter().filter_map(|source| {
            let counts = counts.get(&source.name).cloned().unwrap_or_default();
            let cause = || (source.name.clone(), cause(source, &counts, &self.directory));
            (counts.records == 0).then(cause)
        });
        sources.collect()
    }

    /// Returns the sources with the probable causes if none of them has read a record.
    pub(super) fn all_missing(&self) -> Option<Vec<(String, String)>> {
        let missing = self.missing();
        (!missing.is_empty() && missing.len() == self.sources.len()).then_some(missing)
    }

    /// Warns once of the sources without a record some seconds after the start.
    pub(super) fn warn_later(&self, control: &Arc<Control>) {
        let (this, control) = (self.clone(), Arc::clone(control));
        thread::spawn(move || {
            if control.ends_within(PATIENCE) || control.stopping() {
                return;
            }
            let retries = control.health().retries();
            let is_silent = |(source, _): &(String, _)| !retries.contains_key(source);
            for (source, cause) in this.missing().into_iter().filter(is_silent) {
                tracing::warn!(
                    "source \"{source}\": no record in {} s: {cause}",
                    PATIENCE.as_secs()
                );
            }
        });
    }
}

fn cause(source: &PlannedSource, counts: &Counts, directory: &Path) -> String {
    let origin = source.config.origin();
    if counts.dropped.is_empty() {
        let file = source.config.input_file().map(|(_, path)| directory.join(path));
        let length = file.and_then(|file| fs::metadata(file).ok()).filter(fs::Metadata::is_file);
        if length.is_some_and(|metadata| metadata.len() == 0) {
            return format!("{origin} is empty");
        }
        return format!("nothing has arrived from {origin}");
    }
    let reasons = counts.dropped.iter().map(|(reason, n)| format!("{reason}: {n}"));
    let reasons = reasons.collect::<Vec<_>>().join(", ");
    let mut cause = format!("everything from {origin} was dropped ({reasons})");
    if let Some(format) = source.config.other_format(directory) {
        let _ = write!(cause, "; it looks like the format \"{}\"", format.as_str());
    }
    cause
}
