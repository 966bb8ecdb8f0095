//! Finds the partition that makes a run crash: quarantines one after the other until the run passes its
//! checkpoint.

use std::collections::VecDeque;
use std::path::PathBuf;

use engine::{ComponentState, Plan, PlannedSource, Progress, Store, UNKNOWN_DEVICES};

/// Crashes after the same checkpoint before a partition is quarantined.
const MAX_CRASHES: u32 = 3;

/// Bisects the partitions of a pipeline.
pub(crate) struct FaultIsolator {
    pipeline: PathBuf,
    directory: PathBuf,
    /// The checkpoint before the latest crash; `n_crashes` followed it.
    checkpoint_tick: Option<Progress>,
    n_crashes: u32,
    /// Partitions to be quarantined on trial, one after the other.
    untried: VecDeque<String>,
    on_trial: Option<String>,
    /// Partitions without which the run passed its checkpoint.
    isolated: Vec<String>,
}

impl FaultIsolator {
    /// For the pipeline in a file, without quarantined partitions.
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

    /// The partitions that the next run quarantines.
    pub(super) fn quarantined(&self) -> Vec<String> {
        self.isolated.iter().chain(&self.on_trial).cloned().collect()
    }

    /// Handles a crash of the run. True if the next run quarantines another partition.
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

    /// The newest checkpoint and all partitions in it: those of sources with few partitions come first.
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

/// The partitions of a source: devices that are new, then those that are known, and then the whole source, if
/// it has none or they are only a part of it.
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
