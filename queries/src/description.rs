//! What is known of an answer before there is one: its columns, and the types of its parameters.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::logical_expr::LogicalPlan;

use crate::parameters::of_limits;
use crate::{QueryError, ValueType};

/// Returns the columns of a plan, with the types of its parameters as metadata.
pub(crate) fn described(plan: &LogicalPlan) -> Result<SchemaRef, QueryError> {
    let types = plan.get_parameter_types()?.into_iter();
    let types = types.map(|(name, of_value)| (name, type_of(of_value.as_ref())));
    let types = types.chain(of_limits(plan)?.into_iter().map(|name| (name, ValueType::Integer)));
    let types: HashMap<_, _> = types.map(|(name, it)| (name, it.as_str().to_owned())).collect();
    let columns = plan.schema().inner().as_ref().clone();
    Ok(Arc::new(columns.with_metadata(types)))
}

/// Returns the type of the values of a parameter. What is compared with a time may be text.
fn type_of(of_value: Option<&DataType>) -> ValueType {
    match of_value {
        Some(DataType::Boolean) => ValueType::Boolean,
        Some(of_value) if of_value.is_integer() => ValueType::Integer,
        Some(of_value) if of_value.is_numeric() => ValueType::Float,
        Some(DataType::Timestamp(..) | DataType::Date32 | DataType::Date64) => ValueType::Time,
        _ => ValueType::Text,
    }
}
