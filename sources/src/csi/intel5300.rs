//! Intel 5300: the log of the Linux 802.11n CSI Tool.
//!
//! Records are a big-endian length, a code and a body; code 0xBB carries CSI for 30 groups of
//! subcarriers as signed bytes that are not aligned to bytes. Values are kept as measured, after the
//! antenna permutation that the header tells, and not scaled to channel gain.
//!
//! Source: D. Halperin et al., "Tool release: gathering 802.11n traces with channel state
//! information", CCR 41(1), 2011, and its `read_bf_file` and `read_bfee`.

use num_complex::Complex32;
use schemas::{CsiFrame, CsiLayout};

use crate::csi::clock::MicrosecondClock;
use crate::{DecodeError, Decoder, DecoderMemory, Intake, Step};

const CODE_CSI: u8 = 0xBB;
/// Length field and code.
const FRAMING_BYTES: usize = 3;
const HEADER_BYTES: usize = 20;
const N_GROUPS: usize = 30;
const MAX_ANTENNAS: usize = 3;
/// Bit of the rate field that says 40 MHz.
const RATE_40_MHZ: u16 = 0x800;
/// dBm at an RSSI of zero and no gain.
const RSSI_OFFSET_DB: f32 = 44.0;

/// Subcarrier of each group at 20 MHz (IEEE 802.11n-2009, grouping of 2).
const GROUPS_20_MHZ: [i16; N_GROUPS] = [
    -28, -26, -24, -22, -20, -18, -16, -14, -12, -10, -8, -6, -4, -2, -1, 1, 3, 5, 7, 9, 11, 13,
    15, 17, 19, 21, 23, 25, 27, 28,
];
/// Subcarrier of each group at 40 MHz (grouping of 4).
const GROUPS_40_MHZ: [i16; N_GROUPS] = [
    -58, -54, -50, -46, -42, -38, -34, -30, -26, -22, -18, -14, -10, -6, -2, 2, 6, 10, 14, 18, 22,
    26, 30, 34, 38, 42, 46, 50, 54, 58,
];

/// Decoder of the 5300's log. Capture times are the card's 32-bit microsecond clock, wraps undone.
#[derive(Debug, Default)]
pub struct Intel5300 {
    clock: MicrosecondClock,
    layout: CsiLayout,
    values: Vec<Complex32>,
}

impl Decoder for Intel5300 {
    fn decode(&mut self, bytes: &[u8], complete: bool, intake: &mut Intake) -> Step {
        let Some((framing, rest)) = bytes.split_first_chunk::<FRAMING_BYTES>() else {
            return missing(bytes, complete);
        };
        let [high, low, code] = *framing;
        // The length counts the code.
        let Some(body_bytes) = usize::from(u16::from_be_bytes([high, low])).checked_sub(1) else {
            return Step::Bad(2, DecodeError::Length);
        };
        let Some(body) = rest.get(..body_bytes) else { return missing(bytes, complete) };
        let used = FRAMING_BYTES + body_bytes;
        if code != CODE_CSI {
            return Step::Used(used);
        }
        match self.decode_csi(body, intake) {
            Ok(()) => Step::Used(used),
            Err(error) => Step::Bad(used, error),
        }
    }

    fn memory(&self) -> DecoderMemory {
        DecoderMemory { clock: self.clock, ..DecoderMemory::default() }
    }

    fn recall(&mut self, memory: DecoderMemory) {
        self.clock = memory.clock;
    }
}

