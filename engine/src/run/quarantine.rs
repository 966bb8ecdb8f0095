//! Quarantine of partitions that make a run crash.
//!
//! A quarantined partition does not delay the watermark. Each checkpoint has its old position, at the
//! tick of the checkpoint. A later run reads the partition after the last tick that its sinks have
//! committed, and stores that tick first: its records are late, but not lost. Records that sinks
//! committed after the checkpoint before the quarantine are written again.

use std::sync::Arc;

use schemas::{Progress, Tick};
use serde::{Deserialize, Serialize};
use sources::{SourceContext, position};

use crate::dataflow::Commit;
use crate::run::resume::Resumed;
use crate::{ComponentState, Plan, State};

/// The partitions of this run that are quarantined.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct QuarantinedPartitions {
    /// The number of the source, the partition, and its position; empty if the partition was never
    /// read.
    places: Vec<(u32, Vec<u8>, Vec<u8>)>,
}

impl QuarantinedPartitions {
    /// Adds a partition of a source. The partition with an empty name contains all others, which are
    /// added too.
    pub(super) fn add(&mut self, component: u32, partition: &str, context: &SourceContext<'_>) {
        let position = context.position(partition).unwrap_or_default().to_vec();
        self.places.push((component, partition.as_bytes().to_vec(), position));
        let within =
            context.positions.iter().filter(|(name, _)| partition.is_empty() && !name.is_empty());
        let within = within.map(|(name, position)| (component, name.clone(), position.clone()));
        self.places.extend(within);
    }

    pub(super) fn join(&mut self, other: &Self) {
        self.places.extend_from_slice(&other.places);
    }

    /// True for the end of input while partitions are quarantined; it is not a checkpoint.
    pub(super) fn is_open_end(&self, commit: &Commit) -> bool {
        commit.progress == Progress::Ended && !self.places.is_empty()
    }

    /// Adds the quarantined positions to a checkpoint.
    pub(super) fn keep(&self, commit: &mut Commit) {
        for (component, partition, place) in &self.places {
            let quarantined = position::quarantine(place, commit.progress.first_open());
            commit.changes.insert((*component, partition.clone()), Some(quarantined));
        }
    }
}

/// Releases partitions that are not quarantined any more: the run reads them at ticks from `from` on.
/// Returns the changed positions.
pub(super) fn release(
    plan: &Plan,
    quarantine: &[String],
    from: Tick,
    resumed: &mut Resumed,
) -> State {
    let mut state = State::default();
    for source in &plan.sources {
        let Some(entries) = resumed.entries.get_mut(&source.name) else { continue };
        for (partition, place) in Arc::make_mut(entries) {
            let quarantined = position::is_quarantined(
                quarantine,
                &source.name,
                &String::from_utf8_lossy(partition),
            );
            let released = position::release(place, from).filter(|_| !quarantined);
            let Some(released) = released else { continue };
            place.clone_from(&released);
            let of_source = state.components.entry(source.name.clone());
            let of_source = of_source.or_insert_with(|| ComponentState {
                shape: source.config.state_shape(),
                ..ComponentState::default()
            });
            of_source.entries.insert(partition.clone(), Some(released));
        }
    }
    state
}
