//! `fresnel evaluate`: how good results are, measured on labelled data.

use std::path::PathBuf;

use anyhow::Result;
use clap::Subcommand;
use offline::{TrackPlan, evaluate_motion, evaluate_pose, evaluate_track};

use crate::print::print;

#[derive(Debug, Subcommand)]
pub(crate) enum EvaluateCommand {
    /// Prints the scores of the `motion` operator by session and device: the share of half seconds with the
    /// right motion, recall, false alarms, and how often motion was unknown.
    Motion {
        /// The labels: a TOML file with a table `[[recordings]]` for each capture. Its keys are `file`,
        /// `session`, `device` and `moving` (true, false, or a list of `["FROM", "TO"]`), and optionally
        /// `format` and `skip`, the time at the beginning that is not evaluated.
        labels: PathBuf,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Prints the scores of tracking in images by sequence: MOTA, IDF1, HOTA, and frames per second.
    Track {
        /// The detections of a sequence: a text file of the MOTChallenge, with lines of
        /// `frame,id,left,top,width,height,confidence`. Once for each sequence.
        #[arg(long, required = true)]
        detections: Vec<PathBuf>,
        /// The truth of a sequence, in the same format. Once for each sequence, in the same order.
        #[arg(long, required = true)]
        truth: Vec<PathBuf>,
        /// File to write the tracks of a sequence to, in the same format. Once for each sequence, if at all.
        #[arg(long)]
        tracks: Vec<PathBuf>,
        /// Frames per second of the sequences.
        #[arg(long, default_value_t = 30.0, value_parser = frame_rate)]
        frame_rate: f64,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Prints the average precision and recall of keypoints in pictures, as COCO measures them.
    Pose {
        /// The results: a JSON file in COCO's format of results.
        #[arg(long)]
        results: PathBuf,
        /// The annotations: a JSON file in COCO's format of annotations.
        #[arg(long)]
        truth: PathBuf,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Parses a number of frames per second.
fn frame_rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "it is not a number".to_owned())?;
    let is_rate = (0.001..=100_000.0).contains(&rate);
    is_rate.then_some(rate).ok_or_else(|| "it is not between 0.001 and 100000".to_owned())
}

impl EvaluateCommand {
    /// Runs the command.
    pub(crate) fn run(self) -> Result<()> {
        match self {
            Self::Motion { labels, json } => print_scores(&evaluate_motion(&labels)?, json),
            Self::Track { detections, truth, tracks, frame_rate, json } => {
                let (truths, frames_per_s) = (truth, frame_rate);
                let plan = TrackPlan { detections, truths, tracks, frames_per_s };
                print_scores(&evaluate_track(&plan)?, json)
            }
            Self::Pose { results, truth, json } => {
                print_scores(&evaluate_pose(&results, &truth)?, json)
            }
        }
    }
}

fn print_scores<S: std::fmt::Display + serde::Serialize>(scores: &S, json: bool) -> Result<()> {
    print(&if json { serde_json::to_string_pretty(scores)? + "\n" } else { scores.to_string() })
}