/// What to do when a record's end is not there.
fn missing(bytes: &[u8], complete: bool) -> Step {
    if complete { Step::Bad(bytes.len(), DecodeError::Truncated) } else { Step::NeedsMore }
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
    fn parse(header: &[u8; HEADER_BYTES]) -> Self {
        let word = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
        Self {
            timestamp_us: u32::from_le_bytes([header[0], header[1], header[2], header[3]]),
            count: word(4),
            n_rx: usize::from(header[8]),
            n_tx: usize::from(header[9]),
            rssi_db: [header[10], header[11], header[12]],
            noise_dbm: header[13].cast_signed(),
            agc_db: header[14],
            antenna_selection: header[15],
            payload_bytes: usize::from(word(16)),
            rate: word(18),
        }
    }

    /// Total signal strength in dBm, over the antennas that report one.
    fn rssi_dbm(&self) -> f32 {
        let present = self.rssi_db.iter().filter(|rssi_db| **rssi_db != 0);
        let power: f32 = present.map(|rssi_db| 10_f32.powf(f32::from(*rssi_db) / 10.0)).sum();
        // No antenna reports: the weakest signal there is rather than minus infinity.
        10.0 * power.max(1.0).log10() - RSSI_OFFSET_DB - f32::from(self.agc_db)
    }

    /// Row of each received stream: by the antenna that it was selected from, lowest first. Streams
    /// that claim the same antenna stay in the order they were received in.
    fn permutation(&self) -> [usize; MAX_ANTENNAS] {
        let selected = [0, 2, 4].map(|shift| self.antenna_selection >> shift & 3);
        let selected = &selected[..self.n_rx];
        std::array::from_fn(|stream| {
            let before = |other: usize| {
                (selected[other], other)
                    < (selected.get(stream).copied().unwrap_or(u8::MAX), stream)
            };
            (0..self.n_rx).filter(|other| before(*other)).count()
        })
    }
}

impl Intel5300 {
    fn decode_csi(&mut self, body: &[u8], intake: &mut Intake) -> Result<(), DecodeError> {
        let (header, payload) = body.split_first_chunk().ok_or(DecodeError::Length)?;
        let header = Header::parse(header);
        let antennas = 1..=MAX_ANTENNAS;
        if !antennas.contains(&header.n_rx) || !antennas.contains(&header.n_tx) {
            return Err(DecodeError::Antennas);
        }
        let bits = N_GROUPS * (3 + 16 * header.n_rx * header.n_tx);
        if header.payload_bytes != bits.div_ceil(8) || payload.len() < header.payload_bytes {
            return Err(DecodeError::Length);
        }
        self.set_layout(&header);
        self.unpack(&header, payload);
        let frame = CsiFrame {
            captured_at_ns: self.clock.unwrap_ns(header.timestamp_us),
            sequence: u32::from(header.count),
            rssi_dbm: header.rssi_dbm(),
            noise_dbm: f32::from(header.noise_dbm),
            agc_db: f32::from(header.agc_db),
        };
        intake.push(None, &self.layout, frame, &self.values);
        Ok(())
    }

    fn set_layout(&mut self, header: &Header) {
        let (bandwidth_mhz, groups) =
            if header.rate & RATE_40_MHZ == 0 { (20, GROUPS_20_MHZ) } else { (40, GROUPS_40_MHZ) };
        // At most three: the caller has checked.
        let (n_rx, n_tx) = (header.n_rx as u16, header.n_tx as u16);
        let layout = &mut self.layout;
        if (layout.n_rx, layout.n_tx, layout.bandwidth_mhz) != (n_rx, n_tx, bandwidth_mhz) {
            let subcarriers = groups.to_vec();
            *layout = CsiLayout { n_rx, n_tx, subcarriers, bandwidth_mhz, centre_mhz: 0 };
        }
    }

