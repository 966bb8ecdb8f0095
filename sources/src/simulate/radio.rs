//! The radio channel of a room by ray geometry.
//!
//! A ray arrives directly, off each wall (image method, first order), off each reflector, and off each joint of each
//! body. A ray of length `d` adds `a / d * exp(-j 2 pi f d / c)`; a scattered one `a / (d1 d2)`. A body near the direct
//! line attenuates the direct ray.
//!
//! Source: A. Goldsmith, "Wireless Communications", 2005, chapter 2 (ray tracing).

use std::f64::consts::TAU;

use num_complex::{Complex32, Complex64};
use schemas::{N_KEYPOINTS, SPEED_OF_LIGHT_M_S, SUBCARRIER_HZ};

use crate::simulate::scene::Scene;

/// Amplitude that a whole body scatters at one metre.
const BODY_SCATTER_M: f32 = 0.35;
/// Each joint's share of it: larger parts scatter more.
const JOINT_SHARE: [f32; N_KEYPOINTS] = [
    0.10, 0.01, 0.01, 0.01, 0.01, 0.15, 0.15, 0.05, 0.05, 0.03, 0.03, 0.15, 0.15, 0.07, 0.07, 0.03,
    0.03,
];
/// Share of the direct ray that a body on the line blocks, and the width of the shadow.
const SHADOW: f32 = 0.6;
const SHADOW_WIDTH_M: f32 = 0.3;

type Point = [f32; 3];

/// The channel from the access point to one receiver.
#[derive(Debug)]
pub(super) struct Channel {
    transmitter_m: Point,
    antennas_m: Vec<Point>,
    /// Subcarrier indices, evenly spaced but for the gap in the middle.
    subcarriers: Vec<i16>,
    centre_hz: f64,
    /// The direct ray, `[n_rx, n_subcarriers]`.
    direct: Vec<Complex32>,
    /// The rays of walls and reflectors, `[n_rx, n_subcarriers]`.
    walls: Vec<Complex32>,
}

impl Channel {
    pub(super) fn new(scene: &Scene, transmitter_m: Point, antennas_m: Vec<Point>) -> Self {
        let subcarriers = scene.subcarriers();
        let n_values = antennas_m.len() * subcarriers.len();
        let mut channel = Self {
            transmitter_m,
            antennas_m,
            subcarriers,
            centre_hz: f64::from(scene.radio.centre_mhz) * 1e6,
            direct: vec![Complex32::default(); n_values],
            walls: vec![Complex32::default(); n_values],
        };
        let mut direct = std::mem::take(&mut channel.direct);
        channel.add_rays(&mut direct, |antenna_m| {
            let length_m = distance(channel.transmitter_m, antenna_m);
            (length_m, scene.radio.line_of_sight / length_m.max(0.1))
        });
        let mut walls = std::mem::take(&mut channel.walls);
        for image_m in images(channel.transmitter_m, scene) {
            channel.add_rays(&mut walls, |antenna_m| {
                let length_m = distance(image_m, antenna_m);
                (length_m, scene.room.wall_reflection / length_m.max(0.1))
            });
        }
        for reflector in &scene.reflectors {
            let there_m = distance(channel.transmitter_m, reflector.position_m);
            channel.add_rays(&mut walls, |antenna_m| {
                let length_m = there_m + distance(reflector.position_m, antenna_m);
                (length_m, reflector.reflection / length_m.max(0.1))
            });
        }
        Self { direct, walls, ..channel }
    }

    /// Returns the mean amplitude of the empty room, the reference of the noise.
    pub(super) fn mean_amplitude(&self) -> f32 {
        let sum: f32 =
            self.direct.iter().zip(&self.walls).map(|(direct, wall)| (direct + wall).norm()).sum();
        sum / self.direct.len() as f32
    }

