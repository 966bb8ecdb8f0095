//! FeitCSI: frames of Intel AX200 and AX210 cards.
//!
//! A frame is a header of 272 bytes and pairs of 16-bit numbers, by receiving antenna, stream and tone. A
//! file is a sequence of frames; a datagram contains one.
//!
//! Source: M. Kolář et al., FeitCSI documentation, "CSI format"; Intel's `iwlwifi` for the bits of the
//! rate.

use num_complex::Complex32;
use schemas::CsiLayout;

use crate::formats::csi::bytes::{MacText, array, u32_le, u64_le};
use crate::formats::csi::format::Format;
use crate::formats::csi::layouts::Layouts;
use crate::formats::csi::tones::{self, Phy};
use crate::formats::csi::values::from_words;
use crate::{Counter, DecodeError, DeviceFrame, DeviceTime, Split};

pub(crate) const HEADER_BYTES: usize = 272;
const MAX_ANTENNAS: usize = 4;
/// No channel has more tones: 320 MHz of 802.11be.
const MAX_TONES: usize = 4096;
const VALUE_BYTES: usize = 4;

/// Decodes the frames of a card. Capture times are its 32-bit microsecond clock, or the host's clock if the
/// frame contains it.
#[derive(Debug, Default)]
pub(crate) struct FeitCsi {
    layouts: Layouts<LayoutOf>,
    values: Vec<Complex32>,
    transmitter: MacText,
}

/// The key of a layout: receiving and transmitting antennas, tones, bandwidth and format.
type LayoutOf = (usize, usize, usize, u16, Phy);

/// The header of an AX200 or AX210 frame. It is Intel's own header, which other tools pass on as well.
pub(crate) struct Header {
    data_bytes: usize,
    timestamp_us: u64,
    n_rx: usize,
    n_tx: usize,
    n_tones: usize,
    rssi_dbm: [f32; 2],
    transmitter: [u8; 6],
    pub(crate) clock_us: u32,
    rate: u32,
}

impl Header {
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let [n_rx, n_tx] = array(bytes, 46);
        Self {
            data_bytes: u32_le(bytes, 0) as usize,
            timestamp_us: u64_le(bytes, 12),
            n_rx: n_rx.into(),
            n_tx: n_tx.into(),
            n_tones: u32_le(bytes, 52) as usize,
            // The header has positive numbers; no signal is weaker than -255 dBm.
            rssi_dbm: [60, 64].map(|at| -(u32_le(bytes, at).min(255) as f32)),
            transmitter: array(bytes, 68),
            clock_us: u32_le(bytes, 88),
            rate: u32_le(bytes, 92),
        }
    }

    fn makes_sense(&self) -> bool {
        let antennas = 1..=MAX_ANTENNAS;
        antennas.contains(&self.n_rx)
            && antennas.contains(&self.n_tx)
            && (1..=MAX_TONES).contains(&self.n_tones)
            && self.data_bytes == VALUE_BYTES * self.n_rx * self.n_tx * self.n_tones
    }

    /// Returns the total power over the antennas, in dBm; 0 if unknown.
    pub(crate) fn rssi_dbm(&self) -> f32 {
        let present = self.rssi_dbm.iter().take(self.n_rx).filter(|dbm| **dbm < 0.0);
        let total: f32 = present.map(|dbm| 10_f32.powf(dbm / 10.0)).sum();
        if total > 0.0 { 10.0 * total.log10() } else { 0.0 }
    }

    fn bandwidth_mhz(&self) -> u16 {
        // 20 to 320; larger codes are not used.
        20 << (self.rate >> 11 & 7).min(4)
    }

    fn phy(&self) -> Phy {
        // CCK, OFDM, HT, VHT; then HE and EHT.
        if self.rate >> 8 & 7 < 4 { Phy::Wide } else { Phy::Narrow }
    }
}

impl Format for FeitCsi {
    fn split(&self, bytes: &[u8], complete: bool) -> Split {
        if bytes.len() < HEADER_BYTES {
            return Split::missing(bytes, complete);
        }
        let header = Header::parse(bytes);
        if !header.makes_sense() {
            let begins =
                |bytes: &[u8]| bytes.len() >= HEADER_BYTES && Header::parse(bytes).makes_sense();
            return Split::resume(bytes, complete, HEADER_BYTES, DecodeError::Length, begins);
        }
        let used = HEADER_BYTES + header.data_bytes;
        if bytes.len() < used { Split::missing(bytes, complete) } else { Split::Record(used) }
    }

