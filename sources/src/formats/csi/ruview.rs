//! RuView: the datagrams that its ESP32 nodes send over UDP (ADR-018), and the recordings of its server.
//!
//! A datagram is a header of 20 bytes and signed bytes in the order of the chip, the imaginary part first. A
//! recording has a line of JSON for each datagram, with the bytes in hexadecimal digits. Datagrams with other
//! magic numbers (vital signs, features) contain no CSI.
//!
//! Source: RuView, `firmware/esp32-csi-node/main/csi_collector.c`; the ESP-IDF Programming Guide,
//! "Wi-Fi Channel State Information".

mod iso_time;
mod recording;

use std::collections::BTreeMap;

use num_complex::Complex32;
use schemas::CsiLayout;

use crate::formats::csi::bytes::{array, u16_le, u32_le};
use crate::formats::csi::esp32::buffer::{Chips, Secondary, subcarriers};
use crate::formats::csi::format::Format;
use crate::formats::csi::layouts::Layouts;
use crate::formats::csi::ruview::recording::Line;
use crate::formats::csi::values::from_bytes;
use crate::{Counter, DecodeError, DeviceFrame, DeviceTime, Split};

const MAGIC: u32 = 0xC511_0001;
const HEADER_BYTES: usize = 20;
/// The part of the header up to the shape of the values.
const SHAPE_BYTES: usize = 8;
/// Flag of a 40 MHz transmission.
const WIDE: u8 = 1;
const MAX_ANTENNAS: usize = 4;
const MAX_SUBCARRIERS: usize = 512;
/// The upper three bytes of the magic numbers of other datagrams.
const FAMILIES: [u32; 3] = [0xC511_0000, 0xC511_A100, 0xC511_8100];
const LONGEST_LINE: usize = 64 * 1024;

/// Decodes the datagrams and recordings of nodes. Capture times are the times of arrival.
#[derive(Debug, Default)]
pub(crate) struct Ruview {
    layouts: Layouts<LayoutOf>,
    values: Vec<Complex32>,
    bytes: Vec<u8>,
    /// Names of nodes by their numbers.
    names: BTreeMap<u8, String>,
}

/// The key of a layout: antennas, subcarriers, bandwidth and carrier.
type LayoutOf = (usize, usize, u16, u16);

/// The header of a frame.
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
            // Such a datagram has no length: it ends at the next frame or at the end of the input.
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
            // A damaged length may exceed the rest of the input.
            true if complete => Self::resume(bytes, complete, DecodeError::Truncated),
            true => Split::NeedsMore,
            false => Split::Record(used),
        }
    }

    fn read<'a>(&'a mut self, record: &'a [u8]) -> Result<Option<DeviceFrame<'a>>, DecodeError> {
        if record.starts_with(b"{") {
            return self.read_line(record);
        }
        let shape = (record[5].into(), u16_le(record, 6).into());
        let frame = Frame::of_header(record[4], shape, &record[SHAPE_BYTES..HEADER_BYTES]);
        from_bytes(&record[HEADER_BYTES..], &mut self.values);
        self.frame(&frame)
    }
}

/// Finds the end of a line of a recording.
fn line(bytes: &[u8], complete: bool) -> Split {
    match memchr::memchr(b'\n', bytes) {
        Some(end) => Split::Record(end + 1),
        None if complete => Split::Record(bytes.len()),
        None if bytes.len() > LONGEST_LINE => Split::Bad(bytes.len(), DecodeError::Length),
        None => Split::NeedsMore,
    }
}

/// Returns the offset of the next frame, or of the end.
fn next_frame(bytes: &[u8]) -> usize {
    memchr::memmem::find(bytes, &MAGIC.to_le_bytes()).unwrap_or(bytes.len())
}

impl Ruview {
    fn resume(bytes: &[u8], complete: bool, error: DecodeError) -> Split {
        Split::resume(bytes, complete, 4, error, |bytes| bytes.starts_with(&MAGIC.to_le_bytes()))
    }

    fn read_line(&mut self, line: &[u8]) -> Result<Option<DeviceFrame<'_>>, DecodeError> {
        let Some((line, digits)) = Line::parse(line)? else { return Ok(None) };
        self.bytes.clear();
        let (pairs, []) = digits.as_bytes().as_chunks::<2>() else {
            return Err(DecodeError::OddValues);
        };
        for pair in pairs {
            let [high, low] = pair.map(|digit| char::from(digit).to_digit(16));
            let byte = high.zip(low).map(|(high, low)| (high * 16 + low) as u8);
            self.bytes.push(byte.ok_or(DecodeError::Number)?);
        }
        let (frame, values) = line.frame(&self.bytes)?;
        from_bytes(values, &mut self.values);
        self.frame(&frame)
    }

    fn frame(&mut self, frame: &Frame) -> Result<Option<DeviceFrame<'_>>, DecodeError> {
        let n_subcarriers = self.values.len() / frame.n_antennas;
        if n_subcarriers == 0 {
            return Err(DecodeError::NoValues);
        }
        if n_subcarriers > MAX_SUBCARRIERS || n_subcarriers * frame.n_antennas != self.values.len()
        {
            return Err(DecodeError::Length);
        }
        let layout_of = (frame.n_antennas, n_subcarriers, frame.bandwidth_mhz, frame.centre_mhz);
        let name = self.names.entry(frame.node).or_insert_with(|| format!("node{}", frame.node));
        Ok(Some(DeviceFrame {
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
        }))
    }
}

