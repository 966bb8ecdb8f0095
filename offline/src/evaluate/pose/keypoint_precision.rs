//! Keypoint precision: how well the poses found in images agree with the annotated people.
//!
//! COCO scores poses as it scores boxes. A result finds a person if their object keypoint
//! similarity (OKS) reaches a threshold; precision and recall follow from the order of the results'
//! scores. The ten figures are those of `COCOeval.summarize`, so they compare with published ones.
//!
//! Source: the COCO keypoint evaluation, <https://cocodataset.org/#keypoints-eval>, as `cocoeval.py`
//! of pycocotools 2.0 computes it. On 494 synthetic sets the figures of pycocotools 2.0.11 differ
//! by rounding errors only (2e-15).

use std::array;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

/// Keypoints of a COCO person, nose first and right ankle last.
pub(super) const N_KEYPOINTS: usize = 17;

/// One image's best results that are evaluated; the rest are dropped.
pub(super) const MAX_RESULTS_PER_IMAGE: usize = 20;

/// How far annotators stray on each keypoint, as a share of the square root of the person's area.
///
/// Source: `Params.setKpParams` of pycocotools.
pub(super) const KEYPOINT_SIGMAS: [f64; N_KEYPOINTS] = [
    0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107,
    0.087, 0.087, 0.089, 0.089,
];

const N_THRESHOLDS: usize = 10;

/// OKS from which a result finds a person. The ninth is numpy's, a rounding error below 0.9.
const OKS_THRESHOLDS: [f64; N_THRESHOLDS] =
    [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.899_999_999_999_999_9, 0.95];

/// Places of 0.50 and 0.75 in [`OKS_THRESHOLDS`].
const AT_50: usize = 0;
const AT_75: usize = 5;

/// Recall is sampled at 0, 0.01, …, 1.
const LAST_RECALL_PERCENT: u32 = 100;

/// Areas in square pixels: all, medium (32² to 96²) and large. A bound belongs to both neighbours.
const AREA_RANGES: [AreaRange; 3] = [
    AreaRange { lowest: 0.0, highest: 1e10 },
    AreaRange { lowest: 1024.0, highest: 9216.0 },
    AreaRange { lowest: 9216.0, highest: 1e10 },
];

/// `[x, y, third]` of each keypoint in COCO's order, in pixels from the image's top left corner.
///
/// The third number of a [`TruthPerson`] is the visibility: 0 not annotated, 1 hidden, 2 visible.
/// The third number of a [`PoseResult`] is not read.
pub(super) type Keypoints = [[f64; 3]; N_KEYPOINTS];

/// An annotated person, as `annotations` of a COCO keypoint file has it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TruthPerson {
    /// The image's `image_id`.
    pub(super) image: u64,
    /// Keypoints with their visibility. A person without any above 0 is ignored.
    pub(super) keypoints: Keypoints,
    /// `[x, y, width, height]` in pixels; read only if no keypoint is annotated.
    pub(super) bbox: [f64; 4],
    /// Area of the segmentation (not of the box) in square pixels: the scale of the OKS.
    pub(super) area: f64,
    /// COCO's `iscrowd`: a group, which is ignored and which any number of results may match.
    pub(super) is_crowd: bool,
}

/// A pose found in an image, as a COCO keypoint result file has it.
///
/// Its area, for the area ranges, is that of the box around all its keypoints.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PoseResult {
    /// The image's `image_id`.
    pub(super) image: u64,
    /// Keypoints; all 17 are used, whatever their third number.
    pub(super) keypoints: Keypoints,
    /// Confidence in the whole pose, on any scale. NaN sorts behind all numbers.
    pub(super) score: f64,
}

/// The ten figures of `COCOeval.summarize` for keypoints, each from 0 to 1.
///
/// AP is the average precision over 101 recalls, AR the highest recall. A figure is `None`, where
/// pycocotools reports -1, if no person of its area range is annotated (and not ignored).
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct KeypointPrecision {
    /// Average precision, mean over the OKS thresholds 0.50, 0.55, …, 0.95: COCO's main figure.
    pub ap: Option<f64>,
    /// Average precision at OKS 0.50.
    pub ap_50: Option<f64>,
    /// Average precision at OKS 0.75.
    pub ap_75: Option<f64>,
    /// As `ap`, for areas from 32² to 96² square pixels.
    pub ap_medium: Option<f64>,
    /// As `ap`, for areas from 96² square pixels.
    pub ap_large: Option<f64>,
    /// Recall, mean over the OKS thresholds 0.50, 0.55, …, 0.95.
    pub ar: Option<f64>,
    /// Recall at OKS 0.50.
    pub ar_50: Option<f64>,
    /// Recall at OKS 0.75.
    pub ar_75: Option<f64>,
    /// As `ar`, for areas from 32² to 96² square pixels.
    pub ar_medium: Option<f64>,
    /// As `ar`, for areas from 96² square pixels.
    pub ar_large: Option<f64>,
}

