//! One receiver: the people on the floor, as its recent frames show them.
//!
//! A person scatters with a path length that follows from the cell and the geometry. Beamforming over antennas
//! and delays computes the power that arrives from each cell, for three changes of the channel: the difference
//! from the empty room, which also shows still people; slow motion, against the mean of two seconds; and fast
//! motion, from frame to frame of half a second.

use std::collections::VecDeque;
use std::f32::consts::TAU;

use num_complex::Complex32;
use schemas::{ReceiverGeometry, SPEED_OF_LIGHT_M_S, SUBCARRIER_HZ};
use serde::{Deserialize, Serialize};

use crate::infer::align::align;
use crate::infer::beamforming::Covariance;
use crate::infer::layout::{InputLayout, distance, ray, values_of};

/// Height at which a body scatters most.
const SCATTER_HEIGHT_M: f32 = 0.95;
pub(super) const SLOW_NS: i64 = 2_000_000_000;
const FAST_NS: i64 = 500_000_000;
/// The time over which people are compared with the empty room: long enough for a few frames, and short, because
/// people are seen where they were in the middle of it.
const PRESENT_NS: i64 = 120_000_000;
/// The fewest frames in the slow window for a picture.
const MIN_FRAMES: usize = 12;
/// The most delays: a room of a hundred metres at 80 MHz.
const MAX_DELAYS: f64 = 64.0;
/// The most frames of a receiver; older ones are dropped.
const MAX_FRAMES: usize = 512;
/// Pictures of each receiver: Bartlett's and Capon's estimate of each change.
pub(super) const PICTURES: usize = 6;

/// The geometry of one receiver, and its channel without people.
#[derive(Clone, Debug)]
pub(super) struct Receiver {
    pub(super) name: String,
    pub(super) n_rx: usize,
    /// The channel of the empty room, `[n_rx, n_subcarriers]`: the reference of the alignment.
    empty: Vec<Complex32>,
    /// The response of each delay, `[n_delays, n_subcarriers]`, norm 1.
    delays: Vec<Complex32>,
    /// The channel of the empty room, `[n_rx, n_delays]`.
    empty_by_delay: Vec<Complex32>,
    /// The response of a scatterer in each cell, `[n_cells, n_rx * n_delays]`, norm 1.
    steering: Vec<Complex32>,
}

/// A frame of one receiver.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct RecentFrame {
    captured_at_ns: i64,
    /// Aligned values, `[n_rx, n_delays]`.
    #[serde(with = "schemas::flat_complex")]
    values: Vec<Complex32>,
}

impl Receiver {
    pub(super) fn new(
        receiver: &ReceiverGeometry,
        layout: &InputLayout,
        empty: Vec<Complex32>,
    ) -> Self {
        let geometry = &layout.geometry;
        let cells = (0..layout.n_cells()).map(|cell| {
            let [x, y] = layout.cell_centre_m(cell % layout.columns, cell / layout.columns);
            [x, y, SCATTER_HEIGHT_M]
        });
        let path_m = |cell_m: [f32; 3], antenna_m: [f32; 3]| {
            distance(geometry.transmitter_m, cell_m) + distance(cell_m, antenna_m)
        };
        let paths_m = cells.clone().filter_map(|cell_m| {
            receiver.antennas_m.first().map(|antenna_m| path_m(cell_m, *antenna_m))
        });
        let delays = delays(&geometry.subcarriers, paths_m);
        let n_subcarriers = geometry.subcarriers.len();
        let steering = cells.flat_map(|cell_m| {
            let response = values_of(geometry, receiver).map(|(antenna_m, subcarrier)| {
                ray(geometry, path_m(cell_m, antenna_m), subcarrier)
            });
            let response: Vec<_> = response.collect();
            normalized(by_delay(&response, &delays, n_subcarriers))
        });
        Self {
            name: receiver.name.clone(),
            n_rx: receiver.antennas_m.len(),
            steering: steering.collect(),
            empty_by_delay: by_delay(&empty, &delays, n_subcarriers),
            empty,
            delays,
        }
    }

    pub(super) fn push(
        &self,
        captured_at_ns: i64,
        values: &[Complex32],
        subcarriers: &[i16],
        frames: &mut VecDeque<RecentFrame>,
    ) {
        let too_old =
            |frame: &RecentFrame| frame.captured_at_ns < captured_at_ns.saturating_sub(SLOW_NS);
        while frames.len() >= MAX_FRAMES || frames.front().is_some_and(too_old) {
            frames.pop_front();
        }
        let mut aligned = values.to_vec();
        align(&mut aligned, &self.empty, subcarriers);
        let values = by_delay(&aligned, &self.delays, subcarriers.len());
        frames.push_back(RecentFrame { captured_at_ns, values });
    }

