//! Device clocks: 32-bit microseconds that wrap every 71.6 minutes.

use serde::{Deserialize, Serialize};

const WRAP_US: i64 = 1 << 32;

/// Undoes the wraps of a 32-bit microsecond clock; jumps stay what they are.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct MicrosecondClock {
    last_us: Option<u32>,
    wraps: i64,
}

impl MicrosecondClock {
    /// Nanoseconds on the device's clock since its first wrap period began.
    pub(crate) fn unwrap_ns(&mut self, now_us: u32) -> i64 {
        // A step back of more than half the range is a wrap; a smaller one is a clock that jumped.
        if self.last_us.is_some_and(|last_us| last_us > now_us && last_us - now_us > u32::MAX / 2) {
            self.wraps += 1;
        }
        self.last_us = Some(now_us);
        (self.wraps * WRAP_US + i64::from(now_us)) * 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_wraps_from_jumps() {
        let mut clock = MicrosecondClock::default();
        for (name, now_us, expected_us) in [
            ("start", 4_294_000_000, 4_294_000_000),
            ("jump back", 4_290_000_000, 4_290_000_000),
            ("wrap", 1_000, WRAP_US + 1_000),
            ("after the wrap", 2_000, WRAP_US + 2_000),
        ] {
            assert_eq!(clock.unwrap_ns(now_us), expected_us * 1000, "{name}");
        }
    }
}
