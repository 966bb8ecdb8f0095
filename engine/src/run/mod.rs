//! A run: threads for sources and sinks, workers for the dataflow, and the end of the run.
//!
//! A run holds its pipeline's lease and starts from the newest checkpoint. It ends when its sources
//! end, on a stop request, or when a component fails. The next run repeats all work that is not
//! durable.

mod begun;
mod checkpoint_thread;
mod cluster;
mod configuration;
mod connectors;
mod context;
mod control;
mod decisions;
mod endpoints;
mod first_records;
mod health;
mod identity;
mod lease;
pub(crate) mod models;
mod opener;
mod quarantine;
mod resume;
mod retry;
#[cfg(test)]
mod simulation;
mod sink_thread;
mod source_thread;
mod startup;
mod step;
mod workers;

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use queries::History;
use schemas::Progress;
use sinks::Hub;

use crate::run::connectors::{Connectors, PlannedConnectors};
use crate::run::context::RunContext;
use crate::run::control::Control;
use crate::run::first_records::FirstRecords;
use crate::run::lease::HeldLease;
use crate::run::models::Models;
use crate::run::opener::{RunOpener, StartedRun};
use crate::run::resume::{Resumed, resume};
use crate::store::{AccountStore, ItemStore, Session, Store, TemplateStore};
use crate::{ClearError, Counters, Plan, Routers, RunError, Taps, clear};

pub use crate::run::cluster::Cluster;
pub(crate) use crate::run::cluster::Placement;
pub use crate::run::configuration::{Configuration, ConfigurationError};
pub use crate::run::health::{Health, Retry};
pub use crate::run::lease::WhenAlive;

/// Options of a run.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// The folder that relative paths are relative to.
    pub directory: PathBuf,
    /// Worker threads of this process; at least one.
    pub workers: usize,
    /// The processes of the run.
    pub cluster: Cluster,
    /// Starts from the beginning, and ignores earlier checkpoints.
    pub fresh: bool,
    /// Partitions to quarantine, as `SOURCE` or `SOURCE/PARTITION`. The run does not read them. A later
    /// run without the quarantine continues at their positions.
    pub quarantine: Vec<String>,
    /// Components whose saved state is dropped.
    pub drop_state: Vec<String>,
    /// The behaviour of a start when another run of the pipeline is alive.
    pub when_alive: WhenAlive,
    /// Set by any thread to stop the run. Records before the stop point become durable, and the next
    /// run continues there.
    pub stop: Arc<AtomicBool>,
}

/// The parts of a run that the API reads.
#[derive(Debug)]
pub struct Shared {
    /// The plan of the run.
    pub plan: Plan,
    /// The counters of the run.
    pub counters: Arc<Counters>,
    /// The devices whose CSI was read.
    pub routers: Arc<Routers>,
    /// The taps, through which the API shows records of a stream.
    pub taps: Arc<Taps>,
    /// The hub of live views.
    pub hub: Arc<Hub>,
    /// The history, for queries; absent without a `delta` sink.
    pub history: Option<Arc<History>>,
    /// The configuration; absent in all processes but the first.
    pub configuration: Option<Arc<Configuration>>,
    /// The accounts of the API.
    pub accounts: AccountStore,
    /// The templates of pipeline files.
    pub templates: TemplateStore,
    /// What clients of the API have set for the pipeline, or have asked of it.
    pub items: ItemStore,
    /// The health of the run.
    pub health: Arc<Health>,
    /// The start of the run.
    pub started: Instant,
    /// True after a request to stop.
    pub stop: Arc<AtomicBool>,
}

/// The summary of a run.
#[derive(Debug)]
pub struct Summary {
    counters: Arc<Counters>,
    /// Names of sources and sinks.
    ends: BTreeSet<String>,
    asked_by: Option<String>,
    nothing_read: Option<Vec<(String, String)>>,
}

