//! Records that wait until the frontier has passed their tick, so that the tick is complete.

use std::collections::BTreeMap;

use schemas::{Progress, Tick};
use timely::dataflow::operators::{Capability, InputCapability};

/// Records of ticks that are not processed yet, with the capability `C` of each tick.
#[derive(Debug)]
pub struct ClosedTicks<R, C = Capability<Tick>> {
    pending: BTreeMap<Tick, (C, Vec<R>)>,
}

impl<R, C> Default for ClosedTicks<R, C> {
    fn default() -> Self {
        Self { pending: BTreeMap::new() }
    }
}

impl<R, C> ClosedTicks<R, C> {
    /// Adds records of one tick; `retain` makes the capability of a new tick.
    pub fn insert<'a>(
        &mut self,
        time: &InputCapability<Tick>,
        batches: impl Iterator<Item = &'a mut Vec<R>>,
        retain: impl FnOnce(&InputCapability<Tick>) -> C,
    ) where
        R: 'a,
    {
        let entry = self.pending.entry(*time.time());
        let (_, records) = entry.or_insert_with(|| (retain(time), Vec::new()));
        batches.for_each(|batch| records.append(batch));
    }

    /// Returns the earliest tick, if the frontier has passed it.
    pub fn closed(&self, reached: Progress) -> Option<Tick> {
        let tick = *self.pending.first_key_value()?.0;
        reached.is_past(tick).then_some(tick)
    }

    /// Removes and returns the earliest tick if it is closed, with its records in the order of arrival.
    pub fn pop(&mut self, reached: Progress) -> Option<(Tick, C, Vec<R>)> {
        self.closed(reached)?;
        let (tick, (capability, records)) = self.pending.pop_first()?;
        Some((tick, capability, records))
    }

    /// Drops all ticks, with their records and capabilities.
    pub fn clear(&mut self) {
        self.pending.clear();
    }
}
