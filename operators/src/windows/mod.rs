//! Windows: aggregates of columns, by key and event time.
//!
//! Aggregation has two phases: first over the rows of each partition and tick, on the worker that has them;
//! then over the partial aggregates of each key, on the worker of the key. So workers exchange few values,
//! and sums have the same order with any number of workers.
//!
//! Source: T. Akidau et al., "The Dataflow Model", VLDB 2015.

mod aggregate;
mod assigner;
mod columns;
mod final_aggregate;
mod key;
mod pre_aggregate;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use schemars::JsonSchema;
use schemas::{RecordKind, RecordType, Rows, Tick, to_batch};
use serde::Deserialize;
use timely::dataflow::StreamVec;
use timely::dataflow::operators::vec::{Filter, Map};

use crate::settings::{Outputs, Settings};
pub use crate::windows::aggregate::Aggregate;
pub use crate::windows::assigner::WindowAssigner;
use crate::windows::columns::find;
use crate::windows::final_aggregate::FinalAggregate;
use crate::windows::pre_aggregate::{PreAggregate, PreAggregated};
use crate::{Component, Context, stateful::stateful};

/// Settings of the `windows` operator. Its main output is the windows. `late` contains late rows: rows that
/// arrived after the end of all their windows.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WindowsConfig {
    /// Key columns: each combination of their values has windows of its own. By default there are none, and
    /// the windows contain all rows. A nested column has a dot in its name, such as "link.receiver".
    #[serde(default)]
    pub key: Vec<String>,
    /// The windows of a row, by its time: `{ tumbling = { length = "10s" } }`, one after the other;
    /// `{ sliding = { length = "1m", every = "10s" } }`, overlapping; or `{ session = { gap = "30s" } }`, one
    /// for each sequence of rows of a key that are less than the gap apart. Tumbling and sliding windows are
    /// aligned to the Unix epoch. A row is in at most 10000 sliding windows.
    pub window: WindowAssigner,
    /// The aggregates, by the name of the output column: "count", or "sum", "mean", "min", "max" or a
    /// percentile such as "p95" of a column, as in "mean(confidence)".
    pub aggregates: BTreeMap<String, Aggregate>,
}

/// A setting of windows that does not fit the columns of the input.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {problem}")]
pub struct WindowsError {
    /// The setting, `key` or `aggregates`.
    pub setting: &'static str,
    /// The problem.
    #[source]
    pub problem: ColumnProblem,
}

/// The problem of a column.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ColumnProblem {
    /// A column is missing.
    #[error("no column {name:?}: expected one of {}", there.join(", "))]
    NoColumn {
        /// Its name.
        name: String,
        /// The existing columns.
        there: Vec<String>,
    },
    /// A column cannot be a key.
    #[error("{name:?} cannot be a key: expected a column of text, numbers or booleans")]
    NoKey {
        /// Its name.
        name: String,
    },
    /// A column has no numbers.
    #[error("{name:?} cannot be aggregated: expected a column of numbers")]
    NoNumbers {
        /// Its name.
        name: String,
    },
    /// Two columns of the result have the same name.
    #[error("there would be two columns {name:?}")]
    Twice {
        /// Their name.
        name: String,
    },
}

impl WindowsConfig {
    /// Returns the columns of the windows over rows of these columns: the key, `window_start_ns` and
    /// `window_end_ns`, the aggregates.
    ///
    /// # Errors
    ///
    /// [`WindowsError`] if a column is missing or has an unsuitable type.
    pub fn schema(&self, input: &Schema) -> Result<SchemaRef, WindowsError> {
        let of = |setting| move |problem| WindowsError { setting, problem };
        let keys = self.key.iter().map(|name| key_field(input, name).map_err(of("key")));
        let mut fields = keys.collect::<Result<Vec<_>, _>>()?;
        for name in ["window_start_ns", "window_end_ns"] {
            fields.push(Field::new(name, DataType::Int64, false));
        }
        for (name, aggregate) in &self.aggregates {
            let data_type = aggregate.data_type(input).map_err(of("aggregates"))?;
            fields.push(Field::new(name, data_type, true));
        }
        for (nth, field) in fields.iter().enumerate() {
            if fields[..nth].iter().any(|earlier| earlier.name() == field.name()) {
                let name = field.name().clone();
                let setting = if nth < self.key.len() { "key" } else { "aggregates" };
                return Err(of(setting)(ColumnProblem::Twice { name }));
            }
        }
        Ok(Arc::new(Schema::new(fields)))
    }
}

fn key_field(input: &Schema, name: &str) -> Result<Field, ColumnProblem> {
    let data_type = key::canonical(find(input, name)?);
    let data_type = data_type.ok_or_else(|| ColumnProblem::NoKey { name: name.to_owned() })?;
    Ok(Field::new(name.replace('.', "_"), data_type, true))
}

