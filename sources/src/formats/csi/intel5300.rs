//! Intel 5300: the log of the Linux 802.11n CSI Tool.
//!
//! A record is a big-endian length, a code and a body. Code 0xBB marks CSI: signed bytes for 30 groups of
//! subcarriers, not aligned to byte boundaries. Values are as measured, with the header's antenna permutation
//! applied. The scale of a frame converts them to channel gains in units of the noise.
//!
//! Source: D. Halperin et al., "Tool release: gathering 802.11n traces with channel state
//! information", CCR 41(1), 2011, and its `read_bf_file`, `read_bfee` and `get_scaled_csi`.

use std::sync::LazyLock;

use num_complex::Complex32;
use schemas::CsiLayout;

use crate::formats::csi::bytes::{array, u16_le, u32_le};
use crate::formats::csi::format::Format;
use crate::formats::csi::layouts::Layouts;
use crate::formats::csi::tones;
use crate::formats::csi::values::{N_GROUPS, from_groups, groups_bytes};
use crate::{Counter, DecodeError, DeviceFrame, DeviceTime, Split};

const CODE_CSI: u8 = 0xBB;
/// Other records of the driver, such as received frames (0xC1), which follow their CSI in some logs.
const OTHER_CODES: [u8; 6] = [0xC0, 0xC1, 0xD0, 0xE0, 0xE1, 0xE2];
/// Length field and code.
const FRAMING_BYTES: usize = 3;
const HEADER_BYTES: usize = 20;
const MAX_ANTENNAS: usize = 3;
/// Bit of the rate field for 40 MHz.
const RATE_40_MHZ: u16 = 0x800;
/// dBm at an RSSI of zero and no gain.
const RSSI_OFFSET_DB: i32 = 44;
/// The card's value for unmeasured noise in dBm, and the assumed noise in that case.
const NO_NOISE_DBM: i8 = -127;
const USUAL_NOISE_DBM: i8 = -92;

/// Powers of whole decibels, from -255 to 255 dB.
static POWERS: LazyLock<[f32; 511]> =
    LazyLock::new(|| std::array::from_fn(|idx| 10_f32.powf((idx as f32 - 255.0) / 10.0)));

fn power(level_db: i32) -> f32 {
    POWERS[(level_db.clamp(-255, 255) + 255) as usize]
}

/// Decodes the log of a card. Capture times are its 32-bit microsecond clock.
#[derive(Debug, Default)]
pub(crate) struct Intel5300 {
    layouts: Layouts<LayoutOf>,
    values: Vec<Complex32>,
}

/// The key of a layout: receiving and transmitting antennas, bandwidth and antenna selection.
type LayoutOf = (usize, usize, u16, u8);

impl Format for Intel5300 {
    fn split(&self, bytes: &[u8], complete: bool) -> Split {
        let Some([high, low, code]) = bytes.first_chunk::<FRAMING_BYTES>() else {
            return Split::missing(bytes, complete);
        };
        // The length includes the code.
        let used = 2 + usize::from(u16::from_be_bytes([*high, *low]));
        let Some(record) = bytes.get(..used.max(FRAMING_BYTES)) else {
            // A damaged length may exceed the rest of the input.
            let whole = if *code == CODE_CSI { begins(bytes) } else { is_known(bytes) };
            if whole {
                return Split::missing(bytes, complete);
            }
            return Self::resume(bytes, complete);
        };
        match *code {
            _ if used < FRAMING_BYTES => Self::resume(bytes, complete),
            CODE_CSI if used >= FRAMING_BYTES + HEADER_BYTES && begins(record) => {
                Split::Record(used)
            }
            code if OTHER_CODES.contains(&code) && is_known(&bytes[used..]) => Split::Other(used),
            _ => Self::resume(bytes, complete),
        }
    }

    fn read<'a>(&'a mut self, record: &'a [u8]) -> Result<Option<DeviceFrame<'a>>, DecodeError> {
        let header = Header::parse(&record[FRAMING_BYTES..]);
        let payload = &record[FRAMING_BYTES + HEADER_BYTES..];
        let rows = header.rows();
        let sum = from_groups(payload, &rows[..header.n_rx], header.n_tx, &mut self.values);
        Ok(Some(DeviceFrame {
            receiver: None,
            transmitter: None,
            layout: self.layouts.get(header.layout_of(), layout),
            time: DeviceTime::WrappingUs(header.timestamp_us),
            counter: Counter::OfReceiver { count: header.count.into(), bits: 16 },
            rssi_dbm: header.rssi_dbm(),
            noise_dbm: f32::from(header.noise_dbm),
            agc_db: f32::from(header.agc_db),
            scale: header.scale(sum),
            values: &self.values,
        }))
    }
}

