//! The values of the parameters of a prepared statement.

use std::collections::BTreeMap;

use arrow::datatypes::Schema;
use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime};
use pgwire::api::Type;
use pgwire::api::portal::{Format, Portal};
use pgwire::error::{PgWireError, PgWireResult};
use queries::{Parameters, Value, ValueType};

use crate::postgres::error::failure;
use crate::postgres::extended::Prepared;

/// Returns the types of `$1`, `$2`, and so on, of the description of a query.
pub(super) fn types(description: &Schema) -> Vec<Type> {
    let numbered = description.metadata().iter().filter_map(|(name, of_value)| {
        let number: u16 = name.strip_prefix('$')?.parse().ok()?;
        Some((number, type_of(ValueType::parse(of_value)?)))
    });
    let numbered: BTreeMap<_, _> = numbered.collect();
    let last = numbered.keys().next_back().copied().unwrap_or_default();
    // A number that the query leaves out may have any value.
    (1..=last).map(|number| numbered.get(&number).cloned().unwrap_or(Type::TEXT)).collect()
}

fn type_of(of_value: ValueType) -> Type {
    match of_value {
        ValueType::Boolean => Type::BOOL,
        ValueType::Integer => Type::INT8,
        ValueType::Float => Type::FLOAT8,
        ValueType::Time => Type::TIMESTAMPTZ,
        ValueType::Text => Type::TEXT,
    }
}

/// Returns the values of a portal's parameters. `types` are those of the query; the client may have chosen
/// others.
pub(super) fn values(portal: &Portal<Prepared>, types: &[Type]) -> PgWireResult<Parameters> {
    let n_parameters = portal.parameter_len();
    if n_parameters != types.len() {
        let reason = format!(
            "bind message supplies {n_parameters} parameters, but the prepared statement requires {}",
            types.len()
        );
        return Err(failure("08P01", reason));
    }
    if let Format::Individual(formats) = &portal.parameter_format
        && formats.len() != n_parameters
    {
        let reason = format!(
            "bind message has {} parameter formats but {n_parameters} parameters",
            formats.len()
        );
        return Err(failure("08P01", reason));
    }
    let values = types.iter().enumerate().map(|(nth, of_query)| {
        let chosen = portal.statement.parameter_types.get(nth).cloned().flatten();
        let chosen = chosen.filter(|chosen| *chosen != Type::UNKNOWN);
        value(portal, nth, &chosen.unwrap_or_else(|| of_query.clone()))
    });
    Ok(Parameters::Positional(values.collect::<PgWireResult<_>>()?))
}

fn value(portal: &Portal<Prepared>, nth: usize, of_value: &Type) -> PgWireResult<Value> {
    let value = if portal.parameter_format.is_text(nth) {
        text(portal, nth, of_value)?
    } else {
        binary(portal, nth, of_value)?
    };
    Ok(value.unwrap_or(Value::Null))
}

/// Parses a value in text format. Text that is not a number stays text, which the query may accept.
fn text(portal: &Portal<Prepared>, nth: usize, of_value: &Type) -> PgWireResult<Option<Value>> {
    let Some(bytes) = &portal.parameters[nth] else { return Ok(None) };
    let not_text = || failure("22021", format!("the value of ${} is not UTF-8", nth + 1));
    let text = std::str::from_utf8(bytes).map_err(|_| not_text())?;
    let value = match *of_value {
        Type::BOOL => boolean(text).map(Value::Boolean),
        Type::INT2 | Type::INT4 | Type::INT8 | Type::OID => text.parse().ok().map(Value::Integer),
        Type::FLOAT4 | Type::FLOAT8 | Type::NUMERIC => text.parse().ok().map(Value::Float),
        _ => None,
    };
    Ok(Some(value.unwrap_or_else(|| Value::Text(text.to_owned()))))
}

/// Source: `PostgreSQL` documentation, "Boolean Type".
fn boolean(text: &str) -> Option<bool> {
    match text.trim().to_lowercase().as_str() {
        "t" | "true" | "y" | "yes" | "on" | "1" => Some(true),
        "f" | "false" | "n" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}

fn binary(portal: &Portal<Prepared>, nth: usize, of_value: &Type) -> PgWireResult<Option<Value>> {
    Ok(match *of_value {
        Type::BOOL => portal.parameter(nth, of_value)?.map(Value::Boolean),
        Type::INT2 => portal.parameter::<i16>(nth, of_value)?.map(|it| Value::Integer(it.into())),
        Type::INT4 => portal.parameter::<i32>(nth, of_value)?.map(|it| Value::Integer(it.into())),
        Type::INT8 => portal.parameter(nth, of_value)?.map(Value::Integer),
        Type::OID => portal.parameter::<u32>(nth, of_value)?.map(|it| Value::Integer(it.into())),
        Type::FLOAT4 => portal.parameter::<f32>(nth, of_value)?.map(|it| Value::Float(it.into())),
        Type::FLOAT8 => portal.parameter(nth, of_value)?.map(Value::Float),
        Type::TIMESTAMPTZ => {
            let time: Option<DateTime<FixedOffset>> = portal.parameter(nth, of_value)?;
            time.map(|time| Value::Text(time.to_rfc3339()))
        }
        Type::TIMESTAMP => {
            let time: Option<NaiveDateTime> = portal.parameter(nth, of_value)?;
            time.map(|time| Value::Text(time.and_utc().to_rfc3339()))
        }
        Type::DATE => {
            let date: Option<NaiveDate> = portal.parameter(nth, of_value)?;
            date.map(|date| Value::Text(date.to_string()))
        }
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME => {
            portal.parameter(nth, of_value)?.map(Value::Text)
        }
        _ => return Err(unsupported(nth, of_value)),
    })
}

fn unsupported(nth: usize, of_value: &Type) -> PgWireError {
    let reason = format!(
        "a value of the type {} is not supported for ${}: send it as text",
        of_value.name(),
        nth + 1
    );
    failure("0A000", reason)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn parameters_have_types_by_number() {
        let metadata = [("$2", "time"), ("$1", "integer"), ("$x", "float"), ("$4", "boolean")];
        let metadata: HashMap<_, _> =
            metadata.map(|(name, of_value)| (name.to_owned(), of_value.to_owned())).into();
        let description = Schema::empty().with_metadata(metadata);
        let types = types(&description);
        assert_eq!(types, [Type::INT8, Type::TIMESTAMPTZ, Type::TEXT, Type::BOOL]);
    }
}
