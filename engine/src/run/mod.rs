//! A run: threads for sources and sinks, workers for the dataflow, and how it all ends.
//!
//! A run starts from the newest checkpoint. It ends when its sources do, when it is asked to stop, or
//! when a part fails; what is not durable then, the next run does again.

mod checkpoint_thread;
mod control;
mod resume;
mod retry;
mod sink_thread;
mod source_thread;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use operators::{Model, OperatorConfig, Stopped};
use queries::{History, LiveTail};
use schemas::{Record, Tick};
use sinks::{DeltaTail, Hub, SinkConfig, SinkContext};
use sources::{Silences, SourceContext};
use timely::CommunicationConfig;
use timely::worker::Worker;

use crate::dataflow::{Feed, Outlet, Parking, Parts, Slots, build};
use crate::run::control::Control;
use crate::run::resume::{Resumed, resume};
use crate::run::source_thread::Surroundings;
use crate::store::Session;
use crate::{Counters, Plan, PlannedSink, PlannedSource, RunError};

/// How long a worker sleeps at most when there is nothing to do.
const PARK: Duration = Duration::from_millis(100);

/// How to run a plan.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// What relative paths are relative to.
    pub directory: PathBuf,
    /// Worker threads; at least one.
    pub workers: usize,
    /// Starts anew, whatever was saved.
    pub fresh: bool,
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
    /// What is going on now.
    pub hub: Arc<Hub>,
    /// What was, for queries; absent without a `delta` sink.
    pub history: Option<Arc<History>>,
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
    /// Opens all sources and sinks of a plan, and starts it.
    ///
    /// # Errors
    ///
    /// [`RunError`] if one of them cannot be opened; nothing runs then.
    #[expect(clippy::disallowed_methods, reason = "the start of a run is a matter of clocks")]
    pub fn start(plan: Plan, options: &RunOptions) -> Result<Self, RunError> {
        let models = load_models(&plan, &options.directory)?;
        // From here on, an earlier run of the pipeline can commit nothing.
        let (session, resumed) = resume(&plan, options)?;
        let mut opening = Opening::new(&plan, options, &resumed, &session);
        // Sinks first: a sink that cannot be opened must not cost records of live sources.
        let outlets = opening.sinks(&session)?;
        let feeds = opening.sources()?;
        let Opening { counters, hub, control, history, done_with, mut threads, .. } = opening;
        let (checkpointer, thread) =
            checkpoint_thread::spawn(&plan, session, resumed.tick, &control, &done_with);
        threads.push(thread);
        let n_feeds = feeds.iter().map(Vec::len).sum();
        let parts = Parts {
            parking: Arc::new(Parking::new(n_feeds)),
            plan: plan.clone(),
            counters: Arc::clone(&counters),
            models,
            feeds,
            outlets,
            checkpointer: Mutex::new(Some(checkpointer)),
            starts_at: resumed.tick,
            restored: resumed.entries,
            stopped: Stopped::default(),
        };
        let workers = start_workers(parts, options.workers, &control);
        let shared = Shared { plan, counters, hub, history, started: Instant::now() };
        Ok(Self { shared: Arc::new(shared), control, workers, threads })
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

/// Opens sinks and sources, and starts their threads.
struct Opening<'a> {
    plan: &'a Plan,
    directory: &'a Path,
    resumed: &'a Resumed,
    silences: Arc<dyn Silences>,
    journal: PathBuf,
    done_with: Arc<AtomicU64>,
    counters: Arc<Counters>,
    hub: Arc<Hub>,
    control: Arc<Control>,
    history: Option<Arc<History>>,
    threads: Vec<JoinHandle<()>>,
}

impl<'a> Opening<'a> {
    fn new(
        plan: &'a Plan,
        options: &'a RunOptions,
        resumed: &'a Resumed,
        session: &Session,
    ) -> Self {
        Self {
            plan,
            directory: &options.directory,
            resumed,
            silences: session.silences(),
            journal: journal_folder(&options.directory, &plan.name, session.lineage()),
            done_with: Arc::default(),
            counters: Arc::default(),
            hub: Arc::default(),
            control: Arc::new(Control::new(Arc::clone(&options.stop))),
            history: None,
            threads: Vec::new(),
        }
    }

    fn sinks(&mut self, session: &Session) -> Result<Slots<Outlet>, RunError> {
        let sinks = self.plan.sinks.iter();
        sinks.map(|sink| self.sink(sink, session)).collect()
    }

