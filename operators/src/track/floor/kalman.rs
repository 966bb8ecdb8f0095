//! A constant-velocity Kalman filter on the plan; both axes share one covariance.
//!
//! Source: Y. Bar-Shalom et al., "Estimation with Applications to Tracking and Navigation", 2001,
//! section 6.3 (white-noise acceleration).

use serde::{Deserialize, Serialize};

/// Variance of a person's acceleration, in (m/s2)2 s.
const ACCELERATION: f32 = 2.0;
/// Variance of a measured position, in m2.
const MEASUREMENT: f32 = 0.06;
/// Variance of a position that is the one of someone near, in m2.
const NEAR: f32 = 0.5;
/// Variance of an unknown velocity, in (m/s)2.
const UNKNOWN_VELOCITY: f32 = 1.0;
/// Share of the velocity that is left after a second without a measurement; people stop.
const VELOCITY_LEFT: f32 = 0.8;

/// Position and velocity with their covariance.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Kalman {
    position_m: [f32; 2],
    velocity_m_s: [f32; 2],
    /// Variance of the position, covariance, variance of the velocity.
    covariance: [f32; 3],
}

impl Kalman {
    /// Returns the state of a person at a place, with unknown velocity.
    pub(super) fn at(position_m: [f32; 2]) -> Self {
        let covariance = [MEASUREMENT, 0.0, UNKNOWN_VELOCITY];
        Self { position_m, velocity_m_s: [0.0; 2], covariance }
    }

    pub(super) fn position_m(&self) -> [f32; 2] {
        self.position_m
    }

    /// Advances the state by `elapsed_s` seconds.
    pub(super) fn predict(&mut self, elapsed_s: f64) {
        let dt = elapsed_s as f32;
        let left = VELOCITY_LEFT.powf(dt);
        for (position, velocity) in self.position_m.iter_mut().zip(&mut self.velocity_m_s) {
            *position += dt * *velocity;
            *velocity *= left;
        }
        let [p, c, v] = self.covariance;
        self.covariance = [
            p + dt * (2.0 * c + dt * v) + ACCELERATION * dt.powi(3) / 3.0,
            c + dt * v + ACCELERATION * dt.powi(2) / 2.0,
            v + ACCELERATION * dt,
        ];
    }

    /// Corrects the state by a measured position.
    pub(super) fn update(&mut self, measured_m: [f32; 2]) {
        self.correct(measured_m, MEASUREMENT);
    }

    /// Corrects the state by the position of someone near.
    pub(super) fn follow(&mut self, near_m: [f32; 2]) {
        self.correct(near_m, NEAR);
    }

    fn correct(&mut self, measured_m: [f32; 2], variance: f32) {
        let [p, c, v] = self.covariance;
        let [gain_p, gain_v] = [p, c].map(|covariance| covariance / (p + variance));
        let state = self.position_m.iter_mut().zip(&mut self.velocity_m_s);
        for ((position, velocity), measured) in state.zip(measured_m) {
            let off_m = measured - *position;
            *position += gain_p * off_m;
            *velocity += gain_v * off_m;
        }
        self.covariance = [p - gain_p * p, c - gain_p * c, v - gain_v * c];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn learns_to_walk() {
        let mut kalman = Kalman::at([0.0, 0.0]);
        for nth in 1_u8..40 {
            kalman.predict(0.1);
            kalman.update([0.1 * f32::from(nth), 0.0]);
        }
        assert!((kalman.position_m[0] - 3.9).abs() < 0.1, "{kalman:?}");
        assert!((kalman.velocity_m_s[0] - 1.0).abs() < 0.2, "{kalman:?}");
        assert!(kalman.covariance[0] > 0.0 && kalman.covariance[2] > 0.0);
    }
}
