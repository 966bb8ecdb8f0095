//! A pipeline has one run at a time. The run holds the pipeline's lease in the store while it is alive.
//! Another run starts when the lease has ended or was passed on.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use crate::run::control::Control;
use crate::store::{Beat, Lease, LeaseState, Store};
use crate::{RunError, StoreError};

/// Time from one heartbeat to the next.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// A lease ends after this time without a heartbeat.
const LENGTH: Duration = Duration::from_secs(10);
/// The interval of checks of a run that waits for the lease.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// The generation of a run that has not taken one.
const NONE: i64 = 0;

/// The behaviour of a start when another run of the pipeline is alive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenAlive {
    /// Fail.
    #[default]
    Refuse,
    /// Wait until the other run has ended.
    StandBy,
    /// Ask the other run to stop in order, and continue where it stopped.
    TakeOver,
}

/// A lease with a thread that sends its heartbeats.
#[derive(Debug)]
pub(super) struct HeldLease {
    lease: Lease,
    generation: Arc<AtomicI64>,
    /// Dropped to end the thread.
    end: Sender<()>,
    thread: JoinHandle<()>,
}

impl HeldLease {
    /// Takes the lease of a pipeline, at once or when it has ended.
    ///
    /// # Errors
    ///
    /// [`RunError::Alive`] if another run holds it and `when_alive` is [`WhenAlive::Refuse`].
    pub(super) fn take(
        store: &Store,
        pipeline: &str,
        when_alive: WhenAlive,
        control: &Arc<Control>,
    ) -> Result<Self, RunError> {
        let lease = store.lease(pipeline);
        if let Err(error) = wait_for(&lease, when_alive, control) {
            if when_alive == WhenAlive::TakeOver {
                // Withdraws the request to the other run. A failure here does not change the error.
                let _ = lease.release();
            }
            return Err(error);
        }
        let generation = Arc::new(AtomicI64::new(NONE));
        let (end, ended) = crossbeam_channel::bounded(0);
        let heart = Heart {
            lease: lease.clone(),
            generation: Arc::clone(&generation),
            control: Arc::clone(control),
        };
        let thread = thread::spawn(move || heart.beat_until(&ended));
        Ok(Self { lease, generation, end, thread })
    }

    /// Returns the cell for the run's generation. Once the caller has set it, a newer generation ends
    /// the run.
    pub(super) fn generation(&self) -> Arc<AtomicI64> {
        Arc::clone(&self.generation)
    }

    /// Passes the lease on, or frees it. If the store is unreachable, the lease ends by its time-out.
    pub(super) fn release(self) {
        drop(self.end);
        // The thread returns nothing, and a panic ends the process.
        let _ = self.thread.join();
        if let Err(error) = self.lease.release() {
            tracing::warn!(%error, "the lease of the pipeline ends by itself");
        }
    }
}

/// Sends the heartbeats of a run.
struct Heart {
    lease: Lease,
    generation: Arc<AtomicI64>,
    control: Arc<Control>,
}

impl Heart {
    fn beat_until(&self, ended: &Receiver<()>) {
        while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(HEARTBEAT) {
            let generation = Some(self.generation.load(Ordering::Acquire));
            match self.lease.beat(generation.filter(|generation| *generation != NONE)) {
                Ok(beat) => self.heed(beat),
                // A fenced run cannot commit, so it does not wait for its workers.
                Err(error @ StoreError::Fenced { .. }) => {
                    return self.control.fail(RunError::Store(error), true);
                }
                // While the store is unreachable, the run continues: no newer run is known.
                Err(error) => {
                    self.control.health().failed_once("lease", &error, error.is_outage());
                }
            }
        }
    }

    fn heed(&self, beat: Beat) {
        self.control.health().recovered("lease");
        match beat {
            Beat::Held => {}
            Beat::Asked(by) => self.control.hand_over(by),
            Beat::Elsewhere => self.take_back(),
        }
    }

    /// Takes the lease back from a process that took it over, if that process is gone.
    fn take_back(&self) {
        tracing::warn!("another process starts this pipeline");
        let held = self.lease.read().ok().flatten();
        if let Some(held) = held.filter(LeaseState::is_gone) {
            // After a failure, the next heartbeat tries again.
            let _ = self.lease.take(Some(&held));
        }
    }
}