/// Compares `results` with `truths` on `images`; people and results of other images are left out.
///
/// Equal scores rank by image id and then by place in `results`, equal OKS takes the later person:
/// so the order of the slices matters as it does in pycocotools.
///
/// Only on numbers that are not finite do the two differ: here a keypoint at NaN counts as
/// infinitely far away; in pycocotools a result with such a keypoint matches any person.
///
/// With people but without results the figures are 0, where `loadRes` of pycocotools fails.
pub(super) fn evaluate(
    truths: &[TruthPerson],
    results: &[PoseResult],
    images: &BTreeSet<u64>,
) -> KeypointPrecision {
    let images = compare_by_image(truths, results, images);
    let [all, medium, large] = AREA_RANGES.map(|range| score_range(&images, range));
    KeypointPrecision {
        ap: all.map(|scores| mean(scores.precision)),
        ap_50: all.map(|scores| scores.precision[AT_50]),
        ap_75: all.map(|scores| scores.precision[AT_75]),
        ap_medium: medium.map(|scores| mean(scores.precision)),
        ap_large: large.map(|scores| mean(scores.precision)),
        ar: all.map(|scores| mean(scores.recall)),
        ar_50: all.map(|scores| scores.recall[AT_50]),
        ar_75: all.map(|scores| scores.recall[AT_75]),
        ar_medium: medium.map(|scores| mean(scores.recall)),
        ar_large: large.map(|scores| mean(scores.recall)),
    }
}

/// Object keypoint similarity of a result with a person, from 0 to 1 (same place).
///
/// The mean over the annotated keypoints of a Gaussian in the distance, whose width is the
/// keypoint's sigma at the person's scale. If none is annotated, the mean is over all 17, and the
/// distance is that from the box enlarged by its own size on every side, so that results nearby fit.
pub(super) fn object_keypoint_similarity(truth: &TruthPerson, result: &Keypoints) -> f64 {
    let annotated = truth.annotated();
    let similarity = |idx: usize, offset: [f64; 2]| keypoint_similarity(idx, offset, truth.area);
    let to_keypoint = |&idx: &usize| similarity(idx, truth.offset_px(idx, result[idx]));
    let to_box = |idx: usize| similarity(idx, truth.offset_from_box_px(result[idx]));
    if annotated.is_empty() {
        return (0..N_KEYPOINTS).map(to_box).sum::<f64>() / N_KEYPOINTS as f64;
    }
    annotated.iter().map(to_keypoint).sum::<f64>() / annotated.len() as f64
}

/// Similarity of one keypoint, which is `[dx, dy]` pixels off on a person of `area` square pixels.
fn keypoint_similarity(idx: usize, [dx, dy]: [f64; 2], area: f64) -> f64 {
    let variance = (2.0 * KEYPOINT_SIGMAS[idx]).powi(2);
    // pycocotools adds the epsilon so that an area of zero does not divide.
    let exponent = (dx * dx + dy * dy) / variance / (area + f64::EPSILON) / 2.0;
    // NaN becomes 0: a keypoint that is nowhere is far from everything.
    (-exponent).exp().max(0.0)
}

impl TruthPerson {
    /// Indices of the annotated keypoints; their count is COCO's `num_keypoints`.
    fn annotated(&self) -> Vec<usize> {
        (0..N_KEYPOINTS).filter(|&idx| self.keypoints[idx][2] > 0.0).collect()
    }

    fn offset_px(&self, idx: usize, [x, y, _]: [f64; 3]) -> [f64; 2] {
        let [truth_x, truth_y, _] = self.keypoints[idx];
        [x - truth_x, y - truth_y]
    }

    fn offset_from_box_px(&self, [x, y, _]: [f64; 3]) -> [f64; 2] {
        let [left, top, width, height] = self.bbox;
        [outside_px(x, left, width), outside_px(y, top, height)]
    }

    /// Reports whether the figures of `range` leave this person out.
    fn ignored(&self, range: AreaRange) -> bool {
        self.is_crowd || self.annotated().is_empty() || !range.holds(self.area)
    }
}

/// Distance of `place` from an interval that is enlarged by its own length at either end.
fn outside_px(place: f64, start: f64, length: f64) -> f64 {
    let before = start - length - place;
    let after = place - (start + 2.0 * length);
    // Not `max`, which would turn NaN into no distance.
    [before, after].map(|distance| if distance < 0.0 { 0.0 } else { distance }).iter().sum()
}

