//! Evaluation of poses in pictures with annotations of COCO.

mod coco_files;
mod keypoint_precision;

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use crate::evaluate::EvaluateError;
pub use crate::evaluate::pose::keypoint_precision::KeypointPrecision;
use crate::evaluate::pose::keypoint_precision::PoseResult;

/// The scores of results.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct PoseScores {
    /// Number of annotated pictures.
    pub n_images: usize,
    /// Number of annotated pictures with results. The people of the others count as missed.
    pub n_images_with_results: usize,
    /// COCO's figures.
    #[serde(flatten)]
    pub precision: KeypointPrecision,
}

/// Compares results with annotations, as COCO's evaluation of keypoints does.
///
/// # Errors
///
/// [`EvaluateError`] if a file cannot be read, or is not one of COCO, or if no picture of the results is annotated.
pub fn evaluate_pose(results: &Path, truth: &Path) -> Result<PoseScores, EvaluateError> {
    let truth = coco_files::read_truth(truth)?;
    let (path, results) = (results, coco_files::read_results(results)?);
    let is_known = |result: &PoseResult| truth.images.contains(&result.image);
    if !results.is_empty() && !results.iter().any(is_known) {
        let problem = "none of its image ids is in the annotations".to_owned();
        return Err(EvaluateError::Problem { path: path.to_owned(), problem });
    }
    let found: BTreeSet<_> = results.iter().map(|result| result.image).collect();
    Ok(PoseScores {
        n_images: truth.images.len(),
        n_images_with_results: found.intersection(&truth.images).count(),
        precision: keypoint_precision::evaluate(&truth.persons, &results, &truth.images),
    })
}

impl fmt::Display for PoseScores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { n_images, n_images_with_results, precision } = self;
        writeln!(
            f,
            "{n_images} annotated pictures, {n_images_with_results} with results; people of the others count as missed"
        )?;
        write!(f, "{precision}")
    }
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
