//! Watches what a component sends on: counts it, and shows it to who taps.

use std::sync::Arc;

use schemas::{Record, RecordKind, Tick};
use timely::dataflow::StreamVec;
use timely::dataflow::operators::Inspect;

use crate::StreamName;
use crate::dataflow::Parts;

/// The same records. `streams` are the component's.
pub(super) fn watch<'scope>(
    records: StreamVec<'scope, Tick, Record>,
    component: &str,
    streams: Vec<(StreamName, RecordKind)>,
    parts: &Parts,
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
