//! The last rows of a stream of rows.

use std::num::NonZeroUsize;

use serde::{Deserialize, Serialize};

/// The last few rows, the oldest first: `[n_rows, n_columns]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MovingWindow {
    n_rows: usize,
    values: Vec<f32>,
}

impl MovingWindow {
    /// Returns an empty window.
    pub fn new(n_rows: NonZeroUsize) -> Self {
        // The window grows with its rows: a link with a random address has only one.
        Self { n_rows: n_rows.get(), values: Vec::new() }
    }

    /// Adds a row. Returns the window once it is full. Rows must have the same number of columns.
    pub fn push(&mut self, row: &[f32]) -> Option<&[f32]> {
        if self.values.len() >= self.n_rows * row.len() {
            self.values.drain(..row.len());
        }
        self.values.extend_from_slice(row);
        let is_full = !row.is_empty() && self.values.len() == self.n_rows * row.len();
        is_full.then_some(&self.values)
    }

    /// Removes all rows.
    pub fn clear(&mut self) {
        self.values.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_slides_once_it_is_full() {
        let mut window = MovingWindow::new(NonZeroUsize::new(3).expect("not zero"));
        let rows = [[1.0, 5.0], [2.0, 6.0], [3.0, 7.0], [4.0, 8.0]];
        let full: Vec<_> = rows.iter().map(|row| window.push(row).map(<[f32]>::to_vec)).collect();
        assert_eq!(full[..2], [None, None]);
        assert_eq!(full[2], Some(vec![1.0, 5.0, 2.0, 6.0, 3.0, 7.0]));
        assert_eq!(full[3], Some(vec![2.0, 6.0, 3.0, 7.0, 4.0, 8.0]));
        window.clear();
        assert_eq!(window.push(&rows[0]), None);
        assert_eq!(window.push(&[]), None);
    }
}