/// Waits for the lease, and takes it.
fn wait_for(lease: &Lease, when_alive: WhenAlive, control: &Control) -> Result<(), RunError> {
    let (mut watch, mut waits) = (Watch::default(), false);
    loop {
        match try_take(lease, &mut watch) {
            Ok(Seen::Taken) => return Ok(()),
            Ok(Seen::Unknown) => {}
            Ok(Seen::Alive(holder)) => {
                heed_holder(lease, &holder, when_alive, &mut waits)?;
            }
            // The holder cannot send heartbeats either.
            Err(error) if error.is_outage() && when_alive == WhenAlive::StandBy => {
                tracing::warn!(%error, "the store is away, standing by");
                watch = Watch::default();
            }
            Err(error) => return Err(RunError::Store(error)),
        }
        if control.stopping() {
            return Err(RunError::StoppedWaiting { pipeline: lease.pipeline().to_owned() });
        }
        thread::sleep(LOOK_AGAIN);
    }
}

/// Fails, waits or asks for the lease, as `when_alive` requires.
fn heed_holder(
    lease: &Lease,
    holder: &LeaseState,
    when_alive: WhenAlive,
    waits: &mut bool,
) -> Result<(), RunError> {
    match when_alive {
        WhenAlive::Refuse => {
            let (pipeline, holder) = (lease.pipeline().to_owned(), holder.holder());
            return Err(RunError::Alive { pipeline, holder });
        }
        WhenAlive::StandBy => {}
        WhenAlive::TakeOver => lease.ask(holder).map_err(RunError::Store)?,
    }
    if !std::mem::replace(waits, true) {
        tracing::warn!(holder = holder.holder(), "the pipeline is alive elsewhere, waiting for it");
    }
    Ok(())
}

/// The result of a read of the lease.
enum Seen {
    /// This process holds it now.
    Taken,
    /// Another process holds it, and may have ended.
    Unknown,
    /// Another process holds it and is alive.
    Alive(LeaseState),
}

/// Reads the lease, and takes it if it is free or has ended.
#[expect(clippy::disallowed_methods, reason = "a lease ends by the clock")]
fn try_take(lease: &Lease, watch: &mut Watch) -> Result<Seen, StoreError> {
    let asked_at = Instant::now();
    let state = lease.read()?;
    let Some(held) = state.as_ref().filter(|state| !state.is_free()) else {
        return Ok(if lease.take(state.as_ref())? { Seen::Taken } else { Seen::Unknown });
    };
    if lease.is_own(held) {
        return Ok(Seen::Taken);
    }
    let sight = watch.look(held, asked_at, Instant::now());
    let has_ended = sight == Sight::Ended || held.is_gone();
    if has_ended && lease.take(Some(held))? {
        return Ok(Seen::Taken);
    }
    Ok(if sight == Sight::Alive { Seen::Alive(held.clone()) } else { Seen::Unknown })
}

/// The state of a lease that another process holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sight {
    Unknown,
    Alive,
    Ended,
}

/// Watches a lease with this process's clock.
#[derive(Debug, Default)]
struct Watch {
    /// The lease, the time of its last change, and whether its holder has sent a heartbeat.
    seen: Option<(LeaseState, Instant, bool)>,
}

impl Watch {
    /// Evaluates a lease that was requested at `asked_at` and received at `answered_at`. This process
    /// may sleep in between, so only the time between two readings counts.
    fn look(&mut self, state: &LeaseState, asked_at: Instant, answered_at: Instant) -> Sight {
        match &mut self.seen {
            Some((seen, since, _)) if *seen == *state => {
                if asked_at.saturating_duration_since(*since) >= LENGTH {
                    return Sight::Ended;
                }
            }
            Some((seen, since, is_alive)) => {
                *is_alive = seen.has_same_holder(state);
                (*seen, *since) = (state.clone(), answered_at);
            }
            None => self.seen = Some((state.clone(), answered_at, false)),
        }
        match self.seen {
            Some((_, _, true)) => Sight::Alive,
            _ => Sight::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a lease ends by the clock")]
    fn a_lease_ends_when_its_heartbeat_stands_still() {
        let start = Instant::now();
        let at = |seconds: f64| start + Duration::from_secs_f64(seconds);
        let state = |holder: &str, heartbeat| LeaseState::new(holder, heartbeat);
        let mut watch = Watch::default();
        for (asked, answered, state, expected) in [
            (0.0, 0.5, state("first", 1), Sight::Unknown),
            (9.0, 9.5, state("first", 1), Sight::Unknown),
            (10.0, 10.2, state("first", 2), Sight::Alive),
            (15.0, 15.2, state("first", 2), Sight::Alive),
            (20.1, 99.0, state("first", 2), Sight::Alive),
            (20.2, 20.3, state("first", 2), Sight::Ended),
            (20.4, 20.5, state("second", 3), Sight::Unknown),
            (30.0, 30.1, state("second", 3), Sight::Unknown),
            (30.5, 30.6, state("second", 3), Sight::Ended),
        ] {
            let found = watch.look(&state, at(asked), at(answered));
            assert_eq!(found, expected, "at {asked} s: {state:?}");
        }
    }
}
