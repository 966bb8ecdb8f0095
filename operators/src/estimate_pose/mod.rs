//! Poses of the people in pictures: a network detects people, a second one finds the keypoints of each.
//!
//! Both stages are one operator, because the second one needs the pixels of the first: as two operators, each
//! picture would wait in a join for the people who were found in it.

mod people;

use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use schemars::JsonSchema;
use schemas::{PoseFrame, RecordKind, Tick, VideoFrame};
use serde::Deserialize;
use timely::dataflow::StreamVec;

use crate::offload::{Threads, offload};
use crate::settings::{Outputs, Settings, outside};
use crate::{Component, CountWorked};

pub use crate::estimate_pose::people::PoseNetworks;

/// Pictures that a graphics processor computes at once.
const MAX_BATCH: usize = 8;

/// Settings of the `estimate_pose` operator.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EstimatePoseConfig {
    /// The network that detects people; "nanodet-g" by default. `fresnel models ls` lists them.
    #[serde(default = "default_detector")]
    pub detector: String,
    /// The network that finds keypoints; "movenet-thunder" by default.
    #[serde(default = "default_model")]
    pub model: String,
    /// Least confidence of a detected person, from 0 to 1; 0.3 by default.
    #[serde(default = "default_min_confidence")]
    pub min_confidence: f32,
    /// Folder of models; by default that of the environment variable `FRESNEL_MODELS`, or `fresnel/models` in the
    /// user's data folder.
    pub models: Option<PathBuf>,
}

impl Settings for EstimatePoseConfig {
    fn input(&self) -> Option<RecordKind> {
        Some(RecordKind::Video)
    }

    fn outputs(&self) -> Outputs {
        &[("", RecordKind::Pose)]
    }

    fn problems(&self) -> Vec<String> {
        let confidence = outside("min_confidence", self.min_confidence, &(0.0..=1.0));
        let names = [
            ("detector", vision::detector(&self.detector).err()),
            ("model", vision::pose_estimator(&self.model).err()),
        ];
        let names = names.into_iter().filter_map(|(setting, error)| Some((setting, error?)));
        let names = names.map(|(setting, error)| format!("{setting}: {error}"));
        confidence.into_iter().chain(names).collect()
    }

    fn state_shape(&self) -> Option<String> {
        None
    }
}

fn default_detector() -> String {
    "nanodet-g".to_owned()
}

fn default_model() -> String {
    "movenet-thunder".to_owned()
}

fn default_min_confidence() -> f32 {
    0.3
}

/// Returns a thread for each core, which computes one picture at a time: on the CPU, a batch is not faster, and its
/// pictures wait longer. A graphics processor has one thread and batches.
fn threads() -> Threads {
    if vision::device() == vision::cpu() {
        let n_threads = thread::available_parallelism().map_or(1, NonZero::get);
        Threads { n_threads, max_batch: 1 }
    } else {
        Threads { n_threads: 1, max_batch: MAX_BATCH }
    }
}

/// Pose estimation on streams of pictures.
pub trait EstimatePose<'scope> {
    /// Returns the people in each picture, with their keypoints. They have no identity yet, and the source of their
    /// frame is the camera.
    ///
    /// Threads of the operator compute them, so they do not block the worker. A batch may have pictures of several
    /// inputs; the result for a picture does not depend on the others.
    fn estimate_pose(
        self,
        networks: Arc<PoseNetworks>,
        component: &Component,
    ) -> StreamVec<'scope, Tick, PoseFrame>;
}

impl<'scope> EstimatePose<'scope> for StreamVec<'scope, Tick, VideoFrame> {
    fn estimate_pose(
        self,
        networks: Arc<PoseNetworks>,
        component: &Component,
    ) -> StreamVec<'scope, Tick, PoseFrame> {
        let worked = CountWorked::clone(&component.worked);
        let estimate = move |frames: Vec<VideoFrame>| networks.estimate(&frames, &*worked);
        offload(self, "EstimatePose", threads(), estimate)
    }
}
