//! Alignment: removes the effect of a receiver's clocks and gain on a frame, by a reference frame.
//!
//! All antennas of a receiver share its clocks. So one delay, one phase and one gain map a frame to the
//! reference, except for motion in the room.

use num_complex::Complex32;

/// Rotates and scales `frame` to match `reference`, in place.
///
/// # Shapes
///
/// - `frame`, `reference`: `[n_rx, n_subcarriers]`
/// - `subcarriers`: `[n_subcarriers]`
pub(super) fn align(frame: &mut [Complex32], reference: &[Complex32], subcarriers: &[i16]) {
    let n_subcarriers = subcarriers.len();
    let across = |subcarrier: usize| {
        let antennas = frame.iter().zip(reference).skip(subcarrier).step_by(n_subcarriers);
        antennas.map(|(value, reference)| value * reference.conj()).sum::<Complex32>()
    };
    // The phase step from one subcarrier to the next. Steps of another width would have another slope.
    let step = most_common_step(subcarriers);
    let mut turn = Complex32::ZERO;
    let mut last: Option<Complex32> = None;
    for subcarrier in 0..n_subcarriers {
        let product = across(subcarrier);
        let wide = subcarrier > 0 && step_to(subcarriers, subcarrier) != step;
        if let Some(last) = last.filter(|_| !wide) {
            turn += product * last.conj();
        }
        last = Some(product);
    }
    let slope_rad = turn.arg() / f32::from(step.max(1));
    let (mut fit, mut power) = (Complex32::ZERO, 0.0);
    for (values, reference) in
        frame.chunks_exact_mut(n_subcarriers).zip(reference.chunks_exact(n_subcarriers))
    {
        for ((value, reference), subcarrier) in values.iter_mut().zip(reference).zip(subcarriers) {
            *value *= Complex32::from_polar(1.0, -slope_rad * f32::from(*subcarrier));
            fit += *value * reference.conj();
            power += reference.norm_sqr();
        }
    }
    let scale = fit / power.max(f32::MIN_POSITIVE);
    if scale.norm() > 1e-9 {
        let back = scale.inv();
        for value in frame {
            *value *= back;
        }
    }
}

/// Returns the step from the subcarrier before `to` to `to`.
fn step_to(subcarriers: &[i16], to: usize) -> i16 {
    subcarriers[to].saturating_sub(subcarriers[to - 1])
}

fn most_common_step(subcarriers: &[i16]) -> i16 {
    let mut steps: Vec<_> = (1..subcarriers.len()).map(|to| step_to(subcarriers, to)).collect();
    steps.sort_unstable();
    // Gaps are few, so the median is an ordinary step.
    steps.get(steps.len() / 2).copied().unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Alignment restores the frame, for any clocks and gain.
        #[test]
        fn undoes_clocks_and_gain(
            slope in -0.3_f32..0.3,
            phase in -3.0_f32..3.0,
            gain in 0.1_f32..10.0,
        ) {
            let subcarriers: Vec<i16> = (-20..=20).filter(|index| index % 2 == 0 && *index != 0).collect();
            let reference: Vec<_> = (0..2 * subcarriers.len())
                .map(|at| Complex32::from_polar(1.0 + 0.2 * (at as f32).sin(), 0.1 * at as f32))
                .collect();
            let mut frame = reference.clone();
            for values in frame.chunks_exact_mut(subcarriers.len()) {
                for (value, subcarrier) in values.iter_mut().zip(&subcarriers) {
                    *value *= Complex32::from_polar(gain, slope * f32::from(*subcarrier) + phase);
                }
            }
            align(&mut frame, &reference, &subcarriers);
            for (value, reference) in frame.iter().zip(&reference) {
                prop_assert!((value - reference).norm() < 1e-3, "{value} {reference}");
            }
        }
    }
}
