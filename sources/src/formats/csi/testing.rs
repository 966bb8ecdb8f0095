//! Test support for formats.

use schemas::{CsiBatch, Record, SourceKind};

use crate::formats::csi::CsiFormat;
use crate::{Collector, LinkNames, SourceContext, Step};

pub(crate) fn collector() -> Collector {
    Collector::new(LinkNames::default(), SourceKind::Replay, &SourceContext::detached("test"))
}

/// Decodes `bytes` and returns the steps.
pub(crate) fn steps(format: CsiFormat, bytes: &[u8], collector: &mut Collector) -> Vec<Step> {
    let mut decoder = format.decoder();
    let (mut steps, mut rest) = (Vec::new(), bytes);
    while !rest.is_empty() {
        let step = collector.decode(&mut *decoder, rest, true);
        let (Step::Used(used) | Step::Bad(used, _)) = step else { panic!("all bytes are there") };
        assert!(used > 0, "every step goes forward");
        steps.push(step);
        rest = &rest[used..];
    }
    steps
}

/// Returns the frames of `bytes`, which contain only good records.
pub(crate) fn batches(format: CsiFormat, bytes: &[u8]) -> Vec<CsiBatch> {
    let mut collector = collector();
    let steps = steps(format, bytes, &mut collector);
    assert!(steps.iter().all(|step| matches!(step, Step::Used(_))), "{steps:?}");
    let records = collector.drain().records.into_iter();
    let batches = records.map(|(_, record)| match record {
        Record::Csi(batch) => batch,
        other => panic!("a capture holds csi, not {}", other.kind()),
    });
    batches.collect()
}
