//! Arrival times that a host recorded beside a capture. The file has the name of the capture followed by
//! `stp`, such as `capture.datstp` for `capture.dat`. It contains seconds and microseconds of 32 bits each
//! for every frame.
//!
//! Source: csiread, `readstp` for captures of Intel and Atheros cards.

use std::ffi::OsString;
use std::path::Path;
use std::{fs, io};

const ENTRY_BYTES: usize = 8;
const US_PER_S: u32 = 1_000_000;

/// The arrival time of each frame of a capture.
#[derive(Debug)]
pub(super) struct HostTimes {
    bytes: Vec<u8>,
    /// Decodes a number in the host's byte order.
    number: fn([u8; 4]) -> u32,
}

impl HostTimes {
    /// Loads the times beside a capture; none if there is no such file.
    pub(super) fn beside(capture: &Path) -> io::Result<Option<Self>> {
        let mut path = OsString::from(capture);
        path.push("stp");
        match fs::read(path) {
            Ok(bytes) => Ok(Some(Self::of(bytes))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Detects the byte order of the host: in it, no entry has more microseconds than a second.
    fn of(bytes: Vec<u8>) -> Self {
        let little = Self { bytes, number: u32::from_le_bytes };
        let makes_sense = (0..little.len()).all(|nth| little.entry(nth).1 < US_PER_S);
        if makes_sense { little } else { Self { number: u32::from_be_bytes, ..little } }
    }

    /// Returns the arrival time of a frame, in nanoseconds since the Unix epoch. Frames after the last
    /// recorded one have its time. None if no time was recorded.
    pub(super) fn at_ns(&self, frame: u64) -> Option<i64> {
        let last = self.len().checked_sub(1)?;
        let (seconds, us) =
            self.entry(usize::try_from(frame).map_or(last, |frame| frame.min(last)));
        Some((i64::from(seconds) * i64::from(US_PER_S) + i64::from(us)) * 1000)
    }

    fn entry(&self, nth: usize) -> (u32, u32) {
        let (numbers, _) = self.bytes.as_chunks::<4>();
        ((self.number)(numbers[2 * nth]), (self.number)(numbers[2 * nth + 1]))
    }

    fn len(&self) -> usize {
        self.bytes.len() / ENTRY_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_frame_has_its_time_in_either_byte_order() {
        let folder = tempfile::tempdir().expect("room");
        let capture = folder.path().join("capture.dat");
        assert!(HostTimes::beside(&capture).expect("a folder").is_none());
        let entries = [1_530_241_466_u32, 398_192, 1_530_241_467, 5];
        let cut = [0; 3];
        for bytes in [entries.map(u32::to_le_bytes), entries.map(u32::to_be_bytes)] {
            let bytes = [bytes.as_flattened(), &cut].concat();
            fs::write(folder.path().join("capture.datstp"), bytes).expect("room");
            let times = HostTimes::beside(&capture).expect("a file").expect("it is there");
            let first_ns = 1_530_241_466_398_192_000;
            let last_ns = Some(1_530_241_467_000_005_000);
            assert_eq!([0, 1, 2].map(|nth| times.at_ns(nth)), [Some(first_ns), last_ns, last_ns]);
        }
        assert_eq!(HostTimes::of(Vec::new()).at_ns(0), None);
    }
}