impl Settings for WindowsConfig {
    fn input(&self) -> Option<RecordKind> {
        None
    }

    fn outputs(&self) -> Outputs {
        &[("", RecordKind::Rows), ("late", RecordKind::Rows)]
    }

    fn problems(&self) -> Vec<String> {
        self.window.problems().iter().map(|problem| format!("window: {problem}")).collect()
    }

    /// Open windows of another shape cannot be restored.
    fn state_shape(&self) -> Option<String> {
        let aggregates = self.aggregates.iter().map(|(name, it)| format!("{name} = {it}"));
        let aggregates = aggregates.collect::<Vec<_>>().join(", ");
        Some(format!("windows 2, {} by {}: {aggregates}", self.window, self.key.join(", ")))
    }
}

/// Windows on streams of rows.
pub trait Windows<'scope> {
    /// Sends each window at its end, and late rows at once.
    ///
    /// `output` has the columns of [`WindowsConfig::schema`]. Windows are sent at the tick of their end, in
    /// the order of their keys. State: the accumulators of each open window, on the worker that the key
    /// hashes to. If one of 32 buckets has more than 4096 keys, the windows of the keys that were idle
    /// longest are dropped and counted.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use arrow::array::{Float64Array, StringArray};
    /// use arrow::record_batch::RecordBatch;
    /// use operators::{Context, Windows, WindowsConfig};
    /// use schemas::Rows;
    /// use timely::dataflow::operators::{Inspect, ToStream};
    ///
    /// let batch = RecordBatch::try_from_iter([
    ///     ("room", Arc::new(StringArray::from(vec!["hall", "hall"])) as _),
    ///     ("celsius", Arc::new(Float64Array::from(vec![20.0, 22.0])) as _),
    /// ])?;
    /// let rows = Rows {
    ///     stream: "sensors".to_owned(),
    ///     partition: "0".to_owned(),
    ///     sequence: 0,
    ///     times_ns: vec![0, 500_000_000],
    ///     batch,
    /// };
    /// let config: WindowsConfig = serde_json::from_str(
    ///     r#"{ "key": ["room"], "window": { "tumbling": { "length": "1s" } },
    ///         "aggregates": { "mean": "mean(celsius)" } }"#,
    /// )?;
    /// let columns = config.schema(&rows.schema())?;
    /// let (to, windows) = std::sync::mpsc::channel();
    /// timely::example(move |scope| {
    ///     let rows = vec![rows].to_stream(scope).container::<Vec<_>>();
    ///     let windows = rows.windows(&config, columns, Context::detached("rooms"));
    ///     windows.inspect(move |rows| to.send(rows.clone()).unwrap());
    /// });
    /// let mut lines = Vec::new();
    /// for rows in windows {
    ///     rows.write_json_lines(&mut lines)?;
    /// }
    /// assert_eq!(
    ///     String::from_utf8(lines)?,
    ///     "{\"room\":\"hall\",\"window_start_ns\":0,\"window_end_ns\":1000000000,\"mean\":21.0}\n",
    /// );
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn windows(
        self,
        config: &WindowsConfig,
        output: SchemaRef,
        context: Context<'scope>,
    ) -> StreamVec<'scope, Tick, Rows>;
}

impl<'scope> Windows<'scope> for StreamVec<'scope, Tick, Rows> {
    fn windows(
        self,
        config: &WindowsConfig,
        output: SchemaRef,
        context: Context<'scope>,
    ) -> StreamVec<'scope, Tick, Rows> {
        let name = context.component.name.to_string();
        let pre_aggregate =
            PreAggregate::new(config, format!("{name}.late"), context.component.clone());
        let pre_aggregated = stateful(self, &context.stateless(), pre_aggregate);
        let late = pre_aggregated.clone().flat_map(PreAggregated::late);
        let partials = pre_aggregated.flat_map(PreAggregated::partial);
        let windows = stateful(partials, &context, FinalAggregate::new(config, name, output));
        timely::dataflow::operators::Concat::concat(windows, late).filter(|rows| !rows.is_empty())
    }
}

/// Converts records of any kind to rows with the columns of their table.
pub fn into_rows<'scope, R: RecordType>(
    records: StreamVec<'scope, Tick, R>,
    component: &Component,
) -> StreamVec<'scope, Tick, Rows> {
    let dropped = Arc::clone(&component.dropped);
    records.flat_map(move |record| {
        let (time_ns, about, and_about, ..) = record.order_key();
        let partition = format!("{about}/{and_about}");
        let Ok(batch) = to_batch(std::slice::from_ref(&record)) else {
            dropped("does not fit its columns", 1);
            return None;
        };
        Some(Rows {
            stream: R::KIND.table().to_owned(),
            partition,
            sequence: time_ns.cast_unsigned(),
            times_ns: vec![time_ns],
            batch,
        })
    })
}

#[cfg(test)]
mod tests;
