//! The second phase: merges the partial aggregates of a window, and sends the window when it is over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, SchemaRef};
use schemas::{Rows, Tick};
use serde::{Deserialize, Serialize};

use crate::StateKey;
use crate::keyed::StateLimits;
use crate::stateful::{Stateful, Work};
use crate::windows::WindowsConfig;
use crate::windows::aggregate::{Accumulator, AggregateValue};
use crate::windows::assigner::Window;
use crate::windows::key::{Key, decode};
use crate::windows::pre_aggregate::PartialAggregate;

/// An open window.
#[derive(Serialize, Deserialize)]
pub(super) struct Open {
    window: Window,
    accumulators: Vec<Accumulator>,
}

pub(super) struct FinalAggregate {
    stream: String,
    schema: SchemaRef,
    n_key_columns: usize,
    /// True if windows merge when they touch.
    merges: bool,
    /// Keys with windows that end at a tick.
    due: BTreeMap<Tick, BTreeSet<Key>>,
}

impl FinalAggregate {
    pub(super) fn new(config: &WindowsConfig, stream: String, schema: SchemaRef) -> Self {
        let (n_key_columns, merges) = (config.key.len(), config.window.merges());
        Self { stream, schema, n_key_columns, merges, due: BTreeMap::new() }
    }

    /// Adds a partial aggregate to its window. Returns the window, if it is new or has grown, and the ticks
    /// at which no window of the key ends any more.
    fn add(
        &self,
        open: &mut Vec<Open>,
        mut window: Window,
        mut accumulators: Vec<Accumulator>,
    ) -> (Option<Window>, Vec<Tick>) {
        if !self.merges {
            // The latest window is the likeliest.
            let found = open.iter_mut().rev().find(|it| it.window == window);
            let Some(found) = found else {
                open.push(Open { window, accumulators });
                return (Some(window), Vec::new());
            };
            merge(&mut found.accumulators, &accumulators);
            return (None, Vec::new());
        }
        let touches = |it: &mut Open| {
            it.window.start_ns <= window.end_ns && window.start_ns <= it.window.end_ns
        };
        let mut touched: Vec<_> = open.extract_if(.., touches).collect();
        touched.sort_by_key(|it| it.window);
        let mut outgrown: Vec<_> = touched.iter().map(|it| it.window.over_at()).collect();
        for mut earlier in touched {
            window.start_ns = window.start_ns.min(earlier.window.start_ns);
            window.end_ns = window.end_ns.max(earlier.window.end_ns);
            merge(&mut earlier.accumulators, &accumulators);
            accumulators = earlier.accumulators;
        }
        open.push(Open { window, accumulators });
        outgrown.retain(|tick| open.iter().all(|it| it.window.over_at() != *tick));
        (Some(window), outgrown)
    }

    fn set_due(&mut self, key: Key, window: Window, work: &mut Work<'_, Self>) {
        let over_at = window.over_at();
        self.due.entry(over_at).or_default().insert(key);
        work.set_timer(over_at);
    }

    /// Removes a key from the keys with windows that end at a tick.
    fn clear_due(&mut self, key: &Key, over_at: Tick, work: &mut Work<'_, Self>) {
        let Some(keys) = self.due.get_mut(&over_at) else { return };
        keys.remove(key);
        if keys.is_empty() {
            self.due.remove(&over_at);
            work.cancel_timer(over_at);
        }
    }

