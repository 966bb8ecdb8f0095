//! The votes of the links of a room.

use std::collections::BTreeMap;

use schemas::{CalibrationState, Motion, Presence, PresenceState, Tick};
use serde::{Deserialize, Serialize};

/// The confidence of one link with which somebody moves, whatever the other links report.
const SURE: f32 = 0.9;

/// The most links of a room.
const MAX_LINKS: usize = 1024;

/// The last reports of links, by name.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Votes {
    by_link: BTreeMap<String, Vote>,
}

/// The last report of a link.
#[derive(Debug, Serialize, Deserialize)]
struct Vote {
    at: Tick,
    motion: Motion,
    confidence: f32,
    /// None for a link that is not calibrated: it has no say.
    presence: Option<PresenceState>,
    breaths_per_minute: Option<f32>,
}

/// What the links have in common.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Verdict {
    pub(super) motion: Motion,
    /// From 0.5 to 1; None while motion is unknown.
    pub(super) confidence: Option<f32>,
    pub(super) presence: PresenceState,
    pub(super) breaths_per_minute: Option<f32>,
}

impl Votes {
    /// Replaces the vote of a link. Returns false if there are too many links for a new one.
    pub(super) fn add(&mut self, at: Tick, report: &Presence) -> bool {
        if self.by_link.len() >= MAX_LINKS && !self.by_link.contains_key(&report.link) {
            return false;
        }
        let vote = Vote {
            at,
            motion: report.motion,
            confidence: report.confidence.unwrap_or(0.5),
            presence: report.presence.filter(|_| is_calibrated(report)),
            breaths_per_minute: report.breaths_per_minute,
        };
        self.by_link.insert(report.link.clone(), vote);
        true
    }

    /// Removes votes from before a tick.
    pub(super) fn forget_before(&mut self, tick: Tick) {
        self.by_link.retain(|_, vote| vote.at >= tick);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_link.is_empty()
    }

    pub(super) fn verdict(&self) -> Verdict {
        let (motion, confidence) = self.motion();
        let mut rates: Vec<_> =
            self.by_link.values().filter_map(|vote| vote.breaths_per_minute).collect();
        rates.sort_by(f32::total_cmp);
        let breaths_per_minute = rates.get(rates.len() / 2).copied();
        Verdict { motion, confidence, presence: self.presence(), breaths_per_minute }
    }

    /// Somebody moves if half of the links report it, or one that is sure.
    fn motion(&self) -> (Motion, Option<f32>) {
        let known: Vec<_> =
            self.by_link.values().filter(|vote| vote.motion != Motion::Unknown).collect();
        if known.is_empty() {
            return (Motion::Unknown, None);
        }
        let evidence = |vote: &Vote| match vote.motion {
            Motion::Moving => vote.confidence,
            _ => 1.0 - vote.confidence,
        };
        let moving = known.iter().filter(|vote| vote.motion == Motion::Moving);
        let strongest = moving.clone().map(|vote| vote.confidence).fold(0.0, f32::max);
        let mean = known.iter().map(|vote| evidence(vote)).sum::<f32>() / known.len() as f32;
        let is_sure = strongest >= SURE;
        let n_moving = moving.count();
        if is_sure || n_moving > 0 && 2 * n_moving >= known.len() {
            let confidence = if is_sure { strongest.max(mean) } else { mean };
            (Motion::Moving, Some(confidence.max(0.5)))
        } else {
            (Motion::Still, Some((1.0 - mean).max(0.5)))
        }
    }

    /// Present if one link reports it, absent if all links do.
    fn presence(&self) -> PresenceState {
        let votes: Vec<_> = self.by_link.values().filter_map(|vote| vote.presence).collect();
        if votes.contains(&PresenceState::Present) {
            PresenceState::Present
        } else if !votes.is_empty() && votes.iter().all(|it| *it == PresenceState::Absent) {
            PresenceState::Absent
        } else {
            PresenceState::Unknown
        }
    }
}

/// True if the link has seen its room: transmitters that pass by have not.
fn is_calibrated(report: &Presence) -> bool {
    report.calibration.is_none_or(|state| state == CalibrationState::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The verdict on links with a motion and its confidence.
    fn motion(links: &[(Motion, f32)]) -> (Motion, Option<f32>) {
        let mut votes = Votes::default();
        for (nth, (motion, confidence)) in links.iter().enumerate() {
            let (link, confidence) = (format!("{nth}"), Some(*confidence));
            let motion = *motion;
            votes.add(0, &Presence { link, motion, confidence, ..Presence::default() });
        }
        let verdict = votes.verdict();
        (verdict.motion, verdict.confidence.map(|it| (it * 100.0).round() / 100.0))
    }

    #[test]
    fn the_majority_or_a_sure_link_decides() {
        use Motion::{Moving, Still, Unknown};
        assert_eq!(motion(&[]), (Unknown, None));
        assert_eq!(motion(&[(Unknown, 0.5)]), (Unknown, None));
        assert_eq!(motion(&[(Still, 0.9), (Unknown, 0.5)]), (Still, Some(0.9)));
        assert_eq!(motion(&[(Moving, 0.7), (Still, 0.7), (Still, 0.7)]), (Still, Some(0.57)));
        assert_eq!(motion(&[(Moving, 0.7), (Moving, 0.7), (Still, 0.7)]), (Moving, Some(0.57)));
        assert_eq!(motion(&[(Moving, 0.8), (Still, 0.8)]), (Moving, Some(0.5)));
        assert_eq!(motion(&[(Moving, 0.95), (Still, 0.8), (Still, 0.8)]), (Moving, Some(0.95)));
    }

    #[test]
    fn nobody_is_there_only_if_every_link_reports_it() {
        use PresenceState::{Absent, Present, Unknown};
        for (links, expected) in [
            (&[] as &[_], Unknown),
            (&[Absent, Absent], Absent),
            (&[Absent, Unknown], Unknown),
            (&[Absent, Present], Present),
        ] {
            let mut votes = Votes::default();
            for (nth, presence) in links.iter().enumerate() {
                let (link, presence) = (format!("{nth}"), Some(*presence));
                votes.add(0, &Presence { link, presence, ..Presence::default() });
            }
            assert_eq!(votes.verdict().presence, expected, "{links:?}");
        }
    }
}