    /// Writes the channel with these bodies in the room, `[n_rx, n_subcarriers]`, to `response`.
    pub(super) fn respond(&self, bodies: &[[Point; N_KEYPOINTS]], response: &mut Vec<Complex32>) {
        let open = bodies.iter().map(|body| self.unshadowed(body)).product::<f32>();
        response.clear();
        response
            .extend(self.direct.iter().zip(&self.walls).map(|(direct, wall)| direct * open + wall));
        for joint in bodies.iter().flat_map(|body| body.iter().zip(JOINT_SHARE)) {
            let (joint_m, share) = joint;
            let there_m = distance(self.transmitter_m, *joint_m).max(0.2);
            self.add_rays(response, |antenna_m| {
                let back_m = distance(*joint_m, antenna_m).max(0.2);
                (there_m + back_m, share * BODY_SCATTER_M / (there_m * back_m))
            });
        }
    }

    /// Returns the share of the direct ray that passes a body.
    fn unshadowed(&self, body: &[Point; N_KEYPOINTS]) -> f32 {
        let [left_hip, right_hip] = [body[11], body[12]];
        let middle = [0, 1].map(|axis| f32::midpoint(left_hip[axis], right_hip[axis]));
        let off_m = distance_to_line(middle, self.transmitter_m, self.antennas_m[0]);
        let top_m = body.iter().map(|joint| joint[2]).fold(0.0, f32::max);
        let line_m = f32::midpoint(self.transmitter_m[2], self.antennas_m[0][2]);
        if top_m < line_m {
            return 1.0;
        }
        1.0 - SHADOW * (-(off_m / SHADOW_WIDTH_M).powi(2)).exp()
    }

    /// Adds one ray per antenna; `ray` returns its length in metres and its amplitude.
    fn add_rays(&self, response: &mut [Complex32], ray: impl Fn(Point) -> (f32, f32)) {
        let n_subcarriers = self.subcarriers.len();
        for (values, antenna_m) in response.chunks_exact_mut(n_subcarriers).zip(&self.antennas_m) {
            let (length_m, amplitude) = ray(*antenna_m);
            let delay_s = f64::from(length_m) / SPEED_OF_LIGHT_M_S;
            let turn = |frequency_hz: f64| {
                Complex64::from_polar(1.0, -TAU * (frequency_hz * delay_s).fract())
            };
            let mut index = self.subcarriers[0];
            let first_hz = self.centre_hz + f64::from(index) * SUBCARRIER_HZ;
            let mut phasor = turn(first_hz) * f64::from(amplitude);
            let mut step = 0;
            let mut turn_by_step = Complex64::new(1.0, 0.0);
            for (value, subcarrier) in values.iter_mut().zip(&self.subcarriers) {
                if subcarrier - index != 0 {
                    if subcarrier - index != step {
                        step = subcarrier - index;
                        turn_by_step = turn(f64::from(step) * SUBCARRIER_HZ);
                    }
                    phasor *= turn_by_step;
                    index = *subcarrier;
                }
                *value += Complex32::new(phasor.re as f32, phasor.im as f32);
            }
        }
    }
}

/// Returns the transmitter, mirrored at each of the four walls.
fn images([x, y, z]: Point, scene: &Scene) -> [Point; 4] {
    let (width_m, depth_m) = (scene.room.width_m, scene.room.depth_m);
    [[-x, y, z], [2.0 * width_m - x, y, z], [x, -y, z], [x, 2.0 * depth_m - y, z]]
}

fn distance(a: Point, b: Point) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt()
}

/// Returns the distance on the plan from a point to the line between two others.
fn distance_to_line([x, y]: [f32; 2], from: Point, to: Point) -> f32 {
    let (dx, dy) = (to[0] - from[0], to[1] - from[1]);
    let length_squared = (dx * dx + dy * dy).max(1e-6);
    let along = (((x - from[0]) * dx + (y - from[1]) * dy) / length_squared).clamp(0.0, 1.0);
    (x - from[0] - along * dx).hypot(y - from[1] - along * dy)
}
