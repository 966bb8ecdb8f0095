//! Atheros: the log of the Atheros CSI Tool, in the byte order of the host that captured it.
//!
//! A record is a length, a header of 25 bytes, the CSI and the received frame. CSI is a stream of ten-bit
//! numbers, the imaginary part first, by subcarrier, transmitting and then receiving antenna.
//!
//! Source: Y. Xie et al., "Precise power delay profiling with commodity Wi-Fi", MobiCom 2015, and the
//! tool's `read_log_file` and `read_csi`.

use num_complex::Complex32;
use schemas::CsiLayout;

use crate::formats::csi::bytes::array;
use crate::formats::csi::format::Format;
use crate::formats::csi::layouts::Layouts;
use crate::formats::csi::tones::{self, Phy};
use crate::formats::csi::values::{from_ten_bits, ten_bits_bytes};
use crate::{Counter, DecodeError, DeviceFrame, DeviceTime, Split};

/// Length and header.
const HEADER_BYTES: usize = 27;
const MAX_ANTENNAS: u8 = 3;
/// The reference of signal strengths, in dBm.
const NOISE_DBM: f32 = -95.0;

/// Decodes the log of a card. Capture times are its 64-bit microsecond clock.
#[derive(Debug, Default)]
pub(crate) struct Atheros {
    layouts: Layouts<LayoutOf>,
    words: Vec<u32>,
    values: Vec<Complex32>,
}

/// The key of a layout: receiving and transmitting antennas, tones, bandwidth and carrier.
type LayoutOf = (u8, u8, u8, u8, u16);

/// The fields of a record that are used.
struct Header {
    record_bytes: usize,
    timestamp_us: u64,
    csi_bytes: usize,
    centre_mhz: u16,
    bandwidth: u8,
    n_tones: u8,
    n_rx: u8,
    n_tx: u8,
    rssi_db: u8,
    payload_bytes: usize,
}

impl Header {
    /// Parses the header at the start of `bytes`. None if it is not plausible in either byte order.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let [little, big] = [u16::from_le_bytes, u16::from_be_bytes];
        [(little, u64::from_le_bytes as fn([u8; 8]) -> u64), (big, u64::from_be_bytes)]
            .into_iter()
            .find_map(|(word, long)| {
                let word = |at: usize| word(array(bytes, at));
                let [bandwidth, n_tones, n_rx, n_tx, rssi_db] = array(bytes, 17);
                let header = Self {
                    record_bytes: 2 + usize::from(word(0)),
                    timestamp_us: long(array(bytes, 2)),
                    csi_bytes: word(10).into(),
                    centre_mhz: word(12),
                    bandwidth,
                    n_tones,
                    n_rx,
                    n_tx,
                    rssi_db,
                    payload_bytes: word(25).into(),
                };
                header.makes_sense().then_some(header)
            })
    }

    fn makes_sense(&self) -> bool {
        let antennas = 1..=MAX_ANTENNAS;
        let has_csi = [56, 114].contains(&self.n_tones)
            && antennas.contains(&self.n_rx)
            && antennas.contains(&self.n_tx)
            && self.csi_bytes == ten_bits_bytes(self.n_values());
        // The tool also logs frames without CSI.
        let all = HEADER_BYTES + self.csi_bytes + self.payload_bytes;
        (has_csi || self.csi_bytes == 0)
            && self.bandwidth <= 1
            && (2400..7200).contains(&self.centre_mhz)
            && self.record_bytes.abs_diff(all) <= 2
            && self.record_bytes >= HEADER_BYTES + self.csi_bytes
    }

    fn n_values(&self) -> usize {
        usize::from(self.n_tones) * usize::from(self.n_rx) * usize::from(self.n_tx)
    }
}

impl Format for Atheros {
    fn split(&self, bytes: &[u8], complete: bool) -> Split {
        if bytes.len() < HEADER_BYTES {
            return Split::missing(bytes, complete);
        }
        let Some(header) = Header::parse(bytes) else {
            let begins = |bytes: &[u8]| {
                bytes.len() >= HEADER_BYTES
                    && Header::parse(bytes).is_some_and(|header| header.csi_bytes > 0)
            };
            return Split::resume(bytes, complete, HEADER_BYTES, DecodeError::Length, begins);
        };
        match header.csi_bytes {
            _ if bytes.len() < header.record_bytes => Split::missing(bytes, complete),
            0 => Split::Other(header.record_bytes),
            _ => Split::Record(header.record_bytes),
        }
    }

