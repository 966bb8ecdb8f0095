//! Dead letters as rows of the table `rejected`.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use schemas::TableError;

use crate::REJECTED_TABLE;
use crate::rejected::DeadLetter;

/// One row for each dead letter, with its fields as columns.
pub(super) fn to_batch(letters: &[DeadLetter]) -> Result<RecordBatch, TableError> {
    let numbers = |number: fn(&DeadLetter) -> u64| {
        let numbers = letters.iter().map(|it| i64::try_from(number(it)).unwrap_or(i64::MAX));
        Arc::new(Int64Array::from_iter_values(numbers)) as ArrayRef
    };
    let texts = |text: fn(&DeadLetter) -> &str| {
        Arc::new(StringArray::from_iter_values(letters.iter().map(text))) as ArrayRef
    };
    let columns = [
        ("tick", numbers(|it| it.tick)),
        ("kind", texts(|it| it.kind)),
        ("n_records", numbers(|it| it.n_records)),
        ("reason", texts(|it| it.reason)),
        ("detail", texts(|it| &it.detail)),
        ("record", texts(|it| &it.record)),
    ];
    RecordBatch::try_from_iter(columns)
        .map_err(|source| TableError::Arrow { table: REJECTED_TABLE, source })
}
