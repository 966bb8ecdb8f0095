//! Phase sanitisation: removes the phase errors of unsynchronised clocks.
//!
//! The sampling-time offset tilts a packet's phase over the subcarriers, and the carrier offset shifts it.
//! Neither depends on the room. Each method removes a part of these errors.
//!
//! Source: S. Sen et al., "You are facing the Mona Lisa", `MobiSys` 2012 (end points); M. Kotaru et
//! al., "`SpotFi`", SIGCOMM 2015, algorithm 1; X. Li et al., "`IndoTrack`", IMWUT 1(3), 2017 (conjugate
//! product).

use std::f32::consts::{PI, TAU};

use num_complex::Complex32;
use schemars::JsonSchema;
use schemas::{CsiBatch, CsiLayout, RecordKind, Tick};
use serde::Deserialize;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Operator;

use crate::Component;
use crate::settings::{Outputs, Settings};

/// Settings of the `sanitize_phase` operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SanitizePhaseConfig {
    /// The method: "`linear_fit`" (default), "`end_points`", "spotfi" or "`conjugate_product`".
    #[serde(default)]
    pub method: PhaseMethod,
}

impl Settings for SanitizePhaseConfig {
    fn input(&self) -> Option<RecordKind> {
        Some(RecordKind::Csi)
    }

    fn outputs(&self) -> Outputs {
        &[("", RecordKind::Csi)]
    }
}

/// Methods of phase sanitisation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PhaseMethod {
    /// Subtracts slope and mean of a least-squares line, per antenna pair.
    #[default]
    LinearFit,
    /// Subtracts the slope from the first to the last subcarrier, and the mean, per antenna pair.
    EndPoints,
    /// Subtracts one slope, common to all antennas, and keeps the phase between antennas.
    Spotfi,
    /// Multiplies each antenna by the conjugate of the first. This cancels every offset, and removes the
    /// first antenna.
    ConjugateProduct,
}

/// Phase sanitisation on streams of CSI.
pub trait SanitizePhase {
    /// Sanitises each frame by the chosen method.
    ///
    /// The conjugate product multiplies amplitudes and has one antenna less; it drops and counts frames of
    /// one antenna. The other methods keep the amplitudes. Fits ignore subcarriers without a signal. No
    /// state; frames are not delayed.
    ///
    /// ```
    /// use num_complex::Complex32;
    /// use operators::{Context, SanitizePhase, SanitizePhaseConfig};
    /// use schemas::{CsiBatch, CsiFrame, CsiLayout, Link, SourceKind};
    /// use timely::dataflow::operators::{Inspect, ToStream};
    ///
    /// let layout = CsiLayout { n_rx: 1, n_tx: 1, subcarriers: vec![-1, 0, 1], ..CsiLayout::default() };
    /// let mut batch = CsiBatch::new(Link::default(), layout.into(), SourceKind::Live);
    /// // A clock that is not synchronised turns the phases by a slope and an offset.
    /// batch.iq.extend([0.2, 0.5, 0.8].map(|phase| Complex32::from_polar(2.0, phase)));
    /// batch.push_scalars(CsiFrame::default())?;
    ///
    /// let config: SanitizePhaseConfig = serde_json::from_str(r#"{ "method": "linear_fit" }"#)?;
    /// let (to, sanitized) = std::sync::mpsc::channel();
    /// timely::example(move |scope| {
    ///     let frames = vec![batch].to_stream(scope).container::<Vec<_>>();
    ///     let sanitized = frames.sanitize_phase(config, Context::detached("sanitize").component);
    ///     sanitized.inspect(move |batch| to.send(batch.clone()).unwrap());
    /// });
    /// for value in sanitized.iter().next().expect("a batch").iq {
    ///     assert!((value - Complex32::new(2.0, 0.0)).norm() < 1e-5);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    fn sanitize_phase(self, config: SanitizePhaseConfig, component: Component) -> Self;
}

