//! The geometry of a model's input: the radios, the cells of the floor, and the rays between them.

use std::f64::consts::TAU;

use num_complex::Complex32;
use schemas::{ReceiverGeometry, SPEED_OF_LIGHT_M_S, SUBCARRIER_HZ, SiteGeometry};
use serde::{Deserialize, Serialize};

use crate::infer::receiver::PICTURES;

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

/// Returns the antenna and the subcarrier of each value of a receiver, `[n_rx * n_subcarriers]`.
pub(super) fn values_of<'a>(
    geometry: &'a SiteGeometry,
    receiver: &'a ReceiverGeometry,
) -> impl Iterator<Item = ([f32; 3], i16)> + 'a {
    let antennas_m = receiver.antennas_m.iter();
    antennas_m.flat_map(|at_m| geometry.subcarriers.iter().map(move |index| (*at_m, *index)))
}

/// Returns the response of a ray of a length.
pub(super) fn ray(geometry: &SiteGeometry, length_m: f64, subcarrier: i16) -> Complex32 {
    let hz = f64::from(geometry.centre_mhz) * 1e6 + f64::from(subcarrier) * SUBCARRIER_HZ;
    let turn = TAU * (hz * length_m / SPEED_OF_LIGHT_M_S).fract();
    Complex32::new(turn.cos() as f32, -turn.sin() as f32)
}

pub(super) fn distance(a: [f32; 3], b: [f32; 3]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt()
}
