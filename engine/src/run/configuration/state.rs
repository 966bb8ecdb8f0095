//! The configuration of one operator after all changes so far.

use std::collections::BTreeMap;

use operators::{OperatorConfig, Recalibration, Zone, ZoneConfig};
use schemas::Tick;

use crate::StoreError;
use crate::dataflow::OperatorChange;
use crate::run::configuration::{ConfigurationError, Item};
use crate::store::StoredChange;

/// The value of a stored request: that a link is calibrated again.
const CALIBRATE: &str = "\"calibrate\"";

/// The configuration of an operator.
#[derive(Debug)]
pub(super) struct OperatorState {
    pub(super) kind: Kind,
    /// The tick of the latest change.
    pub(super) latest: Tick,
}

/// The configuration that can change, by the type of the operator.
#[derive(Debug)]
pub(super) enum Kind {
    /// Zones, by name.
    Zones(BTreeMap<String, ZoneConfig>),
    /// Calibrations, unless the threshold is known.
    Motion { threshold_is_known: bool },
}

impl OperatorState {
    /// Returns the initial state of an operator and its changes; None if nothing can be changed.
    pub(super) fn new(config: &OperatorConfig) -> Option<(Self, Vec<OperatorChange>)> {
        match config {
            OperatorConfig::Zones(config) => {
                let mut state = Self { kind: Kind::Zones(BTreeMap::new()), latest: 0 };
                let zones = config.zones.iter();
                let items = zones.map(|(name, zone)| Item::Zone(name.clone(), Some(zone.clone())));
                let changes = items.flat_map(|item| state.apply(0, item)).collect();
                Some((state, changes))
            }
            OperatorConfig::Motion(config) => {
                let kind = Kind::Motion { threshold_is_known: config.threshold.is_some() };
                Some((Self { kind, latest: 0 }, Vec::new()))
            }
            _ => None,
        }
    }

    /// Applies a stored change to a run that starts at a tick, and returns its changes.
    ///
    /// # Errors
    ///
    /// [`StoreError::Configuration`] if its value cannot be decoded.
    pub(super) fn restore(
        &mut self,
        change: &StoredChange,
        starts_at: Tick,
    ) -> Result<Vec<OperatorChange>, StoreError> {
        let is_request = change.value.as_deref() == Some(CALIBRATE);
        let has_passed = change.tick < starts_at;
        let item = match self.kind {
            Kind::Zones(_) if !is_request => Item::Zone(change.item.clone(), decode(change)?),
            // A request that has passed has had its effect.
            Kind::Motion { threshold_is_known: false } if is_request && !has_passed => {
                Item::Recalibration(Some(change.item.clone()).filter(|link| !link.is_empty()))
            }
            // An operator of the same name may have been of another type.
            _ => return Ok(Vec::new()),
        };
        // A zone of before the first tick is in effect from the start.
        Ok(self.apply(if has_passed { 0 } else { change.tick }, item))
    }

    /// # Errors
    ///
    /// [`ConfigurationError`] if the change makes no sense.
    pub(super) fn check(&self, operator: &str, item: &Item) -> Result<(), ConfigurationError> {
        let operator = operator.to_owned();
        if let Item::Zone(name, Some(_)) | Item::Recalibration(Some(name)) = item {
            ConfigurationError::check_name(name)?;
        }
        match (&self.kind, item) {
            (Kind::Zones(_), Item::Zone(name, Some(zone))) => match zone.problem() {
                Some(problem) => Err(ConfigurationError::Zone { name: name.clone(), problem }),
                None => Ok(()),
            },
            (Kind::Zones(zones), Item::Zone(name, None)) if !zones.contains_key(name) => {
                Err(ConfigurationError::NoSuchZone { operator, name: name.clone() })
            }
            (Kind::Motion { threshold_is_known: true }, Item::Recalibration(_)) => {
                Err(ConfigurationError::KnownThreshold { operator })
            }
            (Kind::Zones(_), Item::Zone(..)) | (Kind::Motion { .. }, Item::Recalibration(_)) => {
                Ok(())
            }
            _ => Err(ConfigurationError::no_operator(&operator, item)),
        }
    }

