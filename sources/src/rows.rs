//! Rows that are being collected: columns that grow by a value each.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Float64Builder, Int64Builder, RecordBatch, RecordBatchOptions,
    StringBuilder,
};
use arrow::datatypes::{DataType, SchemaRef};
use schemas::Rows;

/// Whose rows they are.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    /// The stream's name.
    pub(crate) stream: String,
    /// The part of it that has an order.
    pub(crate) partition: String,
    pub(crate) schema: SchemaRef,
}

/// A value of a column; text is somewhere in the row's own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Int(i64),
    Float(f64),
    Bool(bool),
    /// Where in [`Row::text`] it begins and ends.
    Text(usize, usize),
}

/// One row, a value for each column.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row<'a> {
    pub(crate) values: &'a [Value],
    pub(crate) text: &'a str,
}

#[derive(Debug)]
enum Column {
    Int(Int64Builder),
    Float(Float64Builder),
    Bool(BooleanBuilder),
    Text(StringBuilder),
}

impl Column {
    fn new(data_type: &DataType) -> Self {
        match data_type {
            DataType::Int64 => Self::Int(Int64Builder::new()),
            DataType::Float64 => Self::Float(Float64Builder::new()),
            DataType::Boolean => Self::Bool(BooleanBuilder::new()),
            _ => Self::Text(StringBuilder::new()),
        }
    }

    /// Adds a value; one of another type is none.
    fn push(&mut self, value: Value, text: &str) {
        match (self, value) {
            (Self::Int(column), Value::Int(value)) => column.append_value(value),
            (Self::Int(column), _) => column.append_null(),
            (Self::Float(column), Value::Float(value)) => column.append_value(value),
            (Self::Float(column), Value::Int(value)) => column.append_value(value as f64),
            (Self::Float(column), _) => column.append_null(),
            (Self::Bool(column), Value::Bool(value)) => column.append_value(value),
            (Self::Bool(column), _) => column.append_null(),
            (Self::Text(column), Value::Text(start, end)) => column.append_value(&text[start..end]),
            (Self::Text(column), _) => column.append_null(),
        }
    }

    fn finish_cloned(&self) -> ArrayRef {
        match self {
            Self::Int(column) => Arc::new(column.finish_cloned()),
            Self::Float(column) => Arc::new(column.finish_cloned()),
            Self::Bool(column) => Arc::new(column.finish_cloned()),
            Self::Text(column) => Arc::new(column.finish_cloned()),
        }
    }

    fn finish(mut self) -> ArrayRef {
        match &mut self {
            Self::Int(column) => Arc::new(column.finish()),
            Self::Float(column) => Arc::new(column.finish()),
            Self::Bool(column) => Arc::new(column.finish()),
            Self::Text(column) => Arc::new(column.finish()),
        }
    }
}

/// The rows of one tick, so far.
#[derive(Debug)]
pub(crate) struct RowsBuilder {
    sequence: u64,
    times_ns: Vec<i64>,
    columns: Vec<Column>,
}

impl RowsBuilder {
    /// Begins behind so many rows of the tick.
    pub(crate) fn new(table: &Table, sequence: u64) -> Self {
        let columns = table.schema.fields().iter().map(|field| Column::new(field.data_type()));
        Self { sequence, times_ns: Vec::new(), columns: columns.collect() }
    }

    /// Rows of the tick up to here.
    pub(crate) fn end(&self) -> u64 {
        self.sequence + self.times_ns.len() as u64
    }

    pub(crate) fn push(&mut self, time_ns: i64, row: Row<'_>) {
        self.times_ns.push(time_ns);
        for (column, value) in self.columns.iter_mut().zip(row.values) {
            column.push(*value, row.text);
        }
    }

    /// The rows as of now.
    pub(crate) fn to_rows(&self, table: &Table) -> Rows {
        let columns = self.columns.iter().map(Column::finish_cloned).collect();
        rows(table, self.sequence, self.times_ns.clone(), columns)
    }

    pub(crate) fn into_rows(self, table: &Table) -> Rows {
        let columns = self.columns.into_iter().map(Column::finish).collect();
        rows(table, self.sequence, self.times_ns, columns)
    }
}

fn rows(table: &Table, sequence: u64, times_ns: Vec<i64>, columns: Vec<ArrayRef>) -> Rows {
    let options = RecordBatchOptions::new().with_row_count(Some(times_ns.len()));
    let schema = Arc::clone(&table.schema);
    let batch = RecordBatch::try_new_with_options(schema, columns, &options);
    Rows {
        stream: table.stream.clone(),
        partition: table.partition.clone(),
        sequence,
        times_ns,
        batch: batch.expect("columns grow together and are of the schema's types"),
    }
}
