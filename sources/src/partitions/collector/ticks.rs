//! Ticks: the clock of a partition, and how records advance it.
//!
//! A record's tick is the largest tick so far, its own included. So ticks are a pure function of the
//! earlier records, however the source was polled.

use std::collections::BTreeMap;

use schemas::{Granule, Record, Tick, TickLength};

/// Maximum bytes of open ticks. Beyond it, the clock advances, and later records of the closed ticks are
/// late. So a clock that stands still, such as after a time far ahead, uses no more memory than this.
const MAX_OPEN_BYTES: usize = 16 * 1024 * 1024;

/// Assigns ticks to the records of one partition.
#[derive(Clone, Debug)]
pub(crate) struct TickAssigner {
    tick_length: TickLength,
    granule: Granule,
    clock: Tick,
    /// The open ticks that have records.
    open: BTreeMap<Tick, OpenTick>,
}

/// The size of an open tick.
#[derive(Clone, Copy, Debug, Default)]
struct OpenTick {
    n_bytes: usize,
    n_frames: u64,
}

impl TickAssigner {
    /// An assigner whose clock is at `clock`.
    pub(crate) fn new(tick_length: TickLength, granule: Granule, clock: Tick) -> Self {
        Self { tick_length, granule, clock, open: BTreeMap::new() }
    }

    /// An assigner with the same lengths and clock, without any records.
    pub(crate) fn for_partition(&self) -> Self {
        Self::new(self.tick_length, self.granule, self.clock)
    }

    /// Restores an earlier run's clock, the bytes of its open ticks, and the frames of its pending records.
    pub(crate) fn restore(
        &mut self,
        clock: Tick,
        open: impl IntoIterator<Item = (Tick, usize)>,
        waiting: &[(Tick, Record)],
    ) {
        self.clock = clock;
        let open = open.into_iter();
        self.open = open.map(|(tick, n_bytes)| (tick, OpenTick { n_bytes, n_frames: 0 })).collect();
        for (tick, record) in waiting {
            if let Record::Csi(batch) = record {
                self.open.entry(*tick).or_default().n_frames += batch.len() as u64;
            }
        }
    }

    /// The partition's clock: no record that follows has an earlier tick.
    pub(crate) fn clock(&self) -> Tick {
        self.clock
    }

    /// Returns the tick of a capture time.
    pub(crate) fn tick_of(&self, captured_at_ns: i64) -> Tick {
        self.tick_length.tick_of(captured_at_ns)
    }

    /// Returns the tick after the clock.
    pub(crate) fn next_tick(&self) -> Tick {
        self.clock.saturating_add(self.tick_length.as_ms())
    }

    /// The end of the granule that a tick is in.
    pub(crate) fn granule_end(&self, tick: Tick) -> Tick {
        self.granule.end_of(tick)
    }

    /// Advances the clock, never back.
    pub(crate) fn advance(&mut self, clock: Tick) {
        if clock > self.clock {
            self.clock = clock;
            self.open = self.open.split_off(&clock);
        }
    }

    /// Returns the earliest clock with room for `n_bytes` more bytes. It is later than now if the open
    /// ticks have too many bytes.
    pub(crate) fn clock_with_room(&self, n_bytes: usize) -> Tick {
        let mut open_bytes: usize = self.open.values().map(|open| open.n_bytes).sum();
        let mut clock = self.clock;
        for (tick, open) in &self.open {
            if open_bytes.saturating_add(n_bytes) <= MAX_OPEN_BYTES {
                break;
            }
            open_bytes -= open.n_bytes;
            clock = tick.saturating_add(self.tick_length.as_ms());
        }
        clock
    }

    /// Adds the bytes of a record to an open tick.
    pub(crate) fn count(&mut self, tick: Tick, n_bytes: usize) {
        let open = self.open.entry(tick).or_default();
        open.n_bytes = open.n_bytes.saturating_add(n_bytes);
    }

    /// Adds a frame to an open tick.
    pub(crate) fn count_frame(&mut self, tick: Tick) {
        self.open.entry(tick).or_default().n_frames += 1;
    }

    /// Number of frames so far in an open tick.
    pub(crate) fn n_frames(&self, tick: Tick) -> u64 {
        self.open.get(&tick).map_or(0, |open| open.n_frames)
    }

    /// True if an open tick has records.
    pub(crate) fn has_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// Closes all ticks.
    pub(crate) fn close(&mut self) {
        self.open.clear();
    }

    /// Returns the bytes of each open tick from `tick` on.
    pub(crate) fn open_since(&self, tick: Tick) -> Vec<(Tick, usize)> {
        self.open.range(tick..).map(|(tick, open)| (*tick, open.n_bytes)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_with_too_many_bytes_is_over() {
        let tick_length = TickLength::from_ms(10);
        let mut ticks = TickAssigner::new(tick_length, Granule::new(1000, tick_length), 50);
        let megabyte = 1024 * 1024;
        for _ in 0..40 {
            ticks.advance(ticks.clock_with_room(megabyte));
            ticks.count(ticks.clock(), megabyte);
        }
        assert_eq!(ticks.clock(), 70, "16 of the first tick, 16 of the second");
        assert_eq!(ticks.open_since(0), [(70, 8 * megabyte)]);
        // A record above the limit has its own tick.
        ticks.advance(ticks.clock_with_room(MAX_OPEN_BYTES + 1));
        assert_eq!(ticks.clock(), 80);
    }

    #[test]
    fn records_that_wait_are_bounded_too() {
        let tick_length = TickLength::from_ms(10);
        let mut ticks = TickAssigner::new(tick_length, Granule::new(1000, tick_length), 0);
        for tick in [100, 200, 300] {
            ticks.count(tick, MAX_OPEN_BYTES / 3);
        }
        assert_eq!(ticks.clock_with_room(1), 0);
        assert_eq!(ticks.clock_with_room(MAX_OPEN_BYTES / 3), 110, "the first of them leaves");
    }
}
