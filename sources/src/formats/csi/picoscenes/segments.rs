//! The decoded segments of a PicoScenes frame, in all their versions.

use crate::formats::csi::bytes::{array, u16_le, u32_le, u64_le};

/// A part of a frame: a name, a version and a body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment<'a> {
    pub(super) name: &'a [u8],
    pub(super) version: u16,
    pub(super) body: &'a [u8],
}

/// The length field of a segment.
const LENGTH_BYTES: usize = 4;

impl<'a> Segment<'a> {
    /// Returns the first segment of `bytes`, and the rest after it.
    pub(super) fn take(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let n_bytes = u32_le(bytes, 0) as usize;
        let rest = bytes.get(LENGTH_BYTES..)?;
        let (segment, behind) = rest.split_at_checked(n_bytes)?;
        let (n_name, segment) = segment.split_first()?;
        let (name, segment) = segment.split_at_checked(usize::from(*n_name))?;
        let (version, body) = segment.split_first_chunk()?;
        let name = name.strip_suffix(b"\0").unwrap_or(name);
        Some((Self { name, version: u16::from_le_bytes(*version), body }, behind))
    }
}

/// The radio's header of a frame.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Basic {
    /// By the radio's clock; 0 if unknown.
    pub(super) timestamp: u64,
    /// By the host's clock, in nanoseconds since the Unix epoch; 0 if unknown.
    pub(super) system_ns: u64,
    pub(super) noise_dbm: f32,
    pub(super) rssi_dbm: f32,
}

impl Basic {
    /// Parses any version. Each version adds fields to the one before; the sixth has floating-point levels.
    pub(super) fn parse(segment: Segment<'_>) -> Self {
        let Segment { version, body, .. } = segment;
        let bytes_at = |at: usize| array::<2>(body, at).map(|byte| f32::from(byte.cast_signed()));
        // In early versions, signal strength is relative to the noise.
        let above_noise = |[noise, rssi]: [f32; 2]| [noise, noise + rssi];
        let [noise_dbm, rssi_dbm] = match version {
            1 => above_noise(bytes_at(21)),
            2 => above_noise(bytes_at(23)),
            3 => bytes_at(26),
            4 => bytes_at(35),
            5 => bytes_at(37),
            6 => [37, 41].map(|at| f32::from_le_bytes(array(body, at))),
            _ => [0.0; 2],
        };
        let known = |level_dbm: f32| if level_dbm.is_finite() { level_dbm } else { 0.0 };
        Self {
            timestamp: u64_le(body, 2),
            system_ns: if version >= 4 { u64_le(body, 10) } else { 0 },
            noise_dbm: known(noise_dbm),
            rssi_dbm: known(rssi_dbm),
        }
    }
}

/// The CSI of a frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Csi<'a> {
    pub(super) device: u16,
    /// 0 to 2: up to 802.11ac; then 802.11ax and later.
    pub(super) format: i8,
    pub(super) bandwidth_mhz: u16,
    pub(super) carrier_hz: u64,
    pub(super) n_tones: usize,
    pub(super) n_tx: usize,
    pub(super) n_rx: usize,
    pub(super) antenna_selection: u8,
    /// The offset of the subcarriers from those of a transmission in the middle of the channel.
    pub(super) subcarrier_offset: i16,
    pub(super) data: &'a [u8],
}

impl<'a> Csi<'a> {
    pub(super) fn parse(segment: Segment<'a>) -> Option<Self> {
        let Segment { version, body, .. } = segment;
        // Fields that later versions add before the others, and between them.
        let firmware_bytes = usize::from(version >= 4);
        let count_bytes = if version >= 3 { 2 } else { 0 };
        let offset_bytes = if version >= 2 { 2 } else { 0 };
        let rest = body.get(2 + firmware_bytes..)?;
        let [n_tx, n_rx] = array(rest, 25);
        let antennas_at = 28 + count_bytes;
        let offset_at = antennas_at + 1;
        let length_at = offset_at + offset_bytes;
        let n_data = u32_le(rest, length_at) as usize;
        Some(Self {
            device: u16_le(body, 0),
            format: rest.first()?.cast_signed(),
            bandwidth_mhz: u16_le(rest, 1),
            carrier_hz: u64_le(rest, 3),
            n_tones: u16_le(rest, 23).into(),
            n_tx: n_tx.into(),
            n_rx: n_rx.into(),
            antenna_selection: *rest.get(antennas_at)?,
            subcarrier_offset: if version >= 2 { u16_le(rest, offset_at).cast_signed() } else { 0 },
            data: rest.get(length_at + 4..)?.get(..n_data)?,
        })
    }
}
