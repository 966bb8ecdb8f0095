//! Keys as bytes: the values of some columns, concatenated.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, StringArray};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use schemas::stable_hash_bytes;
use serde::{Deserialize, Serialize};

use crate::StateKey;

/// The number of batches with windows of a tick, by key, for any number of workers.
const N_BUCKETS: u64 = 32;
const NULL: u8 = 0;
const THERE: u8 = 1;

/// The values of the key columns.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct Key(pub(super) Vec<u8>);

impl Key {
    /// Returns the batch that contains the windows of the key.
    pub(super) fn bucket(&self) -> u64 {
        stable_hash_bytes(&self.0) % N_BUCKETS
    }
}

impl StateKey for Key {
    fn route(&self) -> u64 {
        self.bucket()
    }
}

/// Returns the type in which a key stores a column of some type; None if the column cannot be a key.
pub(super) fn canonical(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::Utf8 | DataType::Boolean => Some(data_type.clone()),
        number if number.is_integer() => Some(DataType::Int64),
        number if number.is_floating() => Some(DataType::Float64),
        _ => None,
    }
}

/// Appends a value of a canonical column.
pub(super) fn encode(column: &dyn Array, row: usize, key: &mut Vec<u8>) {
    if column.is_null(row) {
        key.push(NULL);
        return;
    }
    key.push(THERE);
    match column.data_type() {
        DataType::Int64 => {
            key.extend(column.as_primitive::<Int64Type>().value(row).to_le_bytes());
        }
        DataType::Float64 => {
            key.extend(column.as_primitive::<Float64Type>().value(row).to_le_bytes());
        }
        DataType::Boolean => key.push(column.as_boolean().value(row).into()),
        _ => {
            let text = column.as_string::<i32>().value(row).as_bytes();
            key.extend((text.len() as u32).to_le_bytes());
            key.extend_from_slice(text);
        }
    }
}

/// Returns the first value of a key, and the rest after it.
fn split<'a>(key: &'a [u8], data_type: &DataType) -> (Option<&'a [u8]>, &'a [u8]) {
    let Some((&THERE, rest)) = key.split_first() else {
        return (None, key.get(1..).unwrap_or_default());
    };
    let (start, length) = match data_type {
        DataType::Boolean => (0, 1),
        DataType::Utf8 => {
            let length = rest.first_chunk().map_or(0, |length| u32::from_le_bytes(*length));
            (4, length as usize)
        }
        _ => (0, 8),
    };
    let value = rest.get(start..start + length);
    (value, rest.get(start + length..).unwrap_or_default())
}

/// Decodes keys to columns of canonical types.
pub(super) fn decode(keys: &[&Key], types: &[DataType]) -> Vec<ArrayRef> {
    let mut rests: Vec<&[u8]> = keys.iter().map(|key| key.0.as_slice()).collect();
    let columns = types.iter().map(|data_type| {
        let values = rests.iter_mut().map(|rest| {
            let (value, behind) = split(rest, data_type);
            *rest = behind;
            value
        });
        let number = |value: &[u8]| value.first_chunk().copied().unwrap_or_default();
        match data_type {
            DataType::Int64 => {
                let values = values.map(|value| value.map(|it| i64::from_le_bytes(number(it))));
                Arc::new(values.collect::<Int64Array>()) as ArrayRef
            }
            DataType::Float64 => {
                let values = values.map(|value| value.map(|it| f64::from_le_bytes(number(it))));
                Arc::new(values.collect::<Float64Array>())
            }
            DataType::Boolean => {
                let values = values.map(|value| value.map(|it| it == [1]));
                Arc::new(values.collect::<BooleanArray>())
            }
            _ => {
                let values = values.map(|value| value.map(String::from_utf8_lossy));
                Arc::new(values.collect::<StringArray>())
            }
        }
    });
    columns.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back_as_columns() {
        let columns: [ArrayRef; 4] = [
            Arc::new(StringArray::from(vec![Some("hall"), None, Some("")])),
            Arc::new(Int64Array::from(vec![None, Some(-1), Some(7)])),
            Arc::new(Float64Array::from(vec![Some(0.5), Some(-0.0), None])),
            Arc::new(BooleanArray::from(vec![Some(true), Some(false), None])),
        ];
        let keys: Vec<_> = (0..3)
            .map(|row| {
                let mut key = Vec::new();
                for column in &columns {
                    encode(column, row, &mut key);
                }
                Key(key)
            })
            .collect();
        let types: Vec<_> = columns.iter().map(|column| column.data_type().clone()).collect();
        assert_eq!(decode(&keys.iter().collect::<Vec<_>>(), &types), columns);
    }
}