    fn sink(
        &mut self,
        sink: &PlannedSink,
        session: &Session,
    ) -> Result<Mutex<Option<Outlet>>, RunError> {
        let streams = self.plan.streams();
        let inputs = sink.inputs.iter().map(|input| (input.to_string(), streams[input]));
        let inputs: Vec<_> = inputs.collect();
        let context = SinkContext {
            pipeline: &self.plan.name,
            name: &sink.name,
            inputs: &inputs,
            lineage: session.lineage(),
            generation: session.generation(),
            directory: self.directory,
            hub: &self.hub,
        };
        let failed = |source| RunError::Sink { name: sink.name.clone(), source };
        let open = sink.config.open(&context).map_err(failed)?;
        self.resumed.check_upper(&sink.name, open.sink.upper())?;
        if let SinkConfig::Delta(config) = &sink.config {
            let tail = open.tail.map(|tail| Arc::new(Tail(tail)) as Arc<dyn LiveTail>);
            let history = || Arc::new(History::new(self.directory.join(&config.path), tail));
            self.history.get_or_insert_with(history);
        }
        let (outlet, thread) =
            sink_thread::spawn(&sink.name, open.sink, &self.counters, &self.control);
        self.threads.push(thread);
        Ok(Mutex::new(Some(outlet)))
    }

    fn sources(&mut self) -> Result<Vec<Slots<Feed>>, RunError> {
        let sources = self.plan.sources.iter();
        sources.map(|source| self.source(source)).collect()
    }

    fn source(&mut self, source: &PlannedSource) -> Result<Slots<Feed>, RunError> {
        let PlannedSource { name, config } = source;
        let context = SourceContext {
            name,
            site: &self.plan.name,
            directory: self.directory,
            tick_length: self.plan.tick_length,
            granule: self.plan.granule(),
            starts_at: self.resumed.tick,
            positions: self.resumed.entries(name),
            journal: &self.journal,
            silences: &self.silences,
        };
        let failed = |source| RunError::Source { name: name.clone(), source };
        let partitions = config.open(&context).map_err(failed)?;
        let surroundings = Surroundings {
            counters: Arc::clone(&self.counters),
            control: Arc::clone(&self.control),
            done_with: Arc::clone(&self.done_with),
        };
        let feeds = partitions.into_iter().map(|partition| {
            let (feed, threads) = source_thread::spawn(name, partition, &surroundings);
            self.threads.extend(threads);
            Mutex::new(Some(feed))
        });
        Ok(feeds.collect())
    }
}

/// Where a pipeline's sources keep what cannot be asked again. Each history has its own folder; those
/// of earlier ones are removed.
fn journal_folder(directory: &Path, pipeline: &str, lineage: &str) -> PathBuf {
    let journals = directory.join("fresnel.journal").join(pipeline);
    let folders = fs::read_dir(&journals).into_iter().flatten().flatten();
    for folder in folders.filter(|folder| folder.file_name() != lineage) {
        if let Err(error) = fs::remove_dir_all(folder.path()) {
            tracing::warn!(%error, folder = %folder.path().display(), "an old journal stays");
        }
    }
    journals.join(lineage)
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

fn start_workers(
    parts: Parts,
    n_workers: usize,
    control: &Arc<Control>,
) -> JoinHandle<Result<(), RunError>> {
    let communication = match n_workers {
        0 | 1 => CommunicationConfig::Thread,
        n_workers => CommunicationConfig::Process(n_workers),
    };
    let config = timely::Config { communication, worker: timely::WorkerConfig::default() };
    let control = Arc::clone(control);
    std::thread::spawn(move || {
        let failed = |reason: String| RunError::Workers { reason };
        let guards = timely::execute(config, move |worker| work(worker, &parts)).map_err(failed)?;
        let ended = guards.join().into_iter().collect::<Result<Vec<()>, _>>();
        control.finish();
        ended.map_err(failed)?;
        Ok(())
    })
}

/// One worker, until everything is in a checkpoint.
fn work(worker: &mut Worker, parts: &Parts) {
    let committed = build(worker, parts);
    while !committed.done() {
        worker.step_or_park(Some(PARK));
    }
}

/// Lets queries see what the `delta` sink has accepted.
#[derive(Debug)]
struct Tail(DeltaTail);

impl LiveTail for Tail {
    fn writer(&self) -> &str {
        self.0.writer()
    }

    fn tables(&self) -> Vec<String> {
        self.0.tables()
    }

    fn rows(&self, table: &str) -> Vec<(Tick, Record)> {
        self.0.rows(table)
    }
}
