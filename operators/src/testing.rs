//! Test support for operators.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use num_complex::Complex32;
use proptest::prelude::*;
use schemas::{CsiBatch, CsiFrame, CsiLayout, Link, SourceKind, Tick};
use timely::dataflow::operators::{Concatenate, Input, Inspect, Probe, ToStream};
use timely::dataflow::{Scope, StreamVec};

use crate::{Change, Changes, Context};

/// Times from outside: the extremes, those around zero, and any other.
pub(crate) fn any_time_ns() -> impl Strategy<Value = i64> {
    prop_oneof![Just(i64::MIN), Just(i64::MAX), -9_i64..9, any::<i64>()]
}

/// The state of an operator.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    /// Saved keys.
    pub(crate) n_keys: usize,
    /// The most saved keys at once.
    pub(crate) most_keys: usize,
    /// Dropped records, by reason.
    pub(crate) dropped: BTreeMap<&'static str, u64>,
}

/// Runs an operator on records at their ticks, and returns its saved state.
pub(crate) fn remember<I, O>(
    inputs: impl IntoIterator<Item = (Tick, Vec<I>)> + Send + Sync + 'static,
    operate: impl for<'scope> FnOnce(
        StreamVec<'scope, Tick, I>,
        Context<'scope>,
    ) -> StreamVec<'scope, Tick, O>
    + Send
    + Sync
    + 'static,
) -> Remembered
where
    I: Clone + 'static,
    O: 'static,
{
    let dropped = Arc::new(Mutex::new(BTreeMap::<&'static str, u64>::new()));
    let counted = Arc::clone(&dropped);
    let mut remembered = timely::execute_directly(move |worker| {
        let changes = Rc::new(RefCell::new(Vec::<Change>::new()));
        let (mut input, probe) = worker.dataflow::<Tick, _, _>(|scope| {
            let (input, records) = scope.new_input::<Vec<I>>();
            let mut context = Context::detached("operator");
            context.component.dropped = Arc::new(move |reason: &'static str, n_records: u64| {
                let mut dropped = counted.lock().unwrap_or_else(PoisonError::into_inner);
                *dropped.entry(reason).or_default() += n_records;
            });
            let saved = Changes::clone(&context.state.changes);
            let (probe, _) = operate(records, context).probe();
            let to = Rc::clone(&changes);
            scope
                .concatenate(saved.take())
                .inspect(move |change| to.borrow_mut().push(change.clone()));
            (input, probe)
        });
        let mut remembered = Remembered::default();
        let mut keys = BTreeSet::new();
        for (tick, records) in inputs {
            input.advance_to(tick);
            for record in records {
                input.send(record);
            }
            input.advance_to(tick + 1);
            worker.step();
            worker.step_while(|| probe.less_than(&(tick + 1)));
            remembered.note(&mut keys, changes.take());
        }
        drop(input);
        while worker.step() {}
        remembered.note(&mut keys, changes.take());
        remembered
    });
    remembered.dropped =
        std::mem::take(&mut *dropped.lock().unwrap_or_else(PoisonError::into_inner));
    remembered
}

impl Remembered {
    fn note(&mut self, keys: &mut BTreeSet<Vec<u8>>, changes: Vec<Change>) {
        for Change { key, value, .. } in changes {
            match value {
                Some(_) => keys.insert(key),
                None => keys.remove(&key),
            };
        }
        self.n_keys = keys.len();
        self.most_keys = self.most_keys.max(self.n_keys);
    }
}

/// Returns a stream without records.
pub(crate) fn nothing<R: Clone + 'static>(scope: Scope<'_, Tick>) -> StreamVec<'_, Tick, R> {
    Vec::<R>::new().to_stream(scope).container()
}

/// Returns a frame of two equal values from a transmitter.
pub(crate) fn frame(transmitter: &str, captured_at_ns: i64) -> CsiBatch {
    let layout = CsiLayout { n_rx: 1, n_tx: 1, subcarriers: vec![-1, 1], ..Default::default() };
    let link = Link { transmitter: transmitter.to_owned(), ..Link::default() };
    let mut batch = CsiBatch::new(link, layout.into(), SourceKind::Simulated);
    batch.iq.extend([Complex32::new(10.0, 0.0); 2]);
    let frame = CsiFrame { captured_at_ns, ..Default::default() };
    batch.push_scalars(frame).expect("the frame is full");
    batch
}
