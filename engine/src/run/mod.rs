//! A run: threads for sources and sinks, workers for the dataflow, and how it all ends.
//!
//! A run starts from the newest checkpoint. It ends when its sources do, when it is asked to stop, or
//! when a part fails; what is not durable then, the next run does again.

mod agreement;
mod begun;
mod checkpoint_thread;
mod cluster;
mod configuration;
mod control;
mod ends;
mod held;
mod opening;
mod resume;
mod retry;
mod sink_thread;
mod source_thread;
mod workers;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::JoinHandle;
use std::time::Instant;

use operators::{Model, OperatorConfig};
use queries::History;
use sinks::Hub;

use crate::run::control::Control;
use crate::run::opening::{Opened, Opening};
use crate::{Counters, Plan, RunError, Taps};

pub use crate::run::cluster::Cluster;
pub(crate) use crate::run::cluster::Placement;
pub use crate::run::configuration::{Configuration, ConfigurationError};

/// How to run a plan.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// What relative paths are relative to.
    pub directory: PathBuf,
    /// Worker threads of this process; at least one.
    pub workers: usize,
    /// The processes of the run.
    pub cluster: Cluster,
    /// Starts anew, whatever was saved.
    pub fresh: bool,
    /// Partitions that are left alone, as `SOURCE` or `SOURCE/PARTITION`: the run does not wait for
    /// them, and a later one reads on where they are.
    pub hold: Vec<String>,
    /// Components whose saved state is forgotten.
    pub drop_state: Vec<String>,
    /// Set by anyone to stop the run: what was taken in is made durable, and the next run goes on.
    pub stop: Arc<AtomicBool>,
}

/// What of a run can be looked at while it goes on.
#[derive(Debug)]
pub struct Shared {
    /// What runs.
    pub plan: Plan,
    /// What went in and out.
    pub counters: Arc<Counters>,
    /// Looks at records while they flow.
    pub taps: Arc<Taps>,
    /// What is going on now.
    pub hub: Arc<Hub>,
    /// What was, for queries; absent without a `delta` sink.
    pub history: Option<Arc<History>>,
    /// What can be changed; absent where it cannot: in all processes but the first.
    pub configuration: Option<Arc<Configuration>>,
    /// When the run started.
    pub started: Instant,
}

/// What a run did.
#[derive(Debug)]
pub struct Summary {
    counters: Arc<Counters>,
    /// Sources and sinks.
    ends: BTreeSet<String>,
}

impl fmt::Display for Summary {
    /// One line for each source and sink, and for each operator that dropped records.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, counts) in self.counters.snapshot() {
            let n_dropped: u64 = counts.dropped.values().sum();
            if n_dropped == 0 && !self.ends.contains(&name) {
                continue;
            }
            let (n_records, n_late) = (counts.records, counts.late);
            write!(formatter, "{name}: {n_records} records, {n_late} late, {n_dropped} dropped")?;
            let reasons: Vec<_> = counts
                .dropped
                .iter()
                .map(|(reason, n_records)| format!("{reason}: {n_records}"))
                .collect();
            let reasons = if reasons.is_empty() {
                String::new()
            } else {
                format!(" ({})", reasons.join(", "))
            };
            writeln!(formatter, "{reasons}")?;
        }
        Ok(())
    }
}

/// A pipeline that runs.
#[derive(Debug)]
pub struct Run {
    shared: Arc<Shared>,
    control: Arc<Control>,
    workers: JoinHandle<Result<(), RunError>>,
    threads: Vec<JoinHandle<()>>,
}

impl Run {
    /// Opens all sources and sinks of a plan that are this process's, and starts it.
    ///
    /// # Errors
    ///
    /// [`RunError`] if one of them cannot be opened; nothing runs then.
    pub fn start(plan: Plan, options: &RunOptions) -> Result<Self, RunError> {
        let models = load_models(&plan, &options.directory)?;
        let has_others = options.cluster.has_others();
        let control = Arc::new(Control::new(Arc::clone(&options.stop), has_others));
        let opening = Opening::begin(plan, models, options.clone(), Arc::clone(&control))?;
        let (workers, opened) = workers::start(opening, &control)?;
        let Opened { shared, threads } = opened;
        Ok(Self { shared, control, workers, threads })
    }

    /// What can be looked at.
    pub fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Waits for the end.
    ///
    /// # Errors
    ///
    /// [`RunError`] of the part that failed first.
    pub fn wait(self) -> Result<Summary, RunError> {
        if let Some(failure) = self.control.wait() {
            // Whatever else is under way is not durable, and another run's to do again.
            return Err(failure);
        }
        let panicked = |_| RunError::Workers { reason: "a thread panicked".to_owned() };
        self.workers.join().map_err(panicked).flatten()?;
        for thread in self.threads {
            thread.join().map_err(panicked)?;
        }
        let plan = &self.shared.plan;
        let sources = plan.sources.iter().map(|source| source.name.clone());
        let ends = sources.chain(plan.sinks.iter().map(|sink| sink.name.clone())).collect();
        Ok(Summary { counters: Arc::clone(&self.shared.counters), ends })
    }
}

/// Reads the models that operators use, so that the dataflow is built without any I/O.
fn load_models(plan: &Plan, directory: &Path) -> Result<BTreeMap<String, Arc<Model>>, RunError> {
    let models = plan.operators.iter().filter_map(|operator| match &operator.config {
        OperatorConfig::Infer(config) => Some((&operator.name, directory.join(&config.model))),
        _ => None,
    });
    let models = models.map(|(name, path)| match Model::load(&path) {
        Ok(model) => Ok((name.clone(), Arc::new(model))),
        Err(source) => Err(RunError::Operator { name: name.clone(), source }),
    });
    models.collect()
}
