//! The first phase: aggregates the rows of each partition by tick, window and key, on the worker that has
//! them.

use std::cmp::Ordering;
use std::collections::HashMap;

use arrow::array::{Array, ArrayRef, AsArray, UInt64Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use foldhash::fast::RandomState;
use schemas::{Rows, Tick, stable_hash};
use serde::{Deserialize, Serialize};

use crate::keyed::StateLimits;
use crate::stateful::{Ordered, Stateful, Work};
use crate::windows::WindowsConfig;
use crate::windows::aggregate::Accumulator;
use crate::windows::assigner::Window;
use crate::windows::columns::{column, find};
use crate::windows::key::{self, Key, canonical};
use crate::{Component, StateKey};

/// The aggregate of a partition's rows of one tick in one window.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct PartialAggregate {
    pub(super) key: Key,
    pub(super) window: Window,
    /// Distinguishes the partitions of a tick, in the same way in every run.
    origin: u64,
    pub(super) accumulators: Vec<Accumulator>,
}

impl Ordered for PartialAggregate {
    fn compare(&self, other: &Self) -> Ordering {
        let order = |partial: &Self| (partial.origin, partial.window);
        // Two partitions may have the same hash: then the accumulators decide.
        let content =
            |partial: &Self| postcard::to_allocvec(&partial.accumulators).unwrap_or_default();
        order(self)
            .cmp(&order(other))
            .then_with(|| self.key.cmp(&other.key))
            .then_with(|| content(self).cmp(&content(other)))
    }
}

/// The output of the first phase.
#[derive(Clone)]
pub(super) enum PreAggregated {
    Partial(PartialAggregate),
    /// Rows that arrived after the end of all their windows.
    Late(Rows),
}

impl PreAggregated {
    pub(super) fn partial(self) -> Option<PartialAggregate> {
        if let Self::Partial(partial) = self { Some(partial) } else { None }
    }

    pub(super) fn late(self) -> Option<Rows> {
        if let Self::Late(rows) = self { Some(rows) } else { None }
    }
}

/// The key of a phase without state.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct NoKey;

impl StateKey for NoKey {
    fn route(&self) -> u64 {
        0
    }
}

pub(super) struct PreAggregate {
    config: WindowsConfig,
    late_stream: String,
    component: Component,
    groups: Groups,
}

/// The windows of a partition's rows in a tick.
#[derive(Default)]
struct Groups {
    /// Positions in `windows`, by window and key as bytes.
    positions: HashMap<Vec<u8>, usize, RandomState>,
    windows: Vec<(Key, Window)>,
    /// The accumulators of all windows, concatenated.
    accumulators: Vec<Accumulator>,
    scratch: Vec<u8>,
    /// Rows, and the positions of their windows.
    members: Vec<(usize, usize)>,
}

impl PreAggregate {
    pub(super) fn new(config: &WindowsConfig, late_stream: String, component: Component) -> Self {
        Self { config: config.clone(), late_stream, component, groups: Groups::default() }
    }

    /// Adds rows to the windows of their partition, and returns the numbers of the late rows.
    fn pre_aggregate(&mut self, tick: Tick, rows: &Rows) -> Vec<u64> {
        let keys: Vec<_> = self.config.key.iter().map(|name| key_column(rows, name)).collect();
        let aggregates: Vec<_> = self.config.aggregates.values().collect();
        let values: Vec<_> = aggregates
            .iter()
            .map(|aggregate| aggregate.column.as_ref().map(|name| numbers(rows, name)))
            .collect();
        let groups = &mut self.groups;
        groups.members.clear();
        let mut late = Vec::new();
        for (row, time_ns) in rows.times_ns.iter().enumerate() {
            let mut is_late = true;
            self.config.window.windows_of(*time_ns, |window| {
                if window.over_at() > tick {
                    is_late = false;
                    let start = || {
                        let starts = aggregates.iter().zip(&values);
                        let whole =
                            |values: &Option<Numbers>| matches!(values, Some(Numbers::Int(_)));
                        starts.map(|(it, values)| it.start(whole(values))).collect::<Vec<_>>()
                    };
                    groups.add(row, window, &keys, start);
                }
            });
            if is_late {
                late.push(row as u64);
            }
        }
        for (nth, values) in values.iter().enumerate() {
            groups.accumulate(nth, aggregates.len(), values.as_ref());
        }
        late
    }
}

