//! Channel state information: many frames of one link in one contiguous array.

use std::sync::Arc;

use num_complex::Complex32;
use serde::{Deserialize, Serialize};

use crate::SourceKind;

/// A radio path between two devices; its antennas are in the [`CsiLayout`].
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Link {
    /// The place that the devices observe, such as a flat.
    pub site: String,
    /// The receiving device.
    pub receiver: String,
    /// The sending device; a MAC address if the format contains one.
    pub transmitter: String,
}

impl Link {
    /// Returns the name in reports: `receiver/transmitter`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.receiver, self.transmitter)
    }
}

/// The shape of every frame in a batch. Real captures change it midway, so each batch has its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CsiLayout {
    /// Receive antennas.
    pub n_rx: u16,
    /// Transmit antennas or spatial streams.
    pub n_tx: u16,
    /// The antenna of each row, counted from 0; empty if unknown.
    #[serde(default)]
    pub rx_antennas: Vec<u8>,
    /// The spatial stream of each column, counted from 0; empty if unknown.
    #[serde(default)]
    pub tx_streams: Vec<u8>,
    /// The 802.11 index of each subcarrier, in the order of the data.
    pub subcarriers: Vec<i16>,
    /// Channel bandwidth in MHz.
    pub bandwidth_mhz: u16,
    /// Centre frequency in MHz; 0 if unknown.
    pub centre_mhz: u16,
}

impl CsiLayout {
    /// True if frames of both layouts are of the same antennas and streams.
    pub fn is_of_same_ends(&self, other: &Self) -> bool {
        (&self.rx_antennas, &self.tx_streams) == (&other.rx_antennas, &other.tx_streams)
    }

    /// Returns the number of complex values of one frame.
    pub fn n_values(&self) -> usize {
        usize::from(self.n_rx) * usize::from(self.n_tx) * self.subcarriers.len()
    }
}

/// The scalar values of one frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CsiFrame {
    /// Capture time in nanoseconds since the Unix epoch (or the device's start, for device clocks).
    pub captured_at_ns: i64,
    /// The device's own frame counter.
    pub sequence: u32,
    /// Received signal strength in dBm, over all antennas.
    pub rssi_dbm: f32,
    /// Noise floor in dBm; 0 if unknown.
    pub noise_dbm: f32,
    /// Automatic gain in dB; 0 if unknown.
    pub agc_db: f32,
    /// The factor that converts the values to channel gains as the format defines them, independent of the
    /// automatic gain; 1 if unknown.
    pub scale: f32,
    /// Frames before this one that the device has counted but that did not arrive.
    pub n_missed: u32,
}

impl Default for CsiFrame {
    fn default() -> Self {
        Self {
            captured_at_ns: 0,
            sequence: 0,
            rssi_dbm: 0.0,
            noise_dbm: 0.0,
            agc_db: 0.0,
            scale: 1.0,
            n_missed: 0,
        }
    }
}

/// Frames of one link and one layout in capture order.
///
/// - each scalar column has one entry per frame
/// - `iq` is `[n, n_rx, n_tx, n_subcarriers]`, the last axis contiguous, linear scale as measured
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CsiBatch {
    /// The transmitter and the receiver.
    pub link: Link,
    /// The shape of each frame, shared by all batches that have it.
    pub layout: Arc<CsiLayout>,
    /// The kind of source of the frames.
    pub source_kind: SourceKind,
    /// Number of frames of the same tick and partition before this batch. It orders the batches of a tick.
    #[serde(default)]
    pub n_before: u64,
    /// Capture times in nanoseconds since the Unix epoch, `[n]`.
    pub captured_at_ns: Vec<i64>,
    /// Device frame counters, `[n]`.
    pub sequence: Vec<u32>,
    /// Signal strengths in dBm, `[n]`.
    pub rssi_dbm: Vec<f32>,
    /// Noise floors in dBm, `[n]`.
    pub noise_dbm: Vec<f32>,
    /// Automatic gains in dB, `[n]`.
    pub agc_db: Vec<f32>,
    /// Factors that convert the values to physical ones, `[n]`.
    #[serde(default)]
    pub scale: Vec<f32>,
    /// Missing frames before each frame, by the device's counter, `[n]`.
    #[serde(default)]
    pub n_missed: Vec<u32>,
    /// Complex channel gains, `[n, n_rx, n_tx, n_subcarriers]`; serialized as real and imaginary part in
    /// turn.
    #[serde(with = "flat_complex")]
    pub iq: Vec<Complex32>,
}

/// A frame whose values do not fill its layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a frame of this layout has {expected} values, not {found}")]
pub struct LayoutMismatch {
    /// Values of the layout.
    pub expected: usize,
    /// Values of the frame.
    pub found: usize,
}

impl CsiBatch {
    /// Returns an empty batch.
    pub fn new(link: Link, layout: Arc<CsiLayout>, source_kind: SourceKind) -> Self {
        Self { link, layout, source_kind, ..Self::default() }
    }

    /// Sets the number of earlier frames of the same partition and tick.
    #[must_use]
    pub fn behind(self, n_before: u64) -> Self {
        Self { n_before, ..self }
    }

    /// Reserves room for further frames.
    pub fn reserve(&mut self, n_frames: usize) {
        self.captured_at_ns.reserve(n_frames);
        self.sequence.reserve(n_frames);
        self.rssi_dbm.reserve(n_frames);
        self.noise_dbm.reserve(n_frames);
        self.agc_db.reserve(n_frames);
        self.scale.reserve(n_frames);
        self.n_missed.reserve(n_frames);
        self.iq.reserve(n_frames * self.layout.n_values());
    }

