//! Features: for each receiver, the motion of the channel as seen from every cell of the floor.
//!
//! A person scatters with a path length that follows from the cell and the geometry. The moving part of the
//! channel is multiplied by the conjugate response of a scatterer in the cell, and summed over antennas and
//! subcarriers (a matched filter, or Bartlett beamformer). The power of the sum measures the motion in the
//! cell. Features contain motion twice: slow, against the mean of two seconds, which shows even breathing;
//! and fast, from frame to frame of half a second.
//!
//! Source: M. S. Bartlett, "Smoothing periodograms from time series", Nature 161, 1948; H. Krim and
//! M. Viberg, "Two decades of array signal processing research", IEEE SPM 13(4), 1996.

use std::collections::VecDeque;
use std::f64::consts::TAU;

use num_complex::Complex32;
use schemas::{CsiBatch, ReceiverGeometry, SPEED_OF_LIGHT_M_S, SUBCARRIER_HZ, SiteGeometry};
use serde::{Deserialize, Serialize};

use crate::infer::align::align;

/// Height at which a body scatters most.
const SCATTER_HEIGHT_M: f32 = 0.95;
pub(super) const SLOW_NS: i64 = 2_000_000_000;
const FAST_NS: i64 = 500_000_000;
/// The most frames of one picture, spread over its time.
const FRAMES_PER_PICTURE: usize = 24;
/// The fewest frames in the slow window for a picture.
const MIN_FRAMES: usize = 12;
/// The most frames of a receiver; older ones are dropped.
const MAX_FRAMES: usize = 512;
/// Pictures of each receiver: slow and fast.
pub(super) const PICTURES: usize = 2;

/// The geometry of a model's input: the positions of the radios, and the grid on the floor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InputLayout {
    /// The positions of the radios.
    pub geometry: SiteGeometry,
    /// Side of a cell of the grid, in metres.
    pub cell_m: f32,
    /// Cells along x.
    pub columns: usize,
    /// Cells along y.
    pub rows: usize,
}

impl InputLayout {
    /// Returns a grid over the whole plan.
    pub fn new(geometry: SiteGeometry, cell_m: f32) -> Self {
        let cells = |extent_m: f32| (extent_m / cell_m).ceil().max(1.0) as usize;
        let (columns, rows) = (cells(geometry.width_m), cells(geometry.depth_m));
        Self { geometry, cell_m, columns, rows }
    }

    /// Returns the number of cells of the grid.
    pub fn n_cells(&self) -> usize {
        self.columns * self.rows
    }

    /// Returns the number of pictures of all receivers.
    pub fn n_channels(&self) -> usize {
        PICTURES * self.geometry.receivers.len()
    }

    /// Returns the middle of a cell, in metres on the plan.
    pub(super) fn cell_centre_m(&self, column: usize, row: usize) -> [f32; 2] {
        [(column as f32 + 0.5) * self.cell_m, (row as f32 + 0.5) * self.cell_m]
    }
}

/// Conversion of frames to pictures, by the geometry of each receiver.
#[derive(Clone, Debug)]
pub struct Features {
    layout: InputLayout,
    receivers: Vec<Receiver>,
}

/// The geometry of one receiver.
#[derive(Clone, Debug)]
struct Receiver {
    name: String,
    n_rx: usize,
    /// The direct ray alone, `[n_rx, n_subcarriers]`: the reference of the alignment.
    direct: Vec<Complex32>,
    /// The conjugate response of a scatterer in each cell, `[n_rx * n_subcarriers, n_cells]`.
    steering_re: Vec<f32>,
    steering_im: Vec<f32>,
}

/// The recent frames of each receiver of a site, in the order of the layout.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RecentFrames(Vec<VecDeque<RecentFrame>>);

/// A frame of one receiver.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct RecentFrame {
    captured_at_ns: i64,
    /// Aligned values, `[n_rx, n_subcarriers]`.
    #[serde(with = "schemas::flat_complex")]
    values: Vec<Complex32>,
}

impl Features {
    /// Returns the features of a layout.
    pub fn new(layout: InputLayout) -> Self {
        let receivers = layout.geometry.receivers.iter();
        let receivers = receivers.map(|receiver| Receiver::new(receiver, &layout)).collect();
        Self { layout, receivers }
    }