/// Area of the box around all keypoints, in square pixels. NaN if a coordinate is.
fn area_of(keypoints: &Keypoints) -> f64 {
    span(keypoints.map(|[x, _, _]| x)) * span(keypoints.map(|[_, y, _]| y))
}

/// From the lowest to the highest; in the total order NaN is one of the two, and stays.
fn span(mut places: [f64; N_KEYPOINTS]) -> f64 {
    places.sort_by(f64::total_cmp);
    places[N_KEYPOINTS - 1] - places[0]
}

/// Areas in square pixels, with both bounds.
#[derive(Clone, Copy)]
struct AreaRange {
    lowest: f64,
    highest: f64,
}

impl AreaRange {
    /// NaN is in every range, as in pycocotools: a broken result is a false one, not ignored.
    fn holds(self, area: f64) -> bool {
        area.is_nan() || (self.lowest..=self.highest).contains(&area)
    }
}

/// One image's people, and its best results with their similarity to each of them.
struct ComparedImage<'a> {
    truths: Vec<&'a TruthPerson>,
    results: Vec<ComparedResult>,
}

/// A result and its OKS with each person of the image, in their order.
struct ComparedResult {
    score: f64,
    area: f64,
    oks: Vec<f64>,
}

/// Compares within each image, in the order of the image ids.
fn compare_by_image<'a>(
    truths: &'a [TruthPerson],
    results: &[PoseResult],
    images: &BTreeSet<u64>,
) -> Vec<ComparedImage<'a>> {
    let mut truths = group_by(truths, |truth| truth.image);
    let mut results = group_by(results, |result| result.image);
    let mut compare = |image: &u64| {
        let truths = truths.remove(image).unwrap_or_default();
        ComparedImage::new(truths, results.remove(image).unwrap_or_default())
    };
    images.iter().map(&mut compare).collect()
}

fn group_by<T>(items: &[T], image_of: impl Fn(&T) -> u64) -> BTreeMap<u64, Vec<&T>> {
    let mut groups = BTreeMap::<u64, Vec<&T>>::new();
    for item in items {
        groups.entry(image_of(item)).or_default().push(item);
    }
    groups
}

impl<'a> ComparedImage<'a> {
    fn new(truths: Vec<&'a TruthPerson>, mut results: Vec<&PoseResult>) -> Self {
        results.sort_by(|a, b| highest_first(a.score, b.score));
        results.truncate(MAX_RESULTS_PER_IMAGE);
        let results = results.iter().map(|result| ComparedResult::new(result, &truths)).collect();
        Self { truths, results }
    }

    fn candidates(&self, range: AreaRange) -> Vec<Candidate> {
        self.truths.iter().map(|truth| Candidate::new(truth, range)).collect()
    }

    /// Judges each result, best first, since a better one has the first choice of the people.
    fn judge(&self, range: AreaRange) -> Vec<JudgedResult> {
        let mut candidates = array::from_fn(|_| self.candidates(range));
        self.results.iter().map(|result| result.judge(&mut candidates, range)).collect()
    }
}

impl ComparedResult {
    fn new(result: &PoseResult, truths: &[&TruthPerson]) -> Self {
        let similarity =
            |truth: &&TruthPerson| object_keypoint_similarity(truth, &result.keypoints);
        let oks = truths.iter().map(similarity).collect();
        Self { score: result.score, area: area_of(&result.keypoints), oks }
    }

    /// Judges at each threshold, with the candidates that are left at that threshold.
    fn judge(
        &self,
        candidates: &mut [Vec<Candidate>; N_THRESHOLDS],
        range: AreaRange,
    ) -> JudgedResult {
        let at = |idx: usize| self.verdict(&mut candidates[idx], OKS_THRESHOLDS[idx], range);
        JudgedResult { score: self.score, verdicts: array::from_fn(at) }
    }

    fn verdict(&self, candidates: &mut [Candidate], threshold: f64, range: AreaRange) -> Verdict {
        match self.best_match(candidates, threshold) {
            Some(best) => candidates[best].take(),
            None if range.holds(self.area) => Verdict::Wrong,
            // Perhaps it found a person outside the range that nobody annotated.
            None => Verdict::Ignored,
        }
    }

