//! Properties of every decoder, for any bytes: each step advances and stays within the bytes, and the size of
//! the output is bounded by that of the input.

use sources::{CsiFormat, Collector, LinkNames, SourceContext, Step};

/// Decodes bytes as a complete capture, and as the beginning of one.
pub fn decode(format: CsiFormat, bytes: &[u8]) {
    for complete in [true, false] {
        let context = SourceContext::detached("fuzz");
        let mut collector =
            Collector::new(LinkNames::default(), schemas::SourceKind::Replay, &context);
        let (mut decoder, mut rest) = (format.decoder(), bytes);
        while !rest.is_empty() {
            match collector.decode(&mut *decoder, rest, complete) {
                Step::Used(used) | Step::Bad(used, _) => {
                    assert!(used > 0 && used <= rest.len());
                    rest = &rest[used..];
                }
                Step::NeedsMore => {
                    assert!(!complete);
                    break;
                }
                Step::NeedsSchema(_) => unreachable!("CSI has no schemas"),
            }
        }
        let records = collector.drain().records;
        let n_bytes: usize = records.iter().map(|(_, record)| record.size_bytes()).sum();
        // A value has at least two bytes and becomes eight; scalars and names are extra.
        assert!(n_bytes <= 64 * bytes.len() + 4096);
    }
}