    /// Returns an empty list of frames for each receiver.
    pub fn no_frames(&self) -> RecentFrames {
        RecentFrames(self.receivers.iter().map(|_| VecDeque::new()).collect())
    }

    /// True if the layout contains the batch's receiver, with its antennas and subcarriers.
    pub(super) fn knows(&self, batch: &CsiBatch) -> bool {
        self.receiver_idx(batch).is_some()
    }

    /// Returns the index of a batch's receiver, if the layout contains such frames.
    fn receiver_idx(&self, batch: &CsiBatch) -> Option<usize> {
        let named = |known: &Receiver| known.name == batch.link.receiver;
        let receiver_idx = self.receivers.iter().position(named)?;
        let (n_rx, n_tx) = (usize::from(batch.layout.n_rx), batch.layout.n_tx);
        let fits = (n_rx, n_tx) == (self.receivers[receiver_idx].n_rx, 1)
            && batch.layout.subcarriers == self.layout.geometry.subcarriers;
        fits.then_some(receiver_idx)
    }

    /// Adds the frames of a batch. Returns false if the layout does not contain such frames.
    pub fn push(&self, batch: &CsiBatch, recent: &mut RecentFrames) -> bool {
        let Some(receiver_idx) = self.receiver_idx(batch) else { return false };
        let receiver = &self.receivers[receiver_idx];
        let Some(frames) = recent.0.get_mut(receiver_idx) else { return false };
        let subcarriers = &self.layout.geometry.subcarriers;
        for frame_idx in 0..batch.len() {
            let captured_at_ns = batch.captured_at_ns[frame_idx];
            receiver.push(captured_at_ns, batch.values(frame_idx), subcarriers, frames);
        }
        true
    }

    /// Returns the pictures at `now_ns`, `[n_channels, rows, columns]`, on a logarithmic scale around 0;
    /// `None` while a receiver has too few frames.
    pub fn pictures(&self, now_ns: i64, recent: &RecentFrames) -> Option<Vec<f32>> {
        let n_cells = self.layout.n_cells();
        let mut pictures = vec![0.0; self.layout.n_channels() * n_cells];
        let subcarriers = &self.layout.geometry.subcarriers;
        for ((receiver, frames), pictures) in
            self.receivers.iter().zip(&recent.0).zip(pictures.chunks_exact_mut(PICTURES * n_cells))
        {
            receiver.draw(now_ns, subcarriers, frames, pictures)?;
        }
        Some(pictures)
    }
}

impl Receiver {
    fn new(receiver: &ReceiverGeometry, layout: &InputLayout) -> Self {
        let geometry = &layout.geometry;
        let ray = |length_m: f64, subcarrier: i16| {
            let hz = f64::from(geometry.centre_mhz) * 1e6 + f64::from(subcarrier) * SUBCARRIER_HZ;
            let turn = TAU * (hz * length_m / SPEED_OF_LIGHT_M_S).fract();
            Complex32::new(turn.cos() as f32, -turn.sin() as f32)
        };
        let antennas_and_subcarriers = || {
            let antennas = receiver.antennas_m.iter();
            antennas.flat_map(|antenna_m| geometry.subcarriers.iter().map(move |k| (antenna_m, *k)))
        };
        let direct = antennas_and_subcarriers()
            .map(|(antenna_m, k)| ray(distance(geometry.transmitter_m, *antenna_m), k));
        let cells = (0..layout.n_cells()).map(|cell| {
            let [x, y] = layout.cell_centre_m(cell % layout.columns, cell / layout.columns);
            [x, y, SCATTER_HEIGHT_M]
        });
        let cells: Vec<_> = cells.collect();
        let steering = antennas_and_subcarriers().flat_map(|(antenna_m, k)| {
            let cells = cells.iter();
            cells.map(move |cell_m| {
                let there_m = distance(geometry.transmitter_m, *cell_m);
                ray(there_m + distance(*cell_m, *antenna_m), k).conj()
            })
        });
        let (steering_re, steering_im) = steering.map(|value| (value.re, value.im)).unzip();
        Self {
            name: receiver.name.clone(),
            n_rx: receiver.antennas_m.len(),
            direct: direct.collect(),
            steering_re,
            steering_im,
        }
    }

