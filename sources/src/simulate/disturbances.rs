//! Rare events that disturb a receiver: steps of its gain, bursts of interference, and outages.
//!
//! Each event has one slot of time, at a random moment of it. So the events at a time follow from the time alone,
//! and a simulation can go on anywhere.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::Deserialize;

/// Rates and sizes of the events; there are none by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Disturbances {
    /// Lasting steps of the gain in a minute.
    pub(super) gain_steps_per_minute: f64,
    /// The largest gain after a step, in dB either way.
    pub(super) gain_step_db: f32,
    /// Bursts of interference in a minute.
    pub(super) bursts_per_minute: f64,
    /// Length of a burst.
    pub(super) burst_s: f64,
    /// Signal-to-noise ratio during a burst.
    pub(super) burst_snr_db: f32,
    /// Outages in a minute, in which no frame arrives.
    pub(super) outages_per_minute: f64,
    /// Length of an outage.
    pub(super) outage_s: f64,
}

/// The kinds of events, whose random numbers are independent.
#[derive(Clone, Copy)]
enum Kind {
    GainStep,
    Burst,
    Outage,
}

/// The disturbance of a receiver at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Disturbance {
    /// The gain in dB.
    pub(super) gain_db: f32,
    /// The signal-to-noise ratio of a burst of interference, in dB.
    pub(super) burst_snr_db: Option<f32>,
    /// True if no frame arrives.
    pub(super) is_outage: bool,
}

/// An event of a slot: when it begins, and a random size from 0 to 1.
struct Event {
    begins_s: f64,
    size: f32,
}

impl Disturbances {
    /// True if every rate and size is in its valid range.
    pub(super) fn valid(&self) -> bool {
        let rates = [self.gain_steps_per_minute, self.bursts_per_minute, self.outages_per_minute];
        let lengths = [self.burst_s, self.outage_s];
        rates.iter().all(|rate| (0.0..=6000.0).contains(rate))
            && lengths.iter().all(|length_s| (0.0..=3600.0).contains(length_s))
            && self.burst_snr_db.is_finite()
            && (0.0..=200.0).contains(&self.gain_step_db)
    }

    /// Returns the disturbance of a receiver, whose number is `stream`.
    pub(super) fn at(&self, time_s: f64, seed: u64, stream: u64) -> Disturbance {
        let last = |kind, per_minute| last_event(time_s, kind, per_minute, seed, stream);
        let lasts = |kind, per_minute, length_s: f64| {
            last(kind, per_minute).is_some_and(|event| time_s - event.begins_s < length_s)
        };
        let step = last(Kind::GainStep, self.gain_steps_per_minute);
        let is_burst = lasts(Kind::Burst, self.bursts_per_minute, self.burst_s);
        Disturbance {
            gain_db: step.map_or(0.0, |step| self.gain_step_db * (2.0 * step.size - 1.0)),
            burst_snr_db: is_burst.then_some(self.burst_snr_db),
            is_outage: lasts(Kind::Outage, self.outages_per_minute, self.outage_s),
        }
    }
}

/// Returns the last event up to a time.
fn last_event(time_s: f64, kind: Kind, per_minute: f64, seed: u64, stream: u64) -> Option<Event> {
    if per_minute <= 0.0 {
        return None;
    }
    let slot_s = 60.0 / per_minute;
    let slot = (time_s / slot_s).floor();
    let slots = [slot, slot - 1.0].into_iter().filter(|slot| *slot >= 0.0);
    let events = slots.map(|slot| {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(u64::MAX - 3 * stream - kind as u64);
        // A block of random numbers for each slot.
        random.set_word_pos(16 * slot as u128);
        let begins_s = slot_s * (slot + random.random::<f64>());
        Event { begins_s, size: random.random() }
    });
    events.into_iter().find(|event| event.begins_s <= time_s)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_have_their_rates_and_lengths() {
        let disturbances = Disturbances {
            gain_steps_per_minute: 6.0,
            gain_step_db: 10.0,
            bursts_per_minute: 12.0,
            burst_s: 0.5,
            burst_snr_db: 3.0,
            outages_per_minute: 6.0,
            outage_s: 2.0,
        };
        let minute: Vec<_> =
            (0..60_000).map(|ms| disturbances.at(f64::from(ms) / 1000.0, 7, 1)).collect();
        let share = |holds: &dyn Fn(&Disturbance) -> bool| {
            minute.iter().filter(|it| holds(it)).count() as f64 / minute.len() as f64
        };
        assert!((share(&|it| it.burst_snr_db == Some(3.0)) - 0.1).abs() < 0.03);
        assert!((share(&|it| it.is_outage) - 0.2).abs() < 0.06);
        let steps = minute.windows(2).filter(|pair| pair[0].gain_db != pair[1].gain_db).count();
        assert!((5..=6).contains(&steps), "{steps}");
        assert!(minute.iter().all(|it| it.gain_db.abs() <= 10.0));
        assert_eq!(Disturbances::default().at(5.0, 7, 1), Disturbance::default());
    }
}