impl Intel5300 {
    fn resume(bytes: &[u8], complete: bool) -> Split {
        let margin = FRAMING_BYTES + HEADER_BYTES;
        let header = bytes.get(FRAMING_BYTES..).filter(|_| bytes[2] == CODE_CSI).map(Header::parse);
        let no_antennas = header.is_some_and(|header| !header.has_antennas());
        let error = if no_antennas { DecodeError::Antennas } else { DecodeError::Length };
        Split::resume(bytes, complete, margin, error, begins)
    }
}

fn layout((n_rx, n_tx, bandwidth_mhz, antenna_selection): LayoutOf) -> CsiLayout {
    let mut antennas = antennas(antenna_selection)[..n_rx].to_vec();
    antennas.sort_unstable();
    CsiLayout {
        // At most three: `begins` has checked it.
        n_rx: n_rx as u16,
        n_tx: n_tx as u16,
        rx_antennas: antennas,
        tx_streams: (0..n_tx as u8).collect(),
        subcarriers: tones::groups(bandwidth_mhz),
        bandwidth_mhz,
        centre_mhz: 0,
    }
}

/// Returns the antenna of each received stream.
fn antennas(selection: u8) -> [u8; MAX_ANTENNAS] {
    [0, 2, 4].map(|shift| selection >> shift & 3)
}

/// True if `bytes` begin with CSI, as far as they reach: lengths and antennas agree.
fn begins(bytes: &[u8]) -> bool {
    if bytes.len() < FRAMING_BYTES {
        return true;
    }
    let [high, low, code] = array(bytes, 0);
    let n_body = usize::from(u16::from_be_bytes([high, low])).saturating_sub(1);
    if bytes.len() < FRAMING_BYTES + HEADER_BYTES {
        return is_known(bytes) && n_body > 0;
    }
    let header = Header::parse(&bytes[FRAMING_BYTES..]);
    code == CODE_CSI
        && header.has_antennas()
        && header.payload_bytes == groups_bytes(header.n_rx * header.n_tx)
        && n_body == HEADER_BYTES + header.payload_bytes
}

/// True if `bytes` begin with a record of a known code, or end before the code.
fn is_known(bytes: &[u8]) -> bool {
    let code = bytes.get(FRAMING_BYTES - 1);
    code.is_none_or(|code| *code == CODE_CSI || OTHER_CODES.contains(code))
}

/// The fields of a record that are used; offsets within the body are in the format's document.
struct Header {
    timestamp_us: u32,
    count: u16,
    n_rx: usize,
    n_tx: usize,
    rssi_db: [u8; MAX_ANTENNAS],
    noise_dbm: i8,
    agc_db: u8,
    antenna_selection: u8,
    payload_bytes: usize,
    rate: u16,
}

impl Header {
    fn parse(header: &[u8]) -> Self {
        let [n_rx, n_tx, rssi_a, rssi_b, rssi_c, noise_dbm, agc_db, antenna_selection] =
            array(header, 8);
        Self {
            timestamp_us: u32_le(header, 0),
            count: u16_le(header, 4),
            n_rx: n_rx.into(),
            n_tx: n_tx.into(),
            rssi_db: [rssi_a, rssi_b, rssi_c],
            noise_dbm: noise_dbm.cast_signed(),
            agc_db,
            antenna_selection,
            payload_bytes: u16_le(header, 16).into(),
            rate: u16_le(header, 18),
        }
    }

    /// True if a card can have these numbers of antennas.
    fn has_antennas(&self) -> bool {
        let antennas = 1..=MAX_ANTENNAS;
        antennas.contains(&self.n_rx) && antennas.contains(&self.n_tx)
    }

    /// Returns the total power over the antennas that report one, with gain and offset still included.
    fn rssi_power(&self) -> f32 {
        let present = self.rssi_db.iter().filter(|rssi_db| **rssi_db != 0);
        let total: f32 = present.map(|rssi_db| power(i32::from(*rssi_db))).sum();
        // If no antenna reports, the weakest signal replaces minus infinity.
        total.max(1.0)
    }

    fn rssi_dbm(&self) -> f32 {
        10.0 * self.rssi_power().log10() - (RSSI_OFFSET_DB + i32::from(self.agc_db)) as f32
    }

