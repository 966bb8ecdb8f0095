//! Breathing in a window of rows.
//!
//! A chest that moves changes the amplitudes of subcarriers periodically. The kernel compares the spectrum of
//! slow changes with the receiver's noise, which is white. A peak at the rate of breathing that stands above
//! all other slow changes, and whose period the autocorrelation confirms, is breathing. A spectrum of noise
//! alone is a link on which nothing moves.
//!
//! Sources: X. Liu et al., "Tracking Vital Signs During Sleep Leveraging Off-the-shelf `WiFi`", `MobiHoc` 2015
//! (periods of amplitudes); B. P. Lathi, "Signal Processing and Linear Systems", 2005 (periodograms).

use std::f32::consts::TAU;

use serde::{Deserialize, Serialize};

/// The rates of breathing that are found, and all slow changes that compete with it.
const BREATHING_HZ: (f32, f32) = (0.1, 0.5);
const SLOW_HZ: (f32, f32) = (0.05, 1.0);
/// Frequencies are multiples of the inverse of the window's length, divided by this.
const OVERSAMPLING: usize = 2;
/// The least power of a peak, and the most of noise, in powers of the receiver's noise.
const MIN_PEAK: f32 = 6.0;
const MAX_NOISE: f32 = 3.0;
/// The least share of the power of slow changes that is at the peak and at its double.
const MIN_SHARE: f32 = 0.5;
/// The times within a period at which the correlation is compared with that of a whole period.
const LAGS: u16 = 32;
/// Half the width of a peak, in frequencies: that of the window function.
const PEAK_WIDTH: usize = 2 * OVERSAMPLING;
/// The least correlation of a period with the next one, and how much it is above that within a period.
const MIN_CORRELATION: f32 = 0.4;
const MIN_PROMINENCE: f32 = 0.5;

/// What slow changes of a window are.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Breathing {
    /// Somebody breathes.
    Found(Vitals),
    /// Nothing moves: there is noise only.
    Nothing,
    /// There are slow changes other than breathing.
    Unclear,
}

/// The rate of breathing.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Vitals {
    /// Breaths in a minute.
    pub breaths_per_minute: f32,
    /// The correlation of a breath with the next one, from 0 to 1.
    pub correlation: f32,
}

impl Breathing {
    /// Returns the rate, if somebody breathes.
    pub fn vitals(self) -> Option<Vitals> {
        if let Self::Found(vitals) = self { Some(vitals) } else { None }
    }
}

/// Looks for breathing.
///
/// # Shapes
///
/// - `window`: `[n_rows, n_columns]`, rows at `rate_hz`
///
/// # Panics
///
/// If there are no columns.
pub fn find_breathing(window: &[f32], n_columns: usize, rate_hz: f32) -> Breathing {
    let n_rows = window.len() / n_columns;
    let is_long = n_rows as f32 / rate_hz * BREATHING_HZ.0 >= 1.0;
    let Some((values, n_noisy)) = in_noise(window, n_columns).filter(|_| is_long) else {
        return Breathing::Unclear;
    };
    let spectrum = Spectrum::new(&values, n_columns, n_noisy, rate_hz);
    if spectrum.powers.iter().all(|power| *power <= MAX_NOISE) {
        return Breathing::Nothing;
    }
    let vitals = spectrum.peak().and_then(|peak| spectrum.vitals(peak));
    vitals.map_or(Breathing::Unclear, Breathing::Found)
}

/// The power of slow changes by frequency, as the mean over columns: 1 for noise. It is 0 below the slowest change.
struct Spectrum {
    powers: Vec<f32>,
    step_hz: f32,
}

impl Spectrum {
    /// Columns without noise are zeros, and `n_noisy` columns are not.
    ///
    /// # Shapes
    ///
    /// - `values`: `[n_rows, n_columns]`
    fn new(values: &[f32], n_columns: usize, n_noisy: u16, rate_hz: f32) -> Self {
        let n_rows = values.len() / n_columns;
        let n_angles = OVERSAMPLING * n_rows;
        let step_hz = rate_hz / n_angles as f32;
        let angle = |nth: usize| TAU * nth as f32 / n_angles as f32;
        let (sin, cos): (Vec<_>, Vec<_>) = (0..n_angles).map(|nth| angle(nth).sin_cos()).unzip();
        let taper: Vec<_> = (0..n_rows).map(|row| 0.5 - 0.5 * cos[OVERSAMPLING * row]).collect();
        let energy: f32 = taper.iter().map(|taper| taper * taper).sum();
        let [first, last] = [SLOW_HZ.0, SLOW_HZ.1].map(|hz| (hz / step_hz).round() as usize);
        let mut powers = vec![0.0; last.min(n_angles / 2) + 1];
        let mut sums = vec![(0.0_f32, 0.0_f32); n_columns];
        for (at, power) in powers.iter_mut().enumerate().skip(first) {
            sums.fill((0.0, 0.0));
            for (nth, row) in values.chunks_exact(n_columns).enumerate() {
                let (cos, sin) = (cos[at * nth % n_angles], sin[at * nth % n_angles]);
                let (cos, sin) = (cos * taper[nth], sin * taper[nth]);
                for ((real, imaginary), value) in sums.iter_mut().zip(row) {
                    *real += value * cos;
                    *imaginary += value * sin;
                }
            }
            let total: f32 = sums.iter().map(|(re, im)| re * re + im * im).sum();
            *power = total / (energy * f32::from(n_noisy));
        }
        Self { powers, step_hz }
    }

