//! The aggregate functions of windows, and their accumulators.

use std::borrow::Cow;
use std::fmt;

use arrow::datatypes::{DataType, Schema};
use schemars::{JsonSchema, Schema as JsonSchemaOf, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use sketches_ddsketch::{Config, DDSketch};

use crate::windows::ColumnProblem;
use crate::windows::columns::find;

/// Percentiles are accurate to one percent of their value.
const SKETCH_ERROR: f64 = 0.01;
const SKETCH_BINS: u32 = 2048;
const SMALLEST: f64 = 1e-9;

/// A function of a column.
#[derive(Clone, Debug, PartialEq)]
pub struct Aggregate {
    pub(super) function: Function,
    /// None for a count of rows.
    pub(super) column: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Function {
    Count,
    Sum,
    Mean,
    Min,
    Max,
    /// From 0 to 100.
    Percentile(f64),
}

impl Aggregate {
    /// Parses "count", or a function of a column such as "p95(x)".
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text == "count" {
            return Some(Self { function: Function::Count, column: None });
        }
        let (function, column) = text.strip_suffix(')')?.split_once('(')?;
        let function = match function.trim() {
            "sum" => Function::Sum,
            "mean" => Function::Mean,
            "min" => Function::Min,
            "max" => Function::Max,
            percentile => {
                let rank = percentile.strip_prefix('p')?.parse().ok()?;
                (0.0..=100.0).contains(&rank).then_some(Function::Percentile(rank))?
            }
        };
        let column = Some(column.trim().to_owned()).filter(|column| !column.is_empty())?;
        Some(Self { function, column: Some(column) })
    }

    /// Returns the type of the result, over rows of these columns.
    pub(super) fn data_type(&self, input: &Schema) -> Result<DataType, ColumnProblem> {
        let Some(name) = &self.column else { return Ok(DataType::Int64) };
        let column = find(input, name)?;
        if !column.is_numeric() {
            return Err(ColumnProblem::NoNumbers { name: name.clone() });
        }
        let whole = column.is_integer() && !matches!(self.function, Function::Mean);
        let whole = whole && !matches!(self.function, Function::Percentile(_));
        Ok(if whole { DataType::Int64 } else { DataType::Float64 })
    }

    /// Returns an accumulator without values; `whole` for a column of whole numbers.
    pub(super) fn start(&self, whole: bool) -> Accumulator {
        match (self.function, whole) {
            (Function::Count, _) => Accumulator::Count(0),
            (Function::Sum, true) => Accumulator::IntSum(None),
            (Function::Sum, false) => Accumulator::Sum(None),
            (Function::Mean, _) => Accumulator::Mean { sum: 0.0, n: 0 },
            (Function::Min, true) => Accumulator::IntMin(None),
            (Function::Min, false) => Accumulator::Min(None),
            (Function::Max, true) => Accumulator::IntMax(None),
            (Function::Max, false) => Accumulator::Max(None),
            (Function::Percentile(rank), _) => {
                let config = Config::new(SKETCH_ERROR, SKETCH_BINS, SMALLEST);
                Accumulator::Sketch { rank, sketch: Box::new(DDSketch::new(config)) }
            }
        }
    }
}

impl fmt::Display for Aggregate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.function {
            Function::Count => formatter.write_str("count"),
            Function::Sum => formatter.write_str("sum"),
            Function::Mean => formatter.write_str("mean"),
            Function::Min => formatter.write_str("min"),
            Function::Max => formatter.write_str("max"),
            Function::Percentile(rank) => write!(formatter, "p{rank}"),
        }?;
        match &self.column {
            Some(column) => write!(formatter, "({column})"),
            None => Ok(()),
        }
    }
}

impl<'de> Deserialize<'de> for Aggregate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            let expected = "\"count\", or sum, mean, min, max or a percentile such as p95 of a \
                            column, as in \"mean(confidence)\"";
            D::Error::invalid_value(serde::de::Unexpected::Str(&text), &expected)
        })
    }
}

impl JsonSchema for Aggregate {
    fn schema_name() -> Cow<'static, str> {
        "Aggregate".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> JsonSchemaOf {
        json_schema!({
            "type": "string",
            "pattern": r"^(count|(sum|mean|min|max|p[0-9.]+)\(.+\))$",
        })
    }
}

/// The accumulator of a window.
#[derive(Clone, Serialize, Deserialize)]
pub(super) enum Accumulator {
    Count(u64),
    IntSum(Option<i64>),
    Sum(Option<f64>),
    Mean { sum: f64, n: u64 },
    IntMin(Option<i64>),
    Min(Option<f64>),
    IntMax(Option<i64>),
    Max(Option<f64>),
    Sketch { rank: f64, sketch: Box<DDSketch> },
}

/// The value of an aggregate; None if there were no values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum AggregateValue {
    Int(Option<i64>),
    Float(Option<f64>),
}

impl Accumulator {
    /// Counts a row.
    pub(super) fn count(&mut self) {
        if let Self::Count(n) = self {
            *n += 1;
        }
    }

    /// Adds a whole number.
    pub(super) fn push_int(&mut self, value: i64) {
        match self {
            Self::IntSum(sum) => *sum = Some(sum.unwrap_or(0).saturating_add(value)),
            Self::IntMin(min) => *min = Some(min.map_or(value, |min| min.min(value))),
            Self::IntMax(max) => *max = Some(max.map_or(value, |max| max.max(value))),
            _ => self.push(value as f64),
        }
    }