impl Summary {
    /// If no source of this process has read a record: the sources, with the probable causes.
    pub fn nothing_read(&self) -> Option<&[(String, String)]> {
        self.nothing_read.as_deref()
    }

    /// Returns the process that took the pipeline over, if the run stopped for a handover.
    pub fn handed_over_to(&self) -> Option<&str> {
        self.asked_by.as_deref()
    }
}

impl fmt::Display for Summary {
    /// Writes one line for each source and sink, and for each operator that dropped records.
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

/// A run whose sources and sinks are not open yet. Its first process holds the pipeline's lease.
pub struct RunBuilder {
    plan: Plan,
    models: Models,
    options: RunOptions,
    connectors: Arc<dyn Connectors>,
    control: Arc<Control>,
    /// None in all processes but the first.
    first: Option<First>,
}

/// The store of the first process of a run.
struct First {
    leased: LeasedStore,
    session: Session,
    resumed: Resumed,
}

/// The store, with the pipeline's lease in it.
#[derive(Debug)]
struct LeasedStore {
    lease: HeldLease,
    store: Store,
}

impl LeasedStore {
    /// Releases the lease, or passes it on.
    fn release(self) {
        self.lease.release();
        self.store.close();
    }
}

impl First {
    /// Takes the lease of a pipeline, and loads the checkpoint to resume from.
    fn begin(plan: &Plan, options: &RunOptions, control: &Arc<Control>) -> Result<Self, RunError> {
        let location = &plan.checkpoint.store;
        let store = Store::open(&options.directory, location).map_err(RunError::Store)?;
        let lease = match HeldLease::take(&store, &plan.name, options.when_alive, control) {
            Ok(lease) => lease,
            Err(error) => {
                store.close();
                return Err(error);
            }
        };
        let leased = LeasedStore { lease, store };
        match resume(&leased.store, plan, options) {
            Ok((session, resumed)) => Ok(Self { leased, session, resumed }),
            Err(error) => {
                leased.release();
                Err(error)
            }
        }
    }
}

impl RunBuilder {
    /// Takes the lease of the plan's pipeline in the first process of a run: at once, or after another
    /// run has ended or has handed it over. Opens no source or sink; a run that handed over has closed
    /// its own by then.
    ///
    /// # Errors
    ///
    /// [`RunError::Alive`] if another run is alive and [`WhenAlive::Refuse`] is set. Another error if
    /// the wait is stopped, or if a model or the checkpoint cannot be loaded.
    pub fn new(plan: Plan, options: RunOptions) -> Result<Self, RunError> {
        let models = Models::load(&plan, &options.directory)?;
        let has_others = options.cluster.has_others();
        let control = Arc::new(Control::new(Arc::clone(&options.stop), has_others));
        let is_first = options.cluster.is_first();
        let first = is_first.then(|| First::begin(&plan, &options, &control)).transpose()?;
        let connectors = Arc::new(PlannedConnectors);
        Ok(Self { plan, models, options, connectors, control, first })
    }

    /// Replaces the plan's sources and sinks.
    #[cfg(test)]
    fn with_connectors(self, connectors: Arc<dyn Connectors>) -> Self {
        Self { connectors, ..self }
    }

    /// Warns of existing output of the sinks, if the run starts from the beginning.
    pub fn warn_of_output(&self) {
        if self.first.as_ref().is_some_and(|first| first.session.starts_anew()) {
            clear::warn_of_output(&self.plan, &self.options.directory);
        }
    }

    /// Returns the progress of the checkpoint that the run starts at; tick 0 without a checkpoint. None
    /// in all processes but the first.
    pub fn starts_at(&self) -> Option<Progress> {
        self.first.as_ref().map(|first| first.resumed.progress)
    }

    /// Removes the output of earlier runs.
    ///
    /// # Errors
    ///
    /// [`ClearError`]. Nothing is removed if a destination contains anything else.
    pub fn clear_output(&self) -> Result<(), ClearError> {
        clear::clear_output(&self.plan, &self.options.directory)
    }

