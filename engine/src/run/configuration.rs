//! Configuration that can be changed while a pipeline runs: zones.
//!
//! A change is durable, with the tick at which it takes effect, before that tick. So every replay
//! applies it at the same tick, and a killed run has the same output as an uninterrupted one.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use operators::{OperatorConfig, Zone, ZoneConfig};
use schemas::Tick;

use crate::dataflow::{Configured, Difference, Request, Waker};
use crate::run::control::Control;
use crate::run::retry::retry;
use crate::store::{ChangeLog, Session, ZoneChange};
use crate::{Plan, RunError, StoreError};

/// Time-out of a change that waits for its tick.
const PATIENCE: Duration = Duration::from_secs(10);

/// The zones of a running pipeline.
pub struct Configuration {
    log: ChangeLog,
    control: Arc<Control>,
    requests: Sender<Request>,
    waker: Waker,
    /// Locked while a zone changes, which includes the time of an outage of the store.
    changing: Mutex<()>,
    state: Mutex<Zones>,
}

/// The configuration after all changes so far.
#[derive(Debug, Default)]
struct Zones {
    /// By operator and name; includes operators without zones.
    by_operator: BTreeMap<String, BTreeMap<String, ZoneConfig>>,
    /// The tick of the latest change.
    latest: Tick,
}

/// The failure of a change.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigurationError {
    /// The pipeline has no operator of this name with zones.
    #[error("the pipeline has no operator {operator:?} with zones")]
    NoSuchOperator {
        /// The operator.
        operator: String,
    },
    /// The operator has no such zone.
    #[error("{operator:?} has no zone {name:?}")]
    NoSuchZone {
        /// The operator.
        operator: String,
        /// The zone.
        name: String,
    },
    /// The zone is not valid.
    #[error("zone {name:?}: {problem}")]
    Zone {
        /// The name of the zone.
        name: String,
        /// The cause.
        problem: &'static str,
    },
    /// The run is ending, or did not accept the change within 10 seconds.
    #[error("the run is ending and accepts no changes")]
    Busy,
    /// The store failed and ended the run. The next run applies the change if it was stored.
    #[error("the change may be lost: the store failed")]
    Store,
}

impl Configuration {
    /// The initial configuration of a plan's operators, and the dataflow's end of it.
    pub(super) fn open(
        plan: &Plan,
        session: &Session,
        starts_at: Tick,
        control: &Arc<Control>,
    ) -> Result<(Self, Configured), StoreError> {
        let log = session.change_log();
        let mut zones = Zones::default();
        let mut differences = Vec::new();
        for operator in &plan.operators {
            if let OperatorConfig::Zones(config) = &operator.config {
                zones.by_operator.insert(operator.name.clone(), BTreeMap::new());
                for (name, zone) in &config.zones {
                    let change = change(&operator.name, name, Some(zone.clone()));
                    differences.extend(zones.apply(change));
                }
            }
        }
        for mut change in log.all()? {
            // Changes before the first tick are in effect from the start.
            change.tick = if change.tick < starts_at { 0 } else { change.tick };
            differences.extend(zones.apply(change));
        }
        let (requests, requested) = crossbeam_channel::bounded(1);
        let waker = Waker::default();
        let configured = Configured { differences, requests: requested, waker: waker.clone() };
        let (control, state) = (Arc::clone(control), Mutex::new(zones));
        let changing = Mutex::default();
        Ok((Self { log, control, requests, waker, changing, state }, configured))
    }

    /// Returns the zones of each operator that has zones, by name, after all changes so far.
    pub fn zones(&self) -> BTreeMap<String, BTreeMap<String, ZoneConfig>> {
        self.lock().by_operator.clone()
    }

    /// Sets or removes a zone. Blocks until the change is durable, and returns the tick at which it
    /// takes effect.
    ///
    /// # Errors
    ///
    /// [`ConfigurationError`] if the change is refused. Nothing has changed, unless the store failed.
    pub fn set_zone(
        &self,
        operator: &str,
        name: &str,
        zone: Option<ZoneConfig>,
    ) -> Result<Tick, ConfigurationError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.lock().check(operator, name, zone.as_ref())?;
        let (durable, earliest) = self.ask()?;
        let tick = earliest.max(self.lock().latest);
        let change = ZoneChange { tick, ..change(operator, name, zone) };
        if let Err(error) = retry("configuration", &self.control, || self.log.keep(&change)) {
            let fenced = matches!(error, StoreError::Fenced { .. });
            self.control.fail(RunError::Store(error), fenced);
            return Err(ConfigurationError::Store);
        }
        // If the dataflow has ended, the next run applies the change.
        let _ = durable.send(self.lock().apply(change));
        self.waker.wake();
        Ok(tick)
    }

    /// Asks the dataflow to wait for a change. Returns the channel for the change, and its earliest
    /// tick.
    fn ask(&self) -> Result<(Sender<Vec<Difference>>, Tick), ConfigurationError> {
        let (earliest, when) = crossbeam_channel::bounded(1);
        let (send, durable) = crossbeam_channel::bounded(1);
        let request = Request { earliest, durable };
        self.requests.send_timeout(request, PATIENCE).map_err(|_| ConfigurationError::Busy)?;
        self.waker.wake();
        let when = Receiver::recv_timeout(&when, PATIENCE);
        Ok((send, when.map_err(|_| ConfigurationError::Busy)?))
    }

    fn lock(&self) -> MutexGuard<'_, Zones> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Zones {
    fn check(
        &self,
        operator: &str,
        name: &str,
        zone: Option<&ZoneConfig>,
    ) -> Result<(), ConfigurationError> {
        let (operator, name) = (operator.to_owned(), name.to_owned());
        let Some(zones) = self.by_operator.get(&operator) else {
            return Err(ConfigurationError::NoSuchOperator { operator });
        };
        match zone.map(ZoneConfig::problem) {
            Some(Some(problem)) => Err(ConfigurationError::Zone { name, problem }),
            None if !zones.contains_key(&name) => {
                Err(ConfigurationError::NoSuchZone { operator, name })
            }
            _ => Ok(()),
        }
    }

    /// Applies a change, and returns its differences; none if the operator was removed.
    fn apply(&mut self, change: ZoneChange) -> Vec<Difference> {
        let ZoneChange { tick, operator, name, zone } = change;
        self.latest = self.latest.max(tick);
        let Some(zones) = self.by_operator.get_mut(&operator) else { return Vec::new() };
        let difference =
            |zone: &ZoneConfig, diff| (operator.clone(), (Zone::new(&name, zone), tick, diff));
        let come = zone.as_ref().map(|zone| difference(zone, 1));
        let gone = match zone {
            Some(zone) => zones.insert(name.clone(), zone),
            None => zones.remove(&name),
        };
        gone.map(|zone| difference(&zone, -1)).into_iter().chain(come).collect()
    }
}

/// A change that is in effect from the start.
fn change(operator: &str, name: &str, zone: Option<ZoneConfig>) -> ZoneChange {
    ZoneChange { tick: 0, operator: operator.to_owned(), name: name.to_owned(), zone }
}

impl fmt::Debug for Configuration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Configuration").field("state", &self.state).finish_non_exhaustive()
    }
}