    /// Returns the highest peak at a rate of breathing.
    fn peak(&self) -> Option<usize> {
        let [first, last] = [BREATHING_HZ.0, BREATHING_HZ.1].map(|hz| (hz / self.step_hz).round());
        let power = |at: usize| self.powers.get(at).copied().unwrap_or(0.0);
        let is_peak = |at: &usize| {
            let highest = power(at - 1).max(power(at + 1));
            power(*at) >= MIN_PEAK && power(*at) >= highest
        };
        let peaks = (first.max(1.0) as usize..=last as usize).filter(is_peak);
        peaks.max_by(|a, b| power(*a).total_cmp(&power(*b)))
    }

    /// Returns the rate at a peak, if it dominates slow changes and the autocorrelation confirms its period.
    fn vitals(&self, peak: usize) -> Option<Vitals> {
        let mut hz = self.centre_hz(peak);
        // The chest can change a path by more than a quarter of a wavelength: then the double is stronger.
        if hz >= 2.0 * BREATHING_HZ.0
            && self.correlation(2.0 / hz) > self.correlation(1.0 / hz) + 0.1
        {
            hz /= 2.0;
        }
        let share = (self.excess_around(hz) + self.excess_around(2.0 * hz)) / self.excess();
        let correlation = self.correlation(1.0 / hz);
        let within = (1..LAGS).map(|nth| self.correlation(f32::from(nth) / (f32::from(LAGS) * hz)));
        let least = within.fold(1.0, f32::min);
        let is_clear = share >= MIN_SHARE
            && correlation >= MIN_CORRELATION
            && correlation - least >= MIN_PROMINENCE;
        is_clear
            .then(|| Vitals { breaths_per_minute: 60.0 * hz, correlation: correlation.min(1.0) })
    }

    /// Returns the frequency of a peak: the centre of the power above the noise.
    fn centre_hz(&self, peak: usize) -> f32 {
        let around = self.around(peak);
        let total: f32 = around.clone().map(|at| self.excess_at(at)).sum();
        let moment: f32 = around.map(|at| at as f32 * self.excess_at(at)).sum();
        self.step_hz * moment / total.max(f32::MIN_POSITIVE)
    }

    /// Returns the correlation of slow changes with themselves after some time: noise has no part in it.
    ///
    /// Source: the theorem of Wiener and Khinchin.
    fn correlation(&self, lag_s: f32) -> f32 {
        let of = |at: usize| (TAU * at as f32 * self.step_hz * lag_s).cos() * self.excess_at(at);
        (0..self.powers.len()).map(of).sum::<f32>() / self.excess().max(f32::MIN_POSITIVE)
    }

    fn around(&self, at: usize) -> std::ops::Range<usize> {
        at.saturating_sub(PEAK_WIDTH)..(at + PEAK_WIDTH + 1).min(self.powers.len())
    }

    /// Returns the power above the noise at the frequencies of a peak.
    fn excess_around(&self, hz: f32) -> f32 {
        self.around((hz / self.step_hz).round() as usize).map(|at| self.excess_at(at)).sum()
    }

    /// Returns the power above the noise at all frequencies.
    fn excess(&self) -> f32 {
        (0..self.powers.len()).map(|at| self.excess_at(at)).sum()
    }

    fn excess_at(&self, at: usize) -> f32 {
        (self.powers[at] - 1.0).max(0.0)
    }
}

/// Returns columns without their means and trends, in units of their noise, and the number of columns that have noise.
/// None if there is none, or a value is not finite.
fn in_noise(window: &[f32], n_columns: usize) -> Option<(Vec<f32>, u16)> {
    let mut values = window[..window.len() / n_columns * n_columns].to_vec();
    let mut n_noisy = 0_u16;
    for column in 0..n_columns {
        let noise = noise(&values, column, n_columns);
        let scale = if noise > 0.0 { noise.recip() } else { 0.0 };
        n_noisy = n_noisy.saturating_add(u16::from(noise > 0.0));
        detrend(&mut values, column, n_columns, scale);
    }
    (n_noisy > 0 && values.iter().all(|value| value.is_finite())).then_some((values, n_noisy))
}

