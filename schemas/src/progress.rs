//! Progress in event time.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Tick;

/// The progress of a component in event time. `Ended` and `Failed` compare as later than every tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Progress {
    /// Everything before this tick is done with.
    Reached(Tick),
    /// Everything is done with: there is no more.
    Ended,
    /// It failed or gave up: nothing more comes of it, and nobody waits for it.
    Failed,
}

impl Progress {
    /// True if a tick is not waited for any more.
    pub fn is_past(self, tick: Tick) -> bool {
        tick < self.first_open()
    }

    /// The first tick that is not done with; the last one there is if none will ever be open.
    pub fn first_open(self) -> Tick {
        match self {
            Self::Reached(tick) => tick,
            Self::Ended | Self::Failed => Tick::MAX,
        }
    }
}

impl Default for Progress {
    /// The first tick of the run.
    fn default() -> Self {
        Self::Reached(0)
    }
}

impl From<Tick> for Progress {
    fn from(tick: Tick) -> Self {
        Self::Reached(tick)
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reached(tick) => tick.fmt(formatter),
            Self::Ended => formatter.pad("end"),
            Self::Failed => formatter.pad("failed"),
        }
    }
}
