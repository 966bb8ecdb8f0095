//! The choice of subcarriers: those that are strong, and steady while nobody moves.
//!
//! The normalised baseline variability index is `0.75 σ / μ² + 0.25 σ / μ` of an amplitude with mean μ and
//! standard deviation σ: low for a subcarrier that noise hardly changes. Weak subcarriers do not take part, and
//! neighbours, which carry nearly the same signal, are avoided.
//!
//! Source: the `ESPectre` project, `ALGORITHMS.md`, "NBVI".

use num_complex::Complex32;
use serde::{Deserialize, Serialize};

/// The percentile of mean amplitudes below which a subcarrier does not take part.
const NOISE_GATE: f32 = 0.15;

/// Means that differ by less are equal.
const ROUNDING: f32 = 0.999;

/// Means and variances of columns, without the rows.
///
/// Source: B. P. Welford, "Note on a Method for Calculating Corrected Sums of Squares and Products", 1962.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ColumnStatistics {
    n_rows: u32,
    means: Vec<f32>,
    squares: Vec<f32>,
}

impl ColumnStatistics {
    /// Adds a row. Rows must have the same number of columns.
    pub fn add(&mut self, row: &[f32]) {
        self.means.resize(row.len(), 0.0);
        self.squares.resize(row.len(), 0.0);
        self.n_rows += 1;
        let share = 1.0 / self.n_rows as f32;
        for ((value, mean), squares) in row.iter().zip(&mut self.means).zip(&mut self.squares) {
            let before = value - *mean;
            *mean += share * before;
            *squares += before * (value - *mean);
        }
    }

    /// Returns the number of rows so far.
    pub fn n_rows(&self) -> u32 {
        self.n_rows
    }

    /// Returns the index of each column; infinity for a column whose mean is not positive.
    pub fn nbvi(&self) -> Vec<f32> {
        let n_rows = self.n_rows.max(1) as f32;
        let index = |(mean, squares): (&f32, &f32)| {
            let deviation = (squares / n_rows).max(0.0).sqrt();
            let index = 0.75 * deviation / (mean * mean) + 0.25 * deviation / mean;
            if *mean > 0.0 && index.is_finite() { index } else { f32::INFINITY }
        };
        self.means.iter().zip(&self.squares).map(index).collect()
    }

    /// Returns the positions of up to `n` columns with the lowest index, in ascending order.
    pub fn best(&self, n: usize) -> Vec<usize> {
        let index = self.nbvi();
        let floor = self.noise_floor();
        let mut candidates: Vec<_> = (0..index.len())
            .filter(|at| index[*at].is_finite() && self.means[*at] >= floor)
            .collect();
        candidates.sort_by(|a, b| index[*a].total_cmp(&index[*b]));
        let spacing = (candidates.len() / (2 * n.max(1))).max(1);
        let mut chosen = Vec::new();
        // Apart from one another first, then whichever are left.
        for spacing in [spacing, 1] {
            for at in &candidates {
                let is_apart = chosen.iter().all(|other: &usize| other.abs_diff(*at) >= spacing);
                if chosen.len() < n && is_apart {
                    chosen.push(*at);
                }
            }
        }
        chosen.sort_unstable();
        chosen
    }

    /// Returns the mean amplitude below which a column is noise.
    fn noise_floor(&self) -> f32 {
        let mut means: Vec<_> = self.means.iter().copied().filter(|mean| *mean > 0.0).collect();
        means.sort_by(f32::total_cmp);
        let at = (means.len() as f32 * NOISE_GATE) as usize;
        means.get(at).map_or(f32::INFINITY, |mean| mean * ROUNDING)
    }
}

/// Writes the amplitude of each subcarrier, as the quadratic mean over the antennas, relative to the quadratic
/// mean over the frame; zeros if the frame has no signal.
///
/// # Shapes
///
/// - `values`: `[n_rx, n_tx, n_subcarriers]`
/// - `amplitudes`: `[n_subcarriers]`
pub(super) fn subcarrier_amplitudes(
    values: &[Complex32],
    n_subcarriers: usize,
    amplitudes: &mut Vec<f32>,
) {
    amplitudes.clear();
    amplitudes.resize(n_subcarriers, 0.0);
    for antenna in values.chunks_exact(n_subcarriers.max(1)) {
        for (power, value) in amplitudes.iter_mut().zip(antenna) {
            *power += value.norm_sqr();
        }
    }
    let mean = amplitudes.iter().sum::<f32>() / n_subcarriers.max(1) as f32;
    if !mean.is_normal() {
        amplitudes.fill(0.0);
        return;
    }
    for power in amplitudes {
        *power = (*power / mean).sqrt();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of an amplitude that alternates around its mean, by column.
    fn statistics(columns: &[(f32, f32)]) -> ColumnStatistics {
        let mut statistics = ColumnStatistics::default();
        for nth in 0..100 {
            let sign = if nth % 2 == 0 { 1.0 } else { -1.0 };
            let row = columns.iter().map(|(mean, deviation)| mean + sign * deviation);
            statistics.add(&row.collect::<Vec<_>>());
        }
        statistics
    }

    #[test]
    fn the_index_is_that_of_the_definition() {
        let index = statistics(&[(2.0, 0.4), (0.0, 0.0)]).nbvi();
        assert!((index[0] - (0.75 * 0.4 / 4.0 + 0.25 * 0.4 / 2.0)).abs() < 1e-5, "{index:?}");
        assert_eq!(index[1], f32::INFINITY);
    }

    #[test]
    fn steady_and_strong_subcarriers_are_chosen() {
        let mut columns = vec![(1.0, 0.2); 20];
        columns[4] = (1.0, 0.01);
        columns[12] = (1.5, 0.02);
        columns[17] = (0.1, 0.0);
        assert_eq!(statistics(&columns).best(2), [4, 12]);
        assert!(!statistics(&columns).best(15).contains(&17), "it is below the noise gate");
    }

    #[test]
    fn neighbours_are_avoided_while_there_are_others() {
        let columns: Vec<_> = (0..16).map(|nth| (1.0, 0.01 * (nth + 1) as f32)).collect();
        assert_eq!(statistics(&columns).best(4), [0, 2, 4, 6]);
        assert_eq!(statistics(&columns).best(16).len(), 16);
    }

    #[test]
    fn a_frame_without_a_signal_has_no_amplitudes() {
        let mut amplitudes = Vec::new();
        subcarrier_amplitudes(&[Complex32::ZERO; 4], 2, &mut amplitudes);
        assert_eq!(amplitudes, [0.0, 0.0]);
        subcarrier_amplitudes(&[Complex32::new(f32::NAN, 0.0); 4], 2, &mut amplitudes);
        assert_eq!(amplitudes, [0.0, 0.0]);
        subcarrier_amplitudes(&[3.0, 1.0, 3.0, 1.0].map(Complex32::from), 2, &mut amplitudes);
        assert!((amplitudes[0] / amplitudes[1] - 3.0).abs() < 1e-5, "{amplitudes:?}");
        assert!(ColumnStatistics::default().best(4).is_empty());
    }
}
