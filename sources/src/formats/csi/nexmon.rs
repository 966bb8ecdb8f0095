//! Nexmon: CSI of Broadcom chips, a UDP datagram for each core and spatial stream.
//!
//! A datagram is a header of 18 bytes and 32-bit values in the order of the Fourier transform, subcarrier
//! zero first. Some chips send pairs of 16-bit numbers, others a floating-point format of their own. Each
//! datagram is a frame of one antenna and one stream, which its layout names.
//!
//! The earlier extractor (2018) sends 255 values after a header without channel and core. Its own reader
//! calls the format of 80 MHz unknown. The decoder counts such datagrams under a separate reason.
//!
//! Source: M. Schulz et al., "Shadow Wi-Fi", MobiSys 2018, and its `csi_extraction.c` and `readcsi.m`;
//! `nexmon_csi`, README and `csi_extractor.c`.

use num_complex::Complex32;
use schemars::JsonSchema;
use schemas::CsiLayout;
use serde::Deserialize;

use crate::formats::csi::bytes::{MacText, array, u16_le};
use crate::formats::csi::format::Format;
use crate::formats::csi::layouts::Layouts;
use crate::formats::csi::mac;
use crate::formats::csi::tones;
use crate::formats::csi::values::{Float, from_words};
use crate::{DecodeError, DeviceFrame, DeviceTime, SequenceSpace, Split};

const HEADER_BYTES: usize = 18;
const MAGIC: u16 = 0x1111;
/// The header of old firmware, which has no signal strength.
const OLD_MAGIC: [u8; 4] = [0x11; 4];
/// The first bytes of datagrams of the extractor of 2018, and their length.
const MAGICS_OF_2018: [[u8; 4]; 2] = [OLD_MAGIC, *b"CSIS"];
const BYTES_OF_2018: usize = 1034;
/// Subcarriers of 160, 80, 40 and 20 MHz.
const N_BINS: [u16; 4] = [512, 256, 128, 64];
/// Some datagrams have a few bytes more than their values.
const MAX_PADDING_BYTES: usize = 16;
const VALUE_BYTES: usize = 4;
/// The core and the stream have three bits each; a larger number has its bytes swapped.
const LARGEST_CORE_AND_STREAM: u16 = 0x3F;

/// A Broadcom chip with a supported value format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum NexmonChip {
    /// Nexus 5 and others: 16-bit numbers.
    #[serde(rename = "4339")]
    Bcm4339,
    /// Raspberry Pi 3B+ and 4: 16-bit numbers.
    #[serde(rename = "43455c0")]
    Bcm43455c0,
    /// Nexus 6P and others: floating point.
    #[serde(rename = "4358")]
    Bcm4358,
    /// Asus RT-AC86U: floating point.
    #[serde(rename = "4366c0")]
    Bcm4366c0,
}

impl NexmonChip {
    /// Returns the chip of a chip number in datagrams.
    fn of(number: u16) -> Option<Self> {
        match number {
            0x0001 => Some(Self::Bcm4339),
            0x0065 | 0xA6DC => Some(Self::Bcm43455c0),
            0x0003 | 0xDEAD => Some(Self::Bcm4358),
            0x006A | 0xE834 => Some(Self::Bcm4366c0),
            _ => None,
        }
    }

    fn float(self) -> Option<Float> {
        match self {
            Self::Bcm4339 | Self::Bcm43455c0 => None,
            Self::Bcm4358 => Some(Float { mantissa_bits: 9, exponent_bits: 5 }),
            Self::Bcm4366c0 => Some(Float { mantissa_bits: 12, exponent_bits: 6 }),
        }
    }
}

/// Decodes the datagrams of a chip. Capture times are the times of arrival.
#[derive(Debug, Default)]
pub(crate) struct Nexmon {
    /// The chip of all datagrams; it overrides the chip number in them.
    chip: Option<NexmonChip>,
    layouts: Layouts<LayoutOf>,
    values: Vec<Complex32>,
    transmitter: MacText,
}

/// The key of a layout: subcarriers, core and stream, and channel.
type LayoutOf = (u16, u16, u16);

impl Nexmon {
    pub(crate) fn new(chip: Option<NexmonChip>) -> Self {
        Self { chip, ..Self::default() }
    }
}

