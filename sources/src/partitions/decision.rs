//! Decisions about a partition that a replay cannot reproduce. They depend on the host's clock, or on when
//! a partition was found. They are stored before they take effect.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::sync::Arc;

use schemas::Tick;

use crate::{SourceContext, SourceError};

/// A decision about a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The offset of the next unread message.
    pub offset: u64,
    /// The minimum of the partition's clock after the decision.
    pub clock: Tick,
    /// The kind of decision.
    pub kind: DecisionKind,
}

/// The kinds of decisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecisionKind {
    /// The partition was idle, or was new: its clock advanced.
    Idle,
    /// The message is dropped: its producer wrote a time too far ahead of the host's clock.
    Refused,
}

/// Stores decisions, so that a replay assigns the same ticks to records.
pub trait Decisions: Debug + Send + Sync {
    /// Makes a decision durable. The caller does this before the decision takes effect.
    ///
    /// # Errors
    ///
    /// [`SourceError::Decision`] if it cannot be stored. The decision must not take effect then.
    fn store(&self, source: &str, partition: &str, decision: Decision) -> Result<(), SourceError>;

    /// Returns the decisions about a partition, ordered by offset. At one offset, idleness is before a
    /// refusal.
    ///
    /// # Errors
    ///
    /// [`SourceError::Decision`] if they cannot be read.
    fn stored(&self, source: &str, partition: &str) -> Result<Vec<Decision>, SourceError>;
}

/// Stores nothing, for sources that are not replayed.
#[derive(Clone, Copy, Debug)]
pub struct NoDecisions;

impl Decisions for NoDecisions {
    fn store(&self, _: &str, _: &str, _: Decision) -> Result<(), SourceError> {
        Ok(())
    }

    fn stored(&self, _: &str, _: &str) -> Result<Vec<Decision>, SourceError> {
        Ok(Vec::new())
    }
}

/// The decisions about one partition.
#[derive(Debug)]
pub(crate) struct PartitionDecisions {
    decisions: Arc<dyn Decisions>,
    source: String,
    partition: String,
    /// Decisions of earlier runs that are still ahead; `None` before they are loaded.
    replayed: Option<VecDeque<Decision>>,
}

impl PartitionDecisions {
    pub(crate) fn new(context: &SourceContext<'_>, partition: &str) -> Self {
        Self {
            decisions: Arc::clone(context.decisions),
            source: context.name.to_owned(),
            partition: partition.to_owned(),
            replayed: None,
        }
    }

    /// No decisions so far, for a new partition of the source.
    pub(crate) fn for_partition(&self, partition: &str) -> Self {
        Self {
            decisions: Arc::clone(&self.decisions),
            source: self.source.clone(),
            partition: partition.to_owned(),
            replayed: Some(VecDeque::new()),
        }
    }

    pub(crate) fn store(&self, decision: Decision) -> Result<(), SourceError> {
        self.decisions.store(&self.source, &self.partition, decision)
    }

    /// Returns the next decision of an earlier run up to a message. Loads the decisions at the first
    /// message, since an earlier run may add some until this run polls its sources.
    pub(crate) fn replay(&mut self, offset: u64) -> Result<Option<Decision>, SourceError> {
        if self.replayed.is_none() {
            let stored = self.decisions.stored(&self.source, &self.partition)?;
            self.replayed = Some(stored.into());
        }
        let replayed = self.replayed.as_mut();
        Ok(replayed.and_then(|it| it.pop_front_if(|decision| decision.offset <= offset)))
    }

    /// The source's name.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// The partition's name.
    pub(crate) fn partition(&self) -> &str {
        &self.partition
    }
}
