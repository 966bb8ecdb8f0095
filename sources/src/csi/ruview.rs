//! RuView: what its ESP32 nodes send over UDP (ADR-018), and the recordings of its server.
//!
//! A datagram is a header of 20 bytes and signed bytes as the chip gives them, the imaginary part first.
//! A recording has a line of JSON for each, with the bytes in hexadecimal digits. Datagrams with other
//! magic numbers (vital signs, features) carry no CSI.
//!
//! Source: RuView, `firmware/esp32-csi-node/main/csi_collector.c`; the ESP-IDF Programming Guide,
//! "Wi-Fi Channel State Information".

use std::collections::BTreeMap;

use num_complex::Complex32;
use schemas::CsiLayout;
use serde::Deserialize;

use crate::csi::bytes::{array, u16_le, u32_le};
use crate::csi::esp32::buffer::{Chips, Secondary, subcarriers};
use crate::csi::format::Format;
use crate::csi::layouts::Layouts;
use crate::csi::values::from_bytes;
use crate::{Counter, DecodeError, DeviceFrame, DeviceTime, Intake, Split};

const MAGIC: u32 = 0xC511_0001;
const HEADER_BYTES: usize = 20;
/// Among the flags: the transmission has 40 MHz.
const WIDE: u8 = 1;
const MAX_ANTENNAS: usize = 4;
const MAX_SUBCARRIERS: usize = 512;
/// Magic numbers of other datagrams, with their upper bytes.
const FAMILIES: [u32; 3] = [0xC511_0000, 0xC511_A100, 0xC511_8100];
const LONGEST_LINE: usize = 64 * 1024;
const NS_PER_S: f64 = 1e9;

/// Datagrams and recordings of nodes. The time is the time that they came in.
#[derive(Debug, Default)]
pub(crate) struct Ruview {
    layouts: Layouts<LayoutOf>,
    values: Vec<Complex32>,
    bytes: Vec<u8>,
    /// Names of nodes by their numbers.
    names: BTreeMap<u8, String>,
}

/// What a layout is made for: antennas, subcarriers, bandwidth and carrier.
type LayoutOf = (usize, usize, u16, u16);

/// A line of a recording, as far as it is used.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(rename = "type")]
    content: Option<&'a str>,
    timestamp: Option<f64>,
    node_id: Option<u8>,
    seq: Option<u32>,
    rssi: Option<f32>,
    noise_floor: Option<f32>,
    iq_hex: Option<&'a str>,
}

/// What a frame is, but for its values.
struct Frame {
    node: u8,
    n_antennas: usize,
    bandwidth_mhz: u16,
    centre_mhz: u16,
    time: DeviceTime,
    counter: Counter,
    rssi_dbm: f32,
    noise_dbm: f32,
}

impl Format for Ruview {
    fn split(&self, bytes: &[u8], complete: bool) -> Split {
        match bytes.first() {
            Some(b'{') => return line(bytes, complete),
            Some(b'\n' | b'\r' | b' ') => return Split::Other(1),
            _ => {}
        }
        if bytes.len() < 4 {
            return Split::missing(bytes, complete);
        }
        let magic = u32_le(bytes, 0);
        if magic != MAGIC {
            // Nothing tells where such a datagram ends, but the next one or its own end.
            return match FAMILIES.contains(&(magic & 0xFFFF_FF00)) {
                true if !complete => Split::NeedsMore,
                true => Split::Other(next_frame(bytes)),
                false => Self::resume(bytes, complete, DecodeError::Header),
            };
        }
        if bytes.len() < HEADER_BYTES {
            return Split::missing(bytes, complete);
        }
        let (n_antennas, n_subcarriers) = (usize::from(bytes[5]), usize::from(u16_le(bytes, 6)));
        if !(1..=MAX_ANTENNAS).contains(&n_antennas)
            || !(1..=MAX_SUBCARRIERS).contains(&n_subcarriers)
        {
            return Self::resume(bytes, complete, DecodeError::Antennas);
        }
        let used = HEADER_BYTES + 2 * n_antennas * n_subcarriers;
        match bytes.len() < used {
            // What is damaged may ask for more than will ever come.
            true if complete => Self::resume(bytes, complete, DecodeError::Truncated),
            true => Split::NeedsMore,
            false => Split::Record(used),
        }
    }

