//! Partitions that no earlier run has read: of a new source, of a topic that has grown, of a replaced
//! file, or of a source whose state was dropped.
//!
//! The sinks may have committed ticks that are newer than the records of such a partition. So the
//! partition begins at the first tick that no sink has committed. Older records are late, but not lost.

use schemas::Progress;
use sources::{Partition, SourceContext, position};

use crate::{ComponentState, PlannedSource, RunError, State};

/// Records the position at which a partition begins, unless an earlier run has read it.
///
/// # Errors
///
/// [`RunError::Ended`] if the pipeline has ended before: no tick is left for new records.
pub(super) fn note(
    begun: &mut State,
    source: &PlannedSource,
    partition: &Partition,
    context: &SourceContext<'_>,
    progress: Progress,
) -> Result<(), RunError> {
    let is_known = context.position(&partition.name).is_some() && !partition.source.begins_anew();
    if is_known {
        return Ok(());
    }
    if progress == Progress::Ended {
        return Err(RunError::Ended { name: source.name.clone() });
    }
    let of_source = begun.components.entry(source.name.clone());
    let of_source = of_source.or_insert_with(|| ComponentState {
        shape: source.config.state_shape(),
        ..ComponentState::default()
    });
    let position = position::begin(context.begins_at);
    of_source.entries.insert(partition.name.clone().into_bytes(), Some(position));
    Ok(())
}
