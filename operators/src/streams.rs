//! Between typed streams and streams of any record.

use schemas::{Record, RecordType, Tick};
use timely::dataflow::StreamVec;
use timely::dataflow::operators::vec::Map;

/// The records of one type; the others are dropped.
pub fn select<'scope, R: RecordType>(
    records: StreamVec<'scope, Tick, Record>,
) -> StreamVec<'scope, Tick, R> {
    records.flat_map(R::from_record)
}

/// Forgets the type of a stream.
pub fn into_records<'scope, R: RecordType>(
    stream: StreamVec<'scope, Tick, R>,
) -> StreamVec<'scope, Tick, Record> {
    stream.map(R::into_record)
}
