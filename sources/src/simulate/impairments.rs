//! Impairments of a receiver.

use std::f32::consts::TAU;

use num_complex::Complex32;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use schemas::SUBCARRIER_HZ;
use serde::Deserialize;

use crate::simulate::disturbances::Disturbance;

/// Sizes of the impairments; a missing one is at its default.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Impairments {
    /// Signal-to-noise ratio on each subcarrier, in dB.
    pub(super) snr_db: f32,
    /// Largest sampling-time offset of a packet, in nanoseconds either way.
    pub(super) sto_ns: f32,
    /// Sampling-frequency offset: drift of the sampling time, in nanoseconds a second.
    pub(super) sfo_ns_s: f32,
    /// Carrier-frequency offset left after correction, in hertz.
    pub(super) cfo_hz: f32,
    /// Step of the automatic gain, in dB; a packet is off by one step at most.
    pub(super) agc_step_db: f32,
    /// Share of the packets that are lost.
    pub(super) packet_loss: f32,
}

impl Default for Impairments {
    fn default() -> Self {
        Self {
            snr_db: 30.0,
            sto_ns: 50.0,
            sfo_ns_s: 5.0,
            cfo_hz: 200.0,
            agc_step_db: 1.0,
            packet_loss: 0.01,
        }
    }
}

/// Distance of neighbouring subcarriers, in cycles per nanosecond of delay.
const SUBCARRIER_CYCLES_NS: f32 = (SUBCARRIER_HZ * 1e-9) as f32;

impl Impairments {
    /// True if every size is in its valid range.
    pub(super) fn valid(&self) -> bool {
        let sizes = [self.sto_ns, self.sfo_ns_s, self.cfo_hz, self.agc_step_db, self.packet_loss];
        self.snr_db.is_finite()
            && sizes.iter().all(|size| size.is_finite() && *size >= 0.0)
            && self.packet_loss < 1.0
    }

    /// Impairs one frame, `[n_rx, n_subcarriers]`, whose empty room has `amplitude` on average.
    /// Returns the gain that the receiver applied, in dB, or `None` if the packet is lost.
    pub(super) fn apply(
        &self,
        time_s: f64,
        disturbance: Disturbance,
        amplitude: f32,
        subcarriers: &[i16],
        frame: &mut [Complex32],
        random: &mut ChaCha8Rng,
    ) -> Option<f32> {
        if random.random::<f32>() < self.packet_loss || disturbance.is_outage {
            return None;
        }
        let offset_ns = self.sto_ns * random.random_range(-1.0..=1.0)
            + (f64::from(self.sfo_ns_s) * time_s % 100.0) as f32;
        // Each packet locks on anew, so that its carrier starts at any phase and drifts from there.
        let phase_rad =
            TAU * random.random::<f32>() + TAU * (f64::from(self.cfo_hz) * time_s).fract() as f32;
        let gain_db = disturbance.gain_db + self.agc_step_db * random.random_range(-1..=1) as f32;
        let gain = 10_f32.powf(gain_db / 20.0);
        let snr_db = disturbance.burst_snr_db.unwrap_or(self.snr_db);
        let noise = amplitude * 10_f32.powf(-snr_db / 20.0) / std::f32::consts::SQRT_2;
        for values in frame.chunks_exact_mut(subcarriers.len()) {
            for (value, subcarrier) in values.iter_mut().zip(subcarriers) {
                let turn = -TAU * f32::from(*subcarrier) * SUBCARRIER_CYCLES_NS * offset_ns;
                let noisy = *value + gaussian(random) * noise;
                *value = noisy * Complex32::from_polar(gain, phase_rad + turn);
            }
        }
        Some(gain_db)
    }
}

/// Draws a complex number of two independent standard normals (Box and Muller 1958).
fn gaussian(random: &mut ChaCha8Rng) -> Complex32 {
    let uniform = 1.0 - random.random::<f32>();
    Complex32::from_polar((-2.0 * uniform.ln()).sqrt(), TAU * random.random::<f32>())
}
