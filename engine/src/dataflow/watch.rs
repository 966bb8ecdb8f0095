//! Watches the records that a component sends: counts them, and shows them to taps.

use std::sync::Arc;

use schemas::{Record, RecordKind, Tick};
use timely::dataflow::StreamVec;
use timely::dataflow::operators::Inspect;

use crate::StreamName;
use crate::dataflow::DataflowInputs;

/// Counts the records, and shows them to taps. Returns the same stream; `streams` are the component's.
pub(super) fn watch<'scope>(
    records: StreamVec<'scope, Tick, Record>,
    component: &str,
    streams: Vec<(StreamName, RecordKind)>,
    parts: &DataflowInputs,
) -> StreamVec<'scope, Tick, Record> {
    let (counters, taps) = (Arc::clone(&parts.counters), Arc::clone(&parts.taps));
    let component = component.to_owned();
    records.inspect_batch(move |_, records| {
        let n_records = records.iter().map(|record| record.len() as u64).sum();
        let n_bytes = records.iter().map(|record| record.size_bytes() as u64).sum();
        counters.sent(&component, n_records, n_bytes);
        taps.show(&streams, records);
    })
}

/// Reports the frontier of an operator as its progress. Returns the same stream.
pub(super) fn watch_clock<'scope>(
    records: StreamVec<'scope, Tick, Record>,
    operator: &str,
    parts: &DataflowInputs,
) -> StreamVec<'scope, Tick, Record> {
    let worker = records.scope().worker().index();
    let (counters, operator) = (Arc::clone(&parts.counters), operator.to_owned());
    records.inspect_core(move |event| {
        if let Err(frontier) = event {
            // Before the first tick and after the last one, the operator has no progress.
            let clock = frontier.first().copied().filter(|clock| *clock > 0);
            counters.progress(&operator, worker, clock.map(|clock| (clock, 0)));
        }
    })
}