    /// Returns the factor that converts values with this sum of squares to channel gains, in units of the
    /// noise amplitude.
    fn scale(&self, sum_of_squares: u32) -> f32 {
        if sum_of_squares == 0 {
            return 1.0;
        }
        let signal_mw = self.rssi_power() * power(-RSSI_OFFSET_DB - i32::from(self.agc_db));
        let scale = signal_mw * N_GROUPS as f32 / sum_of_squares as f32;
        let thermal_dbm =
            if self.noise_dbm == NO_NOISE_DBM { USUAL_NOISE_DBM } else { self.noise_dbm };
        let quantisation = scale * (self.n_rx * self.n_tx) as f32;
        let noise = power(thermal_dbm.into()) + quantisation;
        // Each stream has a share of the power; the card approximates a third by 4.5 dB.
        let streams = [1.0, 2.0, power(9).sqrt()][self.n_tx - 1];
        (scale / noise * streams).sqrt()
    }

    fn layout_of(&self) -> LayoutOf {
        let bandwidth_mhz = if self.rate & RATE_40_MHZ == 0 { 20 } else { 40 };
        (self.n_rx, self.n_tx, bandwidth_mhz, self.antenna_selection)
    }

    /// Returns the row of each received stream, by its antenna, lowest first. Streams of the same antenna
    /// keep their order.
    fn rows(&self) -> [usize; MAX_ANTENNAS] {
        let antennas = antennas(self.antenna_selection);
        std::array::from_fn(|stream| {
            let before = |other: &usize| (antennas[*other], *other) < (antennas[stream], stream);
            (0..self.n_rx).filter(before).count()
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use schemas::CsiFrame;

    use super::*;
    use crate::Step;
    use crate::formats::csi::CsiFormat;
    use crate::formats::csi::testing::{batches, collector, steps};

    /// A record of `n_rx` antennas whose payload bytes are all `fill`.
    fn record(n_rx: u8, antenna_selection: u8, fill: u8) -> Vec<u8> {
        let payload = vec![fill; groups_bytes(n_rx.into())];
        let mut body = vec![CODE_CSI, 64, 66, 15, 0, 7, 0, 0, 0, n_rx, 1, 40, 0, 0, 0x81, 10];
        body.push(antenna_selection);
        body.extend(u16::try_from(payload.len()).expect("small").to_le_bytes());
        body.extend([0, 1]);
        body.extend(payload);
        let mut bytes = u16::try_from(body.len()).expect("small").to_be_bytes().to_vec();
        bytes.extend(body);
        bytes
    }

    /// A record as a card would log it.
    pub(crate) fn sample() -> Vec<u8> {
        record(2, 0b00_00_01, 0x5A)
    }

    #[test]
    fn reads_the_header() {
        let bytes = record(1, 0, 0xFF);
        let batches = batches(CsiFormat::Intel5300, &bytes);
        let frame = batches[0].frame(0);
        // 40 dB of signal at 54 dB below a milliwatt: -14 dBm, over the noise of quantisation.
        let expected = CsiFrame {
            captured_at_ns: 1_000_000_000,
            sequence: 7,
            rssi_dbm: 40.0 - 44.0 - 10.0,
            noise_dbm: -127.0,
            agc_db: 10.0,
            ..frame
        };
        assert_eq!(frame, expected);
        assert!((frame.scale - 1.0).abs() < 1e-4, "{}", frame.scale);
        assert_eq!(batches[0].values(0), [Complex32::new(-1.0, -1.0); 30]);
    }

    #[test]
    fn rows_are_antennas() {
        // The first stream came from antenna 2, the second from antenna 0.
        let bytes = record(2, 0b00_00_10, 0);
        let batches = batches(CsiFormat::Intel5300, &bytes);
        assert_eq!(batches[0].layout.rx_antennas, [0, 2]);
    }

    #[test]
    fn refuses_what_cannot_be() {
        let good = record(1, 0, 0);
        let with = |at: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[at] = value;
            [bytes, good.clone()].concat()
        };
        let bad = |error| vec![Step::Bad(good.len(), error), Step::Used(good.len())];
        for (name, bytes, expected) in [
            ("no antenna", with(11, 0), bad(DecodeError::Antennas)),
            ("nine antennas", with(11, 9), bad(DecodeError::Antennas)),
            ("wrong payload", with(19, 1), bad(DecodeError::Length)),
            ("longer than all", with(0, 0xFF), bad(DecodeError::Length)),
            ("no length", [vec![0, 0, 0], good.clone()].concat(), {
                vec![Step::Bad(3, DecodeError::Length), Step::Used(good.len())]
            }),
            ("cut off", good[..40].to_vec(), vec![Step::Bad(40, DecodeError::Truncated)]),
            ("other code", with(2, 0xC1), vec![Step::Used(good.len()); 2]),
        ] {
            assert_eq!(steps(CsiFormat::Intel5300, &bytes, &mut collector()), expected, "{name}");
        }
    }
}
