//! Amplitudes without the receiver's gain.
//!
//! Automatic gain scales all amplitudes of a frame alike. Relative to their quadratic mean, they describe only
//! the shape of the channel. Where the receiver reports its gain, they also describe its strength.

use num_complex::Complex32;

/// Share of the median amplitude below which a subcarrier carries no signal.
const NULL_SHARE: f32 = 0.1;

/// Writes the amplitudes of chosen values, relative to their quadratic mean; zeros if the frame has no signal.
///
/// # Shapes
///
/// - `values`: `[n_rx, n_tx, n_subcarriers]`
/// - `chosen`: positions in `values`
/// - `amplitudes`: `[chosen.len()]`
///
/// # Panics
///
/// If a position is beyond the values.
pub fn relative_amplitudes(values: &[Complex32], chosen: &[usize], amplitudes: &mut Vec<f32>) {
    amplitudes.clear();
    // Not `norm`, whose care for extreme values costs more than all else here.
    amplitudes.extend(chosen.iter().map(|at| values[*at].norm_sqr()));
    let squares: f32 = amplitudes.iter().sum();
    let mean = (squares / chosen.len().max(1) as f32).sqrt();
    if !mean.is_normal() {
        amplitudes.fill(0.0);
        return;
    }
    for amplitude in amplitudes {
        *amplitude = amplitude.sqrt() / mean;
    }
}

/// Writes the amplitudes of chosen values times a factor; zeros if one is not finite.
///
/// # Shapes
///
/// - `values`: `[n_rx, n_tx, n_subcarriers]`
/// - `chosen`: positions in `values`
/// - `amplitudes`: `[chosen.len()]`
///
/// # Panics
///
/// If a position is beyond the values.
pub fn scaled_amplitudes(
    values: &[Complex32],
    chosen: &[usize],
    factor: f32,
    amplitudes: &mut Vec<f32>,
) {
    amplitudes.clear();
    amplitudes.extend(chosen.iter().map(|at| values[*at].norm_sqr().sqrt() * factor));
    if !amplitudes.iter().all(|amplitude| amplitude.is_finite()) {
        amplitudes.fill(0.0);
    }
}

/// Returns the quadratic mean of the amplitudes of chosen values.
///
/// # Panics
///
/// If a position is beyond the values.
pub(crate) fn quadratic_mean(values: &[Complex32], chosen: &[usize]) -> f32 {
    let squares: f32 = chosen.iter().map(|at| values[*at].norm_sqr()).sum();
    (squares / chosen.len().max(1) as f32).sqrt()
}

/// Returns the positions of `n` values with a signal, evenly spaced among all that have one; guard bands and
/// the subcarrier at the centre have none.
pub(crate) fn evenly_spaced(values: &[Complex32], n: usize) -> Vec<usize> {
    let mut amplitudes: Vec<_> = values.iter().map(|value| value.norm()).collect();
    amplitudes.retain(|amplitude| *amplitude > 0.0);
    amplitudes.sort_by(f32::total_cmp);
    let Some(median) = amplitudes.get(amplitudes.len() / 2) else { return Vec::new() };
    let has_signal = |at: &usize| values[*at].norm() > NULL_SHARE * median;
    let with_signal: Vec<_> = (0..values.len()).filter(has_signal).collect();
    let n = n.min(with_signal.len());
    (0..n).map(|nth| with_signal[(2 * nth + 1) * with_signal.len() / (2 * n)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(amplitudes: &[f32]) -> Vec<Complex32> {
        amplitudes.iter().map(|amplitude| Complex32::from_polar(*amplitude, 0.3)).collect()
    }

    #[test]
    fn the_gain_has_no_effect() {
        let (mut quiet, mut loud) = (Vec::new(), Vec::new());
        relative_amplitudes(&values(&[1.0, 2.0, 3.0]), &[0, 2], &mut quiet);
        relative_amplitudes(&values(&[7.0, 14.0, 21.0]), &[0, 2], &mut loud);
        for (quiet, loud) in quiet.iter().zip(&loud) {
            assert!((quiet - loud).abs() < 1e-6);
        }
        assert!((quiet.iter().map(|it| it * it).sum::<f32>() - 2.0).abs() < 1e-5);
    }

    #[test]
    fn frames_without_a_signal_are_zeros() {
        for amplitude in [0.0, f32::NAN, f32::INFINITY] {
            let mut amplitudes = Vec::new();
            relative_amplitudes(&values(&[amplitude; 2]), &[0, 1], &mut amplitudes);
            assert_eq!(amplitudes, [0.0, 0.0]);
        }
    }

    #[test]
    fn subcarriers_without_a_signal_are_not_chosen() {
        let mut amplitudes = vec![10.0; 64];
        amplitudes[..6].fill(0.0);
        amplitudes[32] = 0.5;
        let chosen = evenly_spaced(&values(&amplitudes), 12);
        assert_eq!(chosen.len(), 12);
        assert!(chosen.iter().all(|at| *at >= 6 && *at != 32), "{chosen:?}");
        assert!(evenly_spaced(&values(&[0.0; 4]), 12).is_empty());
        assert_eq!(evenly_spaced(&values(&[1.0, 1.0]), 12), [0, 1]);
    }
}