    /// Returns the number of frames.
    pub fn len(&self) -> usize {
        self.captured_at_ns.len()
    }

    /// True if the batch has no frames.
    pub fn is_empty(&self) -> bool {
        self.captured_at_ns.is_empty()
    }

    /// Returns the bytes of the frames and the link's names, for back-pressure.
    pub fn size_bytes(&self) -> usize {
        let Link { site, receiver, transmitter } = &self.link;
        let names = site.len() + receiver.len() + transmitter.len();
        size_of_val(self.iq.as_slice()) + self.len() * size_of::<CsiFrame>() + names
    }

    /// Appends a frame. The caller has appended its values, `[n_rx, n_tx, n_subcarriers]`, to `iq`.
    ///
    /// # Errors
    ///
    /// [`LayoutMismatch`] if `iq` does not contain exactly one frame more; `iq` is then truncated.
    pub fn push_scalars(&mut self, frame: CsiFrame) -> Result<(), LayoutMismatch> {
        let filled = self.len() * self.layout.n_values();
        let (expected, found) = (self.layout.n_values(), self.iq.len().saturating_sub(filled));
        if expected != found {
            self.iq.truncate(filled);
            return Err(LayoutMismatch { expected, found });
        }
        self.captured_at_ns.push(frame.captured_at_ns);
        self.sequence.push(frame.sequence);
        self.rssi_dbm.push(frame.rssi_dbm);
        self.noise_dbm.push(frame.noise_dbm);
        self.agc_db.push(frame.agc_db);
        self.scale.push(frame.scale);
        self.n_missed.push(frame.n_missed);
        Ok(())
    }

    /// Returns the scalars of the frame at `frame_idx`.
    ///
    /// # Panics
    ///
    /// If there is no such frame.
    pub fn frame(&self, frame_idx: usize) -> CsiFrame {
        CsiFrame {
            captured_at_ns: self.captured_at_ns[frame_idx],
            sequence: self.sequence[frame_idx],
            rssi_dbm: self.rssi_dbm[frame_idx],
            noise_dbm: self.noise_dbm[frame_idx],
            agc_db: self.agc_db[frame_idx],
            scale: self.scale[frame_idx],
            n_missed: self.n_missed[frame_idx],
        }
    }

    /// Returns the values of the frame at `frame_idx`, `[n_rx, n_tx, n_subcarriers]`.
    ///
    /// # Panics
    ///
    /// If there is no such frame.
    pub fn values(&self, frame_idx: usize) -> &[Complex32] {
        let n_values = self.layout.n_values();
        &self.iq[frame_idx * n_values..(frame_idx + 1) * n_values]
    }

    /// Appends one frame of `other`, which must have the same layout.
    ///
    /// # Panics
    ///
    /// If there is no such frame.
    pub fn push_from(&mut self, other: &Self, frame_idx: usize) {
        debug_assert_eq!(self.layout, other.layout, "frames of one batch share their layout");
        self.iq.extend_from_slice(other.values(frame_idx));
        let scalars = other.frame(frame_idx);
        self.push_scalars(scalars).expect("the frame has the layout of its batch");
    }

    /// Appends all frames of `other`, which must have the same link and layout.
    pub fn append(&mut self, mut other: Self) {
        debug_assert_eq!((&self.link, &self.layout), (&other.link, &other.layout));
        self.captured_at_ns.append(&mut other.captured_at_ns);
        self.sequence.append(&mut other.sequence);
        self.rssi_dbm.append(&mut other.rssi_dbm);
        self.noise_dbm.append(&mut other.noise_dbm);
        self.agc_db.append(&mut other.agc_db);
        self.scale.append(&mut other.scale);
        self.n_missed.append(&mut other.n_missed);
        self.iq.append(&mut other.iq);
    }
}

/// Complex numbers as a flat list of real and imaginary parts, which Arrow and JSON support. For
/// `#[serde(with = "schemas::flat_complex")]`.
pub mod flat_complex {
    use num_complex::Complex32;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes real and imaginary part in turn.
    ///
    /// # Errors
    ///
    /// The serializer's error.
    pub fn serialize<S: Serializer>(iq: &[Complex32], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(iq.iter().flat_map(|value| [value.re, value.im]))
    }

    /// Reads real and imaginary part in turn.
    ///
    /// # Errors
    ///
    /// The deserializer's error, or a missing part.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<Complex32>, D::Error> {
        let flat = Vec::<f32>::deserialize(deserializer)?;
        let (pairs, []) = flat.as_chunks::<2>() else {
            return Err(D::Error::custom("complex values must come in pairs"));
        };
        Ok(pairs.iter().map(|&[re, im]| Complex32::new(re, im)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_must_fill_its_layout() {
        let layout = CsiLayout { n_rx: 1, n_tx: 1, subcarriers: vec![-1, 1], ..Default::default() };
        let mut batch = CsiBatch::new(Link::default(), layout.into(), SourceKind::Replay);
        batch.iq.push(Complex32::new(1.0, 0.0));
        let mismatch = batch.push_scalars(CsiFrame::default());
        assert_eq!(mismatch, Err(LayoutMismatch { expected: 2, found: 1 }));
        assert!(batch.iq.is_empty() && batch.is_empty());
        batch.iq.extend([Complex32::new(1.0, 0.0); 2]);
        assert_eq!(batch.push_scalars(CsiFrame::default()), Ok(()));
        assert_eq!(batch.values(0).len(), 2);
    }
}
