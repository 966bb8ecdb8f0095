//! The start of a run in rounds. In each round every process sends a message, and all processes receive
//! the joined messages.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use timely::dataflow::operators::vec::{Broadcast, Input};
use timely::dataflow::operators::{Inspect, Probe};
use timely::dataflow::{InputHandleVec, ProbeHandle};
use timely::worker::Worker;

use crate::RunError;
use crate::run::step::step_until;

/// The message of a process in a round, or the joined messages of all.
pub(super) trait RoundMessage: Serialize + DeserializeOwned + Default {
    /// Adds the message of another process.
    fn join(&mut self, other: Self);
}

/// An empty message: it only reports the end of the round.
impl RoundMessage for () {
    fn join(&mut self, (): Self) {}
}

type Round = u64;
/// An encoded message; none from a process that failed in the round.
type Sent = Option<Vec<u8>>;

/// One worker's part in the start. The first worker of each process sends messages; the others only
/// take part in the exchange.
pub(super) struct StartupCoordinator<'a> {
    worker: &'a mut Worker,
    sends: InputHandleVec<Round, Sent>,
    received: Rc<RefCell<BTreeMap<Round, Vec<Sent>>>>,
    progress: ProbeHandle<Round>,
}

impl<'a> StartupCoordinator<'a> {
    pub(super) fn new(worker: &'a mut Worker) -> Self {
        let received = Rc::<RefCell<BTreeMap<Round, Vec<Sent>>>>::default();
        let rounds = Rc::clone(&received);
        let (sends, progress) = worker.dataflow_named("Startup", |scope| {
            let (sends, messages) = scope.new_input::<Sent>();
            let receive = move |round: &Round, sent: &Sent| {
                rounds.borrow_mut().entry(*round).or_default().push(sent.clone());
            };
            (sends, messages.broadcast().inspect_time(receive).probe().0)
        });
        Self { worker, sends, received, progress }
    }

    /// Ends a round with the result of this process and its message. Waits for the other processes, and
    /// returns the joined messages of all.
    ///
    /// # Errors
    ///
    /// The failure of this process, or of another one.
    pub(super) fn end_round<T, M: RoundMessage>(
        &mut self,
        done: Result<(T, M), RunError>,
    ) -> Result<(T, M), RunError> {
        let (done, message) = match done {
            Ok(done) => done,
            Err(error) => {
                // This process does not wait: each process that receives the failure ends.
                self.sends.send(None);
                return Err(error);
            }
        };
        let round = *self.sends.time();
        let encoded = postcard::to_allocvec(&message);
        self.sends.send(Some(encoded.expect("names and numbers are what postcard knows")));
        self.sends.advance_to(round + 1);
        self.sends.flush();
        step_until(self.worker, || !self.progress.less_than(&(round + 1)));
        let sent = self.received.borrow_mut().remove(&round).unwrap_or_default();
        let all = joined(&sent).ok_or_else(|| RunError::Workers {
            reason: "another process of this run could not start".to_owned(),
        });
        Ok((done, all?))
    }

    /// Forwards the messages of other workers until all rounds are over.
    pub(super) fn pass_on(self) {
        let Self { worker, sends, progress, .. } = self;
        drop(sends);
        step_until(worker, || progress.done());
    }
}

/// Joins the messages of all processes; none if a process has failed.
fn joined<M: RoundMessage>(sent: &[Sent]) -> Option<M> {
    let mut all = M::default();
    for message in sent {
        all.join(postcard::from_bytes(message.as_deref()?).ok()?);
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Sum(u64);

    impl RoundMessage for Sum {
        fn join(&mut self, other: Self) {
            self.0 += other.0;
        }
    }

    #[test]
    fn one_that_fails_fails_all() {
        let sent = |number: u64| Some(postcard::to_allocvec(&Sum(number)).expect("a number"));
        assert_eq!(joined(&[sent(3), sent(4)]), Some(Sum(7)));
        assert_eq!(joined::<Sum>(&[sent(3), None]), None);
        assert_eq!(joined::<Sum>(&[Some(Vec::new())]), None, "and so does one that sends nonsense");
    }
}