    /// Chooses the most similar person; one that is ignored only if no other will do.
    fn best_match(&self, candidates: &[Candidate], threshold: f64) -> Option<usize> {
        let best_of = |ignored: bool| {
            let fits = |(candidate, oks): (&Candidate, &f64)| {
                candidate.free && candidate.ignored == ignored && *oks >= threshold
            };
            let pairs = candidates.iter().zip(&self.oks).enumerate();
            // Of equals, `max_by` takes the last, and so does pycocotools.
            let best = pairs.filter(|(_, pair)| fits(*pair)).max_by(|a, b| a.1.1.total_cmp(b.1.1));
            best.map(|(idx, _)| idx)
        };
        best_of(false).or_else(|| best_of(true))
    }
}

/// A person while results are matched, at one threshold.
struct Candidate {
    ignored: bool,
    is_crowd: bool,
    free: bool,
}

impl Candidate {
    fn new(truth: &TruthPerson, range: AreaRange) -> Self {
        Self { ignored: truth.ignored(range), is_crowd: truth.is_crowd, free: true }
    }

    /// Matches a result with this person; only a crowd is free for further ones.
    fn take(&mut self) -> Verdict {
        self.free = self.is_crowd;
        if self.ignored { Verdict::Ignored } else { Verdict::Right }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Verdict {
    Right,
    Wrong,
    /// Counts neither way.
    Ignored,
}

struct JudgedResult {
    score: f64,
    verdicts: [Verdict; N_THRESHOLDS],
}

/// Average precision and highest recall at each OKS threshold.
#[derive(Clone, Copy)]
struct RangeScores {
    precision: [f64; N_THRESHOLDS],
    recall: [f64; N_THRESHOLDS],
}

/// Scores one area range; `None` if it has no person to find.
fn score_range(images: &[ComparedImage], range: AreaRange) -> Option<RangeScores> {
    let truths = images.iter().flat_map(|image| &image.truths);
    let n_truths = truths.filter(|truth| !truth.ignored(range)).count();
    let mut results: Vec<_> = images.iter().flat_map(|image| image.judge(range)).collect();
    // A stable sort: equal scores stay in the order of their images.
    results.sort_by(|a, b| highest_first(a.score, b.score));
    (n_truths > 0).then(|| score_results(&results, n_truths))
}

fn score_results(results: &[JudgedResult], n_truths: usize) -> RangeScores {
    let curves: [_; N_THRESHOLDS] =
        array::from_fn(|idx| curve(results.iter().map(|result| result.verdicts[idx]), n_truths));
    RangeScores {
        precision: array::from_fn(|idx| average_precision(&curves[idx])),
        recall: array::from_fn(|idx| curves[idx].last().map_or(0.0, |point| point.recall)),
    }
}

/// Recall and precision of the best results up to some score.
struct CurvePoint {
    recall: f64,
    precision: f64,
}

/// Precision over recall, which never falls; from right to left, precision never falls either.
fn curve(verdicts: impl Iterator<Item = Verdict>, n_truths: usize) -> Vec<CurvePoint> {
    let mut n_right = 0;
    let point = |(n_before, verdict): (usize, Verdict)| {
        n_right += usize::from(verdict == Verdict::Right);
        let precision = n_right as f64 / (n_before + 1) as f64;
        CurvePoint { recall: n_right as f64 / n_truths as f64, precision }
    };
    let counted = verdicts.filter(|verdict| *verdict != Verdict::Ignored);
    let mut curve: Vec<_> = counted.enumerate().map(point).collect();
    raise_to_later(&mut curve);
    curve
}

/// Lifts each precision to the best at the same or a higher recall, which takes out the zigzag.
fn raise_to_later(curve: &mut [CurvePoint]) {
    let mut best = 0.0_f64;
    for point in curve.iter_mut().rev() {
        best = best.max(point.precision);
        point.precision = best;
    }
}

/// Mean precision at 101 recalls; it is 0 at recalls that are not reached.
fn average_precision(curve: &[CurvePoint]) -> f64 {
    let precision_at = |percent: u32| {
        // The product and not the quotient: numpy rounds this way, and recall may equal it.
        let recall = f64::from(percent) * 0.01;
        let reached = curve.partition_point(|point| point.recall < recall);
        curve.get(reached).map_or(0.0, |point| point.precision)
    };
    let total: f64 = (0..=LAST_RECALL_PERCENT).map(precision_at).sum();
    total / f64::from(LAST_RECALL_PERCENT + 1)
}

fn mean(values: [f64; N_THRESHOLDS]) -> f64 {
    values.iter().sum::<f64>() / N_THRESHOLDS as f64
}

/// Order of falling scores with NaN last, where numpy sorts it too.
fn highest_first(a: f64, b: f64) -> Ordering {
    b.partial_cmp(&a).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

#[cfg(test)]
mod tests;