    /// Draws the pictures, `[PICTURES, n_cells]`. None with too few frames.
    pub(super) fn draw(
        &self,
        now_ns: i64,
        frames: &VecDeque<RecentFrame>,
        pictures: &mut [f32],
    ) -> Option<()> {
        let since = |window_ns: i64| {
            let starts_ns = now_ns.saturating_sub(window_ns);
            let recent = frames.iter().filter(move |frame| frame.captured_at_ns > starts_ns);
            recent.map(|frame| &frame.values)
        };
        if since(SLOW_NS).count() < MIN_FRAMES {
            return None;
        }
        let n_values = self.empty_by_delay.len();
        let mean = mean(since(SLOW_NS), n_values);
        let mut changes: [_; 3] = std::array::from_fn(|_| Covariance::new(n_values));
        let [present, slow, fast] = &mut changes;
        since(PRESENT_NS).for_each(|values| present.add(values, &self.empty_by_delay));
        since(SLOW_NS).for_each(|values| slow.add(values, &mean));
        let pairs = since(FAST_NS).zip(since(FAST_NS).skip(1));
        pairs.for_each(|(before, values)| fast.add(values, before));
        let pictures = pictures.chunks_exact_mut(pictures.len() / changes.len());
        changes.iter().zip(pictures).for_each(|(change, pictures)| self.focus(change, pictures));
        Some(())
    }

    /// Computes the power from each cell, relative to the empty room, by both estimates: `[2, n_cells]`.
    fn focus(&self, change: &Covariance, pictures: &mut [f32]) {
        let factor = change.factor();
        let power: f32 = self.empty.iter().map(Complex32::norm_sqr).sum();
        let (bartlett, capon) = pictures.split_at_mut(pictures.len() / 2);
        let steering = self.steering.chunks_exact(self.empty_by_delay.len());
        let mut solved = Vec::new();
        for ((steering, bartlett), capon) in steering.zip(bartlett).zip(capon) {
            *bartlett = scaled(change.bartlett(steering) / power);
            *capon = scaled(factor.capon(steering, &mut solved) / power);
        }
    }
}

/// From about 1e-6 (noise) to 1e-1 (a person nearby): around 0 with a spread of 1.
fn scaled(power: f32) -> f32 {
    (power + 1e-7).log10().mul_add(0.7, 2.8)
}

/// Returns the response of each delay of paths, as far apart as the bandwidth resolves, `[n_delays,
/// n_subcarriers]`.
fn delays(subcarriers: &[i16], paths_m: impl Iterator<Item = f64>) -> Vec<Complex32> {
    let (first, last) = (subcarriers.first().copied(), subcarriers.last().copied());
    let span = f64::from(last.unwrap_or(1)) - f64::from(first.unwrap_or(0)) + 1.0;
    let step_m = SPEED_OF_LIGHT_M_S / (span.max(1.0) * SUBCARRIER_HZ);
    let (nearest_m, farthest_m) = paths_m
        .fold((f64::INFINITY, 0.0_f64), |(near, far), path_m| (near.min(path_m), far.max(path_m)));
    let n_delays = ((farthest_m - nearest_m) / step_m).ceil().clamp(0.0, MAX_DELAYS) as u16 + 1;
    let norm = (subcarriers.len().max(1) as f32).sqrt().recip();
    let response = |nth: u16| {
        let path_m = nearest_m + f64::from(nth) * step_m;
        subcarriers.iter().map(move |subcarrier| {
            let cycles = path_m * f64::from(*subcarrier) * SUBCARRIER_HZ / SPEED_OF_LIGHT_M_S;
            Complex32::from_polar(norm, -TAU * cycles.fract() as f32)
        })
    };
    (0..n_delays).flat_map(response).collect()
}

/// Converts values, `[n_rx, n_subcarriers]`, to the response at each delay, `[n_rx, n_delays]`.
fn by_delay(values: &[Complex32], delays: &[Complex32], n_subcarriers: usize) -> Vec<Complex32> {
    let at_delay = |(antenna, delay): (&[Complex32], &[Complex32])| {
        antenna.iter().zip(delay).map(|(value, delay)| value * delay.conj()).sum()
    };
    let antennas = values.chunks_exact(n_subcarriers);
    let pairs = antennas
        .flat_map(|antenna| delays.chunks_exact(n_subcarriers).map(move |delay| (antenna, delay)));
    pairs.map(at_delay).collect()
}

fn normalized(mut values: Vec<Complex32>) -> Vec<Complex32> {
    let norm = values.iter().map(Complex32::norm_sqr).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    for value in &mut values {
        *value /= norm;
    }
    values
}

fn mean<'a>(frames: impl Iterator<Item = &'a Vec<Complex32>>, n_values: usize) -> Vec<Complex32> {
    let (mut sum, mut n_frames) = (vec![Complex32::ZERO; n_values], 0.0_f32);
    for values in frames {
        n_frames += 1.0;
        sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
    }
    for sum in &mut sum {
        *sum /= n_frames.max(1.0);
    }
    sum
}
