//! Format detection: the best format has the fewest undecodable bytes, then the most frames.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::formats::csi::CsiFormat;
use crate::{Content, DecodeError, Decoded};

/// Bytes of a capture that the detection reads.
const SAMPLE_BYTES: usize = 256 * 1024;

impl CsiFormat {
    /// Returns the format of `sample`, which may end within a record. None if no decoder finds a frame, or a
    /// record that it recognises but cannot decode.
    pub fn detect(sample: &[u8]) -> Option<Self> {
        let sample = &sample[..sample.len().min(SAMPLE_BYTES)];
        let found = Self::ALL.into_iter().filter_map(|format| {
            let used = format.try_on(sample);
            (used.n_known > 0).then_some((used.n_bad_bytes, usize::MAX - used.n_known, format))
        });
        found.min_by_key(|(bad, known, _)| (*bad, *known)).map(|(.., format)| format)
    }

    /// Returns the format of the first bytes of a file; none if no decoder finds a frame.
    ///
    /// # Errors
    ///
    /// The operating system's error if the file cannot be read.
    pub fn detect_file(path: &Path) -> io::Result<Option<Self>> {
        let mut sample = Vec::new();
        File::open(path)?.take(SAMPLE_BYTES as u64).read_to_end(&mut sample)?;
        Ok(Self::detect(&sample))
    }

    fn try_on(self, sample: &[u8]) -> Used {
        let (mut decoder, mut rest, mut complete) = (self.decoder(), sample, false);
        let mut used = Used::default();
        while !rest.is_empty() {
            match decoder.decode(rest, complete && rest.len() == sample.len()) {
                Decoded::Packet(_) => {}
                Decoded::Record(n_bytes, content) => {
                    used.n_known += usize::from(matches!(content, Content::Frame(_)));
                    rest = &rest[n_bytes..];
                }
                Decoded::Bad(n_bytes, error) => {
                    let known = [DecodeError::NoPhases, DecodeError::NoSubcarriers];
                    let is_known = known.contains(&error);
                    used.n_known += usize::from(is_known);
                    used.n_bad_bytes += if is_known { 0 } else { n_bytes };
                    rest = &rest[n_bytes..];
                }
                // In some formats only the end of the input ends a record.
                Decoded::NeedsMore if rest.len() == sample.len() && !complete => complete = true,
                Decoded::NeedsMore | Decoded::NeedsSchema(_) => break,
            }
        }
        used
    }
}

/// The result of decoding some bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Used {
    /// Frames, and recognised records that cannot be decoded.
    n_known: usize,
    n_bad_bytes: usize,
}

#[cfg(test)]
mod tests {
    use crate::formats::csi::{
        CsiFormat, atheros, esp32, feitcsi, intel5300, nexmon, picoscenes, ruview,
    };
    use crate::framing::network;

    #[test]
    fn every_format_is_told_by_its_bytes() {
        for (format, sample) in [
            (CsiFormat::Intel5300, intel5300::tests::sample()),
            (CsiFormat::Atheros, atheros::tests::sample()),
            (CsiFormat::Nexmon, nexmon::tests::sample()),
            (CsiFormat::Esp32, esp32::tests::sample()),
            (CsiFormat::Picoscenes, picoscenes::tests::sample()),
            (CsiFormat::Feitcsi, feitcsi::tests::sample()),
            (CsiFormat::Ruview, ruview::tests::sample()),
        ] {
            for (header, packet) in
                [network::pcap::tests::sample(&sample), network::pcapng::tests::sample(&sample)]
            {
                assert_eq!(CsiFormat::detect(&[header, packet.repeat(3)].concat()), Some(format));
            }
            assert_eq!(CsiFormat::detect(&sample), Some(format));
        }
        let unreadable = br#"{"timestamp": 1.5, "subcarriers": [0.0, 3.0], "rssi": 0.0}"#;
        assert_eq!(CsiFormat::detect(unreadable), Some(CsiFormat::Ruview));
        for nothing in [&b""[..], b"hello", &[0; 5000], br#"{"timestamp": 1.5}"#] {
            assert_eq!(CsiFormat::detect(nothing), None);
        }
    }
}