impl Groups {
    /// Records that a row belongs to a window of its key.
    fn add(
        &mut self,
        row: usize,
        window: Window,
        keys: &[Option<ArrayRef>],
        start: impl FnOnce() -> Vec<Accumulator>,
    ) {
        const START_BYTES: usize = size_of::<i64>();
        self.scratch.clear();
        self.scratch.extend(window.start_ns.to_le_bytes());
        for column in keys {
            match column {
                Some(column) => key::encode(column, row, &mut self.scratch),
                None => self.scratch.push(0),
            }
        }
        let known = self.positions.get(&self.scratch).copied();
        let position = known.unwrap_or_else(|| {
            let position = self.windows.len();
            self.positions.insert(self.scratch.clone(), position);
            self.windows.push((Key(self.scratch[START_BYTES..].to_vec()), window));
            self.accumulators.extend(start());
            position
        });
        self.members.push((row, position));
    }

    /// Adds a column's values to the `nth` of `n_aggregates` accumulators of each window.
    fn accumulate(&mut self, nth: usize, n_aggregates: usize, values: Option<&Numbers>) {
        let accumulators = &mut self.accumulators;
        let members =
            self.members.iter().map(|(row, position)| (*row, position * n_aggregates + nth));
        match values {
            None => members.for_each(|(_, at)| accumulators[at].count()),
            Some(Numbers::Int(column)) => {
                let column = column.as_primitive::<Int64Type>();
                for (row, at) in members.filter(|(row, _)| column.is_valid(*row)) {
                    accumulators[at].push_int(column.value(row));
                }
            }
            Some(Numbers::Float(column)) => {
                let column = column.as_primitive::<Float64Type>();
                for (row, at) in members.filter(|(row, _)| column.is_valid(*row)) {
                    accumulators[at].push(column.value(row));
                }
            }
            Some(Numbers::None) => {}
        }
    }

    fn take_partials(
        &mut self,
        origin: u64,
        n_aggregates: usize,
        partials: &mut Vec<PreAggregated>,
    ) {
        self.positions.clear();
        let mut accumulators = self.accumulators.drain(..);
        for (key, window) in self.windows.drain(..) {
            let accumulators = accumulators.by_ref().take(n_aggregates).collect();
            partials.push(PreAggregated::Partial(PartialAggregate {
                key,
                window,
                origin,
                accumulators,
            }));
        }
    }
}

impl Stateful for PreAggregate {
    type Input = Rows;
    type Output = PreAggregated;
    type Key = NoKey;
    type State = ();

    const LIMITS: StateLimits = StateLimits::NO_STATE;

    fn route(rows: &Rows) -> u64 {
        stable_hash(&[&rows.stream, &rows.partition])
    }

    fn on_tick(&mut self, tick: Tick, inputs: Vec<Rows>, work: &mut Work<'_, Self>) {
        let same = |a: &Rows, b: &Rows| (&a.stream, &a.partition) == (&b.stream, &b.partition);
        for partition in inputs.chunk_by(same) {
            for rows in partition {
                let late = self.pre_aggregate(tick, rows);
                if !late.is_empty() {
                    (self.component.dropped)("late for its window", late.len() as u64);
                    let late = pick(rows, late, &self.late_stream);
                    work.outputs.extend(late.map(PreAggregated::Late));
                }
            }
            let origin = stable_hash(&[&partition[0].stream, &partition[0].partition]);
            let n_aggregates = self.config.aggregates.len();
            self.groups.take_partials(origin, n_aggregates, work.outputs);
        }
    }
}

/// Returns the picked rows as rows of another stream.
fn pick(rows: &Rows, picked: Vec<u64>, stream: &str) -> Option<Rows> {
    let times_ns = picked.iter().map(|row| rows.times_ns[*row as usize]).collect();
    let sequence = rows.sequence.saturating_add(picked.first().copied().unwrap_or(0));
    let batch = take_record_batch(&rows.batch, &UInt64Array::from(picked)).ok()?;
    let (stream, partition) = (stream.to_owned(), rows.partition.clone());
    Some(Rows { stream, partition, sequence, times_ns, batch })
}

/// Returns a key column in its canonical type; the plan has checked that the column exists.
fn key_column(rows: &Rows, name: &str) -> Option<ArrayRef> {
    let found = find(&rows.batch.schema(), name).ok().cloned();
    column(&rows.batch, name, &canonical(&found?)?)
}

/// A column of numbers.
enum Numbers {
    Int(ArrayRef),
    Float(ArrayRef),
    None,
}

fn numbers(rows: &Rows, name: &str) -> Numbers {
    let schema = rows.batch.schema();
    let whole = find(&schema, name).is_ok_and(DataType::is_integer);
    if whole {
        let values = column(&rows.batch, name, &DataType::Int64);
        values.map_or(Numbers::None, Numbers::Int)
    } else {
        let values = column(&rows.batch, name, &DataType::Float64);
        values.map_or(Numbers::None, Numbers::Float)
    }
}
