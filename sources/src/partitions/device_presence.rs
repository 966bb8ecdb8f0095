//! Presence of devices: a device is present from its first frame until it is idle. Devices beyond a limit
//! are not reported.

use schemas::{Event, EventId, EventType, SourceKind, Tick};
use serde::{Deserialize, Serialize};

/// Maximum number of devices at one time, since a sender can invent names.
const MOST_ROUTERS: usize = 1024;

/// A device and its latest frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PresentDevice {
    name: String,
    /// The arrival time of its latest frame; none while it is idle.
    heard_at_ns: Option<i64>,
}

/// Tracks the devices of a partition by the arrival times of their frames.
#[derive(Debug)]
pub(crate) struct DevicePresence {
    pipeline: String,
    timeout_ns: i64,
    known: Vec<PresentDevice>,
    /// Changes since the last commit.
    changes: Vec<Change>,
    /// True if a device became idle since the last commit.
    some_silent: bool,
}

/// A change of a device, with its state before.
#[derive(Clone, Copy, Debug)]
enum Change {
    /// The device at this index was not known.
    New(usize),
    /// The device at this index, and the earlier arrival time of its latest frame.
    Known(usize, Option<i64>),
}

impl DevicePresence {
    /// No devices so far. A device that sends nothing for `timeout_ns` is idle.
    pub(crate) fn new(pipeline: &str, timeout_ns: i64) -> Self {
        let (known, changes) = (Vec::new(), Vec::new());
        Self { pipeline: pipeline.to_owned(), timeout_ns, known, changes, some_silent: false }
    }

    /// No devices so far, for another partition.
    pub(crate) fn for_partition(&self) -> Self {
        Self::new(&self.pipeline, self.timeout_ns)
    }

    /// Records a frame of a device; returns true if the device was not present.
    pub(crate) fn hear(&mut self, name: &str, now_ns: i64) -> bool {
        if let Some(idx) = self.known.iter().position(|router| router.name == name) {
            let before = self.known[idx].heard_at_ns.replace(now_ns);
            self.changes.push(Change::Known(idx, before));
            return before.is_none();
        }
        if self.known.len() >= MOST_ROUTERS {
            return false;
        }
        self.changes.push(Change::New(self.known.len()));
        self.known.push(PresentDevice { name: name.to_owned(), heard_at_ns: Some(now_ns) });
        true
    }

    /// Finds the device that became idle first, if any has by `now_ns`. Returns its name, and when it
    /// became idle.
    pub(crate) fn fall_silent(&mut self, now_ns: i64) -> Option<(String, i64)> {
        let heard = self.known.iter().enumerate();
        let heard = heard.filter_map(|(idx, router)| Some((router.heard_at_ns?, idx)));
        let (heard_at_ns, idx) = heard.min()?;
        let silent_at_ns = heard_at_ns.saturating_add(self.timeout_ns);
        if silent_at_ns > now_ns {
            return None;
        }
        self.some_silent = true;
        let router = &mut self.known[idx];
        self.changes.push(Change::Known(idx, router.heard_at_ns.take()));
        Some((router.name.clone(), silent_at_ns))
    }

    /// Commits the latest changes, and removes devices that became idle.
    pub(crate) fn commit(&mut self) {
        self.changes.clear();
        if std::mem::take(&mut self.some_silent) {
            self.known.retain(|router| router.heard_at_ns.is_some());
        }
    }

    /// Returns the devices as of the last commit.
    pub(crate) fn before_latest(&self) -> Vec<PresentDevice> {
        let mut known = self.known.clone();
        for change in self.changes.iter().rev() {
            match *change {
                Change::Known(idx, before) => known[idx].heard_at_ns = before,
                Change::New(idx) => known.truncate(idx),
            }
        }
        known
    }

    /// Restores the devices of a saved position.
    pub(crate) fn restore(&mut self, known: Vec<PresentDevice>) {
        self.known = known;
    }

    /// Returns the event of a device that connected or disconnected.
    pub(crate) fn event(
        &self,
        event_type: EventType,
        (site, router): (&str, &str),
        (tick, occurred_at_ns): (Tick, i64),
        source_kind: SourceKind,
    ) -> Event {
        Event {
            id: EventId::derive(&self.pipeline, tick, event_type, &format!("{site}/{router}")),
            event_type,
            site: site.to_owned(),
            occurred_at_ns,
            subject: router.to_owned(),
            zone: None,
            activity: None,
            confidence: 1.0,
            source_kind,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_come_and_go() {
        let mut presence = DevicePresence::new("flat", 100);
        assert!(presence.hear("a", 0) && presence.hear("b", 50) && !presence.hear("b", 60));
        assert_eq!(presence.fall_silent(99), None);
        assert_eq!(presence.fall_silent(500), Some(("a".to_owned(), 100)));
        assert_eq!(presence.fall_silent(500), Some(("b".to_owned(), 160)));
        assert_eq!(presence.fall_silent(500), None);
        assert!(presence.hear("a", 600), "it is back");
    }

    #[test]
    fn made_up_names_are_bounded() {
        let mut presence = DevicePresence::new("flat", 100);
        for round in 0..3 {
            for nth in 0..2 * MOST_ROUTERS {
                presence.hear(&format!("{round} {nth}"), round);
            }
            presence.commit();
            assert_eq!(presence.known.len(), MOST_ROUTERS);
        }
        while presence.fall_silent(200).is_some() {
            presence.commit();
        }
        assert!(presence.known.is_empty(), "who is silent is forgotten");
    }

    #[test]
    fn what_was_before_the_latest_change_is_kept() {
        let mut presence = DevicePresence::new("flat", 100);
        let mut states = vec![presence.before_latest()];
        for step in 0..4 {
            match step {
                0 => drop(presence.hear("a", 0)),
                1 => drop(presence.hear("b", 10)),
                2 => drop(presence.hear("a", 20)),
                _ => drop(presence.fall_silent(500)),
            }
            assert_eq!(presence.before_latest(), states[states.len() - 1], "step {step}");
            states.push(presence.known.clone());
            // The last two changes are checked together.
            if step < 2 {
                presence.commit();
            } else {
                states.pop();
            }
        }
        presence.commit();
        assert_eq!(presence.before_latest(), presence.known);
    }
}