    fn read(&mut self, record: &[u8], intake: &mut Intake) -> Result<(), DecodeError> {
        if record.starts_with(b"{") {
            return self.read_line(record, intake);
        }
        let [rssi_dbm, noise_dbm] = array(record, 16).map(|byte: u8| f32::from(byte.cast_signed()));
        let frame = Frame {
            node: record[4],
            n_antennas: record[5].into(),
            bandwidth_mhz: match array(record, 18) {
                [_, flags] if flags & WIDE != 0 => 40,
                [1..=3, _] => 20,
                // Nodes need not tell.
                _ => bandwidth_mhz(u16_le(record, 6).into()),
            },
            // Channels are below 65 GHz.
            centre_mhz: u32_le(record, 8) as u16,
            time: DeviceTime::Unknown,
            counter: Counter::OfReceiver { count: u32_le(record, 12), bits: 32 },
            rssi_dbm,
            noise_dbm,
        };
        from_bytes(&record[HEADER_BYTES..], &mut self.values);
        self.push(&frame, intake)
    }
}

/// A line of a recording.
fn line(bytes: &[u8], complete: bool) -> Split {
    match memchr::memchr(b'\n', bytes) {
        Some(end) => Split::Record(end + 1),
        None if complete => Split::Record(bytes.len()),
        None if bytes.len() > LONGEST_LINE => Split::Bad(bytes.len(), DecodeError::Length),
        None => Split::NeedsMore,
    }
}

/// Where the next frame begins, or the end.
fn next_frame(bytes: &[u8]) -> usize {
    memchr::memmem::find(bytes, &MAGIC.to_le_bytes()).unwrap_or(bytes.len())
}

impl Ruview {
    fn resume(bytes: &[u8], complete: bool, error: DecodeError) -> Split {
        Split::resume(bytes, complete, 4, error, |bytes| bytes.starts_with(&MAGIC.to_le_bytes()))
    }

    fn read_line(&mut self, line: &[u8], intake: &mut Intake) -> Result<(), DecodeError> {
        let line: Line<'_> = serde_json::from_slice(line).map_err(|_| DecodeError::Json)?;
        let Some(digits) = line.iq_hex.filter(|_| line.content.is_none_or(|it| it == "raw_csi"))
        else {
            // Vital signs or features.
            return Ok(());
        };
        self.bytes.clear();
        let (pairs, []) = digits.as_bytes().as_chunks::<2>() else {
            return Err(DecodeError::OddValues);
        };
        for pair in pairs {
            let [high, low] = pair.map(|digit| char::from(digit).to_digit(16));
            let byte = high.zip(low).map(|(high, low)| (high * 16 + low) as u8);
            self.bytes.push(byte.ok_or(DecodeError::Number)?);
        }
        from_bytes(&self.bytes, &mut self.values);
        let frame = Frame {
            node: line.node_id.unwrap_or_default(),
            n_antennas: 1,
            bandwidth_mhz: bandwidth_mhz(self.values.len()),
            centre_mhz: 0,
            time: line
                .timestamp
                .map_or(DeviceTime::Unknown, |seconds| DeviceTime::Ns((seconds * NS_PER_S) as i64)),
            counter: line
                .seq
                .map_or(Counter::None, |count| Counter::OfReceiver { count, bits: 32 }),
            rssi_dbm: line.rssi.unwrap_or_default(),
            noise_dbm: line.noise_floor.unwrap_or_default(),
        };
        self.push(&frame, intake)
    }

    fn push(&mut self, frame: &Frame, intake: &mut Intake) -> Result<(), DecodeError> {
        let n_subcarriers = self.values.len() / frame.n_antennas;
        if n_subcarriers == 0 {
            return Err(DecodeError::NoValues);
        }
        let layout_of = (frame.n_antennas, n_subcarriers, frame.bandwidth_mhz, frame.centre_mhz);
        let name = self.names.entry(frame.node).or_insert_with(|| format!("node{}", frame.node));
        intake.push(&DeviceFrame {
            receiver: Some(name),
            transmitter: None,
            layout: self.layouts.get(layout_of, layout),
            time: frame.time,
            counter: frame.counter,
            rssi_dbm: frame.rssi_dbm,
            noise_dbm: frame.noise_dbm,
            agc_db: 0.0,
            scale: 1.0,
            values: &self.values,
        });
        Ok(())
    }
}

