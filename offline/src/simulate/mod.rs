//! Recordings of simulated scenes: as training samples, and as labelled captures.

mod esp32_lines;
mod recordings;

use schemas::{Record, TimeSpan};
use sources::simulate::{Scene, Simulator};
use sources::{PollState, Source, SourceContext};

pub use crate::simulate::recordings::{RecordingsPlan, SimulateError, simulate_recordings};

/// Returns the records of a scene, in order.
pub(crate) fn simulated(scene: &Scene, duration: TimeSpan) -> impl Iterator<Item = Record> {
    let context = SourceContext { site: &scene.site, ..SourceContext::detached("simulated") };
    let mut simulator = Simulator::new(scene, &context, 0, Some(duration), 1);
    let mut ended = false;
    let polls = std::iter::from_fn(move || {
        if ended {
            return None;
        }
        let poll = simulator.poll().ok()?;
        ended = poll.state == PollState::End;
        Some(poll.records)
    });
    polls.flatten().map(|(_, record)| record)
}
