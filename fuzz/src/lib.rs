//! What holds for every decoder and any bytes: each step goes forward and stays within them, and what comes
//! out is no more than what went in.

use sources::{CsiFormat, Collector, LinkNames, SourceContext, Step};

/// Decodes some bytes as a capture, and as what has come of one so far.
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
        // A value is two bytes at least, and becomes eight; scalars and names are beside them.
        assert!(n_bytes <= 64 * bytes.len() + 4096);
    }
}
