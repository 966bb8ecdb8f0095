//! Rows with columns of their own: declared for a source in a pipeline, or produced by windows.

use std::io::Cursor;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use arrow::json::{ArrayWriter, LineDelimitedWriter};
use serde::de::Error as _;
use serde::ser::{Error as _, SerializeStruct};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Some rows of one stream, tick and partition.
///
/// - `times_ns` and `batch` have the same number of rows
/// - all rows of a partition are in their order, within and between its batches
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    /// The stream of the rows, which names their table.
    pub stream: String,
    /// The partition of the stream; its rows have an order.
    pub partition: String,
    /// Number of earlier rows of the same tick and partition.
    pub sequence: u64,
    /// The time of each row, in nanoseconds since the Unix epoch.
    pub times_ns: Vec<i64>,
    /// The columns.
    pub batch: RecordBatch,
}

impl Rows {
    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        self.batch.num_rows()
    }

    /// Returns the bytes of the values and names.
    pub fn size_bytes(&self) -> usize {
        let names = self.stream.len() + self.partition.len();
        self.batch.get_array_memory_size() + size_of_val(self.times_ns.as_slice()) + names
    }

    /// True if there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the names and types of the columns.
    pub fn schema(&self) -> SchemaRef {
        self.batch.schema()
    }

    /// Writes each row as a line of JSON.
    ///
    /// # Errors
    ///
    /// [`ArrowError`] if JSON cannot represent a column.
    pub fn write_json_lines(&self, lines: &mut Vec<u8>) -> Result<(), ArrowError> {
        let mut writer = LineDelimitedWriter::new(lines);
        writer.write(&self.batch)?;
        writer.finish()
    }
}

/// The form of [`Rows`] between processes: the columns as an Arrow stream.
#[derive(Serialize, Deserialize)]
struct Packed {
    stream: String,
    partition: String,
    sequence: u64,
    times_ns: Vec<i64>,
    batch: Vec<u8>,
}

fn pack(batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema())?;
    writer.write(batch)?;
    writer.into_inner()
}

fn unpack(bytes: &[u8]) -> Result<RecordBatch, ArrowError> {
    let mut reader = StreamReader::try_new(Cursor::new(bytes), None)?;
    reader.next().unwrap_or_else(|| Err(ArrowError::IpcError("no batch".to_owned())))
}

fn to_json(batch: &RecordBatch) -> Result<Vec<serde_json::Value>, ArrowError> {
    let mut writer = ArrayWriter::new(Vec::new());
    writer.write(batch)?;
    writer.finish()?;
    serde_json::from_slice(&writer.into_inner())
        .map_err(|error| ArrowError::JsonError(error.to_string()))
}

impl Serialize for Rows {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            let mut rows = serializer.serialize_struct("Rows", 2)?;
            rows.serialize_field("stream", &self.stream)?;
            rows.serialize_field("rows", &to_json(&self.batch).map_err(S::Error::custom)?)?;
            return rows.end();
        }
        let packed = Packed {
            stream: self.stream.clone(),
            partition: self.partition.clone(),
            sequence: self.sequence,
            times_ns: self.times_ns.clone(),
            batch: pack(&self.batch).map_err(S::Error::custom)?,
        };
        packed.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Rows {
    /// Reads the compact form only: JSON has no column types.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let packed = Packed::deserialize(deserializer)?;
        let Packed { stream, partition, sequence, times_ns, batch } = packed;
        let batch = unpack(&batch).map_err(D::Error::custom)?;
        Ok(Self { stream, partition, sequence, times_ns, batch })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float64Array, Int64Array, StringArray};

    use super::*;

    fn rows() -> Rows {
        let batch = RecordBatch::try_from_iter([
            ("n", Arc::new(Int64Array::from(vec![Some(1), None])) as _),
            ("name", Arc::new(StringArray::from(vec!["a", "b"])) as _),
            ("x", Arc::new(Float64Array::from(vec![0.5, -1.0])) as _),
        ]);
        Rows {
            stream: "events".into(),
            partition: "0".into(),
            sequence: 7,
            times_ns: vec![1, 2],
            batch: batch.expect("columns of the same length"),
        }
    }

    #[test]
    fn they_survive_the_way_between_processes() {
        let rows = rows();
        let batch = unpack(&pack(&rows.batch).expect("they are columns"));
        assert_eq!(batch.expect("what was packed"), rows.batch);
    }

    #[test]
    fn each_row_is_a_line() {
        let mut lines = Vec::new();
        rows().write_json_lines(&mut lines).expect("they are numbers and text");
        let expected = "{\"n\":1,\"name\":\"a\",\"x\":0.5}\n{\"name\":\"b\",\"x\":-1.0}\n";
        assert_eq!(String::from_utf8(lines).expect("text"), expected);
    }
}
