//! An in-memory sink whose commits outlive its run. It fails, loses replies, and ends its run at one of
//! its commits.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use schemas::{Record, Tick};
use sinks::{Sink, SinkError};

use crate::run::simulation::Fate;
use crate::run::simulation::chance::Chance;

/// The durable records of a sink, and its upper.
#[derive(Debug, Default)]
pub(super) struct Disk {
    records: Vec<(Tick, String)>,
    upper: Tick,
}

impl Disk {
    pub(super) fn lines(&self) -> Vec<String> {
        self.records.iter().map(|(tick, line)| format!("{tick} {line}")).collect()
    }
}

/// The sink of one run.
pub(super) struct SimulatedSink {
    disk: Arc<Mutex<Disk>>,
    accepted: Vec<(Tick, String)>,
    chance: Chance,
    fate: Fate,
    n_commits: u64,
    alive: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
}

impl SimulatedSink {
    pub(super) fn open(
        disk: Arc<Mutex<Disk>>,
        chance: Chance,
        fate: Fate,
        alive: Arc<AtomicBool>,
        stop: Arc<AtomicBool>,
    ) -> Self {
        Self { disk, accepted: Vec::new(), chance, fate, n_commits: 0, alive, stop }
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().expect("nobody panicked")
    }

    /// Makes the accepted records durable, unless they are already.
    fn make_durable(&mut self, upper: Tick) {
        let accepted = self.accepted.clone();
        let mut disk = self.disk();
        if disk.upper < upper {
            disk.records.extend(accepted);
            disk.upper = upper;
        }
    }

    /// True if the run dies at this commit.
    fn dies(&self) -> bool {
        matches!(self.fate, Fate::Dies { commit, .. } if commit == self.n_commits)
    }
}

/// The error of each call in a dead process.
fn gone() -> SinkError {
    SinkError::Shorter { path: "gone".into(), found: 0, committed: 0 }
}

fn failing() -> SinkError {
    SinkError::Write { path: "disk".into(), source: io::ErrorKind::Other.into() }
}

impl Sink for SimulatedSink {
    fn write(&mut self, tick: Tick, records: &[Record]) -> Result<usize, SinkError> {
        if tick < self.disk().upper {
            return Ok(0);
        }
        for record in records {
            let mut line = Vec::new();
            record.write_json_lines(&mut line).expect("rows have a form in JSON");
            self.accepted.push((tick, String::from_utf8(line).expect("it is text")));
        }
        Ok(records.len())
    }

    fn commit(&mut self, upper: Tick) -> Result<(), SinkError> {
        if !self.alive.load(Ordering::Acquire) {
            return Err(gone());
        }
        self.n_commits += 1;
        if self.dies() {
            if matches!(self.fate, Fate::Dies { committed: true, .. }) {
                self.make_durable(upper);
            }
            self.alive.store(false, Ordering::Release);
            return Err(gone());
        }
        if matches!(self.fate, Fate::Stops { commit } if commit == self.n_commits) {
            self.stop.store(true, Ordering::Release);
        }
        match self.chance.below(200) {
            0 => return Err(failing()),
            1 => {
                self.make_durable(upper);
                return Err(failing());
            }
            _ => self.make_durable(upper),
        }
        self.accepted.clear();
        Ok(())
    }

    fn upper(&self) -> Option<Tick> {
        Some(self.disk().upper)
    }

    fn full(&self) -> bool {
        self.accepted.len() >= 5
    }

    fn commit_interval(&self) -> Duration {
        Duration::from_millis(1)
    }
}
