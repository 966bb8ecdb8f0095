//! A Kalman filter of a bounding box: the centre moves at a near-constant velocity, the size drifts.
//!
//! Detectors err in proportion to the size of a person, and people move in proportion to it too. All
//! variances are therefore relative to the variance of a measurement, and the gains do not depend on size.
//!
//! Source: Y. Bar-Shalom et al., "Estimation with Applications to Tracking and Navigation", 2001,
//! section 6.2 (white-noise acceleration).

use serde::{Deserialize, Serialize};

/// Variance of the velocity before the second measurement, which decides it nearly alone; in 1/s².
const UNKNOWN_VELOCITY: f64 = 1e6;

/// Noise of the movement between measurements, in standard deviations of a measurement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Noise {
    /// Change of the centre's velocity, in deviations per second, over one second.
    pub(super) acceleration: f64,
    /// Change of the width and height over one second.
    pub(super) resizing: f64,
}

/// State of a bounding box, as `[centre x, centre y, width, height]`, in pixels.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Kalman {
    centred: [f64; 4],
    /// Velocity of the centre, in pixels per second.
    velocity: [f64; 2],
    /// Variance of the centre, its covariance with the velocity, variance of the velocity.
    covariance: [f64; 3],
    size_variance: f64,
}

impl Kalman {
    /// Returns the state after the first measurement.
    pub(super) fn at(bbox: &[f64; 4]) -> Self {
        Self {
            centred: centred(bbox),
            velocity: [0.0; 2],
            covariance: [1.0, 0.0, UNKNOWN_VELOCITY],
            size_variance: 1.0,
        }
    }

    /// Returns the box as `[x, y, width, height]`, with the corner of least x and y, in pixels.
    pub(super) fn bbox(&self) -> [f64; 4] {
        let [x, y, width, height] = self.centred;
        [x - width / 2.0, y - height / 2.0, width, height]
    }

    /// Advances the state by `elapsed_s` seconds.
    pub(super) fn predict(&mut self, elapsed_s: f64, noise: Noise) {
        for (centre, velocity) in self.centred.iter_mut().zip(self.velocity) {
            *centre += elapsed_s * velocity;
        }
        let variance = noise.acceleration.powi(2) * elapsed_s;
        let [p, c, v] = self.covariance;
        self.covariance = [
            p + elapsed_s * (2.0 * c + elapsed_s * v) + variance * elapsed_s.powi(2) / 3.0,
            c + elapsed_s * v + variance * elapsed_s / 2.0,
            v + variance,
        ];
        self.size_variance += noise.resizing.powi(2) * elapsed_s;
    }

    /// Corrects the state by a measured box, `[x, y, width, height]` in pixels.
    pub(super) fn update(&mut self, bbox: &[f64; 4]) {
        let [p, c, v] = self.covariance;
        let [gain, velocity_gain] = [p, c].map(|covariance| covariance / (p + 1.0));
        let size_gain = self.size_variance / (self.size_variance + 1.0);
        let mut errors = centred(bbox);
        for (nth, (error, state)) in errors.iter_mut().zip(&mut self.centred).enumerate() {
            *error -= *state;
            *state += *error * if nth < 2 { gain } else { size_gain };
        }
        for (velocity, error) in self.velocity.iter_mut().zip(errors) {
            *velocity += velocity_gain * error;
        }
        self.covariance = [p - gain * p, c - gain * c, v - velocity_gain * c];
        self.size_variance -= size_gain * self.size_variance;
    }
}

fn centred(bbox: &[f64; 4]) -> [f64; 4] {
    let [x, y, width, height] = *bbox;
    [x + width / 2.0, y + height / 2.0, width, height]
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOISE: Noise = Noise { acceleration: 5.0, resizing: 2.0 };

    /// The filter after a second of a box that moves by `step` pixels per frame, 25 frames a second.
    fn after_a_second(start: [f64; 4], step: f64) -> Kalman {
        let mut kalman = Kalman::at(&start);
        for nth in 1_u8..=25 {
            kalman.predict(0.04, NOISE);
            kalman.update(&[start[0] + step * f64::from(nth), start[1], start[2], start[3]]);
        }
        kalman
    }

    #[test]
    fn predicts_a_steady_movement() {
        let mut kalman = after_a_second([10.0, 20.0, 30.0, 60.0], 2.0);
        kalman.predict(0.2, NOISE);
        let expected = [10.0 + 50.0 + 10.0, 20.0, 30.0, 60.0];
        let errors = kalman.bbox().into_iter().zip(expected).map(|(a, b)| (a - b).abs());
        assert!(errors.fold(0.0, f64::max) < 0.1, "{kalman:?}");
    }

    #[test]
    fn scales_with_the_image() {
        let small = after_a_second([10.0, 20.0, 30.0, 60.0], 2.0).bbox();
        let large = after_a_second([40.0, 80.0, 120.0, 240.0], 8.0).bbox();
        for (small, large) in small.into_iter().zip(large) {
            assert!((4.0 * small - large).abs() < 1e-9, "{small} {large}");
        }
    }

    #[test]
    fn variances_stay_positive() {
        let kalman = after_a_second([0.0, 0.0, 1.0, 1.0], 0.0);
        let [p, c, v] = kalman.covariance;
        assert!(p > 0.0 && v > 0.0 && p * v > c * c && kalman.size_variance > 0.0, "{kalman:?}");
    }
}
