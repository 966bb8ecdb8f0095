//! Labels of recordings: who moved when.

use std::fs;
use std::path::{Path, PathBuf};

use operators::{MotionConfig, OperatorConfig};
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
#[serde(
    untagged,
    expecting = "`moving` must be true, false, or a list of times such as [[\"10s\", \"25s\"]]"
)]
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
        labels
            .check()
            .map_err(|problem| EvaluateError::Problem { path: path.to_owned(), problem })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        for recording in &mut labels.recordings {
            recording.file = folder.join(&recording.file);
        }
        Ok(labels)
    }
}

impl Labels {
    /// # Errors
    ///
    /// The first error in the settings, which are checked as in a pipeline file, or in the times of a recording.
    fn check(&self) -> Result<(), String> {
        let settings = self.motion.clone().map(OperatorConfig::Motion);
        if let Some(problem) = settings.and_then(|motion| motion.problems().into_iter().next()) {
            return Err(format!("[motion]: {problem}"));
        }
        if self.recordings.is_empty() {
            return Err("there are no recordings".to_owned());
        }
        let turned = self.recordings.iter().find(|recording| recording.moving.is_turned());
        turned.map_or(Ok(()), |recording| {
            Err(format!("{}: a motion ends before it begins", recording.file.display()))
        })
    }
}

impl Moving {
    fn is_turned(&self) -> bool {
        matches!(self, Self::During(times) if times.iter().any(|[from, to]| from >= to))
    }

    pub(super) fn at(&self, since_start_ns: i64) -> bool {
        match self {
            Self::Always(moving) => *moving,
            Self::During(times) => {
                times.iter().any(|[from, to]| (from.as_ns()..to.as_ns()).contains(&since_start_ns))
            }
        }
    }
}
