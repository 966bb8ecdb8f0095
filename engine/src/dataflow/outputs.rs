//! The outputs of a component: each record goes to the stream that it belongs to, moved and not copied.

use schemas::{Record, RecordKind, RecordType, Tick};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::InputCapability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use crate::StreamName;
use crate::dataflow::edge::Edge;

/// The streams of a component whose records come in one, in the order of their names.
pub(super) fn route<'scope>(
    records: StreamVec<'scope, Tick, Record>,
    streams: &[(StreamName, RecordKind)],
) -> Vec<Edge<'scope>> {
    let mut builder = OperatorBuilder::new("Outputs".to_owned(), records.scope());
    let mut input = builder.new_input(records, Pipeline);
    let ports = streams.iter().map(|(name, kind)| open(&mut builder, name, *kind));
    let (mut ports, edges): (Vec<_>, Vec<_>) = ports.unzip();
    builder.build(move |_capabilities| {
        move |_frontiers| {
            input.for_each_time(|time, batches| {
                for record in batches.flat_map(|batch| batch.drain(..)) {
                    if let Some(port) = ports.iter_mut().find(|port| port.takes(&record)) {
                        port.push(record);
                    }
                }
                for port in &mut ports {
                    port.send(&time);
                }
            });
        }
    });
    edges
}

fn open<'scope>(
    builder: &mut OperatorBuilder<'scope, Tick>,
    name: &StreamName,
    kind: RecordKind,
) -> (Box<dyn Port>, Edge<'scope>) {
    match kind {
        RecordKind::Csi => typed(builder, name, Edge::Csi),
        RecordKind::Pose => typed(builder, name, Edge::Pose),
        RecordKind::Presence => typed(builder, name, Edge::Presence),
        RecordKind::Occupancy => typed(builder, name, Edge::Occupancy),
        RecordKind::Activity => typed(builder, name, Edge::Activity),
        RecordKind::Event => typed(builder, name, Edge::Event),
        RecordKind::Rows => typed(builder, name, Edge::Rows),
    }
}

fn typed<'scope, R: RecordType>(
    builder: &mut OperatorBuilder<'scope, Tick>,
    name: &StreamName,
    edge: fn(StreamVec<'scope, Tick, R>) -> Edge<'scope>,
) -> (Box<dyn Port>, Edge<'scope>) {
    let (output, stream) = builder.new_output::<Vec<R>>();
    let port = TypedPort {
        stream: name.to_string(),
        queued: Vec::new(),
        output: OutputBuilder::from(output),
    };
    (Box::new(port), edge(stream))
}

/// An output that records leave by.
trait Port {
    /// True if a record is of its stream.
    fn takes(&self, record: &Record) -> bool;
    fn push(&mut self, record: Record);
    /// Sends what was pushed.
    fn send(&mut self, time: &InputCapability<Tick>);
}

struct TypedPort<R: RecordType> {
    stream: String,
    queued: Vec<R>,
    output: OutputBuilder<Tick, CapacityContainerBuilder<Vec<R>>>,
}

impl<R: RecordType> Port for TypedPort<R> {
    fn takes(&self, record: &Record) -> bool {
        match record {
            // A component may have several streams of rows.
            Record::Rows(rows) => R::KIND == RecordKind::Rows && rows.stream == self.stream,
            record => record.kind() == R::KIND,
        }
    }

    fn push(&mut self, record: Record) {
        self.queued.extend(R::from_record(record));
    }

    fn send(&mut self, time: &InputCapability<Tick>) {
        self.output.activate().session(time).give_iterator(self.queued.drain(..));
    }
}
