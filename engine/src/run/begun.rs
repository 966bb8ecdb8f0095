//! Partitions that no earlier run has read: of a source that is new to the pipeline, of a topic that has
//! grown, of a file that was replaced, or whose state was dropped.
//!
//! The pipeline may be far beyond what they hold, and its sinks have commits that what they give must not
//! fall behind. So they begin at the tick behind all that sinks hold: what is older is late, but not lost.

use schemas::Progress;
use sources::{Partition, SourceContext, position};

use crate::{ComponentState, PlannedSource, RunError, State};

/// Notes where a partition begins, unless an earlier run has read it.
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
