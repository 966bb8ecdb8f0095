//! Configuration that can be changed while a pipeline runs: zones, and requests to calibrate links again.
//!
//! A change is durable, with the tick at which it takes effect, before that tick. So every replay
//! applies it at the same tick, and a killed run has the same output as an uninterrupted one.

mod error;
mod state;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use operators::ZoneConfig;
use schemas::Tick;

use crate::dataflow::{Configured, OperatorChange, Request, Waker};
use crate::run::configuration::state::{Kind, OperatorState};
use crate::run::control::Control;
use crate::run::retry::retry;
use crate::store::{ChangeLog, Session, StoredChange};
use crate::{Plan, RunError, StoreError};

pub use crate::run::configuration::error::ConfigurationError;

/// Time-out of a change that waits for its tick.
const PATIENCE: Duration = Duration::from_secs(10);

/// The configuration of a running pipeline.
pub struct Configuration {
    log: ChangeLog,
    control: Arc<Control>,
    /// The channels to the dataflow, by operator.
    channels: BTreeMap<String, ToOperator>,
    /// Locked during a change, which includes the time of an outage of the store.
    changing: Mutex<()>,
    state: Mutex<States>,
}

/// The configuration after all changes so far, by operator.
type States = BTreeMap<String, OperatorState>;

/// The channel to an operator of the dataflow.
struct ToOperator {
    requests: Sender<Request>,
    waker: Waker,
}

/// A change of an operator's configuration.
#[derive(Clone, Debug)]
enum Item {
    /// Sets or removes the zone of this name.
    Zone(String, Option<ZoneConfig>),
    /// Calibrates the link of this name again, or all links.
    Recalibration(Option<String>),
}

impl Configuration {
    /// The initial configuration of a plan's operators, and the dataflow's ends of it.
    pub(super) fn open(
        plan: &Plan,
        session: &Session,
        starts_at: Tick,
        control: &Arc<Control>,
    ) -> Result<(Self, BTreeMap<String, Configured>), StoreError> {
        let log = session.change_log();
        let (mut states, mut initial) = (States::new(), BTreeMap::<_, Vec<_>>::new());
        for operator in &plan.operators {
            if let Some((state, changes)) = OperatorState::new(&operator.config) {
                states.insert(operator.name.clone(), state);
                initial.insert(operator.name.clone(), changes);
            }
        }
        for change in log.all()? {
            // An operator may have been removed from the file.
            if let Some(state) = states.get_mut(&change.operator) {
                let changes = state.restore(&change, starts_at)?;
                initial.entry(change.operator).or_default().extend(changes);
            }
        }
        let (mut channels, mut configured) = (BTreeMap::new(), BTreeMap::new());
        for (operator, changes) in initial {
            let (requests, requested) = crossbeam_channel::bounded(1);
            let waker = Waker::default();
            let of_operator = Configured { changes, requests: requested, waker: waker.clone() };
            channels.insert(operator.clone(), ToOperator { requests, waker });
            configured.insert(operator, of_operator);
        }
        let (control, state) = (Arc::clone(control), Mutex::new(states));
        Ok((Self { log, control, channels, changing: Mutex::default(), state }, configured))
    }

    /// Returns the zones of each operator that has zones, by name, after all changes so far.
    pub fn zones(&self) -> BTreeMap<String, BTreeMap<String, ZoneConfig>> {
        let states = self.lock();
        let zones = states.iter().filter_map(|(operator, state)| match &state.kind {
            Kind::Zones(zones) => Some((operator.clone(), zones.clone())),
            Kind::Motion { .. } => None,
        });
        zones.collect()
    }

    /// Returns the `motion` operators.
    pub fn motion_operators(&self) -> Vec<String> {
        let states = self.lock();
        let motion = states.iter().filter(|(_, state)| matches!(state.kind, Kind::Motion { .. }));
        motion.map(|(operator, _)| operator.clone()).collect()
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
        self.change(operator, Item::Zone(name.to_owned(), zone))
    }

    /// Calibrates a link of a `motion` operator again, or all of them. Blocks until the request is durable,
    /// and returns the tick at which it takes effect.
    ///
    /// # Errors
    ///
    /// [`ConfigurationError`] if the request is refused. Nothing has changed, unless the store failed.
    pub fn calibrate(
        &self,
        operator: &str,
        link: Option<String>,
    ) -> Result<Tick, ConfigurationError> {
        self.change(operator, Item::Recalibration(link))
    }

    fn change(&self, operator: &str, item: Item) -> Result<Tick, ConfigurationError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let latest = self.check(operator, &item)?;
        let channel = &self.channels[operator];
        let (durable, earliest) = channel.ask()?;
        let tick = earliest.max(latest);
        let (name, value) = item.encode();
        let change = StoredChange { tick, operator: operator.to_owned(), item: name, value };
        if let Err(error) = retry("configuration", &self.control, || self.log.keep(&change)) {
            let fenced = matches!(error, StoreError::Fenced { .. });
            self.control.fail(RunError::Store(error), fenced);
            return Err(ConfigurationError::Store);
        }
        let state = &mut *self.lock();
        let changes = state.get_mut(operator).map(|state| state.apply(tick, item));
        // If the dataflow has ended, the next run applies the change.
        let _ = durable.send(changes.unwrap_or_default());
        channel.waker.wake();
        Ok(tick)
    }

    /// Returns the tick of the operator's latest change; an error if the change is invalid.
    fn check(&self, operator: &str, item: &Item) -> Result<Tick, ConfigurationError> {
        let states = self.lock();
        let none = || ConfigurationError::no_operator(operator, item);
        let state = states.get(operator).ok_or_else(none)?;
        state.check(operator, item)?;
        Ok(state.latest)
    }

    fn lock(&self) -> MutexGuard<'_, States> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ToOperator {
    /// Asks the dataflow to wait for a change. Returns the channel for the change, and its earliest
    /// tick.
    fn ask(&self) -> Result<(Sender<Vec<OperatorChange>>, Tick), ConfigurationError> {
        let (earliest, when) = crossbeam_channel::bounded(1);
        let (send, durable) = crossbeam_channel::bounded(1);
        let request = Request { earliest, durable };
        self.requests.send_timeout(request, PATIENCE).map_err(|_| ConfigurationError::Busy)?;
        self.waker.wake();
        let when = Receiver::recv_timeout(&when, PATIENCE);
        Ok((send, when.map_err(|_| ConfigurationError::Busy)?))
    }
}

impl fmt::Debug for Configuration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Configuration").field("state", &self.state).finish_non_exhaustive()
    }
}