impl SanitizePhase for StreamVec<'_, Tick, CsiBatch> {
    fn sanitize_phase(self, config: SanitizePhaseConfig, component: Component) -> Self {
        self.unary::<CapacityContainerBuilder<Vec<CsiBatch>>, _, _, _>(
            Pipeline,
            &component.name.clone(),
            move |_capability, _info| {
                let mut sanitizer = Sanitizer::default();
                move |input, output| {
                    input.for_each_time(|time, batches| {
                        let mut session = output.session(&time);
                        for batch in batches.flat_map(|batch| batch.drain(..)) {
                            let n_frames = batch.len() as u64;
                            match sanitizer.sanitize(batch, config.method) {
                                Some(batch) => session.give(batch),
                                None => (component.dropped)("one antenna", n_frames),
                            }
                        }
                    });
                }
            },
        )
    }
}

/// Sanitises a batch; `None` if the method needs more antennas than there are. See [`SanitizePhase`].
pub fn sanitize(batch: CsiBatch, method: PhaseMethod) -> Option<CsiBatch> {
    Sanitizer::default().sanitize(batch, method)
}

/// Scratch space, so that a frame costs no allocation.
#[derive(Debug, Default)]
struct Sanitizer {
    /// Positions in the data in ascending order of their subcarrier.
    order: Vec<usize>,
    /// The layout that `order` was computed for.
    order_of: Vec<i16>,
    phase_rad: Vec<f32>,
    index: Vec<f32>,
}

impl Sanitizer {
    /// Sanitises a batch; `None` if the method needs more antennas than there are.
    fn sanitize(&mut self, mut batch: CsiBatch, method: PhaseMethod) -> Option<CsiBatch> {
        if method == PhaseMethod::ConjugateProduct {
            return conjugate_product(&batch);
        }
        let subcarriers = &batch.layout.subcarriers;
        self.set_order(subcarriers);
        let n_values = batch.layout.n_values();
        for frame in batch.iq.chunks_exact_mut(n_values.max(1)) {
            match method {
                PhaseMethod::Spotfi => self.remove_common_slope(frame, subcarriers),
                _ => self.remove_lines(frame, subcarriers, method),
            }
        }
        Some(batch)
    }

    fn set_order(&mut self, subcarriers: &[i16]) {
        if self.order_of != subcarriers {
            self.order_of = subcarriers.to_vec();
            self.order = (0..subcarriers.len()).collect();
            self.order.sort_by_key(|at| subcarriers[*at]);
        }
    }

    /// Subtracts a separate line from each antenna pair.
    fn remove_lines(&mut self, frame: &mut [Complex32], subcarriers: &[i16], method: PhaseMethod) {
        for values in frame.chunks_exact_mut(subcarriers.len()) {
            self.read_phase(values, subcarriers);
            let line = match method {
                PhaseMethod::EndPoints => fit_end_points(&self.phase_rad, &self.index),
                _ => fit_least_squares(&self.phase_rad, &self.index),
            };
            rotate(values, subcarriers, line);
        }
    }

    /// Subtracts one slope from all antenna pairs.
    fn remove_common_slope(&mut self, frame: &mut [Complex32], subcarriers: &[i16]) {
        let mut sums = LineSums::default();
        for values in frame.chunks_exact(subcarriers.len()) {
            self.read_phase(values, subcarriers);
            sums.add(&self.phase_rad, &self.index);
        }
        let line = PhaseFit { intercept_rad: 0.0, ..sums.fit() };
        for values in frame.chunks_exact_mut(subcarriers.len()) {
            rotate(values, subcarriers, line);
        }
    }

    /// Reads the unwrapped phases and the subcarriers, ascending, of the values with a signal.
    fn read_phase(&mut self, values: &[Complex32], subcarriers: &[i16]) {
        let present = || self.order.iter().filter(|at| values[**at] != Complex32::ZERO);
        self.phase_rad.clear();
        self.index.clear();
        self.phase_rad.extend(present().map(|at| values[*at].arg()));
        self.index.extend(present().map(|at| f32::from(subcarriers[*at])));
        unwrap_phase(&mut self.phase_rad);
    }
}

