//! A run: threads for sources and sinks, workers for the dataflow, and how it all ends.
//!
//! A run ends when its sources do, when it is asked to stop, or when a part fails. In every case what
//! was accepted is committed, as far as the sinks still work.

mod control;
mod sink_thread;
mod source_thread;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use operators::{Model, OperatorConfig};
use queries::{History, LiveTail};
use schemas::{Record, RecordKind, Tick};
use sinks::{DeltaTail, Hub, SinkConfig, SinkContext};
use sources::SourceContext;
use timely::CommunicationConfig;
use timely::worker::Worker;

use crate::dataflow::{Parts, build};
use crate::run::control::Control;
use crate::{Counters, Plan, RunError};

/// How long a worker sleeps at most when there is nothing to do.
const PARK: Duration = Duration::from_millis(100);

/// How to run a plan.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// What relative paths are relative to.
    pub directory: PathBuf,
    /// Worker threads; at least one.
    pub workers: usize,
    /// Set by anyone to end the run as if its sources had ended.
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
}

impl fmt::Display for Summary {
    /// One line for each source and sink, and for each operator that dropped records.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, counts) in self.counters.snapshot() {
            let n_dropped: u64 = counts.dropped.values().sum();
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
        let counters = Arc::new(Counters::default());
        let hub = Arc::new(Hub::default());
        let control = Arc::new(Control::new(Arc::clone(&options.stop)));
        let models = load_models(&plan, &options.directory)?;
        let mut threads = Vec::new();
        let mut history = None;
        let mut outlets = Vec::new();
        // Sinks first: a sink that cannot be opened must not cost records of live sources.
        for sink in &plan.sinks {
            let writer = writer(&plan.name, &sink.name);
            let context = SinkContext { writer: &writer, directory: &options.directory, hub: &hub };
            let open = sink
                .config
                .open(&context)
                .map_err(|source| RunError::Sink { name: sink.name.clone(), source })?;
            if let SinkConfig::Delta(config) = &sink.config {
                let tail = open.tail.map(|tail| Arc::new(Tail(tail)) as Arc<dyn LiveTail>);
                let history_of = || History::new(options.directory.join(&config.path), tail);
                history.get_or_insert_with(|| Arc::new(history_of()));
            }
            let (outlet, thread) = sink_thread::spawn(&sink.name, open.sink, &counters, &control);
            outlets.push(Mutex::new(Some(outlet)));
            threads.push(thread);
        }
        let mut feeds = Vec::new();
        for source in &plan.sources {
            let context = SourceContext {
                name: &source.name,
                site: &plan.name,
                directory: &options.directory,
                tick_length: plan.tick_length,
            };
            let open = source
                .config
                .open(&context)
                .map_err(|error| RunError::Source { name: source.name.clone(), source: error })?;
            let (feed, thread) = source_thread::spawn(&source.name, open, &counters, &control);
            feeds.push(Mutex::new(Some(feed)));
            threads.push(thread);
        }
        let parts =
            Parts { plan: plan.clone(), counters: Arc::clone(&counters), models, feeds, outlets };
        let workers = start_workers(parts, options.workers);
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
        let panicked = |_| RunError::Workers { reason: "a thread panicked".to_owned() };
        let workers = self.workers.join().map_err(panicked).flatten();
        for thread in self.threads {
            thread.join().map_err(panicked)?;
        }
        // What failed first says why; workers only end early because of it.
        self.control.failure().map_or(workers, Err)?;
        Ok(Summary { counters: Arc::clone(&self.shared.counters) })
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

/// Names this run of a sink among all that ever wrote to its tables.
#[expect(clippy::disallowed_methods, reason = "a run is told from others by its start")]
fn writer(pipeline: &str, sink: &str) -> String {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!("{pipeline}/{sink}/{}-{}", since_epoch.as_millis(), std::process::id())
}

fn start_workers(parts: Parts, n_workers: usize) -> JoinHandle<Result<(), RunError>> {
    let communication = match n_workers {
        0 | 1 => CommunicationConfig::Thread,
        n_workers => CommunicationConfig::Process(n_workers),
    };
    let config = timely::Config { communication, worker: timely::WorkerConfig::default() };
    std::thread::spawn(move || {
        let failed = |reason: String| RunError::Workers { reason };
        let guards = timely::execute(config, move |worker| work(worker, &parts)).map_err(failed)?;
        guards.join().into_iter().collect::<Result<Vec<()>, _>>().map_err(failed)?;
        Ok(())
    })
}

/// One worker, until everything is durable.
fn work(worker: &mut Worker, parts: &Parts) {
    let durable = build(worker, parts);
    while !durable.done() {
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

    fn rows(&self, kind: RecordKind) -> Vec<(Tick, Record)> {
        self.0.rows(kind)
    }
}
