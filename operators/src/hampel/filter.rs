//! The Hampel filter: replaces outliers by the median of their recent past.
//!
//! Source: F. R. Hampel, "The influence curve and its role in robust estimation", 1974.

use serde::{Deserialize, Serialize};

/// The longest history.
pub(super) const MAX_LENGTH: usize = 31;
/// The standard deviation of a normal distribution, in median absolute deviations.
const MADS_PER_SIGMA: f32 = 1.4826;

/// A streaming filter of rows: each column has a median of its own.
///
/// - `history` is `[n_rows, n_columns]`, the oldest row first, with at most `length` rows
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hampel {
    length: usize,
    n_sigmas: f32,
    history: Vec<f32>,
}

impl Hampel {
    /// Returns a filter that compares a value with the last `length` values of its column, itself included,
    /// and replaces it if it is more than `n_sigmas` standard deviations from their median.
    pub fn new(length: usize, n_sigmas: f32) -> Self {
        Self { length, n_sigmas, history: Vec::new() }
    }

    /// Replaces the outliers of a row. Rows must have the same number of columns.
    pub fn filter(&mut self, row: &mut [f32]) {
        if self.history.len() == self.length * row.len() {
            self.history.drain(..row.len());
        }
        self.history.extend_from_slice(row);
        let n_columns = row.len();
        let mut recent = [0.0; MAX_LENGTH];
        for (column, value) in row.iter_mut().enumerate() {
            let values = self.history.iter().skip(column).step_by(n_columns);
            let n_rows = values.len().min(MAX_LENGTH);
            for (to, value) in recent.iter_mut().zip(values) {
                *to = *value;
            }
            *value = without_outlier(*value, &mut recent[..n_rows], self.n_sigmas);
        }
    }
}

/// Returns a value, or the median of its neighbours if it is more than `n_sigmas` standard deviations from it.
/// Overwrites `neighbours`, which include the value.
pub fn without_outlier(value: f32, neighbours: &mut [f32], n_sigmas: f32) -> f32 {
    let median = median(neighbours);
    for neighbour in neighbours.iter_mut() {
        *neighbour = (*neighbour - median).abs();
    }
    let limit = n_sigmas * MADS_PER_SIGMA * self::median(neighbours);
    if (value - median).abs() > limit { median } else { value }
}

/// Returns the median, the mean of the two middle values if their number is even. Sorts `values`.
fn median(values: &mut [f32]) -> f32 {
    values.sort_unstable_by(f32::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { 0.5 * (values[middle - 1] + values[middle]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Filters one column.
    fn filtered(values: &[f32]) -> Vec<f32> {
        let mut filter = Hampel::new(7, 4.0);
        let of_value = |value: &f32| {
            let mut row = [*value];
            filter.filter(&mut row);
            row[0]
        };
        values.iter().map(of_value).collect()
    }

    #[test]
    fn a_spike_is_replaced_by_the_median() {
        let mut values = [1.0, 1.1, 0.9, 1.0, 1.1, 0.9, 1.0, 1.1, 0.9, 1.0];
        values[6] = 50.0;
        let found = filtered(&values);
        assert_eq!(found[6], 1.0);
        values[6] = found[6];
        assert_eq!(found, values, "other values stay");
    }

    #[test]
    fn a_step_passes_after_half_of_the_history() {
        let values = [vec![1.0; 10], vec![2.0; 10]].concat();
        let found = filtered(&values);
        assert_eq!(found[..13], [1.0; 13], "the step may be an outlier");
        assert_eq!(found[13..], [2.0; 7]);
    }

    #[test]
    fn columns_are_independent() {
        let mut filter = Hampel::new(3, 3.0);
        for nth in 0..20 {
            let mut row = [nth as f32, 5.0, 0.0];
            filter.filter(&mut row);
            assert_eq!(row[1..], [5.0, 0.0]);
        }
    }
}
