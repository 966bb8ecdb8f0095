//! Work that takes long, in a thread beside the worker.
//!
//! A worker that computes for tens of milliseconds would hold up all other operators. The thread takes records in
//! their order through a queue with a bound; the operator keeps the capability of each record until its result
//! arrives, so the frontier does not pass a record whose result is missing.

use std::collections::VecDeque;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, TryRecvError, TrySendError, bounded};
use schemas::Tick;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

/// Records in the thread and in its queues.
const MAX_IN_THREAD: usize = 8;

/// Computes a result for each record, in a thread.
///
/// `work` receives the records that wait, at least one and at most `max_batch`, and returns as many results.
pub(crate) fn offload<'scope, I, O>(
    input: StreamVec<'scope, Tick, I>,
    name: &str,
    max_batch: usize,
    work: impl FnMut(Vec<I>) -> Vec<O> + Send + 'static,
) -> StreamVec<'scope, Tick, O>
where
    I: Clone + Send + 'static,
    O: Clone + Send + 'static,
{
    let scope = input.scope();
    let mut builder = OperatorBuilder::new(name.to_owned(), scope);
    let address = builder.operator_info().address;
    let waker = scope.worker().sync_activator_for(address.to_vec());
    // A wake-up fails when the dataflow has ended; then nobody waits for it.
    let wake = move || {
        let _ = waker.activate();
    };
    let mut input = builder.new_input(input, Pipeline);
    let (output, results) = builder.new_output::<Vec<O>>();
    let mut output = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(output);
    let mut offloaded = Offloaded::start(max_batch, work, wake);
    builder.build(move |_capabilities| {
        move |_frontiers| {
            input.for_each(|time, records| {
                let capability = time.retain(0);
                for record in records.drain(..) {
                    offloaded.waiting.push_back((capability.clone(), record));
                }
            });
            let mut output = output.activate();
            offloaded.advance(|capability, result| output.session(capability).give(result));
        }
    });
    results
}

/// The thread, and the records and results between it and the operator.
struct Offloaded<I, O> {
    /// Records that the queue has no room for.
    waiting: VecDeque<(Capability<Tick>, I)>,
    /// The capabilities of the records in the thread, in order.
    in_thread: VecDeque<Capability<Tick>>,
    to: Option<Sender<I>>,
    from: Receiver<O>,
    thread: Option<JoinHandle<()>>,
}

impl<I: Send + 'static, O: Send + 'static> Offloaded<I, O> {
    fn start(
        max_batch: usize,
        mut work: impl FnMut(Vec<I>) -> Vec<O> + Send + 'static,
        wake: impl Fn() + Send + 'static,
    ) -> Self {
        let (to, inbox) = bounded::<I>(MAX_IN_THREAD);
        // With as much room as there are records, a result never waits.
        let (outbox, from) = bounded(MAX_IN_THREAD);
        let thread = thread::spawn(move || {
            while let Ok(first) = inbox.recv() {
                let batch = std::iter::once(first).chain(inbox.try_iter().take(max_batch - 1));
                let batch: Vec<_> = batch.collect();
                let n_records = batch.len();
                let results = work(batch);
                assert_eq!(results.len(), n_records, "a result for each record");
                for result in results {
                    if outbox.send(result).is_err() {
                        return;
                    }
                }
                wake();
            }
        });
        let (waiting, in_thread) = (VecDeque::new(), VecDeque::new());
        Self { waiting, in_thread, to: Some(to), from, thread: Some(thread) }
    }

    /// Gives results that are there, and sends records as far as there is room.
    ///
    /// # Panics
    ///
    /// If the thread has panicked: its records would never come back.
    fn advance(&mut self, mut give: impl FnMut(&Capability<Tick>, O)) {
        loop {
            match self.from.try_recv() {
                Ok(result) => {
                    if let Some(capability) = self.in_thread.pop_front() {
                        give(&capability, result);
                    }
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => panic!("the thread of an operator has ended"),
            }
        }
        let Some(to) = &self.to else { return };
        while self.in_thread.len() < MAX_IN_THREAD {
            let Some((capability, record)) = self.waiting.pop_front() else { return };
            match to.try_send(record) {
                Ok(()) => self.in_thread.push_back(capability),
                Err(TrySendError::Full(record) | TrySendError::Disconnected(record)) => {
                    self.waiting.push_front((capability, record));
                    return;
                }
            }
        }
    }
}

impl<I, O> Drop for Offloaded<I, O> {
    fn drop(&mut self) {
        // The thread ends when there is nobody to take records from, or to give results to.
        self.to = None;
        let (_, none) = bounded(0);
        self.from = none;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported where it happened.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use timely::dataflow::operators::{Inspect, ToStream};

    use super::*;

    #[test]
    fn results_are_those_of_the_records_in_their_order() {
        let (to, found) = mpsc::sync_channel(1000);
        timely::example(move |scope| {
            let numbers = (0..1000_u64).to_stream(scope).container::<Vec<_>>();
            let work = |batch: Vec<u64>| {
                assert!((1..=3).contains(&batch.len()));
                batch.into_iter().map(|number| number * 2).collect()
            };
            offload(numbers, "double", 3, work).inspect(move |number| to.send(*number).unwrap());
        });
        let found: Vec<_> = found.iter().collect();
        assert_eq!(found, (0..1000).map(|number| number * 2).collect::<Vec<_>>());
    }
}
