//! Resumes from the newest checkpoint, if it fits the plan.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use schemas::{Progress, Tick};
use sources::position;

use crate::dataflow::{Entries, upper_of};
use crate::store::{RunId, Session};
use crate::{Checkpoint, Mismatch, Plan, RunError, RunOptions, State, Store};

/// The state that a run resumes from.
#[derive(Debug, Default)]
pub(super) struct Resumed {
    /// The checkpoint contains everything before this.
    pub(super) progress: Progress,
    /// The state of each component.
    pub(super) entries: BTreeMap<String, Entries>,
    /// Changes of the checkpoint at the start, such as the removal of dropped state.
    pub(super) changes: State,
    /// Components whose state is dropped.
    pub(super) dropped: Vec<String>,
}

/// Loads the newest checkpoint of the pipeline, for its next run.
pub(super) fn resume(
    store: &Store,
    plan: &Plan,
    options: &RunOptions,
) -> Result<(Session, Resumed), RunError> {
    let loaded = store.load(&plan.name, plan.checkpoint.retention.get(), options.fresh);
    let (session, checkpoint) = loaded.map_err(RunError::Store)?;
    let resumed = fit(plan, options, checkpoint, &session)?;
    Ok((session, resumed))
}

/// Loads the checkpoint that the first process of the same run has loaded.
pub(super) fn join(
    store: &Store,
    plan: &Plan,
    options: &RunOptions,
    run: &RunId,
) -> Result<(Session, Resumed), RunError> {
    let joined = store.join(&plan.name, plan.checkpoint.retention.get(), run);
    let (session, checkpoint) = joined.map_err(RunError::Store)?;
    let resumed = fit(plan, options, checkpoint, &session)?;
    Ok((session, resumed))
}

/// Returns the plan's part of a checkpoint, without dropped state.
fn fit(
    plan: &Plan,
    options: &RunOptions,
    checkpoint: Option<Checkpoint>,
    session: &Session,
) -> Result<Resumed, RunError> {
    check_names(plan, options, checkpoint.as_ref())?;
    let Some(mut checkpoint) = checkpoint else { return Ok(Resumed::default()) };
    let is_dropped = |name: &String, _: &mut _| options.drop_state.contains(name);
    let dropped = checkpoint.state.components.extract_if(.., is_dropped).collect();
    let changes = State { components: dropped }.into_removal();
    let mismatches = mismatches(plan, &checkpoint.state);
    if !mismatches.is_empty() {
        let has_ended = checkpoint.progress == Progress::Ended;
        let error = if has_ended { RunError::StateOfEnded } else { RunError::State };
        return Err(error(mismatches));
    }
    match checkpoint.progress {
        Progress::Reached(tick) => tracing::info!(tick, "going on from a checkpoint"),
        Progress::Ended | Progress::Failed => tracing::warn!(
            "this pipeline has ended before, and its sinks accept no more records: use --fresh to start it \
             again, with --clear to replace its earlier output"
        ),
    }
    let entries = checkpoint.state.components.into_iter().map(|(name, component)| {
        let entries = component.entries.into_iter();
        let entries = entries.filter_map(|(key, value)| Some((key, value?)));
        (name, Arc::new(entries.collect()))
    });
    let mut resumed = Resumed {
        progress: checkpoint.progress,
        entries: entries.collect(),
        changes,
        dropped: options.drop_state.clone(),
    };
    for (source, partition) in session.decided_partitions().map_err(RunError::Store)? {
        if !options.drop_state.contains(&source) {
            resumed.begin(plan, &source, partition.into_bytes());
        }
    }
    Ok(resumed)
}

/// Rejects names in flags that neither the plan nor the checkpoint has.
fn check_names(
    plan: &Plan,
    options: &RunOptions,
    checkpoint: Option<&Checkpoint>,
) -> Result<(), RunError> {
    let planned = plan.components().into_iter().map(|(name, _)| name.to_owned());
    let saved = checkpoint.into_iter().flat_map(|it| it.state.components.keys().cloned());
    let components: BTreeSet<_> = planned.chain(saved).collect();
    let sources: BTreeSet<_> = plan.sources.iter().map(|source| source.name.clone()).collect();
    let source_of = |name: &String| name.split('/').next().unwrap_or_default().to_owned();
    let dropped = options.drop_state.iter().map(|name| ("--drop-state", name.clone(), &components));
    let quarantined =
        options.quarantine.iter().map(|name| ("--quarantine", source_of(name), &sources));
    match dropped.chain(quarantined).find(|(_, name, known)| !known.contains(name)) {
        Some((flag, name, known)) => {
            let known = known.iter().cloned().collect();
            Err(RunError::NoSuchComponent { flag, name, known })
        }
        None => Ok(()),
    }
}

/// Returns saved state that does not fit the plan: its component is missing or has another shape.
fn mismatches(plan: &Plan, state: &State) -> Vec<Mismatch> {
    let needed: BTreeMap<_, _> = plan.components().into_iter().collect();
    let mismatches = state.components.iter().filter_map(|(name, saved)| {
        let needed = needed.get(name.as_str()).cloned().flatten();
        let fits = needed.as_ref() == Some(&saved.shape);
        let (name, saved) = (name.clone(), saved.shape.clone());
        (!fits).then_some(Mismatch { name, saved, needed })
    });
    mismatches.collect()
}

impl Resumed {
    /// The first tick of the run.
    pub(super) fn tick(&self) -> Tick {
        self.progress.first_open()
    }

    /// Adds a partition that was found after the checkpoint. The run reads it from its beginning, at
    /// the same ticks as before.
    fn begin(&mut self, plan: &Plan, source: &str, partition: Vec<u8>) {
        let planned = plan.sources.iter().find(|planned| planned.name == source);
        let (Some(planned), tick) = (planned, self.tick()) else { return };
        let entries = Arc::make_mut(self.entries.entry(source.to_owned()).or_default());
        if entries.iter().any(|(known, _)| *known == partition) {
            return;
        }
        let begin = position::begin(tick);
        entries.push((partition.clone(), begin.clone()));
        let changes = self.changes.components.entry(source.to_owned()).or_default();
        changes.shape = planned.config.state_shape();
        changes.entries.insert(partition, Some(begin));
    }

    /// The state of a component, by key.
    pub(super) fn entries(&self, name: &str) -> &[(Vec<u8>, Vec<u8>)] {
        self.entries.get(name).map_or(&[], |entries| entries.as_slice())
    }

    /// Rejects a sink whose upper is behind the checkpoint: it has lost committed records.
    pub(super) fn check_upper(&self, name: &str, upper: Option<Tick>) -> Result<(), RunError> {
        let saved = self.entries(name).first();
        let expected = saved.and_then(|(_, upper)| upper_of(upper)).unwrap_or(0);
        match upper {
            Some(upper) if upper < expected => {
                Err(RunError::Behind { name: name.to_owned(), upper, expected })
            }
            _ => Ok(()),
        }
    }
}
