//! From a plan to a running dataflow: the same on every worker.

mod edge;
mod sink;
mod source;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use operators::{
    Activities, Context, DetectMotion, InferPoses, Model, OperatorConfig, SanitizePhase, Track,
    Zones, into_records,
};
use schemas::{Record, Tick};
use timely::dataflow::operators::{Concatenate, Probe};
use timely::dataflow::{ProbeHandle, Scope, StreamVec};
use timely::worker::Worker;

use crate::dataflow::edge::Edge;
use crate::dataflow::sink::write_to;
use crate::dataflow::source::read_from;
use crate::{Counters, Plan, PlannedOperator, StreamName};

pub(crate) use crate::dataflow::sink::Outlet;
pub(crate) use crate::dataflow::source::{Feed, FeedBatch};

/// All that the workers share. A worker takes the feeds and outlets that are its own.
pub(crate) struct Parts {
    pub(crate) plan: Plan,
    pub(crate) counters: Arc<Counters>,
    /// The models of the plan's operators, by operator.
    pub(crate) models: BTreeMap<String, Arc<Model>>,
    /// One for each source of the plan.
    pub(crate) feeds: Vec<Mutex<Option<Feed>>>,
    /// One for each sink of the plan.
    pub(crate) outlets: Vec<Mutex<Option<Outlet>>>,
}

/// Takes `slots[idx]` on the worker it belongs to; components are spread over the workers.
fn take_own<T>(slots: &[Mutex<Option<T>>], idx: usize, worker: &Worker) -> Option<T> {
    if idx % worker.peers() != worker.index() {
        return None;
    }
    slots[idx].lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Builds the dataflow. The probe is done when everything is durable.
pub(crate) fn build(worker: &mut Worker, parts: &Parts) -> ProbeHandle<Tick> {
    let plan = &parts.plan;
    let feeds: Vec<_> =
        (0..plan.sources.len()).map(|idx| take_own(&parts.feeds, idx, worker)).collect();
    let outlets: Vec<_> =
        (0..plan.sinks.len()).map(|idx| take_own(&parts.outlets, idx, worker)).collect();
    worker.dataflow_named::<Tick, _, _>(&plan.name, |scope| {
        let (accepted, durable) = (ProbeHandle::new(), ProbeHandle::new());
        let mut edges = Edges::default();
        for (source, feed) in plan.sources.iter().zip(feeds) {
            let records = read_from(scope, &source.name, feed, accepted.clone(), plan.max_lead_ms);
            edges.insert(&source.name, source.config.outputs(), &records);
        }
        for operator in &plan.operators {
            edges.operate(scope, operator, parts);
        }
        for ((sink, outlet), idx) in plan.sinks.iter().zip(outlets).zip(0..) {
            let inputs = sink.inputs.iter().map(|input| edges.get(input).into_records());
            let records = scope.concatenate(inputs.collect::<Vec<_>>());
            let progress = write_to(records, &sink.name, idx, outlet);
            progress.accepted.probe_with(&accepted);
            progress.durable.probe_with(&durable);
        }
        durable
    })
}

/// The streams so far, by name.
#[derive(Default)]
struct Edges<'scope> {
    by_name: BTreeMap<StreamName, Edge<'scope>>,
}

impl<'scope> Edges<'scope> {
    fn get(&self, name: &StreamName) -> Edge<'scope> {
        self.by_name.get(name).expect("the plan resolved every name").clone()
    }

    /// Names each output of a component, whose records come in one stream.
    fn insert(
        &mut self,
        component: &str,
        outputs: &[(&str, schemas::RecordKind)],
        records: &StreamVec<'scope, Tick, Record>,
    ) {
        for (port, kind) in outputs {
            let name = StreamName { component: component.to_owned(), port: (*port).to_owned() };
            self.by_name.insert(name, Edge::select(*kind, records.clone()));
        }
    }

    fn operate(&mut self, scope: Scope<'scope, Tick>, operator: &PlannedOperator, parts: &Parts) {
        let context = context(operator, parts);
        let inputs: Vec<_> = operator.inputs.iter().map(|input| self.get(input)).collect();
        let records = match &operator.config {
            OperatorConfig::SanitizePhase(config) => {
                into_records(edge::csi(scope, inputs).sanitize_phase(*config, context))
            }
            OperatorConfig::Motion(config) => {
                into_records(edge::csi(scope, inputs).detect_motion(config.clone(), context))
            }
            OperatorConfig::Infer(config) => {
                let model = Arc::clone(&parts.models[&operator.name]);
                into_records(edge::csi(scope, inputs).infer_poses(model, config.every_s, context))
            }
            OperatorConfig::Track(config) => {
                into_records(edge::pose(scope, inputs).track(*config, context))
            }
            OperatorConfig::Zones(config) => edge::pose(scope, inputs).zones(config, context),
            OperatorConfig::Activity(config) => {
                edge::pose(scope, inputs).activities(*config, context)
            }
        };
        self.insert(&operator.name, operator.config.outputs(), &records);
    }
}

fn context(operator: &PlannedOperator, parts: &Parts) -> Context {
    let (counters, name) = (Arc::clone(&parts.counters), operator.name.clone());
    Context {
        pipeline: parts.plan.name.as_str().into(),
        name: operator.name.as_str().into(),
        dropped: Arc::new(move |reason, n_records| counters.dropped(&name, reason, n_records)),
    }
}
