//! Pending rows: columns that grow by one value with each row.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Float64Builder, Int64Builder, RecordBatch, RecordBatchOptions,
    StringBuilder,
};
use arrow::datatypes::{DataType, SchemaRef};
use schemas::{Record, Rows, Tick};

use crate::formats::row::{Row, Value};
use crate::partitions::empty_columns::EmptyColumns;

/// The table that rows belong to.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    /// The stream's name.
    pub(crate) stream: String,
    /// The partition of the stream; rows are ordered within it.
    pub(crate) partition: String,
    pub(crate) schema: SchemaRef,
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
            DataType::Int64 => Self::Int(Int64Builder::with_capacity(0)),
            DataType::Float64 => Self::Float(Float64Builder::with_capacity(0)),
            DataType::Boolean => Self::Bool(BooleanBuilder::with_capacity(0)),
            _ => Self::Text(StringBuilder::with_capacity(0, 0)),
        }
    }

    /// Adds a value; a value of another type becomes null.
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
struct RowsBuilder {
    sequence: u64,
    times_ns: Vec<i64>,
    columns: Vec<Column>,
}

impl RowsBuilder {
    /// A builder of rows that follow `sequence` rows of the tick.
    fn new(table: &Table, sequence: u64) -> Self {
        let columns = table.schema.fields().iter().map(|field| Column::new(field.data_type()));
        Self { sequence, times_ns: Vec::new(), columns: columns.collect() }
    }

    fn push(&mut self, time_ns: i64, row: Row<'_>) {
        self.times_ns.push(time_ns);
        for (column, value) in self.columns.iter_mut().zip(row.values) {
            column.push(*value, row.text);
        }
    }

    /// Returns a copy of the rows so far.
    fn to_rows(&self, table: &Table) -> Rows {
        let columns = self.columns.iter().map(Column::finish_cloned).collect();
        rows(table, self.sequence, self.times_ns.clone(), columns)
    }

    fn into_rows(self, table: &Table) -> Rows {
        let columns = self.columns.into_iter().map(Column::finish).collect();
        rows(table, self.sequence, self.times_ns, columns)
    }
}

/// The pending rows of a table, by tick.
#[derive(Debug)]
pub(crate) struct OpenRows {
    table: Table,
    /// Ordered by tick.
    open: VecDeque<(Tick, RowsBuilder)>,
    empty_columns: EmptyColumns,
}

impl OpenRows {
    pub(crate) fn new(table: Table) -> Self {
        Self { table, open: VecDeque::new(), empty_columns: EmptyColumns::default() }
    }

    /// No rows so far, for another partition of the stream.
    pub(crate) fn for_partition(&self, partition: &str) -> Self {
        Self::new(Table { partition: partition.to_owned(), ..self.table.clone() })
    }

    /// Adds a row. `earlier` are pending records, which may include rows of the same tick.
    pub(crate) fn push(
        &mut self,
        tick: Tick,
        time_ns: i64,
        row: Row<'_>,
        earlier: &[(Tick, Record)],
    ) {
        let behind = self.open.partition_point(|(at, _)| *at < tick);
        if self.open.get(behind).is_none_or(|(at, _)| *at != tick) {
            let sequence = self.n_rows_before(tick, earlier);
            self.open.insert(behind, (tick, RowsBuilder::new(&self.table, sequence)));
        }
        self.open[behind].1.push(time_ns, row);
    }

    /// Number of rows of a tick that are in batches already.
    fn n_rows_before(&self, tick: Tick, earlier: &[(Tick, Record)]) -> u64 {
        let waiting = earlier.iter().filter_map(|(at, record)| match record {
            Record::Rows(rows) if *at == tick && rows.stream == self.table.stream => Some(rows),
            _ => None,
        });
        waiting.map(|rows| rows.len() as u64).sum()
    }

    /// The last tick that has rows.
    pub(crate) fn last_tick(&self) -> Option<Tick> {
        self.open.back().map(|(tick, _)| *tick)
    }

    /// Returns copies of the rows from a tick on.
    pub(crate) fn since(&self, tick: Tick) -> impl Iterator<Item = (Tick, Record)> {
        let since = self.open.iter().filter(move |(at, _)| *at >= tick);
        since.map(|(at, rows)| (*at, Record::Rows(rows.to_rows(&self.table))))
    }

    /// Removes and returns the rows of the first tick, if it is closed.
    pub(crate) fn take_if(&mut self, is_over: impl Fn(Tick) -> bool) -> Option<(Tick, Record)> {
        let (tick, rows) = self.open.pop_front_if(|(tick, _)| is_over(*tick))?;
        let rows = rows.into_rows(&self.table);
        self.empty_columns.note(&rows);
        Some((tick, Record::Rows(rows)))
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
