//! ESP32: the text lines of the ESP32-CSI-Tool (Hernandez), of Espressif's esp-csi, v1 and v2, and of the
//! console of esp-radar.
//!
//! A line is `CSI_DATA`, columns, and a bracketed list of numbers: the imaginary and the real part of each
//! subcarrier in turn. Some lines have the bytes of the list in base64 instead. Logs also contain headers,
//! other output, and lines without a line break between them. A record starts at the last `CSI_DATA` before
//! its list. The decoder keeps every number of the list, in order.
//!
//! Source: ESP32-CSI-Tool `_components/csi_component.h`; esp-csi `csi_recv/main/app_main.c` and
//! `esp-radar/console_test/main/app_main.c`; ESP-IDF Programming Guide, "Wi-Fi Channel State
//! Information"; esp-csi `esp_csi_gain_ctrl` for the gain.

pub(crate) mod buffer;
mod columns;
mod numbers;

use std::str::FromStr;
use std::sync::LazyLock;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use memchr::memchr;
use memchr::memmem::FinderRev;
use num_complex::Complex32;
use schemas::CsiLayout;

use crate::formats::csi::esp32::buffer::{Chips, Secondary, subcarriers};
use crate::formats::csi::esp32::columns::{Columns, ESP_RADAR_COLUMNS, MAX_COLUMNS};
use crate::formats::csi::format::Format;
use crate::formats::csi::layouts::Layouts;
use crate::formats::csi::tones::centre_mhz;
use crate::formats::csi::values::from_bytes;
use crate::{Counter, DecodeError, DeviceFrame, DeviceTime, Split};

const MARKER: &[u8] = b"CSI_DATA,";
/// Finds the last marker.
static LAST_MARKER: LazyLock<FinderRev<'static>> = LazyLock::new(|| FinderRev::new(MARKER));
/// The beginning of a header line.
const HEADER: &[u8] = b"type,";
/// A longer line is not a record: the longest known list has 612 numbers.
const LONGEST_LINE: usize = 16 * 1024;
/// The most values of a frame; the longest known list has 306.
const MAX_VALUES: usize = 1024;
/// Steps per dB of the gain that the Fourier transform adds.
const FFT_STEPS_PER_DB: f32 = 4.0;

/// Decodes the lines of a board. Capture times are the chip's 32-bit microsecond clock.
#[derive(Debug, Default)]
pub(crate) struct Esp32 {
    layouts: Layouts<LayoutOf>,
    values: Vec<Complex32>,
    numbers: Vec<i16>,
    /// Scratch space of the number parser, reused.
    digits: Vec<u32>,
    bytes: Vec<u8>,
}

/// The key of a layout: values, secondary channel, chips, bandwidth and channel.
type LayoutOf = (usize, Secondary, Chips, u16, u16);

impl Format for Esp32 {
    fn split(&self, bytes: &[u8], complete: bool) -> Split {
        let used = match memchr(b'\n', bytes) {
            Some(end) => end + 1,
            None if complete => bytes.len(),
            None if bytes.len() > LONGEST_LINE => {
                return Split::Bad(bytes.len(), DecodeError::Length);
            }
            None => return Split::NeedsMore,
        };
        // The next record may follow the list without a line break.
        let line = &bytes[..used];
        let list_end = memchr(b']', line).map_or(used, |at| at + 1);
        let glued = line[list_end..].windows(MARKER.len()).position(|text| text == MARKER);
        Split::Record(glued.map_or(used, |at| list_end + at))
    }

    fn read<'a>(&'a mut self, record: &'a [u8]) -> Result<Option<DeviceFrame<'a>>, DecodeError> {
        if record.starts_with(HEADER) {
            return Ok(None);
        }
        let list_at = memchr(b'[', record);
        let before_list = &record[..list_at.unwrap_or(record.len())];
        let Some(marker_at) = LAST_MARKER.rfind(before_list) else {
            return if record.trim_ascii().is_empty() {
                Ok(None)
            } else {
                Err(DecodeError::Header)
            };
        };
        let Some(list_at) = list_at else { return self.read_base64(&record[marker_at..]) };
        let list = &record[list_at + 1..];
        let list_bytes = memchr(b']', list).ok_or(DecodeError::Truncated)?;
        self.read_list(&list[..list_bytes])?;
        // The last comma separates the columns from the start of the list.
        let columns = &record[marker_at..list_at];
        let end = memchr::memrchr(b',', columns).unwrap_or(0);
        self.frame(&columns[..end])
    }
}

