//! Reports sources that have not read a record: the address, the format or the device may be wrong.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::run::control::Control;
use crate::{Counters, Counts, Plan, PlannedSource};

/// Time from the start of a run until a source without a record is reported.
const PATIENCE: Duration = Duration::from_secs(5);
/// The interval at which the run is checked for its end.
const STOP_CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// Sources that have read no record, with the probable cause.
pub(super) fn without_records(
    plan: &Plan,
    counters: &Counters,
    directory: &Path,
) -> Vec<(String, String)> {
    let counts = counters.snapshot();
    let sources = plan.sources.iter().filter_map(|source| {
        let counts = counts.get(&source.name).cloned().unwrap_or_default();
        (counts.records == 0).then(|| (source.name.clone(), cause(source, &counts, directory)))
    });
    sources.collect()
}

fn cause(source: &PlannedSource, counts: &Counts, directory: &Path) -> String {
    let origin = source.config.origin();
    if counts.dropped.is_empty() {
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

/// Warns once of the sources of this process that have no record some seconds after the start.
#[expect(clippy::disallowed_methods, reason = "sources are live")]
pub(super) fn warn_later(
    plan: &Plan,
    counters: &Arc<Counters>,
    control: &Arc<Control>,
    directory: PathBuf,
) {
    let (plan, counters, control) = (plan.clone(), Arc::clone(counters), Arc::clone(control));
    thread::spawn(move || {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if control.stopping() {
                return;
            }
            thread::sleep(STOP_CHECK_INTERVAL);
        }
        for (source, cause) in without_records(&plan, &counters, &directory) {
            tracing::warn!(source, "no record in {} s: {cause}", PATIENCE.as_secs());
        }
    });
}
