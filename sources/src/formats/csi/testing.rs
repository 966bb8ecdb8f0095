//! What the tests of formats share.

use schemas::{CsiBatch, Record, SourceKind};

use crate::formats::csi::CsiFormat;
use crate::{Intake, LinkNames, SourceContext, Step};

pub(crate) fn intake() -> Intake {
    Intake::new(LinkNames::default(), SourceKind::Replay, &SourceContext::detached("test"))
}

/// What becomes of some bytes, step by step.
pub(crate) fn steps(format: CsiFormat, bytes: &[u8], intake: &mut Intake) -> Vec<Step> {
    let mut decoder = format.decoder();
    let (mut steps, mut rest) = (Vec::new(), bytes);
    while !rest.is_empty() {
        let step = intake.decode(&mut *decoder, rest, true);
        let (Step::Used(used) | Step::Bad(used, _)) = step else { panic!("all bytes are there") };
        assert!(used > 0, "every step goes forward");
        steps.push(step);
        rest = &rest[used..];
    }
    steps
}

/// The frames of some bytes, which must all be good.
pub(crate) fn batches(format: CsiFormat, bytes: &[u8]) -> Vec<CsiBatch> {
    let mut intake = intake();
    let steps = steps(format, bytes, &mut intake);
    assert!(steps.iter().all(|step| matches!(step, Step::Used(_))), "{steps:?}");
    let records = intake.drain().records.into_iter();
    let batches = records.map(|(_, record)| match record {
        Record::Csi(batch) => batch,
        other => panic!("a capture holds csi, not {}", other.kind()),
    });
    batches.collect()
}