impl Esp32 {
    /// Reads (imaginary, real) pairs of numbers, separated by blanks and commas.
    fn read_list(&mut self, list: &[u8]) -> Result<(), DecodeError> {
        numbers::read(list, &mut self.digits, &mut self.numbers)?;
        let (pairs, rest) = self.numbers.as_chunks::<2>();
        self.values.clear();
        let value = |&[im, re]: &[i16; 2]| Complex32::new(re.into(), im.into());
        self.values.extend(pairs.iter().map(value));
        match (rest.is_empty(), pairs.is_empty()) {
            (false, _) => Err(DecodeError::OddValues),
            (true, true) => Err(DecodeError::NoValues),
            (true, false) => Ok(()),
        }
    }

    /// Reads a record whose last column is the buffer in base64.
    fn read_base64<'a>(
        &'a mut self,
        record: &'a [u8],
    ) -> Result<Option<DeviceFrame<'a>>, DecodeError> {
        let record = record.trim_ascii_end();
        let (columns, digits) = match memchr::memrchr(b',', record) {
            Some(at) if ESP_RADAR_COLUMNS.contains(&Columns::count(&record[..at])) => {
                (&record[..at], &record[at + 1..])
            }
            _ => return Err(DecodeError::NoValues),
        };
        self.bytes.clear();
        let digits = digits.strip_prefix(b"\"").unwrap_or(digits);
        let digits = digits.strip_suffix(b"\"").unwrap_or(digits);
        BASE64_STANDARD.decode_vec(digits, &mut self.bytes).map_err(|_| DecodeError::Number)?;
        if self.bytes.is_empty() {
            return Err(DecodeError::NoValues);
        }
        if !self.bytes.len().is_multiple_of(2) {
            return Err(DecodeError::OddValues);
        }
        from_bytes(&self.bytes, &mut self.values);
        self.frame(columns)
    }

    fn frame<'a>(&'a mut self, columns: &'a [u8]) -> Result<Option<DeviceFrame<'a>>, DecodeError> {
        if self.values.len() > MAX_VALUES {
            return Err(DecodeError::Length);
        }
        let columns = std::str::from_utf8(columns).map_err(|_| DecodeError::NotText)?;
        let mut fields = [""; MAX_COLUMNS];
        let columns = Columns::read(columns, &mut fields)?;
        let secondary = match columns.secondary.map(|column| fields[column].trim_ascii()) {
            Some("1") => Secondary::Above,
            Some("2") => Secondary::Below,
            _ => Secondary::None,
        };
        let wide = columns.bandwidth.is_some_and(|column| fields[column].trim_ascii() == "1");
        let channel = number::<u16>(fields[columns.channel])?;
        let bandwidth_mhz = if wide { 40 } else { 20 };
        let layout_of = (self.values.len(), secondary, columns.chips, bandwidth_mhz, channel);
        let sequence = columns.sequence.map(|column| wrapping(fields[column])).transpose()?;
        let gains =
            columns.gains.map(|(agc, fft)| Ok((number(fields[agc])?, number(fields[fft])?)));
        let (agc_db, scale) = gains.transpose()?.map_or((0.0, 1.0), gain);
        Ok(Some(DeviceFrame {
            receiver: None,
            transmitter: Some(fields[columns.mac].trim_ascii()),
            layout: self.layouts.get(layout_of, layout),
            time: DeviceTime::WrappingUs(wrapping(fields[columns.timestamp])?),
            counter: sequence
                .map_or(Counter::None, |count| Counter::OfReceiver { count, bits: 32 }),
            rssi_dbm: signed_byte(number(fields[columns.rssi])?),
            noise_dbm: signed_byte(number(fields[columns.noise])?),
            agc_db,
            scale,
            values: &self.values,
        }))
    }
}

fn layout((n_values, secondary, chips, bandwidth_mhz, channel): LayoutOf) -> CsiLayout {
    CsiLayout {
        n_rx: 1,
        n_tx: 1,
        subcarriers: subcarriers(n_values, secondary, chips),
        bandwidth_mhz,
        centre_mhz: centre_mhz(channel),
        ..CsiLayout::default()
    }
}

/// Returns the automatic gain in dB, and the factor that removes both gains from the values.
fn gain((agc_db, fft_steps): (f32, f32)) -> (f32, f32) {
    let gain_db = agc_db + signed_byte(fft_steps) / FFT_STEPS_PER_DB;
    (agc_db, 10_f32.powf(gain_db / -20.0))
}

/// Converts a signed byte that some boards print as an unsigned one.
fn signed_byte(printed: f32) -> f32 {
    if printed > i8::MAX.into() { printed - 256.0 } else { printed }
}

/// Parses an unsigned 32-bit number, which some boards print as a signed one.
fn wrapping(field: &str) -> Result<u32, DecodeError> {
    number(field).or_else(|_| number(field).map(i32::cast_unsigned))
}

fn number<N: FromStr>(field: &str) -> Result<N, DecodeError> {
    field.trim_ascii().parse().map_err(|_| DecodeError::Number)
}

#[cfg(test)]
pub(crate) mod tests;
