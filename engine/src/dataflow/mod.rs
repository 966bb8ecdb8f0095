//! From a plan to a running dataflow: the same on every worker.

mod committer;
mod configuration;
mod edge;
mod observe;
mod outputs;
mod shared_progress;
mod sink;
mod sink_queue;
mod source;
mod stop_coordinator;
mod waker;
mod watch;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use operators::{
    Activities, Change, Changes, Component, Context, DetectMotion, EstimatePose, FusePeople,
    InferPoses, OperatorConfig, PlaceOnFloor, RemoveOutliers, Rooms, SanitizePhase,
    SelectSubcarriers, StateContext, StopPoint, Track, Windows, Zones, into_records,
};
use schemas::{Granule, Progress, Record, RecordKind, Tick};
use timely::dataflow::operators::vec::{Broadcast, Map};
use timely::dataflow::operators::{Concatenate, Inspect, Probe};
use timely::dataflow::{ProbeHandle, Scope, StreamVec};
use timely::worker::Worker;

use crate::dataflow::committer::commit;
use crate::dataflow::configuration::configure;
use crate::dataflow::edge::Edge;
use crate::dataflow::observe::observe;
use crate::dataflow::outputs::route;
use crate::dataflow::sink::write_to;
use crate::dataflow::source::{SourceStreams, read_from};
use crate::dataflow::watch::{watch, watch_clock};
use crate::run::models::Models;
use crate::{Counters, Plan, PlannedOperator, StreamName, Taps};

pub(crate) use crate::dataflow::committer::{Checkpointer, Commit};
pub(crate) use crate::dataflow::configuration::{Configured, OperatorChange, Request};
pub(crate) use crate::dataflow::shared_progress::SharedProgress;
pub(crate) use crate::dataflow::sink::{SinkQueue, upper_of};
pub(crate) use crate::dataflow::sink_queue::{TickReceiver, sink_queue};
pub(crate) use crate::dataflow::source::{SourceBatch, SourceQueue};
pub(crate) use crate::dataflow::stop_coordinator::StopCoordinator;
pub(crate) use crate::dataflow::waker::Waker;

const MIB: usize = 1024 * 1024;

/// Keys and their saved values.
pub(crate) type Entries = Arc<Vec<(Vec<u8>, Vec<u8>)>>;

/// An item for one worker.
#[derive(Debug)]
pub(crate) struct Placed<T> {
    worker: usize,
    /// None once it is taken, and if it is in another process.
    slot: Mutex<Option<T>>,
}

impl<T> Placed<T> {
    pub(crate) fn new(worker: usize, thing: Option<T>) -> Self {
        Self { worker, slot: Mutex::new(thing) }
    }

    fn take(&self, worker: &Worker) -> Option<T> {
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        slot.take_if(|_| self.worker == worker.index())
    }
}

/// The inputs that all workers share. A worker takes the queues that are placed on it.
pub(crate) struct DataflowInputs {
    pub(crate) plan: Plan,
    pub(crate) counters: Arc<Counters>,
    pub(crate) taps: Arc<Taps>,
    /// The models of the plan's operators, by operator.
    pub(crate) models: Models,
    /// For each source of the plan, the queues of its partitions.
    pub(crate) source_queues: Vec<Vec<Placed<SourceQueue>>>,
    /// One for each sink of the plan.
    pub(crate) sink_queues: Vec<Placed<SinkQueue>>,
    /// By operator.
    pub(crate) configured: Placed<BTreeMap<String, Configured>>,
    pub(crate) checkpointer: Placed<Checkpointer>,
    /// The first tick of the run.
    pub(crate) starts_at: Tick,
    /// The checkpoint that the run resumes from.
    pub(crate) resumed: Progress,
    /// The state of each operator at that tick.
    pub(crate) restored: BTreeMap<String, Entries>,
    /// Set when the run is to stop.
    pub(crate) stop: Arc<AtomicBool>,
    /// Every retained checkpoint contains everything before this tick.
    pub(crate) checkpointed_through: Arc<AtomicU64>,
    /// True if partitions are quarantined: the pipeline does not end before a later run reads them.
    pub(crate) has_quarantined: bool,
}

/// A built dataflow.
pub(crate) struct Dataflow {
    /// Done when everything is durable and in a checkpoint.
    pub(crate) committed: ProbeHandle<Tick>,
    pub(crate) stop_coordinator: Rc<StopCoordinator>,
}

/// The context of the dataflow's sources and sinks.
#[derive(Clone)]
struct DataflowContext {
    /// Passes the ticks that every sink has accepted.
    accepted: ProbeHandle<Tick>,
    /// Passes the ticks that are durable in every sink.
    durable: ProbeHandle<Tick>,
    max_lead_ms: u64,
    max_in_flight_bytes: usize,
    granule: Granule,
    starts_at: Tick,
    resumed: Progress,
    stop_coordinator: Rc<StopCoordinator>,
    stop_point: StopPoint,
    counters: Arc<Counters>,
    /// True when the run is to stop.
    stop: Arc<AtomicBool>,
    has_quarantined: bool,
}

