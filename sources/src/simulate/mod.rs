//! The simulator: a room, radios and people, as CSI with real impairments and as ground truth.
//!
//! All its records are marked as simulated. The same scene and seed produce the same records.

mod body;
mod disturbances;
mod impairments;
mod radio;
mod scene;
mod script;
mod simulator;

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use schemars::JsonSchema;
use schemas::{RecordKind, TimeSpan};
use serde::Deserialize;

use crate::arrival_clock::unix_ns;
use crate::config::checks::problem_of_speed;
use crate::config::settings::{Outputs, SourceSettings};
use crate::partitions::pace::Paced;
use crate::{Decoder, Partition, SourceContext, SourceError, Speed, Transport};

pub use crate::simulate::scene::{Scene, scene_schema};
pub use crate::simulate::simulator::Simulator;

/// Within the range of nanoseconds since the Unix epoch in 64 bits.
const MAX_START_S: i64 = 8_000_000_000;

/// Time steps in one poll at full speed.
const STEPS_PER_POLL: usize = 32;

/// Settings of the `simulate` source. Its main output is CSI; `NAME.truth` contains the true poses of the
/// people.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SimulateConfig {
    /// Path of the scene file.
    pub scene: PathBuf,
    /// Speed of the simulation: "full" (default), "recorded" for real time, or a factor.
    #[serde(default)]
    pub speed: Speed,
    /// Length of the simulation in event time; unlimited by default.
    pub duration: Option<TimeSpan>,
    /// Event time of the start, in seconds since the Unix epoch. By default it is the current time, and each
    /// restart starts the simulation anew.
    pub starts_at_s: Option<i64>,
    /// Seed of the noise; the seed of the scene by default.
    pub seed: Option<u64>,
}

impl SourceSettings for SimulateConfig {
    fn outputs(&self) -> Outputs {
        &[("", RecordKind::Csi), ("truth", RecordKind::Pose)]
    }

    fn problems(&self) -> Vec<String> {
        let start_s = self.starts_at_s.filter(|start_s| !(0..=MAX_START_S).contains(start_s));
        let start = start_s
            .map(|start_s| format!("starts_at_s must be from 0 to {MAX_START_S}, not {start_s}"));
        start.into_iter().chain(problem_of_speed(self.speed)).collect()
    }

    fn state_shape(&self) -> String {
        format!("simulate 3, {}", self.scene.display())
    }

    fn transport(&self) -> Option<&Transport> {
        None
    }

    fn decoder(&self) -> Option<Box<dyn Decoder>> {
        None
    }

    fn input_file(&self) -> Option<(&'static str, &Path)> {
        Some(("scene", &self.scene))
    }

    fn origin(&self) -> String {
        format!("scene {}", self.scene.display())
    }

    #[expect(clippy::disallowed_methods, reason = "sources read the clock")]
    fn open(&self, context: &SourceContext<'_>) -> Result<Vec<Partition>, SourceError> {
        let mut scene = Scene::load(&context.directory.join(&self.scene))?;
        scene.seed = self.seed.unwrap_or(scene.seed);
        let starts_at_ns = match self.starts_at_s {
            Some(starts_at_s) => starts_at_s.saturating_mul(1_000_000_000),
            None => unix_ns(SystemTime::now()),
        };
        let simulator = |steps_per_poll| {
            let simulator =
                Simulator::new(&scene, context, starts_at_ns, self.duration, steps_per_poll);
            // A simulation that starts at the current time does not resume an earlier position.
            if self.starts_at_s.is_some() { simulator.resume(context) } else { Ok(simulator) }
        };
        Ok(vec![match self.speed {
            Speed::Full => simulator(STEPS_PER_POLL)?.into(),
            Speed::Factor(factor) => Paced::new(simulator(1)?, factor).into(),
        }])
    }
}
