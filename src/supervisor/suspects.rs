//! Which partition is it that a run does not get over? Each is left alone in turn.

use std::collections::VecDeque;
use std::path::PathBuf;

use engine::{Plan, Store};

/// Crashes behind the same checkpoint until something is left alone.
const MAX_CRASHES: u32 = 3;

/// The partitions of a pipeline, some of which may make it crash.
pub(crate) struct Suspects {
    pipeline: PathBuf,
    directory: PathBuf,
    /// The checkpoint that the latest crash was behind, and how many were.
    cut: Option<u64>,
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

    /// The run has crashed.
    pub(super) fn crash(&mut self) {
        let Some((cut, partitions)) = self.look() else { return };
        if self.n_crashes > 0 && self.cut == cut {
            self.n_crashes += 1;
        } else {
            // It has got further, without the one on trial if there is one.
            self.convicted.extend(self.on_trial.take());
            (self.cut, self.n_crashes) = (cut, 1);
            self.untried.clear();
        }
        if self.n_crashes < MAX_CRASHES {
            return;
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
    }

    /// The newest checkpoint, and all partitions that are known.
    fn look(&self) -> Option<(Option<u64>, Vec<String>)> {
        let plan = Plan::load(&self.pipeline).ok()?;
        let store = Store::open(&self.directory, &plan.checkpoint.store).ok()?;
        let checkpoint = store.inspect(&plan.name, None).ok()?;
        let cut = checkpoint.as_ref().map(|checkpoint| checkpoint.tick);
        let components = checkpoint.unwrap_or_default().state.components;
        let partitions = plan.sources.iter().flat_map(|source| {
            let saved = components.get(&source.name);
            let saved = saved.into_iter().flat_map(|component| component.entries.keys());
            let names = saved.map(|key| match String::from_utf8_lossy(key).as_ref() {
                "" => source.name.clone(),
                partition => format!("{}/{partition}", source.name),
            });
            let names: Vec<_> = names.collect();
            // One that was never read is suspected as a whole.
            if names.is_empty() { vec![source.name.clone()] } else { names }
        });
        Some((cut, partitions.collect()))
    }
}