impl DataflowContext {
    fn new(
        parts: &DataflowInputs,
        stop_coordinator: Rc<StopCoordinator>,
        stop_point: StopPoint,
    ) -> Self {
        Self {
            accepted: ProbeHandle::new(),
            durable: ProbeHandle::new(),
            max_lead_ms: parts.plan.max_lead_ms,
            max_in_flight_bytes: parts.plan.max_in_flight_mib.get().saturating_mul(MIB),
            granule: parts.plan.granule(),
            starts_at: parts.starts_at,
            resumed: parts.resumed,
            stop_coordinator,
            stop_point,
            counters: Arc::clone(&parts.counters),
            stop: Arc::clone(&parts.stop),
            has_quarantined: parts.has_quarantined,
        }
    }
}

/// Builds the dataflow.
pub(crate) fn build(worker: &mut Worker, parts: &DataflowInputs) -> Dataflow {
    let plan = &parts.plan;
    let own_queues = |source_queues: &Vec<Placed<SourceQueue>>| -> Vec<_> {
        source_queues.iter().filter_map(|source_queue| source_queue.take(worker)).collect()
    };
    let source_queues: Vec<_> = parts.source_queues.iter().map(own_queues).collect();
    let sink_queues =
        parts.sink_queues.iter().map(|sink_queue| (sink_queue.worker, sink_queue.take(worker)));
    let sink_queues: Vec<_> = sink_queues.collect();
    let checkpointer = parts.checkpointer.take(worker);
    let mut configured = parts.configured.take(worker).unwrap_or_default();
    let stop_point = StopPoint::default();
    let n_queues = source_queues.iter().map(Vec::len).sum();
    let stop_coordinator = Rc::new(StopCoordinator::new(worker, n_queues, stop_point.clone()));
    let flow = DataflowContext::new(parts, Rc::clone(&stop_coordinator), stop_point);
    let owners = observe(worker, &parts.counters);
    let committed = worker.dataflow_named::<Tick, _, _>(&plan.name, |scope| {
        let changes = Changes::default();
        let mut edges = Edges::default();
        for (source, source_queues) in plan.sources.iter().zip(source_queues) {
            owners.begin(scope, &source.name);
            let streams =
                read_from(scope, &source.name, plan.number_of(&source.name), source_queues, &flow);
            let SourceStreams { records, changes: positions } = streams;
            edges.insert(&source.name, source.config.outputs(), records, parts);
            edges.positions.insert(source.name.clone(), positions.clone());
            changes.borrow_mut().push(positions);
        }
        for operator in &plan.operators {
            owners.begin(scope, &operator.name);
            let state = state_context(&operator.name, parts, &flow, &changes);
            let configured = configured.remove(&operator.name);
            edges.operate(scope, operator, configured, state, parts);
        }
        for (sink, sink_queue) in plan.sinks.iter().zip(sink_queues) {
            owners.begin(scope, &sink.name);
            let inputs = sink.inputs.iter().map(|input| edges.get(input).into_records());
            let records = scope.concatenate(inputs.collect::<Vec<_>>());
            let number = plan.number_of(&sink.name);
            let progress = write_to(records, &sink.name, number, sink_queue, &flow);
            progress.accepted.probe_with(&flow.accepted);
            changes.borrow_mut().push(progress.changes.probe_with(&flow.durable));
        }
        owners.begin(scope, "checkpoints");
        let changes = scope.concatenate(changes.take());
        let checkpointed_through = Arc::clone(&parts.checkpointed_through);
        let oldest = commit(changes, checkpointer, &flow).broadcast();
        let oldest = oldest.inspect(move |oldest| {
            checkpointed_through.fetch_max(*oldest, Ordering::Release);
        });
        oldest.probe().0
    });
    Dataflow { committed, stop_coordinator }
}

fn state_context<'scope>(
    name: &str,
    parts: &DataflowInputs,
    flow: &DataflowContext,
    changes: &Changes<'scope>,
) -> StateContext<'scope> {
    StateContext {
        component: parts.plan.number_of(name),
        granule: flow.granule,
        starts_at: flow.starts_at,
        restored: parts.restored.get(name).cloned().unwrap_or_default(),
        changes: Changes::clone(changes),
        stop_point: flow.stop_point.clone(),
    }
}

/// The streams so far, by name.
#[derive(Default)]
struct Edges<'scope> {
    by_name: BTreeMap<StreamName, Edge<'scope>>,
    /// The positions of each source.
    positions: BTreeMap<String, StreamVec<'scope, Tick, Change>>,
}

