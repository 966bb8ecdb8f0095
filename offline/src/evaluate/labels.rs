//! Labels of recordings: who moved when.

use std::fs;
use std::path::{Path, PathBuf};

use operators::MotionConfig;
use schemas::TimeSpan;
use serde::Deserialize;
use sources::CsiFormat;

use crate::evaluate::EvaluateError;

/// A file of labels.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Labels {
    /// Settings of the `motion` operator.
    pub(super) motion: Option<MotionConfig>,
    pub(super) recordings: Vec<Recording>,
}

/// A labelled recording. Those of a session follow one another, in the order of the file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Recording {
    /// The capture, relative to the file of labels.
    pub(super) file: PathBuf,
    /// The format of the capture; by default it is recognised by its first bytes.
    pub(super) format: Option<CsiFormat>,
    pub(super) session: String,
    pub(super) device: String,
    pub(super) moving: Moving,
    /// The time at the beginning that is not evaluated, such as the calibration.
    #[serde(default)]
    pub(super) skip: TimeSpan,
}

/// When somebody moves in a recording.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Moving {
    /// All the time or never.
    Always(bool),
    /// From one time to another, since the beginning of the recording.
    During(Vec<[TimeSpan; 2]>),
}

impl Labels {
    pub(super) fn load(path: &Path) -> Result<Self, EvaluateError> {
        let text = fs::read_to_string(path)
            .map_err(|source| EvaluateError::Read { path: path.to_owned(), source })?;
        let mut labels: Self = toml::from_str(&text).map_err(|source| EvaluateError::Labels {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        for recording in &mut labels.recordings {
            recording.file = folder.join(&recording.file);
        }
        Ok(labels)
    }
}

impl Moving {
    pub(super) fn at(&self, since_start_ns: i64) -> bool {
        match self {
            Self::Always(moving) => *moving,
            Self::During(times) => {
                times.iter().any(|[from, to]| (from.as_ns()..to.as_ns()).contains(&since_start_ns))
            }
        }
    }
}
