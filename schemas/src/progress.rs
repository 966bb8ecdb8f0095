//! Progress in event time.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Tick;

/// The progress of a component in event time. `Ended` and `Failed` compare as later than every tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Progress {
    /// Everything before this tick is processed.
    Reached(Tick),
    /// Everything is processed: the input has ended.
    Ended,
    /// The component has failed or given up: it produces nothing more, and other components do not wait for
    /// it.
    Failed,
}

impl Progress {
    /// True if `tick` is complete.
    pub fn is_past(self, tick: Tick) -> bool {
        tick < self.first_open()
    }

    /// Returns the first tick that is not complete; the largest tick after the end or a failure.
    pub fn first_open(self) -> Tick {
        match self {
            Self::Reached(tick) => tick,
            Self::Ended | Self::Failed => Tick::MAX,
        }
    }
}

impl Default for Progress {
    /// Progress at the first tick.
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
