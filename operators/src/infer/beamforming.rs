//! Beamforming: the power that arrives from a place, by the covariance of a receiver's values.
//!
//! Bartlett's beamformer has the least noise; Capon's separates sources that are nearer to each other.
//!
//! Source: H. Krim and M. Viberg, "Two decades of array signal processing research", IEEE SPM 13(4), 1996.

use num_complex::Complex32;

/// Share of the mean power that is added to each value's own, so that the covariance of few frames has an
/// inverse.
const LOADING: f32 = 1e-2;
/// The least addition: the power of nothing.
const LEAST_LOADING: f32 = 1e-8;

/// The covariance of values, `[n_values, n_values]`; only the lower triangle is used.
#[derive(Clone, Debug)]
pub(super) struct Covariance {
    n_values: usize,
    sums: Vec<Complex32>,
    n_frames: u16,
    /// A buffer for the differences of a frame.
    differences: Vec<Complex32>,
}

/// The Cholesky factor of a loaded covariance, `[n_values, n_values]`, lower triangle.
#[derive(Clone, Debug)]
pub(super) struct Factor {
    n_values: usize,
    lower: Vec<Complex32>,
}

impl Covariance {
    pub(super) fn new(n_values: usize) -> Self {
        let sums = vec![Complex32::ZERO; n_values * n_values];
        Self { n_values, sums, n_frames: 0, differences: Vec::new() }
    }

    /// Adds the difference of a frame from another one, each `[n_values]`.
    pub(super) fn add(&mut self, values: &[Complex32], from: &[Complex32]) {
        let Self { n_values, sums, differences, .. } = self;
        differences.clear();
        differences.extend(values.iter().zip(from).map(|(value, from)| value - from));
        for (row, value) in sums.chunks_exact_mut(*n_values).zip(&*differences) {
            for (sum, other) in row.iter_mut().zip(&*differences) {
                *sum += value * other.conj();
            }
        }
        self.n_frames = self.n_frames.saturating_add(1);
    }

    /// Returns the power from the direction of `steering`, `[n_values]`, whose norm is 1: Bartlett's estimate.
    pub(super) fn bartlett(&self, steering: &[Complex32]) -> f32 {
        let rows = self.sums.chunks_exact(self.n_values).zip(steering);
        let of_row = |(row, value): (&[Complex32], &Complex32)| {
            let along: Complex32 = row.iter().zip(steering).map(|(sum, value)| sum * value).sum();
            (value.conj() * along).re
        };
        rows.map(of_row).sum::<f32>() / f32::from(self.n_frames.max(1))
    }

    /// Returns the factor that Capon's estimate needs.
    pub(super) fn factor(&self) -> Factor {
        let n = self.n_values;
        let scale = 1.0 / f32::from(self.n_frames.max(1));
        let power: f32 = (0..n).map(|at| self.sums[at * n + at].re * scale).sum();
        let loading = LOADING * power / n.max(1) as f32 + LEAST_LOADING;
        let mut lower = vec![Complex32::ZERO; n * n];
        for row in 0..n {
            for column in 0..=row {
                let known = (0..column)
                    .map(|at| lower[row * n + at] * lower[column * n + at].conj())
                    .sum::<Complex32>();
                let rest = self.sums[row * n + column] * scale - known;
                lower[row * n + column] = if row == column {
                    Complex32::new((rest.re + loading).max(LEAST_LOADING).sqrt(), 0.0)
                } else {
                    rest / lower[column * n + column].re
                };
            }
        }
        Factor { n_values: n, lower }
    }
}

impl Factor {
    /// Returns the power from the direction of `steering`, `[n_values]`, whose norm is 1: Capon's estimate.
    /// `solved` is a buffer.
    pub(super) fn capon(&self, steering: &[Complex32], solved: &mut Vec<Complex32>) -> f32 {
        solved.clear();
        let mut norm = 0.0;
        for (row, value) in self.lower.chunks_exact(self.n_values).zip(steering) {
            let known = row.iter().zip(&*solved).map(|(lower, value)| lower * value);
            let value = (value - known.sum::<Complex32>()) / row[solved.len()].re;
            norm += value.norm_sqr();
            solved.push(value);
        }
        1.0 / norm.max(f32::MIN_POSITIVE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const N_VALUES: usize = 8;

    /// A source at an angle of a line of antennas, norm 1.
    fn steering(step_rad: f32) -> Vec<Complex32> {
        let norm = (N_VALUES as f32).sqrt().recip();
        (0..N_VALUES).map(|nth| Complex32::from_polar(norm, step_rad * nth as f32)).collect()
    }

    /// The covariance of sources whose phases are independent.
    fn covariance(sources: &[(f32, f32)]) -> Covariance {
        let mut covariance = Covariance::new(N_VALUES);
        for frame in 0..64_u16 {
            let mut values = vec![Complex32::ZERO; N_VALUES];
            for (nth, (step_rad, amplitude)) in sources.iter().enumerate() {
                let phase_rad = f32::from(frame) * (0.7 + 1.3 * nth as f32);
                let source = Complex32::from_polar(*amplitude, phase_rad);
                for (value, steering) in values.iter_mut().zip(steering(*step_rad)) {
                    *value += source * steering;
                }
            }
            covariance.add(&values, &[Complex32::ZERO; N_VALUES]);
        }
        covariance
    }

    #[test]
    fn both_estimate_the_power_of_one_source() {
        let covariance = covariance(&[(0.5, 2.0)]);
        let (bartlett, factor) = (covariance.bartlett(&steering(0.5)), covariance.factor());
        assert!((bartlett - 4.0).abs() < 1e-3, "{bartlett}");
        let capon = factor.capon(&steering(0.5), &mut Vec::new());
        assert!((capon - 4.0).abs() < 0.1, "{capon}");
        assert!(factor.capon(&steering(-1.0), &mut Vec::new()) < 0.1);
    }

    #[test]
    fn capon_separates_sources_that_bartlett_does_not() {
        let covariance = covariance(&[(0.0, 1.0), (0.6, 1.0)]);
        let factor = covariance.factor();
        let dip = |power: &dyn Fn(f32) -> f32| power(0.3) / power(0.0).min(power(0.6));
        assert!(dip(&|step_rad| covariance.bartlett(&steering(step_rad))) > 1.0);
        assert!(dip(&|step_rad| factor.capon(&steering(step_rad), &mut Vec::new())) < 0.2);
    }

    #[test]
    fn silence_has_no_power() {
        let factor = Covariance::new(N_VALUES).factor();
        let power = factor.capon(&steering(0.0), &mut Vec::new());
        assert!(power.is_finite() && power < 1e-6, "{power}");
    }
}
