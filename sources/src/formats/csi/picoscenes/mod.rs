//! PicoScenes: frames of many radios, each in its own packing, in segments with names and versions.
//!
//! A frame is a header, segments and the received frame. The decoder uses the segments `CSI` and `RxSBasic`,
//! and `MVMExtra` for the clock of AX200 and AX210 cards. It skips all others.
//!
//! Source: Z. Jiang et al., "Eliminating the barriers: demystifying Wi-Fi baseband design and introducing the
//! PicoScenes Wi-Fi sensing platform", IEEE Internet of Things Journal 2022; the structures that csiread
//! lists in `_picoscenes.h`, and those of `RxSBasicSegment` in RXS-Parsing-Core.

mod matrix;
mod segments;

use num_complex::Complex32;
use schemas::CsiLayout;

use crate::formats::csi::bytes::{MacText, array, u32_le};
use crate::formats::csi::feitcsi;
use crate::formats::csi::format::Format;
use crate::formats::csi::layouts::Layouts;
use crate::formats::csi::mac;
use crate::formats::csi::picoscenes::segments::{Basic, Csi, Segment};
use crate::formats::csi::tones::{self, Phy};
use crate::formats::csi::values::{
    MAX_PAIRS, N_GROUPS, from_groups, from_ten_bits, from_words, groups_bytes, ten_bits_bytes,
};
use crate::{Counter, DecodeError, DeviceFrame, DeviceTime, Split};

const MAGIC: u32 = 0x2015_0315;
/// Length, magic number, version and number of segments.
const HEADER_BYTES: usize = 11;
/// Bytes that the length does not count.
const LENGTH_BYTES: usize = 4;
/// A frame with the baseband signal of 160 MHz is shorter.
const LONGEST_FRAME: usize = 16 * 1024 * 1024;
const MAX_ANTENNAS: usize = 8;
const MAX_TONES: usize = 8192;

const INTEL_5300: u16 = 0x5300;
const QCA_9300: u16 = 0x9300;
const INTEL_AX: [u16; 2] = [0x2000, 0x2100];
const SOFTWARE_DEFINED: [u16; 2] = [0x1234, 0x1000];

/// Tones that some firmware adds in the middle of 160 MHz: the number of tones with them, and their range.
const JUNK: [(usize, std::ops::Range<usize>); 2] = [(498, 242..256), (2020, 996..1024)];

/// Decodes a recording. Capture times are those of the radio.
#[derive(Debug, Default)]
pub(crate) struct Picoscenes {
    layouts: Layouts<LayoutOf>,
    words: Vec<u32>,
    values: Vec<Complex32>,
    transmitter: MacText,
}

/// The key of a layout.
#[derive(Clone, Debug, PartialEq, Eq)]
struct LayoutOf {
    device: u16,
    format: i8,
    bandwidth_mhz: u16,
    centre_mhz: u16,
    n_tones: usize,
    n_tx: usize,
    n_rx: usize,
    antenna_selection: u8,
    /// The subcarriers, if the frame contains them.
    indices: Option<Vec<i16>>,
    /// The offset from the usual subcarriers, if the frame does not contain its own.
    subcarrier_offset: i16,
}

impl Format for Picoscenes {
    fn split(&self, bytes: &[u8], complete: bool) -> Split {
        if bytes.len() < HEADER_BYTES {
            return Split::missing(bytes, complete);
        }
        if !begins(bytes) {
            return Split::resume(bytes, complete, HEADER_BYTES, DecodeError::Header, begins);
        }
        let used = LENGTH_BYTES + u32_le(bytes, 0) as usize;
        if bytes.len() >= used {
            return Split::Record(used);
        }
        // A damaged length may exceed the rest of the input.
        let next = memchr::memmem::find(&bytes[HEADER_BYTES..], &MAGIC.to_le_bytes());
        match next.filter(|_| complete) {
            Some(at) => Split::Bad(HEADER_BYTES + at - LENGTH_BYTES, DecodeError::Truncated),
            None => Split::missing(bytes, complete),
        }
    }

    fn read<'a>(&'a mut self, record: &'a [u8]) -> Result<Option<DeviceFrame<'a>>, DecodeError> {
        let (mut basic, mut clock, mut csi) = (Basic::default(), None, None);
        let mut rest = &record[HEADER_BYTES..];
        for _ in 0..record[HEADER_BYTES - 1] {
            let (segment, behind) = Segment::take(rest).ok_or(DecodeError::Truncated)?;
            rest = behind;
            match segment.name {
                b"RxSBasic" => basic = Basic::parse(segment),
                b"MVMExtra" => {
                    clock = segment.body.get(2..).map(feitcsi::Header::parse).map(|it| it.clock_us);
                }
                b"CSI" => csi = Some(Csi::parse(segment).ok_or(DecodeError::Truncated)?),
                _ => {}
            }
        }
        // Frames without CSI are recorded as well.
        let Some(csi) = csi else { return Ok(None) };
        let layout_of = self.read_csi(csi)?;
        let received = Some(rest).filter(|rest| rest.len() >= mac::HEADER_BYTES);
        let transmitter = received.map(|frame| self.transmitter.set(array(frame, 10)));
        Ok(Some(DeviceFrame {
            receiver: None,
            transmitter,
            layout: self.layouts.get(layout_of, layout),
            time: time(csi.device, basic, clock),
            counter: received.map_or(Counter::None, mac::counter),
            rssi_dbm: basic.rssi_dbm,
            noise_dbm: basic.noise_dbm,
            agc_db: 0.0,
            scale: 1.0,
            values: &self.values,
        }))
    }
}

