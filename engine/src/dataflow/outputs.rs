//! The outputs of a component: each record is moved, not copied, to the stream that it belongs to.

use schemas::{Record, RecordKind, RecordType, Tick, record_kinds};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::InputCapability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use crate::StreamName;
use crate::dataflow::edge::Edge;

/// Splits the records of a component into its streams, in the order of `streams`.
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

macro_rules! define_open {
    ($(
        $(#[$doc:meta])*
        $kind:ident($record:ty) => $($names:literal),*;
    )*) => {
        fn open<'scope>(
            builder: &mut OperatorBuilder<'scope, Tick>,
            name: &StreamName,
            kind: RecordKind,
        ) -> (Box<dyn Port>, Edge<'scope>) {
            match kind {
                $(RecordKind::$kind => typed(builder, name, Edge::$kind),)*
                RecordKind::Rows => typed(builder, name, Edge::Rows),
                RecordKind::Video => typed(builder, name, Edge::Video),
            }
        }
    };
}

record_kinds!(define_open);

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

/// An output for the records of one stream.
trait Port {
    /// True if a record belongs to this stream.
    fn takes(&self, record: &Record) -> bool;
    fn push(&mut self, record: Record);
    /// Sends the pushed records.
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

#[cfg(test)]
mod tests {
    use allocation_counter::measure;
    use schemas::{CsiBatch, Link};
    use timely::dataflow::ProbeHandle;
    use timely::dataflow::operators::Probe;
    use timely::dataflow::operators::vec::{Input, Map};

    use super::*;

    const N_BATCHES: usize = 1000;

    /// The streams of a CSI source.
    fn streams() -> Vec<(StreamName, RecordKind)> {
        let name = |port: &str| StreamName { component: "hall".to_owned(), port: port.to_owned() };
        let kinds =
            [("", RecordKind::Csi), ("errors", RecordKind::Rows), ("events", RecordKind::Event)];
        kinds.map(|(port, kind)| (name(port), kind)).into()
    }

    /// Twenty frames.
    fn batch() -> CsiBatch {
        CsiBatch {
            link: Link {
                receiver: "hall".to_owned(),
                transmitter: "ap".to_owned(),
                ..Link::default()
            },
            captured_at_ns: vec![0; 20],
            sequence: vec![0; 20],
            rssi_dbm: vec![0.0; 20],
            noise_dbm: vec![0.0; 20],
            agc_db: vec![0.0; 20],
            scale: vec![1.0; 20],
            n_missed: vec![0; 20],
            ..CsiBatch::default()
        }
    }

    /// Allocations for each batch of CSI that passes a part of a dataflow.
    fn allocations(
        part: impl for<'scope> Fn(StreamVec<'scope, Tick, Record>, &ProbeHandle<Tick>)
        + Send
        + Sync
        + 'static,
    ) -> f64 {
        timely::execute_directly(move |worker| {
            let probe = ProbeHandle::new();
            let mut input = worker.dataflow(|scope| {
                let (input, records) = scope.new_input();
                part(records, &probe);
                input
            });
            let batch = batch();
            let mut pass = |tick| {
                let mut records = vec![Record::Csi(batch.clone()); N_BATCHES];
                let counted = measure(|| {
                    input.send_batch(&mut records);
                    input.advance_to(tick);
                    worker.step_while(|| probe.less_than(&tick));
                });
                counted.count_total as f64 / N_BATCHES as f64
            };
            // The first pass allocates the buffers.
            pass(1);
            pass(2)
        })
    }

    #[test]
    fn records_are_moved() {
        let moved = allocations(|records, probe| {
            for edge in route(records, &streams()) {
                edge.into_records().probe_with(probe);
            }
        });
        let copied = allocations(|records, probe| {
            for (_, kind) in streams() {
                let of_kind = records.clone().flat_map(move |it| (it.kind() == kind).then_some(it));
                of_kind.probe_with(probe);
            }
        });
        assert!(moved < 0.5 && copied > 10.0, "{moved} and {copied} for each batch");
    }
}
