//! Reports columns without any value in the first rows: a field's name or type may be wrong.

use schemas::Rows;

/// Number of rows after which columns without a value are reported.
const N_ROWS: usize = 20;

/// Whether each column of the first rows has a value.
#[derive(Debug, Default)]
pub(crate) struct EmptyColumns {
    n_rows: usize,
    have_values: Vec<bool>,
}

impl EmptyColumns {
    /// Notes the values of rows, and warns once there are enough rows.
    pub(crate) fn note(&mut self, rows: &Rows) {
        if self.n_rows >= N_ROWS {
            return;
        }
        let columns = rows.batch.columns();
        self.have_values.resize(columns.len(), false);
        for (has_values, column) in self.have_values.iter_mut().zip(columns) {
            *has_values |= column.null_count() < column.len();
        }
        self.n_rows += rows.len();
        if self.n_rows >= N_ROWS {
            self.warn(rows);
        }
    }

    fn warn(&self, rows: &Rows) {
        for name in self.names(rows) {
            tracing::warn!(
                "source \"{}\": field \"{name}\" is missing in the first {} rows, or of another type",
                rows.stream,
                self.n_rows
            );
        }
    }

    /// The columns without a value.
    fn names<'a>(&self, rows: &'a Rows) -> Vec<&'a str> {
        let schema = rows.batch.schema_ref();
        let fields = schema.fields().iter().zip(&self.have_values);
        fields.filter(|(_, has)| !**has).map(|(field, _)| field.name().as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float64Array, Int64Array, RecordBatch};

    use super::*;

    #[test]
    fn columns_without_a_value_are_named() {
        let rows = |celsius: Option<f64>| {
            let batch = RecordBatch::try_from_iter([
                ("at", Arc::new(Int64Array::from(vec![Some(1); 11])) as _),
                ("celsius", Arc::new(Float64Array::from(vec![celsius; 11])) as _),
            ]);
            let batch = batch.expect("two columns of the same length");
            let (stream, partition) = ("s".to_owned(), "0".to_owned());
            Rows { stream, partition, sequence: 0, times_ns: vec![0; 11], batch }
        };
        let mut columns = EmptyColumns::default();
        columns.note(&rows(None));
        assert_eq!(columns.names(&rows(None)), ["celsius"]);
        columns.note(&rows(Some(20.0)));
        assert!(columns.names(&rows(None)).is_empty());
        assert_eq!(columns.n_rows, 22);
    }
}
