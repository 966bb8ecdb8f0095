//! ESP32: the text lines of the ESP32-CSI-Tool (Hernandez) and of Espressif's esp-csi, v1 and v2.
//!
//! A line is `CSI_DATA`, columns, and a bracketed list of numbers: the imaginary and the real part of
//! each subcarrier in turn. Logs hold headers, other output and lines glued together; a record starts
//! at the last `CSI_DATA` before its list. Every number of the list is kept, in its order.
//!
//! Source: ESP32-CSI-Tool `_components/csi_component.h`; esp-csi `csi_recv/main/app_main.c`; ESP-IDF
//! Programming Guide, "Wi-Fi Channel State Information".

use std::str::FromStr;

use num_complex::Complex32;
use schemas::{CsiFrame, CsiLayout};

use crate::csi::clock::MicrosecondClock;
use crate::{DecodeError, Decoder, DecoderMemory, Intake, Step};

const MARKER: &[u8] = b"CSI_DATA,";
/// How a line with the names of the columns begins.
const HEADER: &[u8] = b"type,";
/// A longer line is no record: the longest known list has 612 numbers.
const LONGEST_LINE: usize = 16 * 1024;
/// Subcarriers of one training field.
const N_TRAINING: usize = 64;

/// Decoder of ESP32 lines. Capture times are the chip's 32-bit microsecond clock, wraps undone.
#[derive(Debug, Default)]
pub struct Esp32 {
    clock: MicrosecondClock,
    layout: CsiLayout,
    /// What `layout` was made for: number of values and secondary channel.
    layout_of: (usize, Secondary),
    values: Vec<Complex32>,
    n_frames: u32,
}

impl Decoder for Esp32 {
    fn decode(&mut self, bytes: &[u8], complete: bool, intake: &mut Intake) -> Step {
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let (line, used) = match end {
            Some(end) => (&bytes[..end], end + 1),
            None if complete => (bytes, bytes.len()),
            None if bytes.len() > LONGEST_LINE => {
                return Step::Bad(bytes.len(), DecodeError::Length);
            }
            None => return Step::NeedsMore,
        };
        match self.decode_line(line, intake) {
            Ok(()) => Step::Used(used),
            Err(error) => Step::Bad(used, error),
        }
    }

    fn memory(&self) -> DecoderMemory {
        DecoderMemory { clock: self.clock, n_frames: self.n_frames }
    }

    fn recall(&mut self, memory: DecoderMemory) {
        (self.clock, self.n_frames) = (memory.clock, memory.n_frames);
    }
}

/// Where the secondary channel of a 40 MHz transmission lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Secondary {
    #[default]
    None,
    Above,
    Below,
}

/// Where each variant has the columns that are used, counted from `CSI_DATA`.
struct Columns {
    sequence: Option<usize>,
    mac: usize,
    rssi: usize,
    noise: usize,
    agc: Option<usize>,
    bandwidth: Option<usize>,
    channel: usize,
    secondary: Option<usize>,
    timestamp: usize,
}

const HERNANDEZ: Columns = Columns {
    sequence: None,
    mac: 2,
    rssi: 3,
    noise: 14,
    agc: None,
    bandwidth: Some(7),
    channel: 16,
    secondary: Some(17),
    timestamp: 18,
};
const ESP_CSI_V1: Columns = Columns { sequence: Some(1), ..HERNANDEZ };
const ESP_CSI_V2: Columns = Columns {
    sequence: Some(1),
    mac: 2,
    rssi: 3,
    noise: 5,
    agc: Some(7),
    bandwidth: None,
    channel: 8,
    secondary: None,
    timestamp: 9,
};

impl Columns {
    /// The variant that has this many columns before the list.
    fn of(n_columns: usize) -> Option<&'static Self> {
        match n_columns {
            14 => Some(&ESP_CSI_V2),
            24 => Some(&ESP_CSI_V1),
            25 => Some(&HERNANDEZ),
            _ => None,
        }
    }
}

