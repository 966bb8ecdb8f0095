//! Columns by name, including nested ones.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Fields, Schema};

use crate::windows::ColumnProblem;

/// Returns the type of a column.
pub(super) fn find<'a>(schema: &'a Schema, name: &str) -> Result<&'a DataType, ColumnProblem> {
    let mut fields = schema.fields();
    let mut partials = name.split('.').peekable();
    while let Some(partial) = partials.next() {
        let field = fields.find(partial).map(|(_, field)| field);
        match field.map(|field| field.data_type()) {
            Some(data_type) if partials.peek().is_none() => return Ok(data_type),
            Some(DataType::Struct(inner)) => fields = inner,
            _ => break,
        }
    }
    Err(ColumnProblem::NoColumn { name: name.to_owned(), there: names("", schema.fields()) })
}

fn names(prefix: &str, fields: &Fields) -> Vec<String> {
    let names = fields.iter().flat_map(|field: &std::sync::Arc<Field>| {
        let name = format!("{prefix}{}", field.name());
        match field.data_type() {
            DataType::Struct(inner) => names(&format!("{name}."), inner),
            _ => vec![name],
        }
    });
    names.collect()
}

/// Returns a column's values as `data_type`; None if the column is missing or not convertible.
pub(super) fn column(batch: &RecordBatch, name: &str, data_type: &DataType) -> Option<ArrayRef> {
    let mut partials = name.split('.');
    let mut array = batch.column_by_name(partials.next()?)?.clone();
    for partial in partials {
        array = array.as_struct_opt()?.column_by_name(partial)?.clone();
    }
    if array.data_type() == data_type { Some(array) } else { cast(&array, data_type).ok() }
}
