//! A query: its text, the values of its parameters, the format of its answer, and its limits.

use std::collections::BTreeMap;
use std::time::Duration;

use datafusion::common::{ParamValues, ScalarValue};
use serde::{Deserialize, Serialize};

use crate::Format;

/// Bounds of one query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Maximum time until the answer is complete, with the time that the query waits.
    pub timeout: Duration,
    /// Maximum number of rows of an answer.
    pub rows: usize,
    /// Maximum number of bytes of an answer in its format.
    pub bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(30), rows: 100_000, bytes: 64 << 20 }
    }
}

/// The dialect of SQL of a query, with what its clients expect to find.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Dialect {
    /// That of `DataFusion`.
    #[default]
    DataFusion,
    /// That of `PostgreSQL`, with its catalog.
    Postgres,
}

/// What a query asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// The rows.
    #[default]
    Rows,
    /// The columns of the rows, and the types of the parameters: an answer without rows. The metadata of its
    /// schema has the type of each parameter under the name of the parameter, such as `$1`.
    Description,
}

/// One read-only statement with the values of its parameters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Query {
    /// The statement.
    pub sql: String,
    /// Its dialect.
    pub dialect: Dialect,
    /// What it asks for.
    pub purpose: Purpose,
    /// The values of its parameters.
    pub parameters: Parameters,
    /// The format of the answer.
    pub format: Format,
    /// The bounds.
    pub limits: Limits,
}

impl Query {
    /// Creates a query without parameters.
    pub fn new(sql: impl Into<String>, format: Format) -> Self {
        Self { sql: sql.into(), format, ..Self::default() }
    }

    /// Sets the values of its parameters, which have names.
    #[must_use]
    pub fn with_values<'a>(self, values: impl IntoIterator<Item = (&'a str, Value)>) -> Self {
        let values = values.into_iter().map(|(name, value)| (name.to_owned(), value));
        Self { parameters: Parameters::Named(values.collect()), ..self }
    }
}

/// The values of a query's parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Parameters {
    /// Values of `$1`, `$2`, and so on.
    Positional(Vec<Value>),
    /// Values of `$name`.
    Named(BTreeMap<String, Value>),
}

impl Default for Parameters {
    fn default() -> Self {
        Self::Positional(Vec::new())
    }
}

impl Parameters {
    /// Returns the names of the values, as a statement has them: `$1` or `$name`.
    pub(crate) fn names(&self) -> Vec<String> {
        match self {
            Self::Positional(values) => (1..=values.len()).map(|nth| format!("${nth}")).collect(),
            Self::Named(values) => values.keys().map(|name| format!("${name}")).collect(),
        }
    }

    /// True if there are no values.
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Positional(values) => values.is_empty(),
            Self::Named(values) => values.is_empty(),
        }
    }
}

/// The value of a parameter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Value {
    /// NULL.
    Null,
    /// A truth value.
    Boolean(bool),
    /// An integer.
    Integer(i64),
    /// A number.
    Float(f64),
    /// Text; also a time, such as `2026-01-01T00:00:00Z`.
    Text(String),
}

/// The type of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueType {
    /// A truth value.
    Boolean,
    /// An integer.
    Integer,
    /// A number.
    Float,
    /// A time.
    Time,
    /// Text, or anything that can be written as text.
    Text,
}

impl ValueType {
    const ALL: [Self; 5] = [Self::Boolean, Self::Integer, Self::Float, Self::Time, Self::Text];

    /// The name of the type, as the metadata of a description has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::Float => "float",
            Self::Time => "time",
            Self::Text => "text",
        }
    }

    /// Returns the type of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == name)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<Option<String>> for Value {
    fn from(value: Option<String>) -> Self {
        value.map_or(Self::Null, Self::Text)
    }
}

impl From<&Value> for ScalarValue {
    fn from(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Boolean(value) => Self::Boolean(Some(*value)),
            Value::Integer(value) => Self::Int64(Some(*value)),
            Value::Float(value) => Self::Float64(Some(*value)),
            Value::Text(value) => Self::Utf8(Some(value.clone())),
        }
    }
}

impl From<&Parameters> for ParamValues {
    fn from(parameters: &Parameters) -> Self {
        match parameters {
            Parameters::Positional(values) => {
                values.iter().map(ScalarValue::from).collect::<Vec<_>>().into()
            }
            Parameters::Named(values) => {
                let values = values.iter().map(|(name, value)| (name.clone(), value.into()));
                values.collect::<Vec<(String, ScalarValue)>>().into()
            }
        }
    }
}
