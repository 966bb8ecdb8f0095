//! Which format some bytes are in: the one whose decoder makes the most of them.

use schemas::{SourceKind, TickLength};

use crate::formats::csi::CsiFormat;
use crate::{DecodeError, Intake, LinkNames, SourceContext, Step};

/// So many bytes tell it.
const SAMPLE_BYTES: usize = 256 * 1024;

impl CsiFormat {
    /// The format that some bytes are in, which may end within a record; none if no decoder finds a frame, or
    /// a record that it knows for one that it cannot read.
    pub fn detect(sample: &[u8]) -> Option<Self> {
        let sample = &sample[..sample.len().min(SAMPLE_BYTES)];
        let found = Self::ALL.into_iter().filter_map(|format| {
            let used = format.try_on(sample);
            (used.n_known > 0).then_some((used.n_bad_bytes, usize::MAX - used.n_known, format))
        });
        found.min_by_key(|(bad, known, _)| (*bad, *known)).map(|(.., format)| format)
    }

    fn try_on(self, sample: &[u8]) -> Used {
        let tick_length = TickLength::from_ms(u64::MAX);
        let context = SourceContext { tick_length, ..SourceContext::detached("sample") };
        let mut intake = Intake::new(LinkNames::default(), SourceKind::Replay, &context);
        let (mut decoder, mut rest) = (self.decoder(), sample);
        let mut used = Used::default();
        while !rest.is_empty() {
            // Records of some formats have no end but that of all bytes.
            let step = match decoder.decode(rest, false, &mut intake) {
                Step::NeedsMore if rest.len() == sample.len() => {
                    decoder.decode(rest, true, &mut intake)
                }
                step => step,
            };
            match step {
                Step::Used(n_bytes) => rest = &rest[n_bytes..],
                Step::Bad(n_bytes, DecodeError::NoPhases | DecodeError::NoSubcarriers) => {
                    used.n_known += 1;
                    rest = &rest[n_bytes..];
                }
                Step::Bad(n_bytes, _) => {
                    used.n_bad_bytes += n_bytes;
                    rest = &rest[n_bytes..];
                }
                Step::NeedsMore | Step::NeedsSchema(_) => break,
            }
            used.n_known += intake.drain().records.iter().map(|(_, it)| it.len()).sum::<usize>();
        }
        used
    }
}

/// What a decoder made of some bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Used {
    /// Frames, and records of which the decoder knows why it cannot read them.
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