    /// Returns the finished windows of one bucket as rows.
    fn rows(&self, bucket: u64, fired: &[(Key, Open)]) -> Rows {
        let keys: Vec<_> = fired.iter().map(|(key, _)| key).collect();
        let types: Vec<_> = self.schema.fields().iter().map(|it| it.data_type().clone()).collect();
        let mut columns = decode(&keys, &types[..self.n_key_columns]);
        let windows = || fired.iter().map(|(_, open)| open.window);
        columns.push(Arc::new(windows().map(|it| it.start_ns).collect::<Int64Array>()));
        columns.push(Arc::new(windows().map(|it| it.end_ns).collect::<Int64Array>()));
        let aggregates = types[columns.len()..].iter().enumerate();
        let values = aggregates.map(|(nth, data_type)| {
            let values = fired.iter().map(|(_, open)| open.accumulators[nth].value());
            to_array(values, data_type)
        });
        columns.extend(values.collect::<Vec<_>>());
        let options = RecordBatchOptions::new().with_row_count(Some(fired.len()));
        let schema = Arc::clone(&self.schema);
        let batch = RecordBatch::try_new_with_options(schema, columns, &options);
        Rows {
            stream: self.stream.clone(),
            partition: format!("{bucket:02}"),
            sequence: 0,
            times_ns: windows().map(|window| window.end_ns).collect(),
            batch: batch.expect("each column has a value for each window, of its type"),
        }
    }
}

fn merge(all: &mut [Accumulator], more: &[Accumulator]) {
    all.iter_mut().zip(more).for_each(|(all, more)| all.merge(more));
}

fn to_array(values: impl Iterator<Item = AggregateValue>, data_type: &DataType) -> ArrayRef {
    if *data_type == DataType::Int64 {
        let whole = values.map(|value| match value {
            AggregateValue::Int(value) => value,
            AggregateValue::Float(_) => None,
        });
        Arc::new(whole.collect::<Int64Array>())
    } else {
        let numbers = values.map(|value| match value {
            AggregateValue::Float(value) => value,
            AggregateValue::Int(_) => None,
        });
        Arc::new(numbers.collect::<Float64Array>())
    }
}

impl Stateful for FinalAggregate {
    type Input = PartialAggregate;
    type Output = Rows;
    type Key = Key;
    type State = Vec<Open>;

    /// A window is removed at its end. Keys have only 32 routes, so a group needs many keys.
    const LIMITS: StateLimits = StateLimits { time_to_live_ms: None, max_keys_per_group: 4096 };

    fn route(partial: &PartialAggregate) -> u64 {
        partial.key.route()
    }

    fn on_tick(&mut self, _tick: Tick, partials: Vec<PartialAggregate>, work: &mut Work<'_, Self>) {
        for partial in partials {
            let PartialAggregate { key, window, accumulators, .. } = partial;
            let open = work.state.change(&key, Vec::new);
            let (changed, outgrown) = self.add(open, window, accumulators);
            for over_at in outgrown {
                self.clear_due(&key, over_at, work);
            }
            if let Some(window) = changed {
                self.set_due(key, window, work);
            }
        }
    }

    fn on_timer(&mut self, tick: Tick, work: &mut Work<'_, Self>) {
        let mut keys: Vec<_> = self.due.remove(&tick).unwrap_or_default().into_iter().collect();
        // Stable, so that the keys of a bucket stay in order.
        keys.sort_by_cached_key(Key::bucket);
        let mut fired = Vec::new();
        for key in keys {
            let open = work.state.change(&key, Vec::new);
            let mut over: Vec<_> = open.extract_if(.., |it| it.window.over_at() <= tick).collect();
            if open.is_empty() {
                work.state.remove(&key);
            }
            over.sort_by_key(|open| open.window);
            fired.extend(over.into_iter().map(|open| (key.clone(), open)));
        }
        for of_bucket in fired.chunk_by(|(a, _), (b, _)| a.bucket() == b.bucket()) {
            work.outputs.push(self.rows(of_bucket[0].0.bucket(), of_bucket));
        }
    }

    /// Clears the timers of an evicted key; its windows are dropped.
    fn on_evict(&mut self, _tick: Tick, key: &Key, open: &Vec<Open>, work: &mut Work<'_, Self>) {
        for open in open {
            self.clear_due(key, open.window.over_at(), work);
        }
    }

    fn on_restore(&mut self, _tick: Tick, work: &mut Work<'_, Self>) {
        let open = work
            .state
            .iter()
            .flat_map(|(key, open)| open.iter().map(|open| (key.clone(), open.window)));
        for (key, window) in open.collect::<Vec<_>>() {
            self.set_due(key, window, work);
        }
    }
}
