//! The geometry of a site: the positions of its radios.
//!
//! Site coordinates: `x` and `y` on the plan, `z` up from the floor, all in metres.

use serde::{Deserialize, Serialize};

/// Metres a second.
pub const SPEED_OF_LIGHT_M_S: f64 = 299_792_458.0;
/// Distance of neighbouring subcarriers of 802.11n and 802.11ac, in hertz.
pub const SUBCARRIER_HZ: f64 = 312_500.0;

/// A room with one access point and receivers around it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiteGeometry {
    /// Extent of the plan along x, in metres.
    pub width_m: f32,
    /// Extent of the plan along y, in metres.
    pub depth_m: f32,
    /// Floor to ceiling, in metres.
    pub height_m: f32,
    /// The position of the transmitter.
    pub transmitter_m: [f32; 3],
    /// The receivers, by name.
    pub receivers: Vec<ReceiverGeometry>,
    /// Centre frequency in MHz.
    pub centre_mhz: f32,
    /// 802.11 index of each subcarrier, 312.5 kHz apart.
    pub subcarriers: Vec<i16>,
}

/// One receiver and its antennas.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceiverGeometry {
    /// The receiver's name, as in [`crate::Link::receiver`].
    pub name: String,
    /// The position of each antenna, `[n_rx]`.
    pub antennas_m: Vec<[f32; 3]>,
}
