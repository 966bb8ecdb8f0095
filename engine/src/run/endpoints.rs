//! The sources and sinks of this process, from closed to started.
//!
//! Each step is a type with one transition, to the next step. Sinks are open and report their uppers
//! ([`OpenedSinks`]). Released partitions have their positions ([`Released`]). Sources are open too
//! ([`OpenedEndpoints`]). The run has its generation, and earlier runs are fenced ([`Begun`]). The
//! threads run ([`Started`]). No record is read or written before the last step.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::JoinHandle;

use queries::{History, LiveTail};
use schemas::{Progress, Record, Tick};
use serde::{Deserialize, Serialize};
use sinks::{DeltaTail, Hub, Sink, SinkConfig, SinkContext};
use sources::{Decisions, Partition, SourceContext};

use crate::dataflow::{Placed, SinkQueue, SourceQueue};
use crate::run::connectors::Connectors;
use crate::run::context::RunContext;
use crate::run::control::Control;
use crate::run::decisions::StoredDecisions;
use crate::run::quarantine::{self, QuarantinedPartitions};
use crate::run::resume::Resumed;
use crate::run::retry::retry;
use crate::run::source_thread::SourceThreadContext;
use crate::run::startup::RoundMessage;
use crate::run::{begun, sink_thread, source_thread};
use crate::store::{CommitLog, Session, Store};
use crate::{
    Counters, Placement, Plan, PlannedSink, PlannedSource, Routers, RunError, State, journals,
};

/// For each source of the plan, the queues of its partitions.
pub(super) type SourceQueues = Vec<Vec<Placed<SourceQueue>>>;
/// One for each sink of the plan.
pub(super) type SinkQueues = Vec<Placed<SinkQueue>>;

/// Opens the sources and sinks of this process.
pub(super) struct Endpoints<'a> {
    plan: &'a Plan,
    directory: &'a Path,
    connectors: &'a dyn Connectors,
    placement: Placement,
    /// The names of partitions that are quarantined.
    pub(super) quarantine: &'a [String],
    decisions: Arc<dyn Decisions>,
    /// The highest clock of this process's partitions.
    furthest: Arc<AtomicU64>,
    journal: PathBuf,
    control: &'a Arc<Control>,
    /// The store, if this process has joined the run.
    pub(super) store: Option<Store>,
    pub(super) session: Session,
    pub(super) resumed: Resumed,
    pub(super) checkpointed_through: Arc<AtomicU64>,
    pub(super) counters: Arc<Counters>,
    pub(super) routers: Arc<Routers>,
    pub(super) hub: Arc<Hub>,
    pub(super) history: Option<Arc<History>>,
    /// The first tick of new partitions.
    begins_at: Tick,
}

/// The message of the round in which sinks are opened.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct SinksMessage {
    /// The highest upper: no sink has committed this tick or a later one.
    pub(super) upper: Tick,
}

impl RoundMessage for SinksMessage {
    fn join(&mut self, other: Self) {
        self.upper = self.upper.max(other.upper);
    }
}

/// The message of the round in which sources are opened.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct SourcesMessage {
    /// Partitions that are quarantined.
    pub(super) quarantined: QuarantinedPartitions,
    /// The initial positions of new partitions.
    pub(super) begun: State,
}

impl RoundMessage for SourcesMessage {
    fn join(&mut self, other: Self) {
        self.quarantined.join(&other.quarantined);
        self.begun.apply(other.begun);
    }
}

/// A sink of the plan, with its worker.
struct PlacedSink {
    name: String,
    worker: usize,
    /// None if it is in another process.
    sink: Option<Box<dyn Sink>>,
}

/// An open partition.
struct OpenPartition {
    worker: usize,
    /// True if it is quarantined.
    quarantined: bool,
    partition: Partition,
}

/// The sinks are open.
pub(super) struct OpenedSinks<'a> {
    endpoints: Endpoints<'a>,
    sinks: Vec<PlacedSink>,
}

/// Partitions that are released from quarantine, and new partitions, begin after the last tick that a
/// sink has committed.
pub(super) struct Released<'a> {
    endpoints: Endpoints<'a>,
    sinks: Vec<PlacedSink>,
    /// The resulting changes of the checkpoint.
    changes: State,
}

/// Sinks and sources are open; an earlier run can still continue.
pub(super) struct OpenedEndpoints<'a> {
    endpoints: Endpoints<'a>,
    sinks: Vec<PlacedSink>,
    changes: State,
    /// The name and the partitions of each source of the plan.
    sources: Vec<(String, Vec<OpenPartition>)>,
}

/// The run has its generation, and earlier runs cannot write any more.
pub(super) struct Begun<'a> {
    endpoints: Endpoints<'a>,
    sinks: Vec<PlacedSink>,
    sources: Vec<(String, Vec<OpenPartition>)>,
}

/// The threads run.
pub(super) struct Started {
    pub(super) source_queues: SourceQueues,
    pub(super) sink_queues: SinkQueues,
    /// Each with the component that it belongs to.
    pub(super) threads: Vec<(String, JoinHandle<()>)>,
}