/// Returns the standard deviation of a column's noise, from its second differences: slow changes hardly have any.
/// Rows that repeat the one before, for lack of frames, do not count.
fn noise(values: &[f32], column: usize, n_columns: usize) -> f32 {
    let value = |row: usize| values[row * n_columns + column];
    let n_rows = values.len() / n_columns;
    let second = |row: usize| value(row) - 2.0 * value(row + 1) + value(row + 2);
    let squares = (0..n_rows.saturating_sub(2)).map(|row| second(row).powi(2));
    let (sum, n) = squares
        .filter(|square| *square > 0.0)
        .fold((0.0, 0_u16), |(sum, n), square| (sum + square, n.saturating_add(1)));
    // The squares of the weights 1, -2 and 1 add up to 6.
    (sum / (6.0 * f32::from(n.max(1)))).sqrt()
}

/// Subtracts the line of least squares from a column, and multiplies it.
fn detrend(values: &mut [f32], column: usize, n_columns: usize, scale: f32) {
    let n_rows = (values.len() / n_columns) as f32;
    let middle = (n_rows - 1.0) / 2.0;
    let of_column = |values: &[f32], weight: &dyn Fn(f32) -> f32| -> f32 {
        let column = values.iter().skip(column).step_by(n_columns);
        column.enumerate().map(|(row, value)| value * weight(row as f32)).sum()
    };
    let mean = of_column(values, &|_| 1.0) / n_rows;
    let spread = n_rows * (n_rows * n_rows - 1.0) / 12.0;
    let slope = of_column(values, &|row| row - middle) / spread.max(1.0);
    for (row, value) in values.iter_mut().skip(column).step_by(n_columns).enumerate() {
        *value = scale * (*value - mean - slope * (row as f32 - middle));
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const N_COLUMNS: usize = 12;
    const RATE_HZ: f32 = 5.0;

    /// Thirty seconds of noise, and a signal by time and column.
    fn window(seed: u64, signal: impl Fn(f32, usize) -> f32) -> Vec<f32> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let values = (0..150 * N_COLUMNS).map(|nth| {
            let time_s = (nth / N_COLUMNS) as f32 / RATE_HZ;
            let noise: f32 = (0..4).map(|_| random.random_range(-0.5..0.5)).sum();
            1.0 + 0.01 * noise + signal(time_s, nth % N_COLUMNS)
        });
        values.collect()
    }

    fn found(window: &[f32]) -> Breathing {
        find_breathing(window, N_COLUMNS, RATE_HZ)
    }

    #[test]
    fn rates_are_found() {
        for (seed, per_minute) in [(1, 8.0), (2, 12.0), (3, 15.0), (4, 20.0), (5, 27.0)] {
            let breathing = window(seed, |time_s, column| {
                let phase = TAU * per_minute / 60.0 * time_s;
                0.01 * (column as f32).sin() * phase.sin()
            });
            let Breathing::Found(vitals) = found(&breathing) else {
                panic!("{per_minute}: {:?}", found(&breathing))
            };
            let off = (vitals.breaths_per_minute - per_minute).abs();
            assert!(off < 0.04 * per_minute + 0.3, "{per_minute}: {vitals:?}");
        }
    }

    #[test]
    fn a_chest_that_moves_far_is_not_counted_twice() {
        let far = window(6, |time_s, column| {
            let phase = TAU * 0.2 * time_s;
            let even = if column % 2 == 0 { 0.02 } else { 0.008 };
            0.008 * phase.sin() + even * (2.0 * phase).cos()
        });
        let Breathing::Found(vitals) = found(&far) else { panic!("{:?}", found(&far)) };
        assert!((vitals.breaths_per_minute - 12.0).abs() < 0.5, "{vitals:?}");
    }

    #[test]
    fn noise_is_nothing() {
        for seed in 0..100 {
            assert_eq!(found(&window(seed, |_, _| 0.0)), Breathing::Nothing, "{seed}");
        }
    }

    #[test]
    fn other_changes_are_unclear() {
        let wander = |time_s: f32, column: usize| -> f32 {
            let wave =
                |nth: usize| (0.37 * nth as f32 * time_s + (nth * nth + column) as f32).sin();
            (1..16).map(|nth| 0.02 * wave(nth)).sum()
        };
        for (name, changes) in [
            ("drift", window(7, |time_s, _| 0.2 * (time_s / 30.0).powi(2))),
            ("a door", window(8, |s, column| if s > 14.0 { 0.1 * column as f32 } else { 0.0 })),
            ("slow changes of any period", window(9, wander)),
        ] {
            assert_eq!(found(&changes), Breathing::Unclear, "{name}");
        }
    }

    #[test]
    fn values_without_noise_are_unclear() {
        for value in [0.0, 1.0, f32::NAN, f32::INFINITY] {
            assert_eq!(found(&vec![value; 150 * N_COLUMNS]), Breathing::Unclear);
        }
        assert_eq!(found(&[1.0; 24]), Breathing::Unclear);
    }
}
