//! Event time in steps: the timestamp of the dataflow.

/// Milliseconds since the Unix epoch, a multiple of the pipeline's [`TickLength`].
pub type Tick = u64;

const NS_PER_MS: i64 = 1_000_000;

/// The length of one tick: at least one millisecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TickLength(u64);

impl TickLength {
    /// A tick of `length_ms` milliseconds; zero counts as one.
    pub fn from_ms(length_ms: u64) -> Self {
        Self(length_ms.max(1))
    }

    /// The length in milliseconds.
    pub fn as_ms(self) -> u64 {
        self.0
    }

    /// The tick that a capture time falls into; times before the epoch fall into tick 0.
    pub fn tick_of(self, captured_at_ns: i64) -> Tick {
        let captured_at_ms = (captured_at_ns / NS_PER_MS).max(0).unsigned_abs();
        captured_at_ms / self.0 * self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floors_to_the_tick() {
        for (captured_at_ns, expected) in
            [(0, 0), (-5, 0), (9_999_999, 0), (10_000_000, 10), (1_234_567_890, 1230)]
        {
            assert_eq!(TickLength::from_ms(10).tick_of(captured_at_ns), expected);
        }
    }
}
