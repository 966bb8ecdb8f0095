//! The order of things: operators act on a tick when the frontier has passed it, on its records
//! sorted. So their results do not depend on batching or on the number of workers.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use schemas::{RecordType, Tick};
use timely::ExchangeData;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::{Capability, InputCapability, Operator};
use timely::progress::frontier::MutableAntichain;

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

    /// Takes the earliest tick if the frontier has passed it, with its records in the order they came.
    pub fn pop(&mut self, frontier: &MutableAntichain<Tick>) -> Option<(Tick, C, Vec<R>)> {
        let entry = self.pending.first_entry()?;
        if frontier.less_equal(entry.key()) {
            return None;
        }
        let tick = *entry.key();
        let (capability, records) = entry.remove();
        Some((tick, capability, records))
    }
}

/// A stateful operator: routes records by `key`, and calls `logic` with each closed tick's records in
/// their order. What `logic` pushes leaves at that tick.
pub(crate) fn on_closed_ticks<'scope, A, B, L>(
    stream: StreamVec<'scope, Tick, A>,
    name: &str,
    key: impl Fn(&A) -> u64 + 'static,
    logic: L,
) -> StreamVec<'scope, Tick, B>
where
    A: RecordType,
    B: 'static,
    L: FnMut(Tick, Vec<A>, &mut Vec<B>) + 'static,
{
    let order = |a: &A, b: &A| a.order_key().cmp(&b.order_key());
    on_closed_ticks_by(stream, name, key, order, logic)
}

/// [`on_closed_ticks`] for what is no record and has an order of its own.
pub(crate) fn on_closed_ticks_by<'scope, A, B, L>(
    stream: StreamVec<'scope, Tick, A>,
    name: &str,
    key: impl Fn(&A) -> u64 + 'static,
    order: impl Fn(&A, &A) -> Ordering + 'static,
    mut logic: L,
) -> StreamVec<'scope, Tick, B>
where
    A: ExchangeData,
    B: 'static,
    L: FnMut(Tick, Vec<A>, &mut Vec<B>) + 'static,
{
    stream.unary_frontier::<CapacityContainerBuilder<Vec<B>>, _, _, _>(
        Exchange::new(key),
        name,
        move |_capability, _info| {
            let mut ticks = ClosedTicks::<A>::default();
            let mut results = Vec::new();
            move |(input, frontier), output| {
                input.for_each_time(|time, batches| {
                    ticks.insert(&time, batches, |time| time.retain(0));
                });
                while let Some((tick, capability, mut records)) = ticks.pop(frontier) {
                    records.sort_by(&order);
                    logic(tick, records, &mut results);
                    output.session(&capability).give_iterator(results.drain(..));
                }
            }
        },
    )
}
