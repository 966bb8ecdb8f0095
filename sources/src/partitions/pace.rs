//! Pacing: emits a recording's records at the speed of the recording, or a multiple of it.

use std::borrow::Cow;
use std::thread;
use std::time::{Duration, Instant};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use schemas::Tick;
use serde::{Deserialize, Deserializer};

use crate::{Poll, PollState, Source, SourceError};

/// A longer wait is split into waits of this length, so that a stop takes effect in time.
const LONGEST_WAIT: Duration = Duration::from_millis(50);

/// Speed of reading a recording: `"full"`, `"recorded"`, or a factor such as `2.0`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Speed {
    /// As fast as the pipeline can process the records.
    #[default]
    Full,
    /// This many times the speed of the recording.
    Factor(f64),
}

impl<'de> Deserialize<'de> for Speed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SpeedVisitor)
    }
}

struct SpeedVisitor;

impl serde::de::Visitor<'_> for SpeedVisitor {
    type Value = Speed;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("\"full\", \"recorded\" or a factor above 0")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Speed, E> {
        match text {
            "full" => Ok(Speed::Full),
            "recorded" => Ok(Speed::Factor(1.0)),
            _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
        }
    }

    fn visit_f64<E: serde::de::Error>(self, factor: f64) -> Result<Speed, E> {
        if factor > 0.0 && factor.is_finite() {
            Ok(Speed::Factor(factor))
        } else {
            Err(E::invalid_value(serde::de::Unexpected::Float(factor), &self))
        }
    }

    fn visit_i64<E: serde::de::Error>(self, factor: i64) -> Result<Speed, E> {
        self.visit_f64(factor as f64)
    }

    fn visit_u64<E: serde::de::Error>(self, factor: u64) -> Result<Speed, E> {
        self.visit_f64(factor as f64)
    }
}

impl JsonSchema for Speed {
    fn schema_name() -> Cow<'static, str> {
        "Speed".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "How fast a recording is read.",
            "anyOf": [
                { "enum": ["full", "recorded"] },
                { "type": "number", "exclusiveMinimum": 0 },
            ],
        })
    }
}

/// Delays records until they are due.
#[derive(Debug)]
pub(crate) struct Paced<S> {
    inner: S,
    factor: f64,
    /// Wall clock and tick of the first record.
    started: Option<(Instant, Tick)>,
    held: Option<Poll>,
    /// The clock of the last poll that was not delayed.
    released: Tick,
}

impl<S: Source> Paced<S> {
    /// Paces `inner`, which should return few records in each poll.
    pub(crate) fn new(inner: S, factor: f64) -> Self {
        Self { inner, factor, started: None, held: None, released: 0 }
    }

    /// The time until the records of a tick are due. Errors before the first record are at tick zero, which
    /// is not a time.
    #[expect(clippy::disallowed_methods, reason = "sources read the clock")]
    fn wait_for(&mut self, tick: Tick) -> Duration {
        if tick == 0 {
            return Duration::ZERO;
        }
        let now = Instant::now();
        let (started, first) = *self.started.get_or_insert((now, tick));
        let elapsed_ms = tick.saturating_sub(first) as f64 / self.factor;
        let due = Duration::try_from_secs_f64(elapsed_ms * 1e-3).unwrap_or(Duration::MAX);
        due.saturating_sub(now.saturating_duration_since(started))
    }
}

impl<S: Source> Source for Paced<S> {
    fn poll(&mut self) -> Result<Poll, SourceError> {
        let poll = match self.held.take() {
            Some(poll) => poll,
            None => self.inner.poll()?,
        };
        let Some((tick, _)) = poll.records.last() else { return Ok(poll) };
        let wait = self.wait_for(*tick);
        thread::sleep(wait.min(LONGEST_WAIT));
        if wait <= LONGEST_WAIT {
            self.released = poll.clock;
            return Ok(poll);
        }
        let clock = self.released;
        self.held = Some(poll);
        Ok(Poll {
            records: Vec::new(),
            n_records: 0,
            positions: Vec::new(),
            dropped: Vec::new(),
            n_late: 0,
            clock,
            state: PollState::Ready,
        })
    }

    fn begins_anew(&self) -> bool {
        self.inner.begins_anew()
    }

    fn checkpointed_through(&mut self, tick: Tick) -> Result<(), SourceError> {
        self.inner.checkpointed_through(tick)
    }
}

#[cfg(test)]
mod tests {
    use schemas::{Presence, Record};

    use super::*;

    /// Returns one record every 100 ms of recorded time.
    struct Recording(std::ops::Range<Tick>);

    impl Source for Recording {
        fn poll(&mut self) -> Result<Poll, SourceError> {
            let next = self.0.next();
            let clock = next.unwrap_or(self.0.end) * 100;
            let record = || (clock, Record::Presence(Presence::default()));
            let state = if next.is_some() { PollState::Ready } else { PollState::End };
            let records = next.map(|_| record()).into_iter().collect();
            let (positions, dropped) = (Vec::new(), Vec::new());
            Ok(Poll { records, n_records: 1, positions, dropped, n_late: 0, clock, state })
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a pace is a matter of clocks")]
    fn nothing_is_early_and_nothing_is_lost() {
        let started = Instant::now();
        let mut paced = Paced::new(Recording(1..10), 4.0);
        let (mut ticks, mut released) = (Vec::new(), 0);
        loop {
            let poll = paced.poll().expect("memory can be read");
            assert!(poll.clock >= released, "the clock never goes back");
            released = poll.clock;
            for (tick, _) in poll.records {
                let due = Duration::from_millis((tick - 100) / 4);
                assert!(started.elapsed() >= due, "{tick} came after {:?}", started.elapsed());
                ticks.push(tick);
            }
            if poll.state == PollState::End {
                break;
            }
        }
        assert_eq!(ticks, (1..10).map(|nth| nth * 100).collect::<Vec<_>>());
    }

    /// Errors before the first record have no time: the pace begins at the first record, many years later.
    #[test]
    fn an_error_before_the_first_record_does_not_set_the_pace() {
        let mut paced = Paced::new(Recording(0..1), 1.0);
        assert_eq!(paced.poll().expect("memory can be read").records[0].0, 0);
        paced.inner = Recording(17_000_000_000..17_000_000_001);
        let poll = paced.poll().expect("memory can be read");
        assert_eq!(poll.records[0].0, 1_700_000_000_000, "it does not wait");
    }

    #[test]
    fn speeds_parse() {
        for (text, expected) in [
            ("\"full\"", Ok(Speed::Full)),
            ("\"recorded\"", Ok(Speed::Factor(1.0))),
            ("2.5", Ok(Speed::Factor(2.5))),
            ("4", Ok(Speed::Factor(4.0))),
            ("0", Err(())),
            ("-1.0", Err(())),
            ("\"fast\"", Err(())),
        ] {
            assert_eq!(serde_json::from_str::<Speed>(text).map_err(|_| ()), expected, "{text}");
        }
    }
}
