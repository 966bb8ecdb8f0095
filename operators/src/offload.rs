//! An operator whose work runs in threads beside the worker.
//!
//! A worker that computes for tens of milliseconds would hold up all other operators. Threads take records through a
//! bounded queue; the operator keeps the capability of each record until its result arrives, so the frontier does not
//! pass a record whose result is missing. The operator sends results in the order of their records.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use schemas::Tick;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

/// Records per thread, in the threads and in their queue together.
const MAX_PER_THREAD: usize = 4;

/// The number of threads, and their batches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Threads {
    pub(crate) n_threads: usize,
    /// The largest number of records that a thread takes from the queue at once.
    pub(crate) max_batch: usize,
}

/// Computes a result for each record, in threads.
///
/// `work` receives the records that wait, at least one, and returns as many results.
pub(crate) fn offload<'scope, I, O>(
    input: StreamVec<'scope, Tick, I>,
    name: &str,
    threads: Threads,
    work: impl Fn(Vec<I>) -> Vec<O> + Send + Sync + 'static,
) -> StreamVec<'scope, Tick, O>
where
    I: Clone + Send + 'static,
    O: Clone + Send + 'static,
{
    let scope = input.scope();
    let mut builder = OperatorBuilder::new(name.to_owned(), scope);
    let address = builder.operator_info().address;
    let waker = Arc::new(scope.worker().sync_activator_for(address.to_vec()));
    // A wake-up fails when the dataflow has ended; then nobody waits for it.
    let wake = move || {
        let _ = waker.activate();
    };
    let mut input = builder.new_input(input, Pipeline);
    let (output, results) = builder.new_output::<Vec<O>>();
    let mut output = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(output);
    let mut offloaded = Offloaded::start(threads, work, wake);
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

/// A record, or its result, with its number.
type Numbered<T> = (u64, T);

/// The threads, and the records and results between them and the operator.
struct Offloaded<I, O> {
    /// Records that the queue has no room for.
    waiting: VecDeque<(Capability<Tick>, I)>,
    /// The capabilities of the records in the threads, and the results that wait for earlier ones.
    in_threads: VecDeque<(Capability<Tick>, Option<O>)>,
    max_in_threads: usize,
    /// The number of the first record in the threads.
    first: u64,
    to: Option<Sender<Numbered<I>>>,
    from: Receiver<Numbered<O>>,
    has_failed: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl<I: Send + 'static, O: Send + 'static> Offloaded<I, O> {
    fn start(
        Threads { n_threads, max_batch }: Threads,
        work: impl Fn(Vec<I>) -> Vec<O> + Send + Sync + 'static,
        wake: impl Fn() + Clone + Send + 'static,
    ) -> Self {
        let max_in_threads = n_threads * MAX_PER_THREAD.max(max_batch);
        let (to, inbox) = bounded::<Numbered<I>>(max_in_threads);
        // With as much room as there are records, a result never waits.
        let (outbox, from) = bounded(max_in_threads);
        let (work, has_failed) = (Arc::new(work), Arc::new(AtomicBool::new(false)));
        let threads = (0..n_threads).map(|_| {
            let (inbox, outbox, work) = (inbox.clone(), outbox.clone(), Arc::clone(&work));
            let watch = Watch { has_failed: Arc::clone(&has_failed), wake: wake.clone() };
            thread::spawn(move || {
                while let Ok(first) = inbox.recv() {
                    let more = inbox.try_iter().take(max_batch - 1);
                    let batch = std::iter::once(first).chain(more);
                    let (numbers, records): (Vec<_>, Vec<_>) = batch.unzip();
                    let results = work(records);
                    assert_eq!(results.len(), numbers.len(), "a result for each record");
                    for result in numbers.into_iter().zip(results) {
                        if outbox.send(result).is_err() {
                            return;
                        }
                    }
                    (watch.wake)();
                }
            })
        });
        let threads = threads.collect();
        let (waiting, in_threads) = (VecDeque::new(), VecDeque::new());
        let to = Some(to);
        Self { waiting, in_threads, max_in_threads, first: 0, to, from, has_failed, threads }
    }

    /// Gives results that are there, and sends records as far as there is room.
    ///
    /// # Panics
    ///
    /// If a thread has panicked: its records would never come back.
    fn advance(&mut self, mut give: impl FnMut(&Capability<Tick>, O)) {
        assert!(!self.has_failed.load(Ordering::Acquire), "a thread of an operator has ended");
        for (number, result) in self.from.try_iter() {
            let place = usize::try_from(number - self.first).unwrap_or(usize::MAX);
            if let Some((_, waits)) = self.in_threads.get_mut(place) {
                *waits = Some(result);
            }
        }
        while let Some((capability, result)) =
            self.in_threads.pop_front_if(|(_, result)| result.is_some())
        {
            self.first += 1;
            if let Some(result) = result {
                give(&capability, result);
            }
        }
        self.send();
    }

    fn send(&mut self) {
        let Some(to) = &self.to else { return };
        while self.in_threads.len() < self.max_in_threads {
            let Some((capability, record)) = self.waiting.pop_front() else { return };
            let number = self.first + self.in_threads.len() as u64;
            match to.try_send((number, record)) {
                Ok(()) => self.in_threads.push_back((capability, None)),
                Err(TrySendError::Full((_, record)) | TrySendError::Disconnected((_, record))) => {
                    self.waiting.push_front((capability, record));
                    return;
                }
            }
        }
    }
}

impl<I, O> Drop for Offloaded<I, O> {
    fn drop(&mut self) {
        // The threads end when there is nobody to take records from, or to give results to.
        self.to = None;
        let (_, none) = bounded(0);
        self.from = none;
        for thread in self.threads.drain(..) {
            // A panic of the thread has been reported where it happened.
            let _ = thread.join();
        }
    }
}

/// Wakes the operator if the thread panics.
struct Watch<F: Fn()> {
    has_failed: Arc<AtomicBool>,
    wake: F,
}

impl<F: Fn()> Drop for Watch<F> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.has_failed.store(true, Ordering::Release);
            (self.wake)();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use timely::dataflow::operators::{Inspect, ToStream};

    use super::*;

    fn expected() -> Vec<u64> {
        (0..1000).map(|number| number * 2).collect()
    }

    fn doubled(threads: Threads, work: impl Fn(u64) + Send + Sync + 'static) -> Vec<u64> {
        let (to, found) = mpsc::sync_channel(1000);
        timely::example(move |scope| {
            let numbers = (0..1000_u64).to_stream(scope).container::<Vec<_>>();
            let double = move |batch: Vec<u64>| {
                assert!((1..=threads.max_batch).contains(&batch.len()));
                for number in &batch {
                    work(*number);
                }
                batch.into_iter().map(|number| number * 2).collect()
            };
            offload(numbers, "double", threads, double)
                .inspect(move |number| to.send(*number).unwrap());
        });
        found.iter().collect()
    }

    #[test]
    fn results_are_those_of_the_records_in_their_order() {
        for (n_threads, max_batch) in [(1, 3), (4, 1), (3, 2)] {
            assert_eq!(doubled(Threads { n_threads, max_batch }, |_| ()), expected());
        }
    }

    #[test]
    fn an_early_result_waits_for_those_of_earlier_records() {
        let (third_is_taken, taken) = bounded(1);
        // The thread that takes record 3 has sent the results of 1 and 2 before.
        let work = move |number| match number {
            0 => taken.recv().unwrap(),
            3 => third_is_taken.send(()).unwrap(),
            _ => (),
        };
        assert_eq!(doubled(Threads { n_threads: 2, max_batch: 1 }, work), expected());
    }

    #[test]
    #[should_panic(expected = "a thread of an operator has ended")]
    fn a_thread_that_panics_ends_the_run() {
        let work = |number| assert!(number != 500, "as a test");
        doubled(Threads { n_threads: 2, max_batch: 1 }, work);
    }
}
