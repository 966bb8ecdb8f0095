//! Conversion of typed streams to streams of any record.

use schemas::{Record, RecordType, Tick};
use timely::dataflow::StreamVec;
use timely::dataflow::operators::vec::Map;

/// Converts a typed stream to a stream of [`Record`]s.
pub fn into_records<R: RecordType>(stream: StreamVec<'_, Tick, R>) -> StreamVec<'_, Tick, Record> {
    stream.map(R::into_record)
}