    /// Adds a number.
    pub(super) fn push(&mut self, value: f64) {
        match self {
            Self::Sum(sum) => *sum = Some(sum.unwrap_or(0.0) + value),
            Self::Mean { sum, n } => {
                *sum += value;
                *n += 1;
            }
            Self::Min(min) => *min = Some(min.map_or(value, |min| min.min(value))),
            Self::Max(max) => *max = Some(max.map_or(value, |max| max.max(value))),
            Self::Sketch { sketch, .. } => sketch.add(value),
            Self::Count(_) | Self::IntSum(_) | Self::IntMin(_) | Self::IntMax(_) => {}
        }
    }

    /// Adds another accumulator of the same function.
    pub(super) fn merge(&mut self, other: &Self) {
        match (self, other) {
            (Self::Count(n), Self::Count(more)) => *n += more,
            (Self::Mean { sum, n }, Self::Mean { sum: more, n: n_more }) => {
                *sum += more;
                *n += n_more;
            }
            (Self::Sketch { sketch, .. }, Self::Sketch { sketch: more, .. }) => {
                // Sketches of one function have one configuration.
                let _ = sketch.merge(more);
            }
            (
                this,
                Self::IntSum(Some(more)) | Self::IntMin(Some(more)) | Self::IntMax(Some(more)),
            ) => {
                this.push_int(*more);
            }
            (this, Self::Sum(Some(more)) | Self::Min(Some(more)) | Self::Max(Some(more))) => {
                this.push(*more);
            }
            _ => {}
        }
    }

    pub(super) fn value(&self) -> AggregateValue {
        match self {
            Self::Count(n) => AggregateValue::Int(i64::try_from(*n).ok()),
            Self::IntSum(value) | Self::IntMin(value) | Self::IntMax(value) => {
                AggregateValue::Int(*value)
            }
            Self::Sum(value) | Self::Min(value) | Self::Max(value) => AggregateValue::Float(*value),
            Self::Mean { sum, n } => AggregateValue::Float((*n > 0).then(|| sum / *n as f64)),
            Self::Sketch { rank, sketch } => AggregateValue::Float(percentile(sketch, *rank)),
        }
    }
}

/// Returns the value of the nearest rank: the smallest value that at least `rank` percent of the values do
/// not exceed.
fn percentile(sketch: &DDSketch, rank: f64) -> Option<f64> {
    let n = sketch.count();
    let last = n.checked_sub(1)?;
    let nth = (rank / 100.0 * n as f64).ceil() as usize;
    let nth = nth.saturating_sub(1).min(last);
    // A sketch has ranks from 0 to 1, and returns the value below.
    let share = match nth {
        0 => 0.0,
        nth if nth == last => 1.0,
        nth => (nth as f64 + 0.5) / last as f64,
    };
    sketch.quantile(share).ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_read_as_they_are_shown() {
        for text in ["count", "sum(x)", "mean(link.rssi)", "min(x)", "max(x)", "p95(x)", "p99.9(x)"]
        {
            assert_eq!(Aggregate::parse(text).map(|it| it.to_string()).as_deref(), Some(text));
        }
        for text in ["", "sum", "sum()", "median(x)", "p101(x)", "px(x)", "count(x"] {
            assert_eq!(Aggregate::parse(text), None, "{text}");
        }
    }

    #[test]
    fn parts_give_what_the_whole_gives() {
        let values = [3.0, -1.0, 4.0, 1.0, -5.0, 9.0, 2.0];
        for (text, expected) in [
            ("sum(x)", 13.0),
            ("mean(x)", 13.0 / 7.0),
            ("min(x)", -5.0),
            ("max(x)", 9.0),
            ("p0(x)", -5.0),
            ("p50(x)", 2.0),
            ("p85(x)", 4.0),
            ("p95(x)", 9.0),
            ("p100(x)", 9.0),
        ] {
            let aggregate = Aggregate::parse(text).expect("it is a function");
            let mut whole = aggregate.start(false);
            for value in values {
                whole.push(value);
            }
            let mut partials = aggregate.start(false);
            for partial in values.chunks(3) {
                let mut gathered = aggregate.start(false);
                for value in partial {
                    gathered.push(*value);
                }
                partials.merge(&gathered);
            }
            assert_eq!(whole.value(), partials.value(), "{text}");
            let AggregateValue::Float(Some(found)) = whole.value() else { panic!("{text}") };
            assert!((found - expected).abs() <= expected.abs() * SKETCH_ERROR, "{text}: {found}");
        }
    }

    #[test]
    fn whole_numbers_stay_whole() {
        let large = i64::MAX / 2;
        for (text, expected) in [("sum(n)", large + 1), ("min(n)", 1), ("max(n)", large)] {
            let mut gathered = Aggregate::parse(text).expect("it is a function").start(true);
            gathered.push_int(large);
            gathered.push_int(1);
            assert_eq!(gathered.value(), AggregateValue::Int(Some(expected)), "{text}");
        }
        let nothing = Aggregate::parse("min(n)").expect("it is a function").start(true);
        assert_eq!(nothing.value(), AggregateValue::Int(None));
    }
}