impl Format for Nexmon {
    fn split(&self, bytes: &[u8], complete: bool) -> Split {
        match bytes.first_chunk() {
            None => Split::missing(bytes, complete),
            Some(magic) if u16::from_le_bytes(*magic) != MAGIC && !is_of_2018(bytes) => {
                // Another protocol on the same port.
                if complete {
                    Split::Bad(bytes.len(), DecodeError::Header)
                } else {
                    Split::NeedsMore
                }
            }
            // A record ends at the end of its datagram.
            Some(_) if complete => Split::Record(bytes.len()),
            Some(_) => Split::NeedsMore,
        }
    }

    fn read<'a>(&'a mut self, record: &'a [u8]) -> Result<Option<DeviceFrame<'a>>, DecodeError> {
        if is_of_2018(record) {
            return Err(DecodeError::NoSubcarriers);
        }
        let payload = record.get(HEADER_BYTES..).ok_or(DecodeError::Truncated)?;
        let n_bins = N_BINS.into_iter().find(|n_bins| {
            payload
                .len()
                .checked_sub(VALUE_BYTES * usize::from(*n_bins))
                .is_some_and(|it| it <= MAX_PADDING_BYTES)
        });
        let n_bins = n_bins.ok_or(DecodeError::Length)?;
        let chip = self.chip.or_else(|| NexmonChip::of(u16_le(record, 16)));
        let payload = &payload[..VALUE_BYTES * usize::from(n_bins)];
        match chip.ok_or(DecodeError::Chip)?.float() {
            None => from_words(payload, &mut self.values),
            Some(float) => float.read(payload, &mut self.values),
        }
        let layout_of = (n_bins, core_and_stream(record), u16_le(record, 14));
        let is_old = record.starts_with(&OLD_MAGIC);
        // Old firmware does not report the type of the frame.
        let space = if is_old { SequenceSpace::Unknown } else { mac::space(record[3]) };
        Ok(Some(DeviceFrame {
            receiver: None,
            transmitter: Some(self.transmitter.set(array(record, 4))),
            layout: self.layouts.get(layout_of, layout),
            time: DeviceTime::Unknown,
            counter: mac::numbered(space, u16_le(record, 10)),
            rssi_dbm: if is_old { 0.0 } else { f32::from(record[2].cast_signed()) },
            noise_dbm: 0.0,
            agc_db: 0.0,
            scale: 1.0,
            values: &self.values,
        }))
    }
}

/// Returns the bits of core and stream, in either byte order.
fn core_and_stream(record: &[u8]) -> u16 {
    let bits = u16_le(record, 12);
    if bits > LARGEST_CORE_AND_STREAM { bits.swap_bytes() } else { bits }
}

/// True for a datagram of the extractor of 2018.
fn is_of_2018(bytes: &[u8]) -> bool {
    bytes.len() == BYTES_OF_2018 && MAGICS_OF_2018.iter().any(|magic| bytes.starts_with(magic))
}

