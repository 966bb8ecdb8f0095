//! Moments over time of the last rows of a link.
//!
//! Noise of a receiver is independent from frame to frame; a moving body changes the channel slowly. So the
//! correlation of neighbouring frames separates them, whatever the receiver's noise and gain are.
//!
//! Source: F. Zhang et al., "`WiDetect`: Robust Motion Detection with a Statistical Electromagnetic Model",
//! IMWUT 2019.

/// A column that varies less than this is constant: its values differ by rounding only.
const CONSTANT: f32 = 1e-10;

/// Moments over time, as means over columns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moments {
    /// The variance.
    pub variance: f32,
    /// The correlation of each row with the next one, from -1 to 1; 0 if all columns are constant.
    pub correlation: f32,
}

/// Sums by column, kept to avoid allocations.
#[derive(Clone, Debug, Default)]
pub struct ColumnSums {
    mean: Vec<f32>,
    before: Vec<f32>,
    squares: Vec<f32>,
    products: Vec<f32>,
}

/// Returns the moments of a window.
///
/// # Shapes
///
/// - `window`: `[n_rows, n_columns]`
///
/// # Panics
///
/// If there are no columns.
pub fn moments(window: &[f32], n_columns: usize, sums: &mut ColumnSums) -> Moments {
    let n_rows = (window.len() / n_columns) as f32;
    sums.add(window, n_columns);
    let columns = sums.squares.iter().zip(&sums.products);
    let correlation = |(squares, products): (&f32, &f32)| {
        let variance = squares / n_rows;
        let covariance = products / (n_rows - 1.0).max(1.0);
        if variance > CONSTANT { (covariance / variance).clamp(-1.0, 1.0) } else { 0.0 }
    };
    let n = n_columns as f32;
    Moments {
        variance: sums.squares.iter().sum::<f32>() / (n_rows * n),
        correlation: columns.map(correlation).sum::<f32>() / n,
    }
}

impl ColumnSums {
    fn add(&mut self, window: &[f32], n_columns: usize) {
        let Self { mean, before, squares, products } = self;
        for sums in [&mut *mean, &mut *before, &mut *squares, &mut *products] {
            sums.clear();
            sums.resize(n_columns, 0.0);
        }
        let n_rows = (window.len() / n_columns) as f32;
        for row in window.chunks_exact(n_columns) {
            for (mean, value) in mean.iter_mut().zip(row) {
                *mean += value / n_rows;
            }
        }
        for row in window.chunks_exact(n_columns) {
            for column in 0..n_columns {
                let deviation = row[column] - mean[column];
                squares[column] += deviation * deviation;
                products[column] += deviation * before[column];
                before[column] = deviation;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments_of(rows: &[f32], n_columns: usize) -> Moments {
        moments(rows, n_columns, &mut ColumnSums::default())
    }

    #[test]
    fn slow_changes_correlate_and_noise_does_not() {
        let slow: Vec<_> = (0..100).map(|nth| (nth as f32 * 0.1).sin()).collect();
        assert!(moments_of(&slow, 1).correlation > 0.9);
        let alternating: Vec<_> = (0..100).map(|nth| (nth % 2) as f32).collect();
        assert!(moments_of(&alternating, 1).correlation < -0.9);
        let mut noise = 1_u32;
        let noise: Vec<_> = (0..1200)
            .map(|_| {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (noise >> 8) as f32 / 1e7
            })
            .collect();
        assert!(moments_of(&noise, 12).correlation.abs() < 0.1);
    }

    #[test]
    fn moments_are_those_of_the_definition() {
        let found = moments_of(&[1.0, 5.0, 2.0, 5.0, 4.0, 5.0, 5.0, 5.0], 2);
        // Deviations of the first column are -2, -1, 1, 2; the second one is constant.
        assert!((found.variance - 2.5 / 2.0).abs() < 1e-6);
        assert!((found.correlation - ((2.0 - 1.0 + 2.0) / 3.0 / 2.5) / 2.0).abs() < 1e-6);
    }
}
