//! The columns of each type of record, which a table has in this order.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};

use crate::{ActivityWindow, CsiBatch, Event, PoseFrame, Presence, ZoneOccupancy};

/// A type of record with a table.
pub(crate) trait Columns {
    /// Returns the columns of the table.
    fn columns() -> Vec<Field>;
}

impl Columns for CsiBatch {
    fn columns() -> Vec<Field> {
        let text = |name| required(name, DataType::Utf8);
        let link = structure(vec![text("site"), text("receiver"), text("transmitter")]);
        let layout = structure(vec![
            required("n_rx", DataType::Int32),
            required("n_tx", DataType::Int32),
            required("rx_antennas", list_of(DataType::Int16)),
            required("tx_streams", list_of(DataType::Int16)),
            required("subcarriers", list_of(DataType::Int16)),
            required("bandwidth_mhz", DataType::Int32),
            required("centre_mhz", DataType::Int32),
        ]);
        vec![
            required("link", link),
            required("layout", layout),
            text("source_kind"),
            required("captured_at_ns", list_of(DataType::Int64)),
            required("sequence", list_of(DataType::Int64)),
            required("rssi_dbm", list_of(DataType::Float32)),
            required("noise_dbm", list_of(DataType::Float32)),
            required("agc_db", list_of(DataType::Float32)),
            required("scale", list_of(DataType::Float32)),
            required("n_missed", list_of(DataType::Int64)),
            required("iq", list_of(DataType::Float32)),
        ]
    }
}

impl Columns for PoseFrame {
    fn columns() -> Vec<Field> {
        let estimator = structure(vec![
            required("kind", DataType::Utf8),
            required("name", DataType::Utf8),
            optional("hash", DataType::Utf8),
        ]);
        vec![
            required("site", DataType::Utf8),
            required("source", DataType::Utf8),
            required("captured_at_ns", DataType::Int64),
            required("frame_id", DataType::Int64),
            required("persons", list_of(person_type())),
            optional("processing_time_ms", DataType::Float32),
            required("source_kind", DataType::Utf8),
            required("estimator", estimator),
        ]
    }
}

fn person_type() -> DataType {
    let number = |name| required(name, DataType::Float32);
    let keypoint = structure(vec![
        required("id", DataType::Int16),
        required("name", DataType::Utf8),
        number("x"),
        number("y"),
        number("confidence"),
    ]);
    let bounding_box = structure(vec![number("x"), number("y"), number("width"), number("height")]);
    structure(vec![
        required("id", DataType::Utf8),
        required("keypoints", list_of(keypoint)),
        required("bounding_box", bounding_box),
        number("confidence"),
        optional("position", structure(vec![number("x_m"), number("y_m")])),
        optional("zone", DataType::Utf8),
        optional("activity", DataType::Utf8),
    ])
}

impl Columns for Presence {
    fn columns() -> Vec<Field> {
        vec![
            required("site", DataType::Utf8),
            required("link", DataType::Utf8),
            required("captured_at_ns", DataType::Int64),
            required("motion", DataType::Utf8),
            optional("moving_variance", DataType::Float32),
            optional("threshold", DataType::Float32),
            optional("correlation", DataType::Float32),
            optional("calibration", DataType::Utf8),
            optional("presence", DataType::Utf8),
            optional("breaths_per_minute", DataType::Float32),
            optional("confidence", DataType::Float32),
            required("source_kind", DataType::Utf8),
        ]
    }
}

impl Columns for ZoneOccupancy {
    fn columns() -> Vec<Field> {
        vec![
            required("site", DataType::Utf8),
            required("zone", DataType::Utf8),
            required("count", DataType::Int64),
            required("persons", list_of(DataType::Utf8)),
            required("since_ns", DataType::Int64),
            required("source_kind", DataType::Utf8),
        ]
    }
}

impl Columns for ActivityWindow {
    fn columns() -> Vec<Field> {
        vec![
            required("site", DataType::Utf8),
            required("subject", DataType::Utf8),
            required("starts_at_ns", DataType::Int64),
            required("ends_at_ns", DataType::Int64),
            required("activity", DataType::Utf8),
            required("confidence", DataType::Float32),
            optional("zone", DataType::Utf8),
            required("source_kind", DataType::Utf8),
        ]
    }
}

impl Columns for Event {
    fn columns() -> Vec<Field> {
        vec![
            required("id", DataType::Utf8),
            required("type", DataType::Utf8),
            required("site", DataType::Utf8),
            required("occurred_at_ns", DataType::Int64),
            required("subject", DataType::Utf8),
            optional("zone", DataType::Utf8),
            optional("activity", DataType::Utf8),
            required("confidence", DataType::Float32),
            required("source_kind", DataType::Utf8),
        ]
    }
}

fn required(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, false)
}

fn optional(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, true)
}

fn list_of(element: DataType) -> DataType {
    DataType::List(Arc::new(required("element", element)))
}

fn structure(fields: Vec<Field>) -> DataType {
    DataType::Struct(fields.into())
}
