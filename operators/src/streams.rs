//! Between typed streams and streams of any record.

use schemas::{Record, RecordType, Tick};
use timely::dataflow::StreamVec;
use timely::dataflow::operators::vec::Map;

/// Forgets the type of a stream.
pub fn into_records<R: RecordType>(stream: StreamVec<'_, Tick, R>) -> StreamVec<'_, Tick, Record> {
    stream.map(R::into_record)
}
