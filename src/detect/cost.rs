//! The cost of a run, by stage of its pipeline.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::Counters;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use serde::Serialize;

/// The time that a run took.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Cost {
    /// Pictures that this run processed. If it resumed an earlier run, there are more in the output.
    n_frames: u64,
    elapsed_s: f64,
    frames_per_s: f64,
    /// The cost of each stage of the pipeline.
    stages: BTreeMap<&'static str, StageCost>,
}

impl Cost {
    pub(super) fn frames_per_s(&self) -> f64 {
        self.frames_per_s
    }
}

/// The time that the threads and processes of a stage worked.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct StageCost {
    /// Sum over the threads and processes. Stages overlap in time.
    busy_s: f64,
    /// Pictures per busy second.
    frames_per_s: f64,
}

/// Measures a run.
#[derive(Debug)]
pub(super) struct Meter {
    counters: Arc<Counters>,
    started: Instant,
    processes_before: Duration,
}

impl Meter {
    pub(super) fn start(counters: Arc<Counters>) -> Self {
        Self { counters, started: now(), processes_before: processes() }
    }

    /// Returns the cost until now; none if the run has processed no picture.
    pub(super) fn read(self) -> Option<Cost> {
        let elapsed_s = self.started.elapsed().as_secs_f64();
        let counts = self.counters.snapshot();
        let busy = |name: &str| counts.get(name).map_or(Duration::ZERO, |counts| counts.busy);
        let stage = |name: &str| {
            let poses = counts.get("poses");
            poses.and_then(|counts| counts.stages.get(name)).copied().unwrap_or_default()
        };
        let decoders = processes().saturating_sub(self.processes_before);
        let n_frames = counts.get("people")?.records;
        if n_frames == 0 {
            return None;
        }
        let stages = [
            ("decode", busy("pictures") + decoders),
            ("detect", stage("detect")),
            ("pose", stage("pose")),
            ("track", busy("tracked")),
            ("overlay", busy("overlay")),
            ("records", busy("frames") + busy("people")),
        ];
        let stages = stages.into_iter().filter(|(_, busy)| !busy.is_zero()).map(|(name, busy)| {
            let busy_s = busy.as_secs_f64();
            (name, StageCost { busy_s, frames_per_s: n_frames as f64 / busy_s })
        });
        let frames_per_s = n_frames as f64 / elapsed_s;
        Some(Cost { n_frames, elapsed_s, frames_per_s, stages: stages.collect() })
    }
}

/// Returns the processor time of the processes that this one started and that have ended.
fn processes() -> Duration {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_CHILDREN) else { return Duration::ZERO };
    let us = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Duration::from_micros(u64::try_from(us).unwrap_or_default())
}

#[expect(clippy::disallowed_methods, reason = "the speed is a result")]
pub(super) fn now() -> Instant {
    Instant::now()
}
