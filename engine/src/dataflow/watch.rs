//! Watches what a component sends on: counts it, and shows it to who taps.

use std::sync::Arc;

use schemas::{Record, RecordKind, Tick};
use timely::dataflow::StreamVec;
use timely::dataflow::operators::Inspect;

use crate::StreamName;
use crate::dataflow::DataflowInputs;

/// The same records. `streams` are the component's.
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

/// The same records. Tells how far an operator has come: what follows has no earlier tick.
pub(super) fn watch_clock<'scope>(
    records: StreamVec<'scope, Tick, Record>,
    operator: &str,
    parts: &DataflowInputs,
) -> StreamVec<'scope, Tick, Record> {
    let worker = records.scope().worker().index();
    let (counters, operator) = (Arc::clone(&parts.counters), operator.to_owned());
    records.inspect_core(move |event| {
        if let Err(frontier) = event {
            // Neither before the first tick nor after the last one is it anywhere.
            let clock = frontier.first().copied().filter(|clock| *clock > 0);
            counters.progress(&operator, worker, clock.map(|clock| (clock, 0)));
        }
    })
}