    fn read<'a>(&'a mut self, record: &'a [u8]) -> Result<Option<DeviceFrame<'a>>, DecodeError> {
        let header = Header::parse(record);
        from_words(&record[HEADER_BYTES..], &mut self.values);
        let host_ns = i64::try_from(header.timestamp_us).ok().and_then(|us| us.checked_mul(1000));
        let Header { n_rx, n_tx, n_tones, .. } = header;
        let layout_of = (n_rx, n_tx, n_tones, header.bandwidth_mhz(), header.phy());
        Ok(Some(DeviceFrame {
            receiver: None,
            transmitter: Some(self.transmitter.set(header.transmitter)),
            layout: self.layouts.get(layout_of, layout),
            time: match host_ns {
                None | Some(0) => DeviceTime::WrappingUs(header.clock_us),
                Some(host_ns) => DeviceTime::Ns(host_ns),
            },
            counter: Counter::None,
            rssi_dbm: header.rssi_dbm(),
            noise_dbm: 0.0,
            agc_db: 0.0,
            scale: 1.0,
            values: &self.values,
        }))
    }
}

fn layout((n_rx, n_tx, n_tones, bandwidth_mhz, phy): LayoutOf) -> CsiLayout {
    CsiLayout {
        // At most four.
        n_rx: n_rx as u16,
        n_tx: n_tx as u16,
        rx_antennas: (0..n_rx as u8).collect(),
        tx_streams: (0..n_tx as u8).collect(),
        subcarriers: tones::occupied(phy, bandwidth_mhz, n_tones),
        bandwidth_mhz,
        centre_mhz: 0,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::Step;
    use crate::formats::csi::CsiFormat;
    use crate::formats::csi::testing::{batches, collector, steps};

    fn frame(n_rx: u8, n_tones: u32, rate: u32) -> Vec<u8> {
        let n_data = 4 * u32::from(n_rx) * n_tones;
        let mut bytes = vec![0; HEADER_BYTES];
        bytes[..4].copy_from_slice(&n_data.to_le_bytes());
        (bytes[46], bytes[47]) = (n_rx, 1);
        bytes[52..56].copy_from_slice(&n_tones.to_le_bytes());
        (bytes[60], bytes[64]) = (40, 40);
        bytes[68..74].copy_from_slice(&[0, 0x16, 0xEA, 0x12, 0x34, 0x56]);
        bytes[88..92].copy_from_slice(&7_u32.to_le_bytes());
        bytes[92..96].copy_from_slice(&rate.to_le_bytes());
        bytes.extend([1, 0, 0xFE, 0xFF].repeat(n_data as usize / 4));
        bytes
    }

    /// A frame as a card would send it.
    pub(crate) fn sample() -> Vec<u8> {
        frame(2, 56, 0x200)
    }

    #[test]
    fn reads_every_format_and_bandwidth() {
        for (n_tones, rate, bandwidth_mhz, last) in [
            (52, 0x100, 20, 26),
            (56, 0x200, 20, 28),
            (242, 0x300 | 2 << 11, 80, 122),
            (484, 0x300 | 3 << 11, 160, 250),
            (484, 0x400 | 1 << 11, 40, 244),
            (1992, 0x400 | 3 << 11, 160, 1012),
        ] {
            let batches = batches(CsiFormat::Feitcsi, &frame(2, n_tones, rate));
            let batch = &batches[0];
            assert_eq!(batch.layout.bandwidth_mhz, bandwidth_mhz, "{n_tones}");
            assert_eq!(batch.layout.subcarriers.last(), Some(&last), "{n_tones}");
            assert_eq!(batch.link.transmitter, "00:16:ea:12:34:56");
            assert_eq!(batch.captured_at_ns, [7000]);
            assert!((batch.rssi_dbm[0] + 37.0).abs() < 0.02, "two antennas at -40 dBm");
            assert!(batch.iq.iter().all(|value| *value == Complex32::new(1.0, -2.0)));
        }
    }

    #[test]
    fn goes_on_behind_damage() {
        let good = frame(1, 56, 0x200);
        let mut damaged = good.clone();
        damaged[2] = 9;
        let bytes = [damaged, good.clone()].concat();
        let found = steps(CsiFormat::Feitcsi, &bytes, &mut collector());
        assert_eq!(found, [Step::Bad(good.len(), DecodeError::Length), Step::Used(good.len())]);
    }
}
