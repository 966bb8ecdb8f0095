//! The store of a simulated run: a real store that is at times unreachable, loses replies, or ends the
//! run at one of its commits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use schemas::{Progress, Tick};

use crate::run::simulation::Fate;
use crate::run::simulation::chance::Chance;
use crate::store::{CommitLog, Session};
use crate::{State, StoreError};

/// Maximum number of failed calls in an outage.
const LONGEST_OUTAGE: u64 = 3;

/// The store of one run.
#[derive(Debug)]
pub(super) struct SimulatedStore {
    session: Session,
    chance: Chance,
    fate: Fate,
    n_commits: u64,
    /// Calls that remain to fail.
    outage: u64,
    alive: Arc<AtomicBool>,
}

impl SimulatedStore {
    pub(super) fn new(
        session: Session,
        chance: Chance,
        fate: Fate,
        alive: Arc<AtomicBool>,
    ) -> Self {
        Self { session, chance, fate, n_commits: 0, outage: 0, alive }
    }
}

/// The error of an unreachable database.
fn away() -> StoreError {
    StoreError::Database(sqlx::Error::PoolTimedOut)
}

/// The error of each call in a dead process.
fn gone() -> StoreError {
    StoreError::Damaged { pipeline: "gone".to_owned() }
}

impl CommitLog for SimulatedStore {
    fn commit(&mut self, progress: Progress, changes: &State) -> Result<Tick, StoreError> {
        if !self.alive.load(Ordering::Acquire) {
            return Err(gone());
        }
        if self.outage > 0 {
            self.outage -= 1;
            return Err(away());
        }
        self.n_commits += 1;
        if let Fate::DiesAtCheckpoint { commit, committed } = self.fate
            && commit == self.n_commits
        {
            if committed {
                self.session.commit(progress, changes)?;
            }
            self.alive.store(false, Ordering::Release);
            return Err(gone());
        }
        match self.chance.below(100) {
            0 => {
                self.outage = self.chance.below(LONGEST_OUTAGE);
                Err(away())
            }
            1 => {
                // The commit is durable, but its reply is lost.
                self.session.try_commit(progress, changes)?;
                Err(away())
            }
            _ => self.session.commit(progress, changes),
        }
    }
}