    fn read<'a>(&'a mut self, record: &'a [u8]) -> Result<Option<DeviceFrame<'a>>, DecodeError> {
        let header = Header::parse(record).ok_or(DecodeError::Length)?;
        let shape = [header.n_rx, header.n_tx, header.n_tones].map(usize::from);
        from_ten_bits(&record[HEADER_BYTES..], shape.into(), &mut self.words, &mut self.values);
        let Header { n_rx, n_tx, n_tones, bandwidth, centre_mhz, .. } = header;
        let layout_of = (n_rx, n_tx, n_tones, bandwidth, centre_mhz);
        Ok(Some(DeviceFrame {
            receiver: None,
            transmitter: None,
            layout: self.layouts.get(layout_of, layout),
            // A time after the year 2262 is damaged.
            time: DeviceTime::Ns(
                i64::try_from(header.timestamp_us).unwrap_or(0).saturating_mul(1000),
            ),
            counter: Counter::None,
            rssi_dbm: f32::from(header.rssi_db) + NOISE_DBM,
            noise_dbm: NOISE_DBM,
            agc_db: 0.0,
            scale: 1.0,
            values: &self.values,
        }))
    }
}

fn layout((n_rx, n_tx, n_tones, bandwidth, centre_mhz): LayoutOf) -> CsiLayout {
    let bandwidth_mhz = 20 << u16::from(bandwidth);
    CsiLayout {
        n_rx: n_rx.into(),
        n_tx: n_tx.into(),
        rx_antennas: (0..n_rx).collect(),
        tx_streams: (0..n_tx).collect(),
        subcarriers: tones::occupied(Phy::Wide, bandwidth_mhz, n_tones.into()),
        bandwidth_mhz,
        centre_mhz,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::Step;
    use crate::formats::csi::CsiFormat;
    use crate::formats::csi::testing::{batches, collector, steps};

    /// A record of `n_rx` antennas and one stream over 56 or 114 tones, in a byte order.
    fn record(big_endian: bool, n_rx: u8, n_tones: u8) -> Vec<u8> {
        let n_csi = ten_bits_bytes(usize::from(n_rx) * usize::from(n_tones));
        let word = |word: usize| {
            let word = u16::try_from(word).expect("small");
            if big_endian { word.to_be_bytes() } else { word.to_le_bytes() }
        };
        let time = if big_endian { 5_u64.to_be_bytes() } else { 5_u64.to_le_bytes() };
        let mut bytes = word(HEADER_BYTES - 2 + n_csi + 3).to_vec();
        bytes.extend(time);
        bytes.extend(word(n_csi));
        bytes.extend(word(5180));
        bytes.extend([0, 0, 0x8F, u8::from(n_tones == 114), n_tones, n_rx, 1, 52, 38, 52, 36]);
        bytes.extend(word(3));
        bytes.extend(vec![0xFF; n_csi + 3]);
        bytes
    }

    /// A record as a card would log it.
    pub(crate) fn sample() -> Vec<u8> {
        record(false, 2, 56)
    }

    #[test]
    fn reads_both_byte_orders() {
        for big_endian in [false, true] {
            for (n_rx, n_tones, bandwidth_mhz) in [(1, 56, 20), (3, 114, 40)] {
                let bytes = record(big_endian, n_rx, n_tones);
                let batches = batches(CsiFormat::Atheros, &bytes);
                let (frame, layout) = (batches[0].frame(0), &batches[0].layout);
                assert_eq!((frame.captured_at_ns, frame.rssi_dbm), (5000, -43.0));
                assert_eq!((layout.bandwidth_mhz, layout.centre_mhz), (bandwidth_mhz, 5180));
                assert!(batches[0].iq.iter().all(|value| *value == Complex32::new(-1.0, -1.0)));
                assert_eq!(batches[0].iq.len(), usize::from(n_rx) * usize::from(n_tones));
            }
        }
    }

    #[test]
    fn goes_on_behind_damage() {
        let good = record(true, 2, 56);
        let mut damaged = good.clone();
        damaged[19] = 9;
        let bytes = [damaged, good.clone()].concat();
        let found = steps(CsiFormat::Atheros, &bytes, &mut collector());
        assert_eq!(found, [Step::Bad(good.len(), DecodeError::Length), Step::Used(good.len())]);
    }
}
