//! Event time in steps: the timestamp of the dataflow.

/// Milliseconds since the Unix epoch, a multiple of the pipeline's [`TickLength`].
pub type Tick = u64;

const NS_PER_MS: i64 = 1_000_000;

/// The length of one tick: at least one millisecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TickLength(u64);

impl TickLength {
    /// Returns a length of `length_ms` milliseconds; zero counts as one.
    pub fn from_ms(length_ms: u64) -> Self {
        Self(length_ms.max(1))
    }

    /// Returns the length in milliseconds.
    pub fn as_ms(self) -> u64 {
        self.0
    }

    /// Returns the tick of a capture time; times before the epoch are in tick 0.
    pub fn tick_of(self, captured_at_ns: i64) -> Tick {
        let captured_at_ms = (captured_at_ns / NS_PER_MS).max(0).unsigned_abs();
        captured_at_ms / self.0 * self.0
    }
}

/// The unit of checkpoints: a period of event time of one or more whole ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granule(u64);

impl Granule {
    /// Returns a granule of about `length_ms`, rounded up to whole ticks.
    pub fn new(length_ms: u64, tick_length: TickLength) -> Self {
        Self(length_ms.max(1).next_multiple_of(tick_length.as_ms()))
    }

    /// Returns the end of the granule that contains `tick`.
    pub fn end_of(self, tick: Tick) -> Tick {
        self.start_of(tick).saturating_add(self.0)
    }

    /// Returns the start of the granule that contains `tick`.
    pub fn start_of(self, tick: Tick) -> Tick {
        tick / self.0 * self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floors_to_the_tick() {
        for (captured_at_ns, expected) in [
            (0, 0),
            (-5, 0),
            (9_999_999, 0),
            (10_000_000, 10),
            (1_234_567_890, 1230),
            (i64::MIN, 0),
            (i64::MAX, 9_223_372_036_850),
        ] {
            assert_eq!(TickLength::from_ms(10).tick_of(captured_at_ns), expected);
        }
    }

    #[test]
    fn granules_are_whole_ticks() {
        let granule = Granule::new(95, TickLength::from_ms(10));
        for (tick, start, end) in [(0, 0, 100), (90, 0, 100), (100, 100, 200)] {
            assert_eq!((granule.start_of(tick), granule.end_of(tick)), (start, end));
        }
        assert_eq!(granule.end_of(Tick::MAX), Tick::MAX);
    }
}
