//! Configuration that can be changed while a pipeline runs: zones.
//!
//! A change is durable before it takes effect, together with the tick at which it does. So a run that
//! starts anywhere has it at the same tick, and what was killed and what was not give the same output.

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

/// The zones of a pipeline that runs.
pub struct Configuration {
    log: ChangeLog,
    control: Arc<Control>,
    requests: Sender<Request>,
    waker: Waker,
    /// Held while one of the zones changes, for as long as the store is away.
    changing: Mutex<()>,
    state: Mutex<Zones>,
}

/// The configuration after all changes so far.
#[derive(Debug, Default)]
struct Zones {
    /// By operator and name; operators without zones are there too.
    by_operator: BTreeMap<String, BTreeMap<String, ZoneConfig>>,
    /// The tick of the latest change.
    latest: Tick,
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigurationError {
    /// The pipeline has no such operator, or it has no zones.
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
    /// The zone is none.
    #[error("zone {name:?}: {problem}")]
    Zone {
        /// Its name.
        name: String,
        /// The cause.
        problem: &'static str,
    },
    /// The pipeline comes to its end, or does not keep up.
    #[error("the run is ending and accepts no changes")]
    Busy,
    /// The store failed, and the run with it. The next one knows whether the change was kept.
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
            // What took effect before time starts stands then.
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

    /// The zones of each operator that has zones, by name, as they are after all changes.
    pub fn zones(&self) -> BTreeMap<String, BTreeMap<String, ZoneConfig>> {
        self.lock().by_operator.clone()
    }

    /// Sets a zone, or takes it away. Gives the tick from which on that is so; it blocks until the
    /// change is durable.
    ///
    /// # Errors
    ///
    /// [`ConfigurationError`] if it cannot be; nothing has changed then, unless the store failed.
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
        // Without a dataflow, the next run has it.
        let _ = durable.send(self.lock().apply(change));
        self.waker.wake();
        Ok(tick)
    }

    /// Asks the dataflow to wait for a change. Gives where to send it, and when it can be.
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

    /// Changes a zone; gives what that is as differences. Nothing, if the operator is gone.
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

/// A change that stands from the start.
fn change(operator: &str, name: &str, zone: Option<ZoneConfig>) -> ZoneChange {
    ZoneChange { tick: 0, operator: operator.to_owned(), name: name.to_owned(), zone }
}

impl fmt::Debug for Configuration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Configuration").field("state", &self.state).finish_non_exhaustive()
    }
}
