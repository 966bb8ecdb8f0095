//! Every format, cut off at every byte and with every bit flipped. No decoder panics, complete records are
//! read, and decoding continues after damage.

use schemas::Record;

use crate::formats::csi::testing::collector;
use crate::formats::csi::{CsiFormat, esp32, feitcsi, intel5300, nexmon, picoscenes, ruview};
use crate::framing::network::{pcap, pcapng};
use crate::{DecodeError, Step};

const N_RECORDS: usize = 4;

/// A format, the header of its captures, and a record.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) format: CsiFormat,
    pub(crate) header: Vec<u8>,
    pub(crate) record: Vec<u8>,
}

pub(crate) fn cases() -> Vec<Case> {
    let samples = [
        (CsiFormat::Intel5300, intel5300::tests::sample()),
        (CsiFormat::Atheros, crate::formats::csi::atheros::tests::sample()),
        (CsiFormat::Nexmon, nexmon::tests::sample()),
        (CsiFormat::Esp32, esp32::tests::sample()),
        (CsiFormat::Picoscenes, picoscenes::tests::sample()),
        (CsiFormat::Feitcsi, feitcsi::tests::sample()),
        (CsiFormat::Ruview, ruview::tests::sample()),
    ];
    let cases = samples.into_iter().flat_map(|(format, sample)| {
        let captured =
            [("pcap", pcap::tests::sample(&sample)), ("pcapng", pcapng::tests::sample(&sample))];
        let captured = captured.map(|(kind, (header, record))| {
            let name = format!("{format:?} in {kind}");
            Case { name, format, header, record }
        });
        let (header, record) = (Vec::new(), sample);
        let bare = Case { name: format!("{format:?}"), format, header, record };
        // A record of Nexmon ends at the end of its datagram.
        let bare = (format != CsiFormat::Nexmon).then_some(bare);
        bare.into_iter().chain(captured)
    });
    cases.collect()
}

impl Case {
    fn capture(&self) -> Vec<u8> {
        [self.header.clone(), self.record.repeat(N_RECORDS)].concat()
    }

    /// Counts the frames in bytes that arrive in pieces, and returns the errors.
    fn read(&self, bytes: &[u8], piece_bytes: usize) -> (usize, Vec<DecodeError>) {
        let (mut decoder, mut collector) = (self.format.decoder(), collector());
        let (mut at, mut there) = (0, 0);
        let mut errors = Vec::new();
        while at < bytes.len() {
            match collector.decode(&mut *decoder, &bytes[at..there], there == bytes.len()) {
                Step::Used(used) => at += used,
                Step::Bad(used, error) => {
                    errors.push(error);
                    at += used;
                }
                Step::NeedsMore if there < bytes.len() => {
                    there = (there + piece_bytes).min(bytes.len());
                }
                step => panic!("{}: {step:?} when all is there", self.name),
            }
            assert!(at <= there, "{}: more than is there", self.name);
        }
        let records = collector.drain().records;
        let n_values: usize = records
            .iter()
            .map(|(_, record)| match record {
                Record::Csi(batch) => batch.iq.len(),
                _ => 0,
            })
            .sum();
        // A value has at least two bytes.
        assert!(2 * n_values <= bytes.len(), "{}: more values than bytes", self.name);
        let n_frames = records.iter().map(|(_, record)| match record {
            Record::Csi(batch) => batch.len(),
            _ => 0,
        });
        (n_frames.sum(), errors)
    }
}

#[test]
fn captures_may_come_in_pieces() {
    for case in cases() {
        let capture = case.capture();
        for piece_bytes in [1, 7, 100, capture.len()] {
            let (n_frames, errors) = case.read(&capture, piece_bytes);
            assert_eq!((n_frames, errors), (N_RECORDS, vec![]), "{}", case.name);
        }
    }
}

#[test]
fn captures_may_be_cut_off_anywhere() {
    for case in cases() {
        let capture = case.capture();
        for n_bytes in 0..capture.len() {
            let (n_frames, errors) = case.read(&capture[..n_bytes], capture.len());
            let whole = n_bytes.saturating_sub(case.header.len()) / case.record.len();
            let text = case.format == CsiFormat::Esp32;
            // A line may lack its line break, and a packet the bytes after its datagram.
            assert!(
                n_frames == whole || (text && n_frames == whole + 1),
                "{} at {n_bytes}",
                case.name
            );
            assert!(errors.len() <= 2, "{} at {n_bytes}: {errors:?}", case.name);
        }
    }
}

#[test]
fn captures_may_have_any_bit_turned() {
    for case in cases() {
        let capture = case.capture();
        // In the second record, with one record before it and two after it.
        let from = case.header.len() + case.record.len();
        for bit in 8 * from..8 * (from + case.record.len()) {
            let mut damaged = capture.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let (n_frames, errors) = case.read(&damaged, capture.len());
            assert!(
                n_frames >= N_RECORDS - 2,
                "{} at bit {}: {n_frames}, {errors:?}",
                case.name,
                bit - 8 * from
            );
            assert!(n_frames <= N_RECORDS + 1, "{} at bit {}", case.name, bit - 8 * from);
        }
    }
}

/// Lengths and counts may be smaller than in any record.
#[test]
fn every_number_may_be_small() {
    for case in cases() {
        let capture = case.capture();
        let places = 0..case.header.len() + case.record.len().min(64);
        for (at, number) in places.flat_map(|at| [0, 1, 2, 3, 5, 8, 13].map(|number| (at, number)))
        {
            for n_bytes in [1, 2, 4] {
                for big_endian in [false, true] {
                    let mut bytes = number_bytes(number, n_bytes, big_endian);
                    bytes.truncate(capture.len() - at);
                    let mut capture = capture.clone();
                    capture[at..at + bytes.len()].copy_from_slice(&bytes);
                    case.read(&capture, capture.len());
                }
            }
        }
    }
}

fn number_bytes(number: u32, n_bytes: usize, big_endian: bool) -> Vec<u8> {
    let (little, big) = (number.to_le_bytes(), number.to_be_bytes());
    if big_endian { big[4 - n_bytes..].to_vec() } else { little[..n_bytes].to_vec() }
}
