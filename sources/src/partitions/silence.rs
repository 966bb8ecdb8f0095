//! How far the clock of an idle partition moved, which a replay cannot reproduce. A partition that is found
//! during a run begins with such a stretch.

use std::fmt::Debug;

use schemas::Tick;

use crate::SourceError;

/// A silent stretch of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Silence {
    /// Where it was: nothing at or beyond this offset had come.
    pub offset: u64,
    /// What the clock stood at then, at least.
    pub clock: Tick,
}

/// Keeps silences, so that a replay gives records the ticks that they had.
pub trait Silences: Debug + Send + Sync {
    /// Makes a silence durable; to be called before the clock is moved.
    ///
    /// # Errors
    ///
    /// [`SourceError::Silence`] if it cannot be; the clock must stay where it is then.
    fn keep(&self, source: &str, partition: &str, silence: Silence) -> Result<(), SourceError>;

    /// Those that were kept, in the order of their offsets and clocks.
    ///
    /// # Errors
    ///
    /// [`SourceError::Silence`] if they cannot be read.
    fn kept(&self, source: &str, partition: &str) -> Result<Vec<Silence>, SourceError>;
}

/// Keeps none, for sources that are not replayed.
#[derive(Clone, Copy, Debug)]
pub struct NoSilences;

impl Silences for NoSilences {
    fn keep(&self, _: &str, _: &str, _: Silence) -> Result<(), SourceError> {
        Ok(())
    }

    fn kept(&self, _: &str, _: &str) -> Result<Vec<Silence>, SourceError> {
        Ok(Vec::new())
    }
}