    /// Releases the lease; the run does not start.
    pub fn cancel(self) {
        if let Some(first) = self.first {
            first.leased.release();
        }
    }

    /// Opens this process's sources and sinks, and starts the run. An earlier run can continue until
    /// all processes have opened theirs.
    ///
    /// # Errors
    ///
    /// [`RunError`] if one of them cannot be opened; nothing runs then.
    pub fn start(self) -> Result<Run, RunError> {
        let Self { plan, models, options, connectors, control, first } = self;
        let (leased, loaded) =
            first.map(|First { leased, session, resumed }| (leased, (session, resumed))).unzip();
        let generation = leased.as_ref().map(|leased: &LeasedStore| leased.lease.generation());
        let start_options = options.clone();
        let context = RunContext { plan, options, connectors, control: Arc::clone(&control) };
        let opening = RunOpener {
            context,
            models,
            loaded: Mutex::new(loaded),
            generation: generation.unwrap_or_else(|| Arc::new(AtomicI64::default())),
        };
        match workers::start(opening, &control) {
            Ok((workers, StartedRun { shared, store })) => {
                let first_records = FirstRecords::new(&shared, &start_options);
                if !start_options.cluster.has_others() {
                    first_records.warn_later(&control);
                }
                Ok(Run { shared, control, workers, leased, store, first_records })
            }
            Err(error) => {
                // A failed component keeps its resources until this process ends, and so does the
                // lease.
                if let Some(leased) = leased.filter(|_| !control.failed()) {
                    leased.release();
                }
                Err(error)
            }
        }
    }
}

impl fmt::Debug for RunBuilder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RunBuilder").field("plan", &self.plan).finish_non_exhaustive()
    }
}

/// A running pipeline.
#[derive(Debug)]
pub struct Run {
    shared: Arc<Shared>,
    control: Arc<Control>,
    workers: JoinHandle<Result<(), RunError>>,
    /// None in all processes but the first.
    leased: Option<LeasedStore>,
    /// None in the first process.
    store: Option<Store>,
    first_records: FirstRecords,
}

impl Run {
    /// Returns the parts of the run that the API reads.
    pub fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Waits until the run ends.
    ///
    /// # Errors
    ///
    /// The [`RunError`] of the component that failed first.
    pub fn wait(self) -> Result<Ended, RunError> {
        let Self { shared, control, workers, leased, store, first_records } = self;
        if let Some(failure) = control.wait() {
            // The next run repeats all work that is not durable. Threads may still use resources that
            // the next run needs, so the lease ends with this process.
            return Err(failure);
        }
        let panicked = |_| RunError::Workers { reason: "a thread panicked".to_owned() };
        workers.join().map_err(panicked).flatten()?;
        for thread in control.health().take_threads() {
            thread.join().map_err(panicked)?;
        }
        let plan = &shared.plan;
        let sources = plan.sources.iter().map(|source| source.name.clone());
        let ends = sources.chain(plan.sinks.iter().map(|sink| sink.name.clone())).collect();
        let (counters, asked_by) = (Arc::clone(&shared.counters), control.asked_by());
        let is_empty = shared.counters.snapshot().values().all(|counts| counts.records == 0);
        let nothing_read = first_records.all_missing().filter(|_| is_empty);
        let asked_by = asked_by.map(str::to_owned);
        let summary = Summary { counters, ends, asked_by, nothing_read };
        Ok(Ended { summary, leased, store })
    }
}

/// A run that ended without a failure: its output is durable, and it holds only the lease.
#[derive(Debug)]
pub struct Ended {
    summary: Summary,
    leased: Option<LeasedStore>,
    store: Option<Store>,
}

impl Ended {
    /// Releases the lease, or passes it on to the process that asked for it. That process then opens
    /// its sources and sinks.
    pub fn release(self) -> Summary {
        if let Some(leased) = self.leased {
            leased.release();
        }
        if let Some(store) = self.store {
            store.close();
        }
        self.summary
    }
}
