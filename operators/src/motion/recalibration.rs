//! Requests to calibrate links again, in order with the frames.

use std::cmp::Ordering;

use schemas::{CsiBatch, Tick};
use serde::{Deserialize, Serialize};
use timely::dataflow::StreamVec;
use timely::dataflow::operators::Concat;
use timely::dataflow::operators::vec::{Delay, Map};

use crate::StateKey;
use crate::keyed::N_KEY_GROUPS;
use crate::stateful::Ordered;

/// A request to calibrate links again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recalibration {
    /// The tick before whose frames it takes effect.
    pub tick: Tick,
    /// The link, `receiver/transmitter`; all links of the operator if absent.
    pub link: Option<String>,
}

/// Frames, or a request for the links of one key group.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(clippy::large_enum_variant, reason = "requests are rare")]
pub(super) enum FramesOrRequest {
    Request { group: usize, link: Option<String> },
    Frames(CsiBatch),
}

impl FramesOrRequest {
    /// Returns the route: that of the link, or of the key group.
    pub(super) fn route(&self) -> u64 {
        match self {
            Self::Request { group, .. } => *group as u64,
            Self::Frames(batch) => batch.link.route(),
        }
    }
}

/// Requests come before the frames of their tick.
impl Ordered for FramesOrRequest {
    fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Frames(batch), Self::Frames(other)) => batch.compare(other),
            (Self::Frames(_), Self::Request { .. }) => Ordering::Greater,
            (Self::Request { .. }, Self::Frames(_)) => Ordering::Less,
            (
                Self::Request { group, link },
                Self::Request { group: other_group, link: other_link },
            ) => (group, link).cmp(&(other_group, other_link)),
        }
    }
}

/// Returns frames and requests in one stream; each key group receives each request.
pub(super) fn with_requests<'scope>(
    frames: StreamVec<'scope, Tick, CsiBatch>,
    requests: StreamVec<'scope, Tick, Recalibration>,
) -> StreamVec<'scope, Tick, FramesOrRequest> {
    // The stream can send them earlier.
    let requests = requests.delay(|request, _| request.tick);
    let requests = requests.flat_map(|Recalibration { link, .. }| {
        (0..N_KEY_GROUPS).map(move |group| FramesOrRequest::Request { group, link: link.clone() })
    });
    frames.map(FramesOrRequest::Frames).concat(requests)
}
