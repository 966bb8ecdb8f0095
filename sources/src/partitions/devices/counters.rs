//! Counts missing frames by the counters of devices. A receiver has one counter. A transmitter has several:
//! by IEEE 802.11, one for each receiver and traffic identifier of its quality-of-service data, and one for
//! the rest.
//!
//! Source: IEEE 802.11-2020, 10.3.2.14.2: sequence number spaces of a transmitter.

use serde::{Deserialize, Serialize};

use crate::{Counter, SequenceSpace};

/// Maximum number of counters of a transmitter.
const MOST_COUNTERS: usize = 8;
/// A counter that advances by more was restarted.
const LARGEST_GAP: u32 = 4096;
/// If a frame does not name its counter, a larger step belongs to another counter.
const LARGEST_UNKNOWN_STEP: u32 = 64;
/// A retransmission is no further behind, since an acknowledgement covers this many frames.
const LARGEST_STEP_BACK: u32 = 64;

/// The counters of a device, most recently used first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Counters {
    followed: [Option<Followed>; MOST_COUNTERS],
}

/// A counter at its latest frame.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Followed {
    space: SequenceSpace,
    last: u32,
}

impl Counters {
    /// Returns the number of a frame, and how many are missing before it; none if the frame has no number.
    pub(super) fn count(&mut self, counter: Counter) -> Option<(u32, u32)> {
        let (space, count, bits) = match counter {
            Counter::None => return None,
            Counter::OfTransmitter { space: SequenceSpace::Unnumbered, count, .. } => {
                return Some((count, 0));
            }
            Counter::OfReceiver { count, bits } => (SequenceSpace::Baseline, count, bits),
            Counter::OfTransmitter { space, count, bits } => (space, count, bits),
        };
        let mask = u32::MAX >> (32 - bits.clamp(1, 32));
        let farthest = match counter {
            // A receiver has only one counter.
            Counter::OfReceiver { .. } => mask,
            _ if space == SequenceSpace::Unknown => LARGEST_UNKNOWN_STEP,
            // A larger step is a step back.
            _ => mask / 2,
        };
        let n_missed = self.step(space, (count, mask), farthest).saturating_sub(1);
        Some((count, if n_missed <= LARGEST_GAP { n_missed } else { 0 }))
    }

    /// Returns the step of a counter modulo its range, at most `farthest`. A retransmission returns 0, and
    /// a restart or a new counter returns 1.
    fn step(&mut self, space: SequenceSpace, (count, mask): (u32, u32), farthest: u32) -> u32 {
        let of_space = self.followed.iter().enumerate().filter_map(|(idx, followed)| {
            let Followed { last, .. } = followed.filter(|it| it.space == space)?;
            Some((idx, last))
        });
        let steps = of_space.clone().map(|(idx, last)| (count.wrapping_sub(last) & mask, idx));
        let nearest = steps.min();
        let sent_again = of_space
            .map(|(_, last)| last.wrapping_sub(count) & mask)
            .any(|it| it <= LARGEST_STEP_BACK);
        let (step, idx) = match nearest {
            Some((step, idx)) if step <= farthest => (step, idx),
            _ if sent_again => return 0,
            // The counter was restarted.
            Some((_, idx)) if space != SequenceSpace::Unknown => (1, idx),
            // A new counter replaces the least recently used one.
            _ => (1, MOST_COUNTERS - 1),
        };
        self.followed[..=idx].rotate_right(1);
        self.followed[0] = Some(Followed { space, last: count });
        step
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of_receiver(count: u32) -> Counter {
        Counter::OfReceiver { count, bits: 16 }
    }

    fn of_transmitter(space: SequenceSpace, count: u32) -> Counter {
        Counter::OfTransmitter { space, count, bits: 12 }
    }

    /// Total number of missing frames by these counters.
    fn n_missed(counters: impl IntoIterator<Item = Counter>) -> u32 {
        let mut followed = Counters::default();
        let missed = counters.into_iter().filter_map(|counter| followed.count(counter));
        missed.map(|(_, n_missed)| n_missed).sum()
    }

    #[test]
    fn counts_what_is_missing() {
        let mut counters = Counters::default();
        for (name, counter, expected) in [
            ("start", of_receiver(65_534), Some((65_534, 0))),
            ("one is missing, over a wrap", of_receiver(0), Some((0, 1))),
            ("next", of_receiver(1), Some((1, 0))),
            ("the same again", of_receiver(1), Some((1, 0))),
            ("a restart", of_receiver(0), Some((0, 0))),
            ("behind it", of_receiver(3), Some((3, 2))),
            ("no counter", Counter::None, None),
        ] {
            assert_eq!(counters.count(counter), expected, "{name}");
        }
    }

    #[test]
    fn what_is_sent_again_is_not_missing() {
        let frames = [4094, 4095, 0, 1, 0, 1, 2, 4, 3, 5];
        let counters = frames.map(|count| of_transmitter(SequenceSpace::Baseline, count));
        assert_eq!(n_missed(counters), 1, "3 was missing when 4 came");
    }

    #[test]
    fn counters_are_told_apart_by_their_frames() {
        use SequenceSpace::{Baseline, QosData, Unnumbered};
        let to = |receiver: u8, tid: u8| QosData { receiver: [receiver; 6], tid };
        let frames = (0..500_u32).flat_map(|nth| {
            [
                of_transmitter(Baseline, nth & 0xFFF),
                // Every second frame is missing.
                of_transmitter(to(1, 0), (2000 + 2 * nth) & 0xFFF),
                of_transmitter(to(1, 6), (nth * nth / 250) & 0xFFF),
                of_transmitter(to(2, 0), (4000 + nth) & 0xFFF),
                of_transmitter(Unnumbered, nth.wrapping_mul(0x9E37_79B9) >> 20),
            ]
        });
        let without_tid_6 = 499;
        let of_tid_6 = (1..500_u32).map(|nth| {
            let step = nth * nth / 250 - (nth - 1) * (nth - 1) / 250;
            step.saturating_sub(1)
        });
        assert_eq!(n_missed(frames), without_tid_6 + of_tid_6.sum::<u32>());
    }

    #[test]
    fn counters_that_alternate_are_told_apart_where_frames_do_not() {
        // A beacon every 102.4 ms, and other frames of the same transmitter now and then.
        let frames = (0..3000_u32).flat_map(|nth| {
            let beacon = (nth % 50 != 0).then_some(3000 + nth);
            let other = (nth % 7 == 0).then_some(2234 + nth / 7);
            beacon.into_iter().chain(other)
        });
        let frames = frames.map(|count| of_transmitter(SequenceSpace::Unknown, count & 0xFFF));
        assert_eq!(n_missed(frames), 59, "the beacons that did not come, but for the first");
    }

    proptest! {
        /// For any numbers, no more frames are missing than a gap may have.
        #[test]
        fn any_numbers_are_counted(
            counts in prop::collection::vec((any::<u32>(), 0_u32..40, 0_u8..4), 0..200),
        ) {
            let mut counters = Counters::default();
            for (count, bits, kind) in counts {
                let space = match kind {
                    0 => SequenceSpace::Unknown,
                    1 => SequenceSpace::Unnumbered,
                    _ => SequenceSpace::Baseline,
                };
                let counter = match kind {
                    3 => Counter::OfReceiver { count, bits },
                    _ => Counter::OfTransmitter { space, count, bits },
                };
                let (found, n_missed) = counters.count(counter).expect("it has a number");
                prop_assert!(found == count && n_missed <= LARGEST_GAP);
            }
        }
    }
}