    fn push(
        &self,
        captured_at_ns: i64,
        values: &[Complex32],
        subcarriers: &[i16],
        frames: &mut VecDeque<RecentFrame>,
    ) {
        let too_old =
            |frame: &RecentFrame| frame.captured_at_ns < captured_at_ns.saturating_sub(SLOW_NS);
        let mut aligned = Vec::new();
        while frames.len() >= MAX_FRAMES || frames.front().is_some_and(too_old) {
            // The new frame reuses the memory of a dropped one.
            aligned = frames.pop_front().map(|frame| frame.values).unwrap_or_default();
        }
        aligned.clear();
        aligned.extend_from_slice(values);
        align(&mut aligned, &self.direct, subcarriers);
        frames.push_back(RecentFrame { captured_at_ns, values: aligned });
    }

    /// Draws the slow and the fast picture, `[2, n_cells]`. None with too few frames.
    fn draw(
        &self,
        now_ns: i64,
        subcarriers: &[i16],
        frames: &VecDeque<RecentFrame>,
        pictures: &mut [f32],
    ) -> Option<()> {
        let since = |window_ns: i64| {
            let starts_ns = now_ns.saturating_sub(window_ns);
            let recent = frames.iter().filter(move |frame| frame.captured_at_ns > starts_ns);
            recent.map(|frame| &frame.values)
        };
        let n_slow = since(SLOW_NS).count();
        if n_slow < MIN_FRAMES {
            return None;
        }
        let mean = mean(since(SLOW_NS), self.direct.len());
        // Aligns again, to the mean of the room instead of the direct ray alone.
        let realigned = |values: &Vec<Complex32>| {
            let mut values = values.clone();
            align(&mut values, &mean, subcarriers);
            values
        };
        let stride = n_slow.div_ceil(FRAMES_PER_PICTURE);
        let slow: Vec<_> = since(SLOW_NS).step_by(stride).map(realigned).collect();
        let slow_mean = self::mean(slow.iter(), self.direct.len());
        let fast: Vec<_> = since(FAST_NS).map(realigned).collect();
        let fast = &fast[fast.len().saturating_sub(FRAMES_PER_PICTURE)..];
        let power: f32 = mean.iter().map(Complex32::norm_sqr).sum();
        let (slow_picture, fast_picture) = pictures.split_at_mut(pictures.len() / PICTURES);
        let slow_moves = slow.iter().map(|values| difference(values, &slow_mean));
        self.focus(slow_moves, power, slow_picture);
        let fast_moves = fast.windows(2).map(|pair| difference(&pair[1], &pair[0]));
        self.focus(fast_moves, power, fast_picture);
        Some(())
    }

    /// Computes the mean power that each cell must scatter to explain the motion, relative to `power`.
    fn focus(&self, moves: impl Iterator<Item = Vec<Complex32>>, power: f32, picture: &mut [f32]) {
        let n_cells = picture.len();
        picture.fill(0.0);
        let (mut sum_re, mut sum_im) = (vec![0.0_f32; n_cells], vec![0.0_f32; n_cells]);
        let mut n_moves = 0_u16;
        for moved in moves {
            n_moves += 1;
            sum_re.fill(0.0);
            sum_im.fill(0.0);
            for ((value, re), im) in moved
                .iter()
                .zip(self.steering_re.chunks_exact(n_cells))
                .zip(self.steering_im.chunks_exact(n_cells))
            {
                multiply_add(*value, re, im, &mut sum_re, &mut sum_im);
            }
            for ((cell, re), im) in picture.iter_mut().zip(&sum_re).zip(&sum_im) {
                *cell += re * re + im * im;
            }
        }
        let scale =
            f32::from(n_moves.max(1)) * power.max(f32::MIN_POSITIVE) * self.direct.len() as f32;
        for cell in picture {
            // From about 1e-6 (noise) to 1e-1 (a person nearby): around 0 with a spread of 1.
            *cell = (*cell / scale + 1e-7).log10().mul_add(0.7, 2.8);
        }
    }
}

/// Adds `value` times `[n_cells]` complex numbers.
fn multiply_add(value: Complex32, re: &[f32], im: &[f32], sum_re: &mut [f32], sum_im: &mut [f32]) {
    for (((sum_re, sum_im), re), im) in sum_re.iter_mut().zip(sum_im).zip(re).zip(im) {
        *sum_re += value.re * re - value.im * im;
        *sum_im += value.re * im + value.im * re;
    }
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

fn difference(a: &[Complex32], b: &[Complex32]) -> Vec<Complex32> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

fn distance(a: [f32; 3], b: [f32; 3]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt()
}
