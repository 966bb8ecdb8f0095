//! Which partition is it that a run does not get over? Each is left alone in turn.

use std::collections::VecDeque;
use std::path::PathBuf;

use engine::{ComponentState, Plan, PlannedSource, Progress, Store, UNKNOWN_DEVICES};

/// Crashes behind the same checkpoint until something is left alone.
const MAX_CRASHES: u32 = 3;

/// The partitions of a pipeline, some of which may make it crash.
pub(crate) struct Suspects {
    pipeline: PathBuf,
    directory: PathBuf,
    /// The checkpoint that the latest crash was behind, and how many were.
    cut: Option<Progress>,
    n_crashes: u32,
    /// Partitions that are to be left alone on trial, one after the other.
    untried: VecDeque<String>,
    on_trial: Option<String>,
    /// Partitions without which the run went on.
    convicted: Vec<String>,
}

impl Suspects {
    /// Nothing is suspected of the pipeline in a file yet.
    pub(crate) fn new(pipeline: PathBuf, directory: PathBuf) -> Self {
        Self {
            pipeline,
            directory,
            cut: None,
            n_crashes: 0,
            untried: VecDeque::new(),
            on_trial: None,
            convicted: Vec::new(),
        }
    }

    /// What the next run is to leave alone.
    pub(super) fn held(&self) -> Vec<String> {
        self.convicted.iter().chain(&self.on_trial).cloned().collect()
    }

    /// The run has crashed. True if the next one is to leave another partition alone.
    pub(super) fn crash(&mut self) -> bool {
        let Some((cut, partitions)) = self.look() else { return false };
        if self.n_crashes > 0 && self.cut == cut {
            self.n_crashes += 1;
        } else {
            // It has got further, without the one on trial if there is one.
            self.convicted.extend(self.on_trial.take());
            (self.cut, self.n_crashes) = (cut, 1);
            self.untried.clear();
        }
        if self.n_crashes < MAX_CRASHES {
            return false;
        }
        if self.on_trial.is_none() {
            let free = partitions.into_iter().filter(|name| !self.convicted.contains(name));
            self.untried = free.collect();
        }
        self.on_trial = self.untried.pop_front();
        if let Some(partition) = &self.on_trial {
            let n_crashes = self.n_crashes;
            tracing::error!(partition, n_crashes, "the run does not go on: left alone on trial");
        }
        self.on_trial.is_some()
    }

    /// The newest checkpoint, and all partitions that are known: first those of sources that have few.
    fn look(&self) -> Option<(Option<Progress>, Vec<String>)> {
        let plan = Plan::load_in(&self.pipeline, &self.directory).ok()?;
        let store = Store::open(&self.directory, &plan.checkpoint.store).ok()?;
        let checkpoint = store.inspect(&plan.name, None);
        store.close();
        let checkpoint = checkpoint.ok()?;
        let cut = checkpoint.as_ref().map(|checkpoint| checkpoint.progress);
        let components = checkpoint.unwrap_or_default().state.components;
        let sources = plan.sources.iter();
        let sources = sources.map(|source| partitions(source, components.get(&source.name)));
        let mut sources: Vec<_> = sources.collect();
        sources.sort_by_key(Vec::len);
        Some((cut, sources.concat()))
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