/// True if `bytes` begin with a frame.
fn begins(bytes: &[u8]) -> bool {
    let lengths = HEADER_BYTES - LENGTH_BYTES..LONGEST_FRAME;
    bytes.len() >= 8 && u32_le(bytes, 4) == MAGIC && lengths.contains(&(u32_le(bytes, 0) as usize))
}

/// Returns the capture time, by one clock for all frames of a recording. Cards with a 32-bit clock omit the
/// timestamp in many frames. If that clock is missing or 0, the host's clock replaces it.
fn time(device: u16, basic: Basic, clock_us: Option<u32>) -> DeviceTime {
    let ns = |units: u64, ns_per_unit: i64| {
        let units = i64::try_from(units).ok().filter(|units| *units > 0)?;
        Some(DeviceTime::Ns(units.saturating_mul(ns_per_unit)))
    };
    let ns_per_unit = if SOFTWARE_DEFINED.contains(&device) { 1 } else { 1000 };
    let by_radio = ns(basic.timestamp, ns_per_unit);
    let by_host = ns(basic.system_ns, 1);
    let time = if INTEL_AX.contains(&device) {
        let clock_us = clock_us.filter(|clock_us| *clock_us > 0);
        clock_us.map(DeviceTime::WrappingUs).or(by_host).or(by_radio)
    } else {
        by_radio.or(by_host)
    };
    time.unwrap_or(DeviceTime::Unknown)
}

impl Picoscenes {
    /// Reads the values; returns the key of their layout.
    fn read_csi(&mut self, mut csi: Csi<'_>) -> Result<LayoutOf, DecodeError> {
        let antennas = 1..=MAX_ANTENNAS;
        if !antennas.contains(&csi.n_rx) || !(1..=MAX_TONES).contains(&csi.n_tones) {
            return Err(DecodeError::Antennas);
        }
        if csi.device == INTEL_5300 {
            // The sounding may have more streams than the header reports.
            csi.n_tx = csi.data.len().saturating_sub(12) / 60 / csi.n_rx;
            csi.n_tones = N_GROUPS;
            if csi.n_rx * csi.n_tx > MAX_PAIRS {
                return Err(DecodeError::Antennas);
            }
        }
        if !antennas.contains(&csi.n_tx) {
            return Err(DecodeError::Antennas);
        }
        let mut indices = None;
        let n_values = csi.n_rx * csi.n_tx * csi.n_tones;
        let enough = |n_bytes: usize| {
            (csi.data.len() >= n_bytes).then_some(()).ok_or(DecodeError::Truncated)
        };
        match csi.device {
            INTEL_5300 => {
                enough(groups_bytes(csi.n_rx * csi.n_tx))?;
                let rows: [usize; MAX_ANTENNAS] = std::array::from_fn(|row| row);
                from_groups(csi.data, &rows[..csi.n_rx], csi.n_tx, &mut self.values);
            }
            QCA_9300 => {
                enough(ten_bits_bytes(n_values))?;
                let shape = (csi.n_rx, csi.n_tx, csi.n_tones);
                from_ten_bits(csi.data, shape, &mut self.words, &mut self.values);
            }
            device if INTEL_AX.contains(&device) => {
                enough(4 * n_values)?;
                from_words(&csi.data[..4 * n_values], &mut self.values);
                self.leave_out_junk(&mut csi);
            }
            device if SOFTWARE_DEFINED.contains(&device) => {
                indices = Some(matrix::read(&csi, &mut self.values)?);
            }
            _ => return Err(DecodeError::Chip),
        }
        Ok(LayoutOf {
            device: csi.device,
            format: csi.format,
            bandwidth_mhz: csi.bandwidth_mhz,
            // Carriers are below 65 GHz.
            centre_mhz: (csi.carrier_hz / 1_000_000) as u16,
            n_tones: csi.n_tones,
            n_tx: csi.n_tx,
            n_rx: csi.n_rx,
            antenna_selection: csi.antenna_selection,
            indices,
            subcarrier_offset: csi.subcarrier_offset,
        })
    }

    fn leave_out_junk(&mut self, csi: &mut Csi<'_>) {
        let junk = JUNK.into_iter().find(|(n_tones, _)| *n_tones == csi.n_tones);
        let Some((n_tones, junk)) = junk else { return };
        let mut tone = 0..;
        self.values.retain(|_| !junk.contains(&(tone.next().unwrap_or(0) % n_tones)));
        csi.n_tones -= junk.len();
    }
}

fn layout(of: LayoutOf) -> CsiLayout {
    let phy = if of.format <= 2 { Phy::Wide } else { Phy::Narrow };
    let subcarriers = of.indices.unwrap_or_else(|| {
        let mut usual = match of.device {
            INTEL_5300 => tones::groups(of.bandwidth_mhz),
            _ => tones::occupied(phy, of.bandwidth_mhz, of.n_tones),
        };
        let shifted = |it: &mut i16| *it = it.saturating_add(of.subcarrier_offset);
        usual.iter_mut().for_each(shifted);
        usual
    });
    let selected = |row: u32| of.antenna_selection.checked_shr(2 * row).unwrap_or(0) & 3;
    let rx_antennas = match of.device {
        INTEL_5300 => (0..of.n_rx as u32).map(selected).collect(),
        // At most eight.
        _ => (0..of.n_rx as u8).collect(),
    };
    CsiLayout {
        n_rx: of.n_rx as u16,
        n_tx: of.n_tx as u16,
        rx_antennas,
        tx_streams: (0..of.n_tx as u8).collect(),
        subcarriers,
        bandwidth_mhz: of.bandwidth_mhz,
        centre_mhz: of.centre_mhz,
    }
}

#[cfg(test)]
pub(crate) mod tests;