impl Frame {
    /// Parses the header after the shape of the values, which is the numbers of antennas and subcarriers.
    fn of_header(node: u8, (n_antennas, n_subcarriers): (usize, usize), header: &[u8]) -> Self {
        let [rssi_dbm, noise_dbm] = array(header, 8).map(|byte: u8| f32::from(byte.cast_signed()));
        Self {
            node,
            n_antennas,
            bandwidth_mhz: bandwidth_mhz(array(header, 10), n_subcarriers),
            // Channels are below 65 GHz.
            centre_mhz: u32_le(header, 0) as u16,
            time: DeviceTime::Unknown,
            counter: Counter::OfReceiver { count: u32_le(header, 4), bits: 32 },
            rssi_dbm,
            noise_dbm,
        }
    }
}

/// Returns the bandwidth by the kind of transmission and the flags. If a node reports neither, the number of
/// values in the chip's buffer decides.
fn bandwidth_mhz([kind, flags]: [u8; 2], n_values: usize) -> u16 {
    match (kind, n_values) {
        _ if flags & WIDE != 0 => 40,
        // The last is HE, 20 MHz.
        (1..=3, _) | (_, 245) => 20,
        (_, 117 | 129..) => 40,
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
    use std::fmt::Write as _;

    use super::*;
    use crate::Step;
    use crate::formats::csi::CsiFormat;
    use crate::formats::csi::testing::{batches, collector, steps};

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

    /// The line that an early version of the script writes for a datagram.
    fn early_line(datagram: &[u8]) -> String {
        let mut digits = String::new();
        for byte in &datagram[SHAPE_BYTES..] {
            write!(digits, "{byte:02x}").expect("a string takes it");
        }
        let (rssi, channel) = (datagram[6].cast_signed(), datagram[7]);
        format!(
            r#"{{"type": "raw_csi", "timestamp": "2026-11-25T13:40:45.793Z",
               "ts_ns": 1795614045793277552, "node_id": {}, "rssi": {rssi}, "channel": {channel},
               "subcarriers": {}, "amplitudes": [0.0], "iq_hex": "{digits}"}}"#,
            datagram[4],
            (datagram.len() - 8) / 2,
        )
        .replace('\n', " ")
    }

    #[test]
    fn early_recordings_are_like_their_datagrams() {
        for (n_antennas, n_subcarriers) in [(1, 64), (1, 128), (1, 192), (1, 256), (3, 70)] {
            let datagram = datagram(n_antennas, n_subcarriers);
            let recorded = batches(CsiFormat::Ruview, early_line(&datagram).as_bytes());
            let [recorded] = &recorded[..] else { panic!("one batch") };
            assert_eq!(recorded.captured_at_ns, [1_795_614_045_793_277_552]);
            let mut expected = batches(CsiFormat::Ruview, &datagram).remove(0);
            expected.captured_at_ns.clone_from(&recorded.captured_at_ns);
            assert_eq!(*recorded, expected, "{n_antennas}x{n_subcarriers}");
        }
    }

    #[test]
    fn recordings_tell_shapes_and_times() {
        let line = |fields: &str| format!(r#"{{"iq_hex": "01fe01fe01fe01fe", {fields}}}"#);
        for (fields, n_rx, captured_at_ns) in [
            (r#""timestamp": "1970-01-01T00:00:01.5Z""#, 1, 1_500_000_000),
            (r#""timestamp": "1970-01-01T01:00:01.5+01:00", "n_antennas": 2"#, 2, 1_500_000_000),
            (r#""timestamp": "local", "ts_ns": 7, "n_antennas": 4"#, 4, 7),
            (r#""timestamp": null, "rssi": -40, "channel": 6, "flags": [1]"#, 1, 0),
            (r#""timestamp": -1e300"#, 1, i64::MIN),
        ] {
            let batches = batches(CsiFormat::Ruview, line(fields).as_bytes());
            let [batch] = &batches[..] else { panic!("one batch") };
            let found = (batch.layout.n_rx, batch.captured_at_ns[0], batch.iq.len());
            assert_eq!(found, (n_rx, captured_at_ns, 4), "{fields}");
        }
        for (fields, error) in [
            (r#""timestamp": "noon""#, DecodeError::NoTime),
            (r#""timestamp": true"#, DecodeError::NoTime),
            (r#""n_antennas": 3"#, DecodeError::Length),
            (r#""n_antennas": 0"#, DecodeError::Antennas),
        ] {
            let line = line(fields);
            let found = steps(CsiFormat::Ruview, line.as_bytes(), &mut collector());
            assert_eq!(found, [Step::Bad(line.len(), error)], "{fields}");
        }
    }

    #[test]
    fn amplitudes_are_no_csi() {
        for (line, error) in [
            (r#"{"timestamp": 1.5, "subcarriers": [0.0, 3.0], "rssi": 0.0}"#, true),
            (r#"{"type": "raw_csi", "subcarriers": 2, "amplitudes": [0.0, 3.0]}"#, true),
            (r#"{"type": "raw_csi", "subcarriers": 0, "amplitudes": []}"#, false),
            (r#"{"type": "sensing_update", "amplitudes": [0.0, 3.0]}"#, false),
        ] {
            let n_bytes = line.len();
            let bad = Step::Bad(n_bytes, DecodeError::NoPhases);
            let expected = if error { bad } else { Step::Used(n_bytes) };
            let found = steps(CsiFormat::Ruview, line.as_bytes(), &mut collector());
            assert_eq!(found, [expected], "{line}");
        }
        let endless = format!("{{\"iq_hex\": \"{}\"}}", "01".repeat(2 * 40_000));
        let found = steps(CsiFormat::Ruview, endless.as_bytes(), &mut collector());
        assert_eq!(found, [Step::Bad(endless.len(), DecodeError::Length)]);
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
            assert_eq!(steps(CsiFormat::Ruview, &bytes, &mut collector()), [expected]);
        }
    }
}