impl<'scope> Edges<'scope> {
    fn get(&self, name: &StreamName) -> Edge<'scope> {
        self.by_name.get(name).expect("the plan resolved every name").clone()
    }

    /// Adds the outputs of a component, whose records are in one stream.
    fn insert(
        &mut self,
        component: &str,
        outputs: &[(&str, RecordKind)],
        records: StreamVec<'scope, Tick, Record>,
        parts: &DataflowInputs,
    ) {
        let name =
            |port: &str| StreamName { component: component.to_owned(), port: port.to_owned() };
        let streams: Vec<_> = outputs.iter().map(|(port, kind)| (name(port), *kind)).collect();
        let records = watch(records, component, streams.clone(), parts);
        let edges = route(records, &streams);
        self.by_name.extend(streams.into_iter().map(|(name, _)| name).zip(edges));
    }

    fn operate(
        &mut self,
        scope: Scope<'scope, Tick>,
        operator: &PlannedOperator,
        configured: Option<Configured>,
        state: StateContext<'scope>,
        parts: &DataflowInputs,
    ) {
        let starts_at = state.starts_at;
        let configuration = |edges: &Self| {
            let sources = parts.plan.sources_of(&operator.name);
            let positions = sources.iter().map(|source| edges.positions[*source].clone());
            let positions = scope.concatenate(positions.collect::<Vec<_>>());
            configure(positions, configured, starts_at)
        };
        let context = Context { component: component(operator, parts), state };
        let inputs: Vec<_> = operator.inputs.iter().map(|input| self.get(input)).collect();
        let records = match &operator.config {
            OperatorConfig::SanitizePhase(config) => {
                into_records(edge::csi(scope, inputs).sanitize_phase(*config, context.component))
            }
            OperatorConfig::Hampel(config) => {
                into_records(edge::csi(scope, inputs).remove_outliers(*config, context))
            }
            OperatorConfig::SelectSubcarriers(config) => {
                into_records(edge::csi(scope, inputs).select_subcarriers(*config, context))
            }
            OperatorConfig::Motion(config) => {
                let requests = configuration(self).flat_map(OperatorChange::recalibration);
                let frames = edge::csi(scope, inputs);
                into_records(frames.detect_motion(requests, config.clone(), context))
            }
            OperatorConfig::Rooms(config) => {
                into_records(edge::presence(scope, inputs).rooms(config.clone(), context))
            }
            OperatorConfig::Infer(config) => {
                let model = Arc::clone(&parts.models.csi[&operator.name]);
                into_records(edge::csi(scope, inputs).infer_poses(model, config.every, context))
            }
            OperatorConfig::EstimatePose(_) => {
                let networks = Arc::clone(&parts.models.pose[&operator.name]);
                let frames = edge::video(scope, inputs);
                into_records(frames.estimate_pose(networks, &context.component))
            }
            OperatorConfig::PlaceOnFloor(config) => {
                let frames = edge::pose(scope, inputs);
                into_records(frames.place_on_floor(config))
            }
            OperatorConfig::FusePeople(config) => {
                let mut streams = inputs.into_iter().map(|input| edge::pose(scope, vec![input]));
                // The plan has refused operators without inputs.
                let first = streams.next().unwrap_or_else(|| edge::pose(scope, Vec::new()));
                into_records(first.fuse_people(streams.collect(), *config, context))
            }
            OperatorConfig::Track(config) => {
                into_records(edge::pose(scope, inputs).track(*config, context))
            }
            OperatorConfig::Zones(config) => {
                let zones = configuration(self).flat_map(OperatorChange::zone);
                edge::pose(scope, inputs).zones(zones, config.inertia_m, context)
            }
            OperatorConfig::Activity(config) => {
                edge::pose(scope, inputs).activities(*config, context)
            }
            OperatorConfig::Windows(config) => {
                let schema = operator.schema.clone().expect("the plan found its columns");
                let rows = edge::rows(scope, inputs, &context.component);
                into_records(rows.windows(config, schema, context))
            }
        };
        let records = watch_clock(records, &operator.name, parts);
        self.insert(&operator.name, operator.config.outputs(), records, parts);
    }
}

fn component(operator: &PlannedOperator, parts: &DataflowInputs) -> Component {
    let name: Arc<str> = operator.name.as_str().into();
    let counters = || (Arc::clone(&parts.counters), Arc::clone(&name));
    let (of_drops, of_work) = (counters(), counters());
    Component {
        pipeline: parts.plan.name.as_str().into(),
        dropped: Arc::new(move |reason, n_records| {
            of_drops.0.dropped(&of_drops.1, reason, n_records);
        }),
        worked: Arc::new(move |stage, time| of_work.0.worked(&of_work.1, stage, time)),
        name,
    }
}
