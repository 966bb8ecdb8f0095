//! Scores of tracking, by sequence and of all.

use std::fmt;
use std::ops::AddAssign;
use std::path::Path;
use std::time::Duration;

use serde::ser::{Serialize, SerializeStruct, Serializer};

use crate::evaluate::track::Sequence;
use crate::evaluate::track::clear::ClearCounts;
use crate::evaluate::track::hota::HotaSums;
use crate::evaluate::track::identity::IdentityCounts;

/// The scores of sequences.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct TrackScores {
    /// Of each sequence, with the file of its truth.
    pub sequences: Vec<(String, SequenceScores)>,
    /// Of all sequences together.
    pub total: SequenceScores,
}

/// The scores of frames.
#[derive(Clone, Copy, Debug, Default)]
pub struct SequenceScores {
    clear: ClearCounts,
    identity: IdentityCounts,
    hota: HotaSums,
    n_frames: u64,
    elapsed: Duration,
}

impl TrackScores {
    pub(super) fn add(&mut self, truth: &Path, sequence: &Sequence) {
        let scores = SequenceScores::of(sequence);
        self.sequences.push((truth.display().to_string(), scores));
        self.total += scores;
    }
}

impl SequenceScores {
    fn of(sequence: &Sequence) -> Self {
        let Sequence { frames, n_objects, n_tracks, elapsed, .. } = sequence;
        Self {
            clear: ClearCounts::of(frames),
            identity: IdentityCounts::of(frames, *n_objects, *n_tracks),
            hota: HotaSums::of(frames, *n_objects, *n_tracks),
            n_frames: frames.len() as u64,
            elapsed: *elapsed,
        }
    }

    /// The multiple object tracking accuracy, at most 1; none without objects.
    pub fn mota(&self) -> Option<f64> {
        self.clear.accuracy()
    }

    /// The F1 score of ids, from 0 to 1; none without objects and tracks.
    pub fn idf1(&self) -> Option<f64> {
        self.identity.f1()
    }

    /// The higher order tracking accuracy, from 0 to 1; none without objects.
    pub fn hota(&self) -> Option<f64> {
        self.hota.mean()
    }

    /// The speed of the tracker; none without frames.
    pub fn frames_per_s(&self) -> Option<f64> {
        let elapsed_s = self.elapsed.as_secs_f64();
        (elapsed_s > 0.0).then(|| self.n_frames as f64 / elapsed_s)
    }
}

impl AddAssign for SequenceScores {
    fn add_assign(&mut self, other: Self) {
        self.clear += other.clear;
        self.identity += other.identity;
        self.hota += other.hota;
        self.n_frames += other.n_frames;
        self.elapsed += other.elapsed;
    }
}

impl Serialize for SequenceScores {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_struct("SequenceScores", 9)?;
        map.serialize_field("mota", &self.mota())?;
        map.serialize_field("idf1", &self.idf1())?;
        map.serialize_field("hota", &self.hota())?;
        map.serialize_field("n_objects", &self.clear.objects)?;
        map.serialize_field("n_misses", &self.clear.misses)?;
        map.serialize_field("n_false_positives", &self.clear.false_positives)?;
        map.serialize_field("n_switches", &self.clear.switches)?;
        map.serialize_field("n_frames", &self.n_frames)?;
        map.serialize_field("frames_per_s", &self.frames_per_s())?;
        map.end()
    }
}

/// A table with a row for each sequence, and one for all.
impl fmt::Display for TrackScores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.sequences.iter().map(|(name, _)| name.chars().count());
        let width = names.max().unwrap_or_default().max(5);
        writeln!(
            f,
            "{:width$}  {:>6}  {:>6}  {:>6}  {:>8}  {:>6}  {:>15}  {:>8}  {:>10}",
            "",
            "MOTA",
            "IDF1",
            "HOTA",
            "switches",
            "misses",
            "false positives",
            "frames",
            "frames/s"
        )?;
        let total = ("total".to_owned(), self.total);
        for (name, scores) in self.sequences.iter().chain([&total]) {
            let share = |share: Option<f64>| share.map_or("-".to_owned(), |it| format!("{it:.3}"));
            writeln!(
                f,
                "{name:width$}  {:>6}  {:>6}  {:>6}  {:>8}  {:>6}  {:>15}  {:>8}  {:>10.0}",
                share(scores.mota()),
                share(scores.idf1()),
                share(scores.hota()),
                scores.clear.switches,
                scores.clear.misses,
                scores.clear.false_positives,
                scores.n_frames,
                scores.frames_per_s().unwrap_or_default(),
            )?;
        }
        Ok(())
    }
}
