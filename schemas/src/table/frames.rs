//! CSI with a row for each frame, for `NumPy`, Polars and `DuckDB`. The table `csi` of a history has a row
//! for each batch instead.

use std::iter::repeat_n;
use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, Float32Array, Int16Array, Int32Array, Int64Array, ListArray, RecordBatch,
    RecordBatchOptions, StringArray, TimestampNanosecondArray, UInt32Array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;

use crate::CsiBatch;

/// The beginning of the year 2000.
const YEAR_2000_NS: i64 = 946_684_800_000_000_000;

/// Returns the columns of frames.
///
/// - `captured_at`: the capture time in UTC; NULL for times on a clock that counts from the device's start
/// - `captured_at_ns`: nanoseconds since the Unix epoch, or since the device's start
/// - `receiver`, `transmitter`: names or MAC addresses
/// - `sequence`, `n_missed`: the device's counter, and the missing frames before this one
/// - `rssi_dbm`, `noise_dbm`: NULL if unknown; `agc_db`: 0 if unknown
/// - `scale`: the factor that converts the values to physical ones
/// - `n_rx`, `n_tx`, `rx_antennas`, `tx_streams`, `subcarriers`, `bandwidth_mhz`, `centre_mhz`: the layout;
///   the centre is NULL if unknown
/// - `iq`: real and imaginary parts in turn, `[n_rx, n_tx, n_subcarriers, 2]`
pub fn frames_schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let column = |name: &str, data_type| Field::new(name, data_type, false);
        let list =
            |name: &str, element: DataType| column(name, DataType::List(element_of(element)));
        let optional = |name: &str, data_type| Field::new(name, data_type, true);
        Arc::new(Schema::new(vec![
            optional("captured_at", timestamp()),
            column("captured_at_ns", DataType::Int64),
            column("receiver", DataType::Utf8),
            column("transmitter", DataType::Utf8),
            column("sequence", DataType::UInt32),
            column("n_missed", DataType::UInt32),
            optional("rssi_dbm", DataType::Float32),
            optional("noise_dbm", DataType::Float32),
            column("agc_db", DataType::Float32),
            column("scale", DataType::Float32),
            column("n_rx", DataType::Int32),
            column("n_tx", DataType::Int32),
            list("rx_antennas", DataType::Int16),
            list("tx_streams", DataType::Int16),
            list("subcarriers", DataType::Int16),
            column("bandwidth_mhz", DataType::Int32),
            optional("centre_mhz", DataType::Int32),
            list("iq", DataType::Float32),
        ]))
    });
    Arc::clone(&SCHEMA)
}

fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()))
}

fn element_of(element: DataType) -> Arc<Field> {
    Arc::new(Field::new("element", element, false))
}

/// Converts the frames of a batch to rows with the columns of [`frames_schema`].
///
/// # Errors
///
/// [`ArrowError`] if there are more values than a batch of Arrow can have.
pub fn frames_to_batch(batch: &CsiBatch) -> Result<RecordBatch, ArrowError> {
    let (n, layout, link) = (batch.len(), &batch.layout, &batch.link);
    let text =
        |name: &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(repeat_n(name, n))) };
    let constant = |value: u16| -> ArrayRef { Arc::new(Int32Array::from_value(value.into(), n)) };
    let numbers = |values: &[f32]| -> ArrayRef { Arc::new(Float32Array::from(values.to_vec())) };
    let counts = |values: &[u32]| -> ArrayRef { Arc::new(UInt32Array::from(values.to_vec())) };
    let small = |values: &[u8]| values.iter().map(|value| i16::from(*value)).collect::<Vec<_>>();
    let same = |values: &[i16]| {
        let repeated = values.repeat(n);
        lists(Arc::new(Int16Array::from(repeated)), values.len(), n)
    };
    let centre = (layout.centre_mhz > 1).then(|| i32::from(layout.centre_mhz));
    let iq = batch.iq.iter().flat_map(|value| [value.re, value.im]).collect::<Vec<f32>>();
    let columns = vec![
        timestamps(&batch.captured_at_ns),
        Arc::new(Int64Array::from(batch.captured_at_ns.clone())) as ArrayRef,
        text(&link.receiver),
        text(&link.transmitter),
        counts(&batch.sequence),
        counts(&batch.n_missed),
        strengths(&batch.rssi_dbm),
        strengths(&batch.noise_dbm),
        numbers(&batch.agc_db),
        numbers(&batch.scale),
        constant(layout.n_rx),
        constant(layout.n_tx),
        same(&small(&layout.rx_antennas))?,
        same(&small(&layout.tx_streams))?,
        same(&layout.subcarriers)?,
        constant(layout.bandwidth_mhz),
        Arc::new(Int32Array::from(vec![centre; n])),
        lists(Arc::new(Float32Array::from(iq)), 2 * layout.n_values(), n)?,
    ];
    let options = RecordBatchOptions::new().with_row_count(Some(n));
    RecordBatch::try_new_with_options(frames_schema(), columns, &options)
}

/// Converts capture times to UTC; NULL for those before the year 2000, which count from the start of a
/// device.
fn timestamps(captured_at_ns: &[i64]) -> ArrayRef {
    let times = captured_at_ns.iter().map(|ns| (*ns >= YEAR_2000_NS).then_some(*ns));
    Arc::new(times.collect::<TimestampNanosecondArray>().with_timezone("UTC"))
}

/// Converts strengths in dBm; NULL for 0, -127 and -128, which formats use for unknown ones.
fn strengths(values: &[f32]) -> ArrayRef {
    let known = values.iter().map(|dbm| (*dbm != 0.0 && *dbm > -127.0).then_some(*dbm));
    Arc::new(known.collect::<Float32Array>())
}

/// Returns `n` lists of the same length.
fn lists(elements: ArrayRef, length: usize, n: usize) -> Result<ArrayRef, ArrowError> {
    let field = element_of(elements.data_type().clone());
    let offsets = OffsetBuffer::from_lengths(repeat_n(length, n));
    Ok(Arc::new(ListArray::try_new(field, offsets, elements, None)?))
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::datatypes::{Float32Type, Int16Type};
    use num_complex::Complex32;

    use super::*;
    use crate::{CsiFrame, CsiLayout, Link, SourceKind};

    #[test]
    fn each_frame_is_a_row() {
        let layout = CsiLayout {
            n_rx: 1,
            n_tx: 1,
            rx_antennas: vec![2],
            subcarriers: vec![-1, 1],
            ..CsiLayout::default()
        };
        let mut batch = CsiBatch::new(Link::default(), layout.into(), SourceKind::Replay);
        for frame in 0..3 {
            batch.iq.extend([Complex32::new(frame as f32, 0.5); 2]);
            batch.push_scalars(CsiFrame::default()).expect("the frame is full");
        }
        let rows = frames_to_batch(&batch).expect("a table");
        assert_eq!(rows.num_rows(), 3);
        let last = |name: &str| rows[name].as_list::<i32>().value(2);
        assert_eq!(last("iq").as_primitive::<Float32Type>().values(), &[2.0, 0.5, 2.0, 0.5]);
        assert_eq!(last("rx_antennas").as_primitive::<Int16Type>().values(), &[2]);
        assert_eq!(last("tx_streams").len(), 0);
        for unknown in ["captured_at", "rssi_dbm", "noise_dbm", "centre_mhz"] {
            assert_eq!(rows[unknown].null_count(), 3, "{unknown}");
        }
    }
}
