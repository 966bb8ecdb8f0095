//! The parameters of a SQL request, in a JSON body or in a URL, for this API and for that of `InfluxDB` 3.

use std::time::Duration;

use queries::{Format, Limits, Parameters, Query};
use schemas::TimeSpan;
use serde::Deserialize;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::error::RequestError;
use crate::sql::values::parameters_of;

/// The names by which clients of `InfluxDB` may call the only database.
const DATABASES: [&str; 2] = ["fresnel", "pose"];

/// A query, and the format of its answer.
#[derive(Debug, Deserialize, IntoParams, ToSchema)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct SqlQuery {
    /// One read-only statement.
    q: String,
    /// The values of its parameters: a list for `$1`, `$2`, and so on, or an object for `$name`; in a URL as JSON.
    #[serde(default)]
    #[param(value_type = Option<String>)]
    #[schema(value_type = Option<Value>)]
    params: Option<Value>,
    /// `json`, `json_lines`, `csv`, `arrow` (an IPC file), `arrow_stream`, `parquet`, `pretty` or `expanded`; by
    /// default the media type of the `Accept` header, or `json`.
    #[param(value_type = Option<String>)]
    #[schema(value_type = Option<String>)]
    format: Option<Format>,
    /// Time-out, such as `10s`; `30s` by default and at most.
    #[param(value_type = Option<String>)]
    #[schema(value_type = Option<String>)]
    timeout: Option<TimeSpan>,
    /// Time-out in milliseconds: the old form of `timeout`.
    #[schema(deprecated)]
    timeout_ms: Option<u64>,
}

/// A query of a client of `InfluxDB` 3.
#[derive(Debug, Deserialize, IntoParams, ToSchema)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct InfluxQuery {
    /// The database: `fresnel` or `pose`, with the same tables.
    db: String,
    /// One read-only statement.
    q: String,
    /// The values of its parameters: a list for `$1`, `$2`, and so on, or an object for `$name`; in a URL as JSON.
    #[serde(default)]
    #[param(value_type = Option<String>)]
    #[schema(value_type = Option<Value>)]
    params: Option<Value>,
    /// `json`, `jsonl`, `csv`, `parquet` or `pretty`; `json` by default.
    #[param(value_type = Option<String>)]
    #[schema(value_type = Option<String>)]
    format: Option<Format>,
}

/// A statement with its values; the format of the answer is not decided yet.
#[derive(Debug)]
pub(super) struct Asked {
    sql: String,
    parameters: Parameters,
    pub(super) format: Option<Format>,
    timeout: Option<Duration>,
}

impl Asked {
    /// Returns the query with its limits.
    pub(super) fn with_format(self, format: Format) -> Query {
        let limits = Limits::default();
        let limits = Limits { timeout: self.timeout.unwrap_or(limits.timeout), ..limits };
        Query { parameters: self.parameters, limits, ..Query::new(self.sql, format) }
    }
}

impl TryFrom<SqlQuery> for Asked {
    type Error = RequestError;

    fn try_from(query: SqlQuery) -> Result<Self, RequestError> {
        let SqlQuery { q: sql, params, format, timeout, timeout_ms } = query;
        let timeout = timeout.or(timeout_ms.map(TimeSpan::from_ms)).map(Duration::from);
        let longest = Limits::default().timeout;
        if timeout.is_some_and(|timeout| timeout.is_zero() || timeout > longest) {
            let detail = format!("the time-out must be more than 0 and at most {longest:?}");
            return Err(RequestError::BadRequest(detail));
        }
        Ok(Self { sql, parameters: parameters_of(params)?, format, timeout })
    }
}

impl TryFrom<InfluxQuery> for Asked {
    type Error = RequestError;

    fn try_from(InfluxQuery { db, q, params, format }: InfluxQuery) -> Result<Self, RequestError> {
        if !DATABASES.contains(&db.as_str()) {
            let databases = DATABASES.join(", ");
            let detail = format!("database `{db}` not found, expected one of {databases}");
            return Err(RequestError::NotFound(detail));
        }
        Self::try_from(SqlQuery { q, params, format, timeout: None, timeout_ms: None })
    }
}
