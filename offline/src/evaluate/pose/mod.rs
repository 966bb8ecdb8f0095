//! Evaluation of poses in pictures with annotations of COCO.

mod coco_files;
mod keypoint_precision;

use std::fmt;
use std::path::Path;

use crate::evaluate::EvaluateError;
pub use crate::evaluate::pose::keypoint_precision::KeypointPrecision;
use crate::evaluate::pose::keypoint_precision::PoseResult;

/// Compares results with annotations, as COCO's evaluation of keypoints does.
///
/// # Errors
///
/// [`EvaluateError`] if a file cannot be read, or is not one of COCO, or if no picture of the results is annotated.
pub fn evaluate_pose(results: &Path, truth: &Path) -> Result<KeypointPrecision, EvaluateError> {
    let truth = coco_files::read_truth(truth)?;
    let (path, results) = (results, coco_files::read_results(results)?);
    let is_known = |result: &PoseResult| truth.images.contains(&result.image);
    if !results.is_empty() && !results.iter().any(is_known) {
        let problem = "none of its image ids is in the annotations".to_owned();
        return Err(EvaluateError::Problem { path: path.to_owned(), problem });
    }
    Ok(keypoint_precision::evaluate(&truth.persons, &results, &truth.images))
}

/// A line for each measure.
impl fmt::Display for KeypointPrecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in [
            ("average precision", self.ap),
            ("at a similarity of 0.50", self.ap_50),
            ("at a similarity of 0.75", self.ap_75),
            ("of medium people", self.ap_medium),
            ("of large people", self.ap_large),
            ("average recall", self.ar),
            ("at a similarity of 0.50", self.ar_50),
            ("at a similarity of 0.75", self.ar_75),
            ("of medium people", self.ar_medium),
            ("of large people", self.ar_large),
        ] {
            let value = value.map_or("-".to_owned(), |value| format!("{value:.4}"));
            writeln!(f, "{name:24}  {value}")?;
        }
        Ok(())
    }
}