    /// Applies a change at a tick, and returns it for the dataflow.
    pub(super) fn apply(&mut self, tick: Tick, item: Item) -> Vec<OperatorChange> {
        self.latest = self.latest.max(tick);
        match (&mut self.kind, item) {
            (Kind::Zones(zones), Item::Zone(name, zone)) => {
                let difference = |zone: &ZoneConfig, diff| {
                    OperatorChange::Zone((Zone::new(&name, zone), tick, diff))
                };
                let come = zone.as_ref().map(|zone| difference(zone, 1));
                let gone = match zone {
                    Some(zone) => zones.insert(name.clone(), zone),
                    None => zones.remove(&name),
                };
                gone.map(|zone| difference(&zone, -1)).into_iter().chain(come).collect()
            }
            (Kind::Motion { .. }, Item::Recalibration(link)) => {
                vec![OperatorChange::Recalibration(Recalibration { tick, link })]
            }
            _ => Vec::new(),
        }
    }
}

impl Item {
    /// Returns the name and the value of a change, as they are stored.
    pub(super) fn encode(&self) -> (String, Option<String>) {
        match self {
            Self::Zone(name, zone) => {
                let value = |zone| serde_json::to_string(zone).expect("a zone has only text keys");
                (name.clone(), zone.as_ref().map(value))
            }
            Self::Recalibration(link) => {
                (link.clone().unwrap_or_default(), Some(CALIBRATE.to_owned()))
            }
        }
    }
}

/// Returns a stored zone; none if it was removed.
fn decode(change: &StoredChange) -> Result<Option<ZoneConfig>, StoreError> {
    let zone = change.value.as_ref().map(|value| serde_json::from_str(value)).transpose();
    zone.map_err(|source| StoreError::Configuration {
        operator: change.operator.clone(),
        item: change.item.clone(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn motion(settings: &str) -> OperatorState {
        let config = format!(r#"{{ "motion": {settings} }}"#);
        let config = serde_json::from_str(&config).expect("an operator");
        OperatorState::new(&config).expect("motion is calibrated").0
    }

    fn stored(tick: Tick, item: &str) -> StoredChange {
        let (operator, item) = ("motion".to_owned(), item.to_owned());
        StoredChange { tick, operator, item, value: Some(CALIBRATE.to_owned()) }
    }

    #[test]
    fn requests_from_before_the_start_have_had_their_effect() {
        let mut state = motion("{}");
        let restored = |state: &mut OperatorState, tick| {
            state.restore(&stored(tick, "a/b"), 100).expect("a request").len()
        };
        assert_eq!((restored(&mut state, 99), restored(&mut state, 100)), (0, 1));
        assert_eq!(state.latest, 100);
    }

    #[test]
    fn a_request_is_restored_as_it_was_stored() {
        let mut state = motion("{}");
        for link in [None, Some("a/b".to_owned())] {
            let (item, value) = Item::Recalibration(link.clone()).encode();
            let change = StoredChange { value, ..stored(7, &item) };
            let changes = state.restore(&change, 0).expect("a request");
            let [OperatorChange::Recalibration(request)] = &changes[..] else {
                panic!("{changes:?}")
            };
            assert_eq!((request.tick, &request.link), (7, &link));
        }
    }

    #[test]
    fn changes_of_an_operator_of_another_type_are_left_alone() {
        let config = serde_json::from_str(r#"{ "zones": {} }"#).expect("an operator");
        let mut zones = OperatorState::new(&config).expect("zones can change").0;
        assert!(zones.restore(&stored(7, "a/b"), 0).is_ok_and(|changes| changes.is_empty()));
        let zone = r#"{ "coordinates": [[0, 0], [1, 0], [1, 1]] }"#.to_owned();
        let change = StoredChange { value: Some(zone), ..stored(7, "bed") };
        assert!(motion("{}").restore(&change, 0).is_ok_and(|changes| changes.is_empty()));
    }

    #[test]
    fn names_that_no_store_takes_are_refused() {
        for name in ["", "a\0b", "a\nb", &"x".repeat(201)] {
            let again = Item::Recalibration(Some(name.to_owned()));
            let refused = motion("{}").check("motion", &again);
            assert!(matches!(refused, Err(ConfigurationError::Name)), "{name:?}: {refused:?}");
        }
    }

    #[test]
    fn a_known_threshold_is_not_calibrated() {
        let again = Item::Recalibration(None);
        assert!(motion("{}").check("motion", &again).is_ok());
        let refused = motion(r#"{ "threshold": 0.5 }"#).check("motion", &again);
        assert!(matches!(refused, Err(ConfigurationError::KnownThreshold { .. })), "{refused:?}");
        let restored = motion(r#"{ "threshold": 0.5 }"#).restore(&stored(7, ""), 0);
        assert!(restored.is_ok_and(|changes| changes.is_empty()));
        let refused = motion("{}").check("motion", &Item::Zone("bed".to_owned(), None));
        assert!(matches!(refused, Err(ConfigurationError::NoSuchOperator { kind: "zones", .. })));
    }
}