impl<'a> Endpoints<'a> {
    /// `store` is this process's own store, if the process has joined the run.
    pub(super) fn new(
        context: &'a RunContext,
        quarantine: &'a [String],
        store: Option<Store>,
        (session, resumed): (Session, Resumed),
    ) -> Self {
        let RunContext { plan, options, control, connectors } = context;
        let decisions =
            StoredDecisions { table: session.decisions(), control: Arc::clone(control) };
        Self {
            plan,
            directory: &options.directory,
            connectors: &**connectors,
            placement: options.cluster.placement(options.workers),
            quarantine,
            decisions: Arc::new(decisions),
            furthest: Arc::default(),
            journal: journals(&options.directory, &plan.name).join(session.lineage()),
            control,
            store,
            session,
            resumed,
            checkpointed_through: Arc::default(),
            counters: Arc::default(),
            routers: Arc::default(),
            hub: Arc::default(),
            history: None,
            begins_at: 0,
        }
    }

    /// Opens this process's sinks, and returns the highest of their uppers.
    pub(super) fn open_sinks(mut self) -> Result<(OpenedSinks<'a>, SinksMessage), RunError> {
        let mut all = SinksMessage::default();
        let mut sinks = Vec::new();
        for sink in &self.plan.sinks {
            let component = self.plan.number_of(&sink.name);
            let worker = self.placement.of_sink(component, sink.config.is_served());
            let here = self.placement.is_here(worker);
            let open = here.then(|| self.open_sink(sink)).transpose()?;
            let upper = open.as_ref().and_then(|sink| sink.upper());
            all.join(SinksMessage { upper: upper.unwrap_or(0) });
            sinks.push(PlacedSink { name: sink.name.clone(), worker, sink: open });
        }
        Ok((OpenedSinks { endpoints: self, sinks }, all))
    }

    fn open_sink(&mut self, sink: &PlannedSink) -> Result<Box<dyn Sink>, RunError> {
        let streams = self.plan.streams();
        let inputs = sink.inputs.iter().map(|input| (input.to_string(), streams[input]));
        let inputs: Vec<_> = inputs.collect();
        let context = SinkContext {
            pipeline: &self.plan.name,
            name: &sink.name,
            inputs: &inputs,
            lineage: self.session.lineage(),
            generation: self.session.generation(),
            directory: self.directory,
            hub: &self.hub,
        };
        let failed = |source| RunError::Sink { name: sink.name.clone(), source };
        let open = self.connectors.open_sink(sink, &context).map_err(failed)?;
        self.resumed.check_upper(&sink.name, open.sink.upper())?;
        if let SinkConfig::Delta(config) = &sink.config {
            let tail = open.tail.map(|tail| Arc::new(Tail(tail)) as Arc<dyn LiveTail>);
            let history = || Arc::new(History::new(config.path.within(self.directory), tail));
            self.history.get_or_insert_with(history);
        }
        Ok(open.sink)
    }

    /// Releases partitions from quarantine. These and new partitions begin at `from`, a tick that no
    /// sink has committed. Returns the changes that must be durable before anything is read.
    fn release(&mut self, from: Tick) -> State {
        self.begins_at = from.max(self.resumed.tick());
        let mut changes = std::mem::take(&mut self.resumed.changes);
        changes.apply(quarantine::release(self.plan, self.quarantine, from, &mut self.resumed));
        changes
    }

    /// Opens this process's partitions of a source.
    fn open_source(
        &self,
        source: &PlannedSource,
        quarantined: &mut QuarantinedPartitions,
        begun: &mut State,
    ) -> Result<Vec<OpenPartition>, RunError> {
        let name = &source.name;
        let component = self.plan.number_of(name);
        let context = SourceContext {
            name,
            site: &self.plan.name,
            directory: self.directory,
            tick_length: self.plan.tick_length,
            granule: self.plan.granule(),
            starts_at: self.resumed.tick(),
            begins_at: self.begins_at,
            positions: self.resumed.entries(name),
            journal: &self.journal,
            decisions: &self.decisions,
            furthest: &self.furthest,
            share: self.placement.share(component),
            quarantine: self.quarantine,
        };
        let failed = |source| RunError::Source { name: name.clone(), source };
        let mut open = Vec::new();
        for partition in self.connectors.open_source(source, &context).map_err(failed)? {
            begun::note(begun, source, &partition, &context, self.resumed.progress)?;
            let is_quarantined = context.is_quarantined(&partition.name);
            if is_quarantined {
                tracing::error!(source = name, partition = partition.name, "quarantined");
                quarantined.add(component, &partition.name, &context);
            }
            let worker = self.placement.of_partition(component, partition.number);
            open.push(OpenPartition { worker, quarantined: is_quarantined, partition });
        }
        Ok(open)
    }
}

impl<'a> OpenedSinks<'a> {
    /// Releases partitions from quarantine. No sink of any process has committed the tick `from` or a
    /// later one.
    pub(super) fn release(mut self, from: Tick) -> Released<'a> {
        let changes = self.endpoints.release(from);
        Released { endpoints: self.endpoints, sinks: self.sinks, changes }
    }
}