/// A line over the subcarriers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PhaseFit {
    /// Radians from one subcarrier to the next.
    pub slope_rad: f32,
    /// Radians at subcarrier 0, or the mean for end points.
    pub intercept_rad: f32,
}

/// Removes jumps of more than `pi` by steps of `2 pi`, in place.
///
/// # Shapes
///
/// - `phase_rad`: `[n_subcarriers]`, in ascending order of the subcarriers
pub fn unwrap_phase(phase_rad: &mut [f32]) {
    let mut turns_rad = 0.0;
    let mut last_rad = phase_rad.first().copied().unwrap_or_default();
    for phase in phase_rad {
        let step = *phase - last_rad;
        last_rad = *phase;
        if step > PI {
            turns_rad -= TAU;
        } else if step < -PI {
            turns_rad += TAU;
        }
        *phase += turns_rad;
    }
}

/// Returns the line through the first and the last point, and the mean: exact if `index` is symmetric.
///
/// # Shapes
///
/// - `phase_rad`: `[n_subcarriers]`, unwrapped
/// - `index`: `[n_subcarriers]`, ascending
pub fn fit_end_points(phase_rad: &[f32], index: &[f32]) -> PhaseFit {
    let ([first_rad, .., last_rad], [first, .., last]) = (phase_rad, index) else {
        return PhaseFit::default();
    };
    let mean_rad = phase_rad.iter().sum::<f32>() / phase_rad.len() as f32;
    let run = last - first;
    let slope_rad = if run == 0.0 { 0.0 } else { (last_rad - first_rad) / run };
    PhaseFit { slope_rad, intercept_rad: mean_rad }
}

/// Returns the least-squares line; a level line if there are too few points.
///
/// # Shapes
///
/// - `phase_rad`: `[n_subcarriers]`, unwrapped
/// - `index`: `[n_subcarriers]`
pub fn fit_least_squares(phase_rad: &[f32], index: &[f32]) -> PhaseFit {
    let mut sums = LineSums::default();
    sums.add(phase_rad, index);
    sums.fit()
}

/// Running sums of a least-squares line.
#[derive(Clone, Copy, Debug, Default)]
struct LineSums {
    n: f64,
    x: f64,
    y: f64,
    xx: f64,
    xy: f64,
}

impl LineSums {
    fn add(&mut self, phase_rad: &[f32], index: &[f32]) {
        for (phase, index) in phase_rad.iter().zip(index) {
            let (x, y) = (f64::from(*index), f64::from(*phase));
            self.n += 1.0;
            self.x += x;
            self.y += y;
            self.xx += x * x;
            self.xy += x * y;
        }
    }

    fn fit(&self) -> PhaseFit {
        if self.n == 0.0 {
            return PhaseFit::default();
        }
        let spread = self.n * self.xx - self.x * self.x;
        let slope = if spread == 0.0 { 0.0 } else { (self.n * self.xy - self.x * self.y) / spread };
        let intercept = (self.y - slope * self.x) / self.n;
        PhaseFit { slope_rad: slope as f32, intercept_rad: intercept as f32 }
    }
}

/// Rotates each value back by the line.
fn rotate(values: &mut [Complex32], subcarriers: &[i16], line: PhaseFit) {
    for (value, subcarrier) in values.iter_mut().zip(subcarriers) {
        let turn = line.slope_rad * f32::from(*subcarrier) + line.intercept_rad;
        *value *= Complex32::from_polar(1.0, -turn);
    }
}

