//! Finds the partition that makes a run crash. Quarantines one partition after the other until the run
//! passes its checkpoint.

use std::collections::VecDeque;
use std::path::PathBuf;

use engine::{ComponentState, Plan, PlannedSource, Progress, Store, UNKNOWN_DEVICES};

/// Number of crashes after the same checkpoint before a partition is quarantined.
const MAX_CRASHES: u32 = 3;

/// The search for the partition that makes a run crash.
pub(crate) struct FaultIsolator {
    pipeline: PathBuf,
    directory: PathBuf,
    /// The checkpoint before the latest crash. `n_crashes` counts the crashes since that checkpoint.
    checkpoint_tick: Option<Progress>,
    n_crashes: u32,
    /// Partitions to be quarantined on trial, one after the other.
    untried: VecDeque<String>,
    on_trial: Option<String>,
    /// Partitions whose quarantine let the run pass its checkpoint.
    isolated: Vec<String>,
}

impl FaultIsolator {
    /// Creates an isolator without quarantined partitions for the pipeline in a file.
    pub(crate) fn new(pipeline: PathBuf, directory: PathBuf) -> Self {
        Self {
            pipeline,
            directory,
            checkpoint_tick: None,
            n_crashes: 0,
            untried: VecDeque::new(),
            on_trial: None,
            isolated: Vec::new(),
        }
    }

    /// Returns the partitions that the next run quarantines.
    pub(super) fn quarantined(&self) -> Vec<String> {
        self.isolated.iter().chain(&self.on_trial).cloned().collect()
    }

    /// Handles a crash of the run. Returns true if the next run quarantines another partition.
    pub(super) fn crash(&mut self) -> bool {
        let Some((checkpoint_tick, partitions)) = self.look() else { return false };
        if self.n_crashes > 0 && self.checkpoint_tick == checkpoint_tick {
            self.n_crashes += 1;
        } else {
            // The run has passed its checkpoint, without the partition on trial if there is one.
            self.isolated.extend(self.on_trial.take());
            (self.checkpoint_tick, self.n_crashes) = (checkpoint_tick, 1);
            self.untried.clear();
        }
        if self.n_crashes < MAX_CRASHES {
            return false;
        }
        if self.on_trial.is_none() {
            let free = partitions.into_iter().filter(|name| !self.isolated.contains(name));
            self.untried = free.collect();
        }
        self.on_trial = self.untried.pop_front();
        if let Some(partition) = &self.on_trial {
            let n_crashes = self.n_crashes;
            tracing::error!(
                partition,
                n_crashes,
                "the run crashes at this checkpoint: quarantined on trial"
            );
        }
        self.on_trial.is_some()
    }

    /// Returns the newest checkpoint and all partitions in it. Sources with the fewest partitions come
    /// first. Returns none if the pipeline file or the store cannot be read.
    fn look(&self) -> Option<(Option<Progress>, Vec<String>)> {
        let plan = Plan::load_in(&self.pipeline, &self.directory).ok()?;
        let store = Store::open(&self.directory, &plan.checkpoint.store).ok()?;
        let checkpoint = store.inspect(&plan.name, None);
        store.close();
        let checkpoint = checkpoint.ok()?;
        let checkpoint_tick = checkpoint.as_ref().map(|checkpoint| checkpoint.progress);
        let components = checkpoint.unwrap_or_default().state.components;
        let sources = plan.sources.iter();
        let sources = sources.map(|source| partitions(source, components.get(&source.name)));
        let mut sources: Vec<_> = sources.collect();
        sources.sort_by_key(Vec::len);
        Some((checkpoint_tick, sources.concat()))
    }
}

/// Returns the partitions of a source: first all new devices, then the saved partitions. The whole source
/// comes last, if no partition is saved or a saved partition has no name.
fn partitions(source: &PlannedSource, saved: Option<&ComponentState>) -> Vec<String> {
    let saved = saved.into_iter().flat_map(|component| &component.entries);
    let saved = saved.filter(|(_, place)| place.is_some());
    let saved: Vec<_> = saved.map(|(name, _)| String::from_utf8_lossy(name)).collect();
    let is_whole = saved.is_empty() || saved.iter().any(|name| name.is_empty());
    let unknown = source.config.finds_devices().then_some(UNKNOWN_DEVICES.into());
    let within = unknown.into_iter().chain(saved).filter(|name| !name.is_empty());
    let within = within.map(|partition| format!("{}/{partition}", source.name));
    within.chain(is_whole.then(|| source.name.clone())).collect()
}
