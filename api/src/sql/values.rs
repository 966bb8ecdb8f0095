//! The values of a query's parameters, from JSON.

use queries::{Parameters, Value as Parameter};
use serde_json::Value;

use crate::error::RequestError;

const EXPECTED: &str = "`params` must be a list or an object";

/// Returns the values of a list or of an object. Text, as in a URL, contains one of them as JSON.
pub(super) fn parameters_of(values: Option<Value>) -> Result<Parameters, RequestError> {
    match values {
        Some(Value::String(json)) => {
            let values = serde_json::from_str(&json);
            let values: Value =
                values.map_err(|error| bad(&format!("`params` is not JSON: {error}")))?;
            if values.is_string() {
                return Err(bad(EXPECTED));
            }
            parameters_of(Some(values))
        }
        None | Some(Value::Null) => Ok(Parameters::default()),
        Some(Value::Array(values)) => {
            let values = values.into_iter().map(parameter_of);
            Ok(Parameters::Positional(values.collect::<Result<_, _>>()?))
        }
        Some(Value::Object(values)) => {
            let values = values.into_iter().map(|(name, value)| Ok((name, parameter_of(value)?)));
            Ok(Parameters::Named(values.collect::<Result<_, RequestError>>()?))
        }
        Some(_) => Err(bad(EXPECTED)),
    }
}

fn parameter_of(value: Value) -> Result<Parameter, RequestError> {
    match value {
        Value::Null => Ok(Parameter::Null),
        Value::Bool(value) => Ok(Parameter::Boolean(value)),
        Value::String(value) => Ok(Parameter::Text(value)),
        Value::Number(value) => {
            let number = value.as_i64().map(Parameter::Integer);
            let number = number.or(value.as_f64().map(Parameter::Float));
            number.ok_or_else(|| bad("a number in `params` is too large"))
        }
        Value::Array(_) | Value::Object(_) => {
            Err(bad("a value in `params` must be null, a truth value, a number or text"))
        }
    }
}

fn bad(detail: &str) -> RequestError {
    RequestError::BadRequest(detail.to_owned())
}
