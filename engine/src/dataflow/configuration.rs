//! Configuration of an operator as a stream: the initial values, and later changes. Its frontier follows the
//! sources of the operator, so a change takes effect at a tick that none of them has reached.

use crossbeam_channel::{Receiver, Sender, TryRecvError};
use operators::{Change, Recalibration, ZoneDifference};
use schemas::Tick;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use crate::dataflow::waker::Waker;

/// A change for an operator, at its tick.
#[derive(Clone, Debug)]
pub(crate) enum OperatorChange {
    /// Of the zones of a `zones` operator.
    Zone(ZoneDifference),
    /// Of the calibrations of a `motion` operator.
    Recalibration(Recalibration),
}

impl OperatorChange {
    pub(super) fn zone(self) -> Option<ZoneDifference> {
        if let Self::Zone(difference) = self { Some(difference) } else { None }
    }

    pub(super) fn recalibration(self) -> Option<Recalibration> {
        if let Self::Recalibration(request) = self { Some(request) } else { None }
    }
}

/// The dataflow's end of an operator's configuration.
#[derive(Debug)]
pub(crate) struct Configured {
    /// The values at the start.
    pub(crate) changes: Vec<OperatorChange>,
    pub(crate) requests: Receiver<Request>,
    /// Set when the dataflow is built; each change wakes the operator.
    pub(crate) waker: Waker,
}

/// A request for a change.
#[derive(Debug)]
pub(crate) struct Request {
    /// Receives the earliest tick at which the change may take effect.
    pub(crate) earliest: Sender<Tick>,
    /// Delivers the change once it is durable; closes without it if the change is cancelled. Until
    /// then, the tick waits.
    pub(crate) durable: Receiver<Vec<OperatorChange>>,
}

/// Emits the configuration of an operator. `positions` are those of its sources, whose frontier it follows.
pub(super) fn configure(
    positions: StreamVec<'_, Tick, Change>,
    configured: Option<Configured>,
    starts_at: Tick,
) -> StreamVec<'_, Tick, OperatorChange> {
    let scope = positions.scope();
    let mut builder = OperatorBuilder::new("Configuration".to_owned(), scope);
    let mut input = builder.new_input(positions, Pipeline);
    let (output, changes) = builder.new_output::<Vec<OperatorChange>>();
    let mut output = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(output);
    let address = builder.operator_info().address;
    if let Some(configured) = &configured {
        configured.waker.set(scope, &address);
    }
    builder.build(move |mut capabilities| {
        let hold = capabilities.pop();
        let mut open = configured.zip(hold).map(|(configured, hold)| Open {
            known: configured.changes,
            requests: configured.requests,
            pending: None,
            hold,
        });
        move |frontiers| {
            input.for_each_time(|_, _| {});
            let mut output = output.activate();
            let reached = frontiers[0].frontier().first().copied();
            let ended = open.as_mut().is_some_and(|open| {
                open.update(reached, starts_at, |hold, known| {
                    output.session(hold).give_iterator(known.into_iter());
                })
            });
            if ended {
                open = None;
            }
        }
    });
    changes
}

/// A configuration that can change.
struct Open {
    /// The changes that are not emitted yet.
    known: Vec<OperatorChange>,
    requests: Receiver<Request>,
    /// A requested change that is not durable yet.
    pending: Option<Receiver<Vec<OperatorChange>>>,
    hold: Capability<Tick>,
}

impl Open {
    /// Emits known differences, and follows the sources while no change is pending. Returns true at the
    /// end of the sources.
    fn update(
        &mut self,
        reached: Option<Tick>,
        starts_at: Tick,
        mut give: impl FnMut(&Capability<Tick>, Vec<OperatorChange>),
    ) -> bool {
        if !self.known.is_empty() {
            give(&self.hold, std::mem::take(&mut self.known));
        }
        self.hold.downgrade(&starts_at.max(*self.hold.time()));
        loop {
            match self.pending.as_ref().map(Receiver::try_recv) {
                Some(Err(TryRecvError::Empty)) => return false,
                Some(Ok(change)) => give(&self.hold, change),
                Some(Err(TryRecvError::Disconnected)) | None => {}
            }
            self.pending = None;
            let Some(reached) = reached else { return true };
            self.hold.downgrade(&reached.max(*self.hold.time()));
            let Ok(request) = self.requests.try_recv() else { return false };
            // If the requester is gone, the channel of the change is closed.
            let _ = request.earliest.send(*self.hold.time());
            self.pending = Some(request.durable);
        }
    }
}