impl<'a> Released<'a> {
    /// Opens the sources. Reports the quarantined partitions, and the initial positions of new
    /// partitions.
    pub(super) fn open_sources(self) -> Result<(OpenedEndpoints<'a>, SourcesMessage), RunError> {
        let Self { endpoints, sinks, changes } = self;
        let (mut quarantined, mut begun) = (QuarantinedPartitions::default(), State::default());
        let mut sources = Vec::new();
        for source in &endpoints.plan.sources {
            let partitions = endpoints.open_source(source, &mut quarantined, &mut begun)?;
            sources.push((source.name.clone(), partitions));
        }
        let opened = OpenedEndpoints { endpoints, sinks, changes, sources };
        Ok((opened, SourcesMessage { quarantined, begun }))
    }
}

impl<'a> OpenedEndpoints<'a> {
    /// Takes and returns the generation. Then released positions, dropped state and the initial
    /// positions in `begun`, of all processes, are durable.
    pub(super) fn take_generation(&mut self, begun: &State) -> Result<i64, RunError> {
        self.changes.apply(begun.clone());
        let Endpoints { session, resumed, control, .. } = &mut self.endpoints;
        session.take_generation().map_err(RunError::Store)?;
        if !self.changes.components.is_empty() {
            let commit = || session.commit(resumed.progress, &self.changes);
            retry("checkpoints", control, commit).map_err(RunError::Store)?;
        }
        // After the commit: a replay of state without its decisions would assign other ticks.
        let remove = || session.remove_decisions(&resumed.dropped);
        retry("checkpoints", control, remove).map_err(RunError::Store)?;
        Ok(session.generation())
    }

    /// Fences earlier runs from the destinations of this process's sinks. Must be called after the
    /// generation is taken.
    pub(super) fn begin(self) -> Result<Begun<'a>, RunError> {
        let Self { endpoints, mut sinks, sources, .. } = self;
        for PlacedSink { name, sink, .. } in &mut sinks {
            let failed = |source| RunError::Sink { name: name.clone(), source };
            sink.as_mut().map_or(Ok(()), |sink| sink.fence()).map_err(failed)?;
        }
        Ok(Begun { endpoints, sinks, sources })
    }
}

impl<'a> Begun<'a> {
    pub(super) fn session(&self) -> &Session {
        &self.endpoints.session
    }

    pub(super) fn starts_at(&self) -> Tick {
        self.endpoints.resumed.tick()
    }

    /// Starts the threads of sinks and sources.
    pub(super) fn start(self) -> (Endpoints<'a>, Started) {
        let Self { endpoints, sinks, sources } = self;
        let store = endpoints.session.store();
        endpoints.routers.follow(&store, store.items(&endpoints.plan.name));
        let mut threads = Vec::new();
        let sink_queues = sinks.into_iter().map(|PlacedSink { name, worker, sink }| {
            let sink_queue = sink.map(|sink| {
                let (sink_queue, thread) =
                    sink_thread::spawn(&name, sink, &endpoints.counters, endpoints.control);
                threads.push((name.clone(), thread));
                sink_queue
            });
            Placed::new(worker, sink_queue)
        });
        let sink_queues = sink_queues.collect();
        let context = SourceThreadContext {
            counters: Arc::clone(&endpoints.counters),
            routers: Arc::clone(&endpoints.routers),
            control: Arc::clone(endpoints.control),
            checkpointed_through: Arc::clone(&endpoints.checkpointed_through),
            furthest: Arc::clone(&endpoints.furthest),
            has_ended: endpoints.resumed.progress == Progress::Ended,
        };
        let source_queues = sources.into_iter().map(|(name, partitions)| {
            let (source_queues, of_source) = start_source(&name, partitions, &context);
            threads.extend(of_source.into_iter().map(|thread| (name.clone(), thread)));
            source_queues
        });
        let source_queues = source_queues.collect();
        (endpoints, Started { source_queues, sink_queues, threads })
    }
}

/// Starts the threads of a source's partitions. A quarantined partition has at most a receiver.
fn start_source(
    name: &str,
    partitions: Vec<OpenPartition>,
    context: &SourceThreadContext,
) -> (Vec<Placed<SourceQueue>>, Vec<JoinHandle<()>>) {
    let (mut source_queues, mut threads) = (Vec::new(), Vec::new());
    for OpenPartition { worker, quarantined, partition } in partitions {
        if quarantined {
            threads.extend(source_thread::spawn_receiver(name, partition, context));
            continue;
        }
        let (source_queue, of_partition) = source_thread::spawn(name, partition, context);
        threads.extend(of_partition);
        source_queues.push(Placed::new(worker, Some(source_queue)));
    }
    (source_queues, threads)
}

/// Shows uncommitted rows of the `delta` sink to queries.
#[derive(Debug)]
struct Tail(DeltaTail);

impl LiveTail for Tail {
    fn writer(&self) -> &str {
        self.0.writer()
    }

    fn tables(&self) -> Vec<String> {
        self.0.tables()
    }

    fn rows(&self, table: &str, after: Option<Tick>) -> Vec<(Tick, Record)> {
        self.0.rows(table, after)
    }
}
