//! What the processes of a run agree on before it goes on. In each round all of them say something, and
//! all hear the same.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use schemas::Tick;
use serde::{Deserialize, Serialize};
use timely::dataflow::operators::vec::{Broadcast, Input};
use timely::dataflow::operators::{Inspect, Probe};
use timely::dataflow::{InputHandleVec, ProbeHandle};
use timely::worker::Worker;

use crate::run::held::Held;
use crate::run::workers::step_until;
use crate::store::RunId;
use crate::{RunError, State};

/// What a process says in a round, or all of them together.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Word {
    /// Which run this is; the first process knows.
    pub(super) run: Option<RunId>,
    /// The names of partitions that are to be left alone.
    pub(super) hold: Vec<String>,
    /// Every sink has less than everything before this tick.
    pub(super) behind_sinks: Tick,
    /// Partitions that are left alone.
    pub(super) held: Held,
    /// Where partitions begin that no earlier run has read.
    pub(super) begun: State,
    /// True if a process could not do its part of the round.
    pub(super) failed: bool,
}

impl Word {
    fn join(&mut self, other: &Self) {
        self.run = self.run.take().or_else(|| other.run.clone());
        self.hold.extend_from_slice(&other.hold);
        self.behind_sinks = self.behind_sinks.max(other.behind_sinks);
        self.held.join(&other.held);
        self.begun.apply(other.begun.clone());
        self.failed |= other.failed;
    }
}

type Round = u64;

/// One worker's part in it: the first one of each process speaks, the others pass on what is said.
pub(super) struct Agreement<'a> {
    worker: &'a mut Worker,
    says: InputHandleVec<Round, Word>,
    hears: Rc<RefCell<BTreeMap<Round, Word>>>,
    heard: ProbeHandle<Round>,
}

impl<'a> Agreement<'a> {
    pub(super) fn new(worker: &'a mut Worker) -> Self {
        let hears = Rc::<RefCell<BTreeMap<Round, Word>>>::default();
        let rounds = Rc::clone(&hears);
        let (says, heard) = worker.dataflow_named("Agreement", |scope| {
            let (says, words) = scope.new_input::<Word>();
            let hear = move |round: &Round, word: &Word| {
                rounds.borrow_mut().entry(*round).or_default().join(word);
            };
            (says, words.broadcast().inspect_time(hear).probe().0)
        });
        Self { worker, says, hears, heard }
    }

    /// Ends a round with what this process has done in it and has to say, if it could. Waits for the
    /// others, and gives what all of them have said.
    ///
    /// # Errors
    ///
    /// What this process failed of, or that another one did.
    pub(super) fn end_round<T>(
        &mut self,
        done: Result<(T, Word), RunError>,
    ) -> Result<(T, Word), RunError> {
        let (done, word) = match done {
            Ok(done) => done,
            Err(error) => {
                // Nobody is waited for: whoever hears it ends, and this process with it.
                self.says.send(Word { failed: true, ..Word::default() });
                return Err(error);
            }
        };
        let round = *self.says.time();
        self.says.send(word);
        self.says.advance_to(round + 1);
        self.says.flush();
        step_until(self.worker, || !self.heard.less_than(&(round + 1)));
        let heard = self.hears.borrow_mut().remove(&round).unwrap_or_default();
        if heard.failed {
            let reason = "another process of this run could not start".to_owned();
            return Err(RunError::Workers { reason });
        }
        Ok((done, heard))
    }

    /// Passes on what others say, until they are done.
    pub(super) fn pass_on(self) {
        let Self { worker, says, heard, .. } = self;
        drop(says);
        step_until(worker, || heard.done());
    }
}