/// Multiplies each antenna by the conjugate of the first, `[n, n_rx - 1, n_tx, n_subcarriers]`; returns
/// `None` for one antenna.
pub fn conjugate_product(batch: &CsiBatch) -> Option<CsiBatch> {
    let n_rx = batch.layout.n_rx.checked_sub(1).filter(|n_rx| *n_rx > 0)?;
    let n_per_antenna = usize::from(batch.layout.n_tx) * batch.layout.subcarriers.len();
    let mut iq = Vec::with_capacity(batch.len() * usize::from(n_rx) * n_per_antenna);
    for frame in batch.iq.chunks_exact(batch.layout.n_values().max(1)) {
        let (reference, others) = frame.split_at(n_per_antenna);
        for antenna in others.chunks_exact(n_per_antenna.max(1)) {
            iq.extend(antenna.iter().zip(reference).map(|(value, other)| value * other.conj()));
        }
    }
    let rx_antennas = batch.layout.rx_antennas.get(1..).unwrap_or_default().to_vec();
    let layout = CsiLayout { n_rx, rx_antennas, ..CsiLayout::clone(&batch.layout) };
    Some(CsiBatch { layout: layout.into(), iq, ..batch.clone() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use schemas::{CsiFrame, CsiLayout, Link, SourceKind};

    use super::*;

    const SUBCARRIERS: [i16; 8] = [1, 2, 3, 4, -4, -3, -2, -1];

    /// One frame of two antennas whose phases follow `phase_rad(antenna, subcarrier)`.
    fn batch(phase_rad: impl Fn(u16, f32) -> f32) -> CsiBatch {
        let layout =
            CsiLayout { n_rx: 2, n_tx: 1, subcarriers: SUBCARRIERS.to_vec(), ..Default::default() };
        let mut batch = CsiBatch::new(Link::default(), layout.into(), SourceKind::Simulated);
        for antenna in 0..2 {
            let phases = SUBCARRIERS.map(|index| phase_rad(antenna, f32::from(index)));
            batch.iq.extend(phases.map(|phase| Complex32::from_polar(2.0, phase)));
        }
        batch.push_scalars(CsiFrame::default()).expect("the frame is full");
        batch
    }

    fn phases(batch: &CsiBatch) -> Vec<f32> {
        batch.iq.iter().map(|value| value.arg()).collect()
    }

    proptest! {
        /// A frame with clock offsets becomes the same as one without.
        #[test]
        fn offsets_vanish(slope in -0.7_f32..0.7, shift in -3.0_f32..3.0) {
            let shape = |antenna: u16, index: f32| 0.1 * (index * f32::from(antenna + 1)).sin();
            for method in [PhaseMethod::LinearFit, PhaseMethod::EndPoints] {
                let sanitize = |batch| {
                    let mut sanitizer = Sanitizer::default();
                    phases(&sanitizer.sanitize(batch, method).expect("two antennas"))
                };
                let clean = sanitize(batch(shape));
                let offset = sanitize(batch(|rx, index| shape(rx, index) + slope * index + shift));
                for (clean, offset) in clean.iter().zip(offset) {
                    prop_assert!((clean - offset).abs() < 1e-3, "{clean} {offset} by {method:?}");
                }
            }
        }

        /// SpotFi keeps the phase between the antennas.
        #[test]
        fn spotfi_keeps_the_angle(slope in -0.7_f32..0.7, between in -1.0_f32..1.0) {
            let tilted = batch(|rx, index| slope * index + between * f32::from(rx));
            let level = Sanitizer::default().sanitize(tilted, PhaseMethod::Spotfi).expect("fits");
            for phase in phases(&level).chunks_exact(SUBCARRIERS.len()).zip([0.0, between]) {
                for value in phase.0 {
                    prop_assert!((value - phase.1).abs() < 1e-3);
                }
            }
        }
    }

    #[test]
    fn a_silent_subcarrier_does_not_count() {
        let mut with_silence = batch(|_, index| 0.5 * index);
        with_silence.iq[3] = Complex32::ZERO;
        let level = Sanitizer::default().sanitize(with_silence, PhaseMethod::LinearFit);
        assert!(phases(&level.expect("fits")).iter().all(|phase| phase.abs() < 1e-3));
    }

    #[test]
    fn the_conjugate_product_has_an_antenna_less() {
        let product = conjugate_product(&batch(|rx, _| f32::from(rx))).expect("two antennas");
        assert_eq!((product.layout.n_rx, product.len()), (1, 1));
        assert!(
            product.iq.iter().all(|value| (value - Complex32::from_polar(4.0, 1.0)).norm() < 1e-5)
        );
        assert_eq!(conjugate_product(&product), None);
    }
}