/// More columns than any variant has.
const MAX_COLUMNS: usize = 32;

impl Esp32 {
    fn decode_line(&mut self, line: &[u8], intake: &mut Intake) -> Result<(), DecodeError> {
        if line.starts_with(HEADER) {
            return Ok(());
        }
        let list_at = line.iter().position(|byte| *byte == b'[');
        let before_list = &line[..list_at.unwrap_or(line.len())];
        let Some(marker_at) = before_list.windows(MARKER.len()).rposition(|text| text == MARKER)
        else {
            // A boot message or an empty line.
            return Ok(());
        };
        let list_at = list_at.ok_or(DecodeError::NoValues)?;
        let list = &line[list_at + 1..];
        let list_bytes =
            list.iter().position(|byte| *byte == b']').ok_or(DecodeError::Truncated)?;
        self.read_values(&list[..list_bytes])?;
        let columns = &line[marker_at..list_at];
        let columns = std::str::from_utf8(columns).map_err(|_| DecodeError::NotText)?;
        self.push_frame(columns, intake)
    }

    /// Reads numbers that anything but a digit and a minus parts, as (imaginary, real) pairs.
    fn read_values(&mut self, list: &[u8]) -> Result<(), DecodeError> {
        self.values.clear();
        let mut imaginary = None;
        let mut number: Option<i32> = None;
        let mut negative = false;
        for byte in list.iter().chain(b" ") {
            match byte {
                b'0'..=b'9' => {
                    let value = number.unwrap_or(0) * 10 + i32::from(byte - b'0');
                    number = (value <= i32::from(i16::MAX)).then_some(value);
                    number.ok_or(DecodeError::Number)?;
                }
                b'-' if number.is_none() && !negative => negative = true,
                b' ' | b',' => {
                    if let Some(value) = number.take() {
                        let value = if negative { -value } else { value } as f32;
                        match imaginary.take() {
                            None => imaginary = Some(value),
                            Some(im) => self.values.push(Complex32::new(value, im)),
                        }
                    } else if negative {
                        return Err(DecodeError::Number);
                    }
                    negative = false;
                }
                _ => return Err(DecodeError::Number),
            }
        }
        match (imaginary, self.values.is_empty()) {
            (Some(_), _) => Err(DecodeError::OddValues),
            (None, true) => Err(DecodeError::NoValues),
            (None, false) => Ok(()),
        }
    }

    fn push_frame(&mut self, columns: &str, intake: &mut Intake) -> Result<(), DecodeError> {
        let mut fields = [""; MAX_COLUMNS];
        let mut n_columns = 0;
        // What follows the last comma opens the list.
        let before_list = columns.rsplit_once(',').map_or("", |(before, _)| before);
        for field in before_list.split(',') {
            *fields.get_mut(n_columns).ok_or(DecodeError::Columns)? = field.trim();
            n_columns += 1;
        }
        let columns = Columns::of(n_columns).ok_or(DecodeError::Columns)?;
        let secondary = match columns.secondary.map(|column| fields[column]) {
            Some("1") => Secondary::Above,
            Some("2") => Secondary::Below,
            _ => Secondary::None,
        };
        let wide = columns.bandwidth.is_some_and(|column| fields[column] == "1");
        let channel = number::<u16>(fields[columns.channel])?;
        self.set_layout(secondary, if wide { 40 } else { 20 }, channel);
        let sequence = match columns.sequence {
            Some(column) => number(fields[column])?,
            None => self.n_frames,
        };
        let agc_db = columns.agc.map_or(Ok(0.0), |column| number(fields[column]))?;
        let frame = CsiFrame {
            captured_at_ns: self.clock.unwrap_ns(number(fields[columns.timestamp])?),
            sequence,
            rssi_dbm: number(fields[columns.rssi])?,
            noise_dbm: number(fields[columns.noise])?,
            agc_db,
        };
        intake.push(Some(fields[columns.mac]), &self.layout, frame, &self.values);
        self.n_frames = self.n_frames.wrapping_add(1);
        Ok(())
    }