    /// Reads `[n_subcarriers, n_rx, n_tx]` pairs of signed bytes, three bits before each subcarrier.
    /// The payload has the length that the antennas ask for: the caller has checked.
    fn unpack(&mut self, header: &Header, payload: &[u8]) {
        let (n_rx, n_tx) = (header.n_rx, header.n_tx);
        let permutation = header.permutation();
        self.values.resize(n_rx * n_tx * N_GROUPS, Complex32::default());
        let n_pairs = n_rx * n_tx;
        for group in 0..N_GROUPS {
            // Within a group, all pairs start at the same bit of a byte.
            let bit = 3 + group * (3 + 16 * n_pairs);
            let bytes = &payload[bit / 8..=bit / 8 + 2 * n_pairs];
            for pair in 0..n_pairs {
                let row = permutation[pair / n_tx] * n_tx + pair % n_tx;
                let window = [bytes[2 * pair], bytes[2 * pair + 1], bytes[2 * pair + 2], 0];
                let [re, im, ..] = (u32::from_le_bytes(window) >> (bit % 8)).to_le_bytes();
                let [re, im] = [re, im].map(|part| f32::from(part.cast_signed()));
                self.values[row * N_GROUPS + group] = Complex32::new(re, im);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use schemas::{Record, SourceKind};

    use super::*;
    use crate::{LinkNames, SourceContext};

    fn intake() -> Intake {
        Intake::new(LinkNames::default(), SourceKind::Replay, &SourceContext::detached("test"))
    }

    /// A record of `n_rx` antennas whose payload bytes are all `fill`.
    fn record(n_rx: u8, antenna_selection: u8, fill: u8) -> Vec<u8> {
        let payload = vec![fill; (30 * (3 + 16 * usize::from(n_rx))).div_ceil(8)];
        let mut body = vec![CODE_CSI, 64, 66, 15, 0, 7, 0, 0, 0, n_rx, 1, 40, 0, 0, 0x81, 10];
        body.push(antenna_selection);
        body.extend(u16::try_from(payload.len()).expect("small").to_le_bytes());
        body.extend([0, 1]);
        body.extend(payload);
        let mut bytes = u16::try_from(body.len()).expect("small").to_be_bytes().to_vec();
        bytes.extend(body);
        bytes
    }

    #[test]
    fn reads_the_header() {
        let mut into = intake();
        let bytes = record(1, 0, 0xFF);
        let step = Intel5300::default().decode(&bytes, true, &mut into);
        assert_eq!(step, Step::Used(bytes.len()));
        let [(_, Record::Csi(batch))] = &into.take().records[..] else { panic!("one batch") };
        let expected = CsiFrame {
            captured_at_ns: 1_000_000_000,
            sequence: 7,
            rssi_dbm: 40.0 - 44.0 - 10.0,
            noise_dbm: -127.0,
            agc_db: 10.0,
        };
        assert_eq!(batch.frame(0), expected);
        assert_eq!(batch.values(0), [Complex32::new(-1.0, -1.0); 30]);
    }

    #[test]
    fn refuses_what_cannot_be() {
        let good = record(1, 0, 0);
        let with = |at: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[at] = value;
            bytes
        };
        for (name, bytes, expected) in [
            ("no length", vec![0, 0, 0], Step::Bad(2, DecodeError::Length)),
            ("no antenna", with(11, 0), Step::Bad(good.len(), DecodeError::Antennas)),
            ("nine antennas", with(11, 9), Step::Bad(good.len(), DecodeError::Antennas)),
            ("wrong payload", with(19, 1), Step::Bad(good.len(), DecodeError::Length)),
            ("cut off", good[..40].to_vec(), Step::Bad(40, DecodeError::Truncated)),
            ("other code", with(2, 0xC1), Step::Used(good.len())),
        ] {
            let step = Intel5300::default().decode(&bytes, true, &mut intake());
            assert_eq!(step, expected, "{name}");
        }
    }

    proptest! {
        /// Whatever comes, every step goes forward and nothing panics.
        #[test]
        fn survives_garbage(garbage in prop::collection::vec(any::<u8>(), 1..600)) {
            let mut decoder = Intel5300::default();
            let mut rest = garbage.as_slice();
            while !rest.is_empty() {
                match decoder.decode(rest, true, &mut intake()) {
                    Step::Used(used) | Step::Bad(used, _) => {
                        prop_assert!(used > 0);
                        rest = &rest[used..];
                    }
                    Step::NeedsMore | Step::NeedsSchema(_) => prop_assert!(false, "the bytes are complete"),
                }
            }
        }
    }
}
