//! Scores of motion detection, by session, by device, and of all recordings.

use std::collections::BTreeMap;
use std::fmt;

use schemas::Motion;
use serde::ser::{Serialize, SerializeStruct, Serializer};

/// Windows in an hour.
const WINDOWS_PER_HOUR: f64 = 7200.0;

/// The scores of labelled recordings.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct MotionScores {
    /// By device and session.
    pub sessions: BTreeMap<String, Scores>,
    /// By device.
    pub devices: BTreeMap<String, Scores>,
    /// Of all recordings.
    pub total: Scores,
}

/// Numbers of windows, each half a second long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scores {
    while_moving: Windows,
    while_still: Windows,
    /// Windows without motion in which motion was first reported.
    n_alarms: u64,
}

/// Numbers of windows by the reported motion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Windows {
    moving: u64,
    still: u64,
    unknown: u64,
}

impl MotionScores {
    pub(super) fn add(&mut self, device: &str, session: &str, scores: Scores) {
        self.sessions.entry(format!("{device}, {session}")).or_default().add_all(scores);
        self.devices.entry(device.to_owned()).or_default().add_all(scores);
        self.total.add_all(scores);
    }
}

impl Scores {
    /// Adds a window; `before` is the motion that was reported in the window before it.
    pub(super) fn add(&mut self, is_moving: bool, reported: Motion, before: Motion) {
        let windows = if is_moving { &mut self.while_moving } else { &mut self.while_still };
        match reported {
            Motion::Moving => windows.moving += 1,
            Motion::Still => windows.still += 1,
            Motion::Unknown => windows.unknown += 1,
        }
        let begins = reported == Motion::Moving && before != Motion::Moving;
        self.n_alarms += u64::from(!is_moving && begins);
    }

    fn add_all(&mut self, other: Self) {
        self.while_moving.add_all(other.while_moving);
        self.while_still.add_all(other.while_still);
        self.n_alarms += other.n_alarms;
    }

    /// Returns the number of windows.
    pub fn n_windows(&self) -> u64 {
        self.while_moving.n() + self.while_still.n()
    }

    /// Returns the share of the windows with the right motion; none without windows.
    pub fn right(&self) -> Option<f64> {
        share(self.while_moving.moving + self.while_still.still, self.n_windows())
    }

    /// Returns the share of the windows with motion in which it was reported; none without such windows.
    pub fn recall(&self) -> Option<f64> {
        share(self.while_moving.moving, self.while_moving.n())
    }

    /// Returns the share of the windows without motion in which it was reported; none without such windows.
    pub fn false_alarms(&self) -> Option<f64> {
        share(self.while_still.moving, self.while_still.n())
    }

    /// Returns how often motion was wrongly reported, per hour without motion; none without such windows.
    pub fn false_alarms_per_hour(&self) -> Option<f64> {
        share(self.n_alarms, self.while_still.n()).map(|share| share * WINDOWS_PER_HOUR)
    }

    /// Returns the share of the windows whose motion was unknown; none without windows.
    pub fn unknown(&self) -> Option<f64> {
        share(self.while_moving.unknown + self.while_still.unknown, self.n_windows())
    }
}

impl Windows {
    fn n(&self) -> u64 {
        self.moving + self.still + self.unknown
    }

    fn add_all(&mut self, other: Self) {
        self.moving += other.moving;
        self.still += other.still;
        self.unknown += other.unknown;
    }
}

fn share(n: u64, of: u64) -> Option<f64> {
    (of > 0).then(|| n as f64 / of as f64)
}

impl Serialize for Scores {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_struct("Scores", 6)?;
        map.serialize_field("n_windows", &self.n_windows())?;
        map.serialize_field("right", &self.right())?;
        map.serialize_field("recall", &self.recall())?;
        map.serialize_field("false_alarms", &self.false_alarms())?;
        map.serialize_field("false_alarms_per_hour", &self.false_alarms_per_hour())?;
        map.serialize_field("unknown", &self.unknown())?;
        map.end()
    }
}

/// A table with a row for each session and device, and one for all.
impl fmt::Display for MotionScores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.sessions.keys().chain(self.devices.keys());
        let width = names.map(|name| name.chars().count()).max().unwrap_or_default().max(5);
        writeln!(
            f,
            "{:width$}  {:>7}  {:>6}  {:>6}  {:>12}  {:>15}  {:>7}",
            "", "windows", "right", "recall", "false alarms", "alarms per hour", "unknown"
        )?;
        let groups = [&self.sessions, &self.devices];
        let total = ("total", &self.total);
        let rows = groups.into_iter().flatten().map(|(name, scores)| (name.as_str(), scores));
        for (name, scores) in rows.chain([total]) {
            writeln!(
                f,
                "{name:width$}  {:>7}  {:>6}  {:>6}  {:>12}  {:>15}  {:>7}",
                scores.n_windows(),
                decimals(scores.right(), 3),
                decimals(scores.recall(), 3),
                decimals(scores.false_alarms(), 3),
                decimals(scores.false_alarms_per_hour(), 1),
                decimals(scores.unknown(), 3),
            )?;
        }
        Ok(())
    }
}

/// Returns a number with this many decimals; a dash if there is none.
fn decimals(value: Option<f64>, n: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.n$}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_counted_by_what_is_true_and_what_is_reported() {
        let mut scores = Scores::default();
        let mut before = Motion::Unknown;
        for (is_moving, reported) in [
            (false, Motion::Unknown),
            (false, Motion::Still),
            (false, Motion::Moving),
            (false, Motion::Moving),
            (true, Motion::Moving),
            (true, Motion::Moving),
            (true, Motion::Still),
            (true, Motion::Moving),
        ] {
            scores.add(is_moving, reported, before);
            before = reported;
        }
        assert_eq!(scores.n_windows(), 8);
        assert_eq!(scores.right(), Some(0.5));
        assert_eq!(scores.recall(), Some(0.75));
        assert_eq!(scores.false_alarms(), Some(0.5));
        assert_eq!(scores.false_alarms_per_hour(), Some(1800.0), "one alarm in two seconds");
        assert_eq!(scores.unknown(), Some(0.125));
        assert_eq!(Scores::default().recall(), None);
    }
}