    fn set_layout(&mut self, secondary: Secondary, bandwidth_mhz: u16, channel: u16) {
        let layout_of = (self.values.len(), secondary);
        if self.layout_of != layout_of {
            self.layout.subcarriers = subcarriers(self.values.len(), secondary);
            self.layout_of = layout_of;
        }
        (self.layout.n_rx, self.layout.n_tx) = (1, 1);
        self.layout.bandwidth_mhz = bandwidth_mhz;
        self.layout.centre_mhz = centre_mhz(channel);
    }
}

fn number<N: FromStr>(field: &str) -> Result<N, DecodeError> {
    field.parse().map_err(|_| DecodeError::Number)
}

/// Centre of a 20 MHz channel; 0 for a number that is no channel.
fn centre_mhz(channel: u16) -> u16 {
    match channel {
        1..=13 => 2407 + 5 * channel,
        14 => 2484,
        36..=177 => 5000 + 5 * channel,
        _ => 0,
    }
}

/// The subcarrier of each value, after the ESP-IDF tables: the legacy training field first, then the
/// HT fields. Lengths that no table has are counted from 0.
fn subcarriers(n_values: usize, secondary: Secondary) -> Vec<i16> {
    let half = 32_i16;
    let centred = (0..half).chain(-half..0);
    let legacy: Vec<i16> = match secondary {
        Secondary::None => centred.clone().collect(),
        Secondary::Below => (0..2 * half).collect(),
        Secondary::Above => (-2 * half..0).collect(),
    };
    match (n_values, secondary) {
        (N_TRAINING, _) => legacy,
        (128 | 192, Secondary::None) => legacy.iter().copied().cycle().take(n_values).collect(),
        (128, _) => legacy.iter().chain(&legacy).copied().collect(),
        (192, _) => legacy.into_iter().chain((0..2 * half).chain(-2 * half..0)).collect(),
        _ => (0..=i16::MAX).take(n_values).collect(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use schemas::{CsiBatch, Record, SourceKind};

    use super::*;
    use crate::{LinkNames, SourceContext};

    const HERNANDEZ_LINE: &str = "CSI_DATA,AP,3C:71:BF:6D:2A:78,-73,11,1,0,1,1,1,1,0,0,0,-93,0,1,1,\
        80272146,0,47,0,0,80.2,4,[1 -2 3 4 ]";
    const V1_LINE: &str = "CSI_DATA,17,94:d9:b3:80:8c:81,-30,11,1,6,1,0,1,0,1,0,0,-93,0,13,2,2751923,\
        0,67,0,4,1,\"[1,-2,3,4]\"";
    const V2_LINE: &str = "CSI_DATA,9,94:d9:b3:80:8c:81,-30,11,-93,7,24,6,2751923,67,0,4,1,\
        \"[1,-2,3,4]\"";

    fn decode(text: &[u8]) -> (Vec<Step>, Vec<CsiBatch>) {
        let mut intake =
            Intake::new(LinkNames::default(), SourceKind::Replay, &SourceContext::detached("test"));
        let mut decoder = Esp32::default();
        let (mut steps, mut rest) = (Vec::new(), text);
        while !rest.is_empty() {
            let step = decoder.decode(rest, true, &mut intake);
            let (Step::Used(used) | Step::Bad(used, _)) = step else { panic!("text is complete") };
            steps.push(step);
            rest = &rest[used..];
        }
        let batches = intake.take().records.into_iter().map(|(_, record)| {
            let Record::Csi(batch) = record else { panic!("a frame set holds csi") };
            batch
        });
        (steps, batches.collect())
    }

    #[test]
    fn reads_the_three_variants() {
        for (name, line, captured_at_us, sequence, centre_mhz, agc_db) in [
            ("hernandez", HERNANDEZ_LINE, 80_272_146, 0, 2412, 0.0),
            ("v1", V1_LINE, 2_751_923, 17, 2472, 0.0),
            ("v2", V2_LINE, 2_751_923, 9, 2437, 24.0),
        ] {
            let (steps, batches) = decode(line.as_bytes());
            assert_eq!(steps, [Step::Used(line.len())], "{name}");
            let frame = batches[0].frame(0);
            assert_eq!(frame.captured_at_ns, captured_at_us * 1000, "{name}");
            assert_eq!((frame.sequence, frame.agc_db), (sequence, agc_db), "{name}");
            assert_eq!(
                (frame.noise_dbm, batches[0].layout.centre_mhz),
                (-93.0, centre_mhz),
                "{name}"
            );
            let values = [Complex32::new(-2.0, 1.0), Complex32::new(4.0, 3.0)];
            assert_eq!(batches[0].values(0), values, "{name}: the imaginary part comes first");
        }
    }

    #[test]
    fn counts_what_is_wrong() {
        let odd = HERNANDEZ_LINE.replace("[1 -2 3 4 ]", "[1 -2 3 ]");
        let glued = format!("CSI_DATA,AP,3C:71{HERNANDEZ_LINE}");
        for (name, line, expected) in [
            ("boot message", "I (560) wifi: mode : sta", None),
            ("header", "type,role,mac,rssi,len,CSI_DATA", None),
            ("longer header", "type,role,mac,rssi,len,CSI_DATA,real_time", None),
            ("two records glued", glued.as_str(), None),
            ("odd", odd.as_str(), Some(DecodeError::OddValues)),
            ("no list", "CSI_DATA,AP,3C:71:BF", Some(DecodeError::NoValues)),
            ("cut list", &HERNANDEZ_LINE[..HERNANDEZ_LINE.len() - 1], Some(DecodeError::Truncated)),
            ("few columns", "CSI_DATA,1,2,[1 2]", Some(DecodeError::Columns)),
            ("letters", "CSI_DATA,1,2,[1 x]", Some(DecodeError::Number)),
            ("huge", "CSI_DATA,1,2,[99999999999 1]", Some(DecodeError::Number)),
            ("lone minus", "CSI_DATA,1,2,[- 1]", Some(DecodeError::Number)),
        ] {
            let step = decode(line.as_bytes()).0[0];
            let expected = match expected {
                None => Step::Used(line.len()),
                Some(error) => Step::Bad(line.len(), error),
            };
            assert_eq!(step, expected, "{name}");
        }
    }

    #[test]
    fn waits_for_the_end_of_a_line() {
        let mut intake =
            Intake::new(LinkNames::default(), SourceKind::Replay, &SourceContext::detached("test"));
        let step = Esp32::default().decode(b"CSI_DATA,1,2", false, &mut intake);
        assert_eq!(step, Step::NeedsMore);
    }

    #[test]
    fn subcarriers_follow_the_secondary_channel() {
        for (n_values, secondary, first, last) in [
            (64, Secondary::None, 0, -1),
            (64, Secondary::Below, 0, 63),
            (64, Secondary::Above, -64, -1),
            (192, Secondary::None, 0, -1),
            (192, Secondary::Below, 0, -1),
            (53, Secondary::None, 0, 52),
        ] {
            let subcarriers = subcarriers(n_values, secondary);
            assert_eq!(subcarriers.len(), n_values);
            assert_eq!((subcarriers[0], subcarriers[n_values - 1]), (first, last));
        }
    }

    proptest! {
        /// Whatever comes, nothing panics, and whatever is said to be used is there.
        #[test]
        fn survives_garbage(line in "(CSI_DATA,)?[0-9a-f,\\[\\] -]{0,80}\n?") {
            decode(line.as_bytes());
        }
    }
}