/// The bandwidth that a chip's buffer of so many values is of.
fn bandwidth_mhz(n_values: usize) -> u16 {
    match n_values {
        // HE, 20 MHz.
        245 => 20,
        117 | 129.. => 40,
        _ => 20,
    }
}

fn layout((n_antennas, n_subcarriers, bandwidth_mhz, centre_mhz): LayoutOf) -> CsiLayout {
    CsiLayout {
        // At most four.
        n_rx: n_antennas as u16,
        n_tx: 1,
        rx_antennas: (0..n_antennas as u8).collect(),
        tx_streams: Vec::new(),
        subcarriers: subcarriers(n_subcarriers, Secondary::None, Chips::Legacy),
        bandwidth_mhz,
        centre_mhz,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::Step;
    use crate::csi::CsiFormat;
    use crate::csi::testing::{batches, intake, steps};

    fn datagram(n_antennas: u8, n_subcarriers: u16) -> Vec<u8> {
        let mut bytes = MAGIC.to_le_bytes().to_vec();
        bytes.extend([3, n_antennas]);
        bytes.extend(n_subcarriers.to_le_bytes());
        bytes.extend(2437_u32.to_le_bytes());
        bytes.extend(9_u32.to_le_bytes());
        bytes.extend([(-40_i8).cast_unsigned(), (-92_i8).cast_unsigned(), 0, 0]);
        bytes.extend([1, 0xFE].repeat(usize::from(n_antennas) * usize::from(n_subcarriers)));
        bytes
    }

    /// A datagram as a node would send it.
    pub(crate) fn sample() -> Vec<u8> {
        datagram(1, 64)
    }

    #[test]
    fn reads_datagrams_and_recordings() {
        let line = br#"{"timestamp": 1.5, "node_id": 3, "type": "raw_csi", "rssi": -40, "iq_hex": "01fe01FE"}"#;
        let other = br#"{"timestamp": 1.6, "node_id": 3, "type": "vitals", "rssi": -19}"#;
        let recording = [line, b"\n".as_slice(), other].concat();
        for (bytes, n_values, sequence, captured_at_ns) in
            [(datagram(2, 64), 128, 9, 0), (recording, 2, 0, 1_500_000_000)]
        {
            let batches = batches(CsiFormat::Ruview, &bytes);
            let [batch] = &batches[..] else { panic!("one batch") };
            assert_eq!((batch.link.receiver.as_str(), batch.len()), ("node3", 1));
            let frame = batch.frame(0);
            assert_eq!((frame.sequence, frame.captured_at_ns), (sequence, captured_at_ns));
            assert_eq!(frame.rssi_dbm, -40.0);
            assert_eq!(batch.iq, vec![Complex32::new(-2.0, 1.0); n_values]);
        }
    }

    #[test]
    fn bandwidths_are_told_or_known_by_the_length() {
        for (n_subcarriers, told, bandwidth_mhz, last) in [
            (64, [0, 0], 20, -1),
            (64, [0, WIDE], 40, -1),
            (117, [0, 0x20], 40, -1),
            (192, [0, 0], 40, -1),
            (192, [1, 0], 20, -1),
            (245, [0, 0], 20, -1),
            (300, [0, 0], 40, 299),
        ] {
            let mut bytes = datagram(1, n_subcarriers);
            bytes[18..HEADER_BYTES].copy_from_slice(&told);
            let layout = &batches(CsiFormat::Ruview, &bytes)[0].layout;
            let found = (layout.bandwidth_mhz, layout.subcarriers.last());
            assert_eq!(found, (bandwidth_mhz, Some(&last)), "{n_subcarriers}");
        }
    }

    #[test]
    fn leaves_out_what_is_no_csi() {
        let vitals = [0xC511_0002_u32.to_le_bytes().as_slice(), &[0; 28]].concat();
        let nothing = datagram(0, 64);
        for (bytes, expected) in [
            (vitals.clone(), Step::Used(32)),
            (vec![0; 30], Step::Bad(30, DecodeError::Header)),
            (nothing.clone(), Step::Bad(nothing.len(), DecodeError::Antennas)),
            (b"{\"iq_hex\": \"0x\"}".to_vec(), Step::Bad(16, DecodeError::Number)),
            (b"{\"iq_hex\"".to_vec(), Step::Bad(9, DecodeError::Json)),
        ] {
            assert_eq!(steps(CsiFormat::Ruview, &bytes, &mut intake()), [expected]);
        }
    }
}