fn layout((n_bins, core_and_stream, channel_spec): LayoutOf) -> CsiLayout {
    CsiLayout {
        n_rx: 1,
        n_tx: 1,
        // Three bits each.
        rx_antennas: vec![(core_and_stream & 7) as u8],
        tx_streams: vec![(core_and_stream >> 3 & 7) as u8],
        subcarriers: tones::transform(n_bins),
        // 64 for 20 MHz, and so on.
        bandwidth_mhz: n_bins * 5 / 16,
        centre_mhz: tones::centre_mhz(channel_spec & 0xFF),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use schemas::Record;

    use super::*;
    use crate::Step;
    use crate::formats::csi::CsiFormat;
    use crate::formats::csi::testing::{batches, collector, steps};

    fn datagram(
        magic: [u8; 4],
        core_and_stream: u16,
        chip: u16,
        n_bins: usize,
        padding: usize,
    ) -> Vec<u8> {
        let mut bytes = magic.to_vec();
        bytes.extend([0, 0x12, 0x34, 0x56, 0x78, 0x9B]);
        bytes.extend((77_u16 << 4).to_le_bytes());
        bytes.extend(core_and_stream.to_le_bytes());
        bytes.extend(0xE02A_u16.to_le_bytes());
        bytes.extend(chip.to_le_bytes());
        bytes.extend([1, 0, 0xFE, 0xFF].repeat(n_bins));
        bytes.extend(vec![0; padding]);
        bytes
    }

    /// A datagram as a chip would send it.
    pub(crate) fn sample() -> Vec<u8> {
        datagram([0x11, 0x11, 0xC6, 0x94], 0x0019, 0x0065, 64, 0)
    }

    #[test]
    fn reads_old_and_new_headers() {
        for (magic, rssi_dbm) in [([0x11; 4], 0.0), ([0x11, 0x11, 0xC6, 0x94], -58.0)] {
            for (bits, antenna, stream) in [(0x0019, 1, 3), (0x1900, 1, 3), (0, 0, 0)] {
                for (n_bins, padding, bandwidth_mhz) in [(64, 0, 20), (256, 4, 80), (512, 0, 160)] {
                    let bytes = datagram(magic, bits, 0x0065, n_bins, padding);
                    let batches = batches(CsiFormat::Nexmon, &bytes);
                    let (batch, layout) = (&batches[0], &batches[0].layout);
                    assert_eq!(layout.rx_antennas, [antenna]);
                    assert_eq!(layout.tx_streams, [stream]);
                    assert_eq!((layout.bandwidth_mhz, layout.centre_mhz), (bandwidth_mhz, 5210));
                    assert_eq!(batch.link.transmitter, "00:12:34:56:78:9b");
                    assert_eq!((batch.sequence[0], batch.rssi_dbm[0]), (77, rssi_dbm));
                    assert_eq!(batch.iq, vec![Complex32::new(1.0, -2.0); n_bins]);
                }
            }
        }
    }

    #[test]
    fn an_unknown_chip_can_be_named() {
        let bytes = datagram([0x11; 4], 0, 0x1234, 64, 0);
        let found = steps(CsiFormat::Nexmon, &bytes, &mut collector());
        assert_eq!(found, [Step::Bad(bytes.len(), DecodeError::Chip)]);
        let mut decoder = CsiFormat::Nexmon.decoder_for(Some(NexmonChip::Bcm4339));
        assert_eq!(collector().decode(&mut *decoder, &bytes, true), Step::Used(bytes.len()));
    }

    #[test]
    fn other_datagrams_are_told() {
        for (bytes, error) in [
            (b"hello".to_vec(), DecodeError::Header),
            (datagram([0x11; 4], 0, 0x0065, 64, 17), DecodeError::Length),
            (vec![0x11; 10], DecodeError::Truncated),
            ([OLD_MAGIC.as_slice(), &[7; 1030]].concat(), DecodeError::NoSubcarriers),
            ([b"CSIS".as_slice(), &[7; 1030]].concat(), DecodeError::NoSubcarriers),
            ([b"CSIS".as_slice(), &[7; 1031]].concat(), DecodeError::Header),
        ] {
            let found = steps(CsiFormat::Nexmon, &bytes, &mut collector());
            assert_eq!(found, [Step::Bad(bytes.len(), error)]);
        }
    }

    #[test]
    fn counters_of_one_transmitter_are_told_apart() {
        // Beacons, of which one is lost, and quality-of-service data with a counter of its own.
        for (old, beacon, qos) in [(false, 0x80, 0x88), (true, 0x11, 0x11)] {
            let mut n_missed = 0;
            let mut collector = collector();
            for nth in 0..100_u16 {
                let numbers =
                    [(beacon, Some(3678 + nth)), (qos, (nth % 9 == 0).then_some(234 + nth / 9))];
                for (control, number) in numbers {
                    let Some(number) = number.filter(|number| *number != 3700) else { continue };
                    let rssi = if old { 0x11 } else { 0xC6 };
                    let mut bytes = datagram([0x11, 0x11, rssi, control], 0, 0x0065, 64, 0);
                    bytes[10..12].copy_from_slice(&(number << 4).to_le_bytes());
                    steps(CsiFormat::Nexmon, &bytes, &mut collector);
                }
            }
            for (_, record) in collector.drain().records {
                let Record::Csi(batch) = record else { panic!("a capture holds csi") };
                n_missed += batch.n_missed.iter().sum::<u32>();
            }
            assert_eq!(n_missed, 1, "old: {old}");
        }
    }
}
