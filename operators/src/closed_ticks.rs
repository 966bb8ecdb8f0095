//! Records that wait until the frontier has passed their tick: then there will be no more of them.

use std::collections::BTreeMap;

use schemas::{Progress, Tick};
use timely::dataflow::operators::{Capability, InputCapability};

/// Records that wait for their tick to close, each tick with the capability `C` to answer it.
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
    /// Adds records of one tick; `retain` makes the capability when the tick is new.
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

    /// The earliest tick, if it is before what the frontier has reached.
    pub fn closed(&self, reached: Progress) -> Option<Tick> {
        let tick = *self.pending.first_key_value()?.0;
        reached.is_past(tick).then_some(tick)
    }

    /// Takes the earliest tick if it is closed, with its records in the order they came.
    pub fn pop(&mut self, reached: Progress) -> Option<(Tick, C, Vec<R>)> {
        self.closed(reached)?;
        let (tick, (capability, records)) = self.pending.pop_first()?;
        Some((tick, capability, records))
    }

    /// Forgets what is not closed.
    pub fn clear(&mut self) {
        self.pending.clear();
    }
}
