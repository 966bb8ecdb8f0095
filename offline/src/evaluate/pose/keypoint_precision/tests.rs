//! Cases whose values are worked out by hand.

use super::*;

/// Side of a person's square: the area of 6400 is medium.
const SIDE_PX: f64 = 80.0;

/// Keypoints on the diagonal of a square at (x, x), all visible.
fn diagonal(x: f64) -> Keypoints {
    array::from_fn(|idx| {
        let place = x + SIDE_PX * idx as f64 / 16.0;
        [place, place, 2.0]
    })
}

fn person(image: u64, x: f64) -> TruthPerson {
    let bbox = [x, x, SIDE_PX, SIDE_PX];
    let area = SIDE_PX * SIDE_PX;
    TruthPerson { image, keypoints: diagonal(x), bbox, area, is_crowd: false }
}

/// A person of whom only the box is annotated.
fn without_keypoints(image: u64, x: f64) -> TruthPerson {
    TruthPerson { keypoints: [[0.0; 3]; N_KEYPOINTS], ..person(image, x) }
}

fn crowd(image: u64, x: f64) -> TruthPerson {
    TruthPerson { is_crowd: true, ..person(image, x) }
}

fn result(image: u64, x: f64, score: f64) -> PoseResult {
    PoseResult { image, keypoints: diagonal(x), score }
}

fn evaluate_all(truths: &[TruthPerson], results: &[PoseResult]) -> KeypointPrecision {
    evaluate(truths, results, &(1..=3).collect())
}

/// `ap` and `ar`, in units of 1e-9 since 101 additions round.
fn ap_and_ar(truths: &[TruthPerson], results: &[PoseResult]) -> [Option<f64>; 2] {
    let found = evaluate_all(truths, results);
    [found.ap, found.ar].map(|value| value.map(|value| (value * 1e9).round() / 1e9))
}

fn rounded(ap: f64, ar: f64) -> [Option<f64>; 2] {
    [ap, ar].map(|value| Some((value * 1e9).round() / 1e9))
}

#[test]
fn scores_hand_made_cases() {
    let two = [person(1, 0.0), person(2, 500.0)];
    let right = [result(1, 0.0, 0.9), result(2, 500.0, 0.8)];
    let wrong = |score| result(3, 900.0, score);
    for (name, results, ap, ar) in [
        ("perfect", vec![right[0].clone(), right[1].clone()], 1.0, 1.0),
        ("no results", vec![], 0.0, 0.0),
        ("nothing found", vec![wrong(0.9)], 0.0, 0.0),
        // Precision is 1 at the recalls 0, 0.01, …, 0.5: 51 of 101.
        ("one of two", vec![right[0].clone()], 51.0 / 101.0, 0.5),
        ("a false one behind", vec![right[0].clone(), wrong(0.1)], 51.0 / 101.0, 0.5),
        // Precision is 1/2 there.
        ("a false one ahead", vec![right[0].clone(), wrong(1.0)], 51.0 / 202.0, 0.5),
        // Precision is 1 up to recall 0.5, then 2/3.
        (
            "a false one between",
            vec![right[0].clone(), right[1].clone(), wrong(0.85)],
            (51.0 + 50.0 * 2.0 / 3.0) / 101.0,
            1.0,
        ),
        (
            "the second double is false",
            vec![right[0].clone(), right[0].clone(), right[1].clone()],
            (51.0 + 50.0 * 2.0 / 3.0) / 101.0,
            1.0,
        ),
        ("wrong image", vec![result(2, 0.0, 0.9)], 0.0, 0.0),
        ("an image that is not evaluated", vec![result(9, 0.0, 0.9)], 0.0, 0.0),
    ] {
        assert_eq!(ap_and_ar(&two, &results), rounded(ap, ar), "{name}");
    }
}

#[test]
fn ignores_people_that_cannot_be_scored() {
    let right = result(1, 0.0, 0.5);
    let ahead = |x| result(1, x, 0.9);
    for (name, ignored, results, ap) in [
        ("missed", without_keypoints(1, 500.0), vec![right.clone()], 1.0),
        ("near the box", without_keypoints(1, 500.0), vec![right.clone(), ahead(560.0)], 1.0),
        // The box holds one person, who is matched once.
        (
            "twice near the box",
            without_keypoints(1, 500.0),
            vec![right.clone(), ahead(560.0), ahead(560.0)],
            0.5,
        ),
        ("off the box", without_keypoints(1, 500.0), vec![right.clone(), ahead(900.0)], 0.5),
        (
            "a crowd takes all",
            crowd(1, 500.0),
            vec![right.clone(), ahead(500.0), ahead(500.0)],
            1.0,
        ),
        // Both fit equally well, and the one that counts comes first.
        ("a crowd in the same place", crowd(1, 0.0), vec![right.clone()], 1.0),
    ] {
        for truths in [[person(1, 0.0), ignored.clone()], [ignored.clone(), person(1, 0.0)]] {
            assert_eq!(ap_and_ar(&truths, &results), rounded(ap, 1.0), "{name}");
        }
    }
}

#[test]
fn nothing_to_find_has_no_figures() {
    let false_one = [result(1, 0.0, 0.9)];
    for truths in [vec![], vec![crowd(1, 0.0)], vec![without_keypoints(1, 0.0)]] {
        for results in [&[], false_one.as_slice()] {
            assert_eq!(evaluate_all(&truths, results), KeypointPrecision::default());
        }
    }
    let nowhere = evaluate(&[person(1, 0.0)], &false_one, &BTreeSet::new());
    assert_eq!(nowhere, KeypointPrecision::default());
}

#[test]
fn drops_results_beyond_twenty() {
    let truths = [person(1, 0.0)];
    let with_better = |n_better: usize| {
        let mut results = vec![result(1, 900.0, 0.9); n_better];
        results.push(result(1, 0.0, 0.5));
        ap_and_ar(&truths, &results)
    };
    assert_eq!(with_better(19), rounded(0.05, 1.0));
    assert_eq!(with_better(20), rounded(0.0, 0.0));
}

#[test]
fn area_ranges_are_separate() {
    let large = TruthPerson { area: 1e4, ..person(2, 0.0) };
    let found = evaluate_all(&[person(1, 0.0), large], &[result(1, 0.0, 0.9)]);
    assert_eq!((found.ap_medium, found.ar_medium), (Some(1.0), Some(1.0)));
    assert_eq!((found.ap_large, found.ar_large), (Some(0.0), Some(0.0)));
    let found = evaluate_all(&[person(1, 0.0)], &[result(1, 0.0, 0.9)]);
    assert_eq!((found.ap_large, found.ar_large), (None, None));
    // A small person counts only among all.
    let small = TruthPerson { area: 1000.0, ..person(1, 0.0) };
    let found = evaluate_all(&[small], &[result(1, 0.0, 0.9)]);
    assert_eq!((found.ap, found.ap_medium, found.ap_large), (Some(1.0), None, None));
}

#[test]
fn a_false_result_counts_in_the_range_of_its_own_area() {
    let large = TruthPerson { area: 1e4, ..person(2, 0.0) };
    let results = [result(1, 900.0, 0.95), result(1, 0.0, 0.9), result(2, 0.0, 0.8)];
    let found = evaluate_all(&[person(1, 0.0), large], &results);
    // Medium: the false one comes first. Large: it is of another size, and ignored.
    assert_eq!((found.ap_medium, found.ap_large), (Some(0.5), Some(1.0)));
    // All: precisions 0, 1/2 and 2/3, raised to 2/3 throughout.
    assert!((found.ap.unwrap() - 2.0 / 3.0).abs() < 1e-9);
}

#[test]
fn of_equals_the_later_person_is_matched() {
    let tiny = TruthPerson { area: 100.0, ..person(1, 0.0) };
    let large = TruthPerson { area: 1e4, ..person(1, 0.0) };
    // The first fits both exactly, the second, which is 3 pixels off, only the large one.
    let results = [result(1, 0.0, 0.9), result(1, 3.0, 0.8)];
    let ar_50 = |truths: [&TruthPerson; 2]| evaluate_all(&truths.map(Clone::clone), &results).ar_50;
    assert_eq!(ar_50([&large, &tiny]), Some(1.0));
    assert_eq!(ar_50([&tiny, &large]), Some(0.5));
}

#[test]
fn recalls_are_rounded_as_numpy_does() {
    let place = |idx: u32| f64::from(idx) * 500.0;
    let truths: Vec<_> = (0..20).map(|idx| person(1, place(idx))).collect();
    let results: Vec<_> = (0..7).map(|idx| result(1, place(idx), 0.5)).collect();
    // 7 of 20 miss the recall 0.35000000000000003, so 0, 0.01, …, 0.34 are left.
    assert_eq!(ap_and_ar(&truths, &results), rounded(35.0 / 101.0, 0.35));
}

#[test]
fn thresholds_grade_the_distance() {
    // Each of the two annotated keypoints has one half of the OKS; the other is far away.
    let mut truth = person(1, 0.0);
    for keypoint in &mut truth.keypoints[2..] {
        keypoint[2] = 0.0;
    }
    let mut found = result(1, 0.0, 0.9);
    found.keypoints[1] = [1e5, 1e5, 2.0];
    found.keypoints[16] = [1e5, 0.0, 2.0];
    assert_eq!(object_keypoint_similarity(&truth, &found.keypoints), 0.5);
    let scores = evaluate_all(&[truth], &[found]);
    assert_eq!((scores.ap_50, scores.ap_75), (Some(1.0), Some(0.0)));
    assert_eq!((scores.ar_50, scores.ar_75), (Some(1.0), Some(0.0)));
    assert!((scores.ap.unwrap() - 0.1).abs() < 1e-9);
}

#[test]
fn similarity_is_a_gaussian_at_the_persons_scale() {
    let truth = person(1, 0.0);
    let mut moved = truth.keypoints;
    // One standard deviation, 2 · sigma · √area, for each keypoint.
    for (keypoint, sigma) in moved.iter_mut().zip(KEYPOINT_SIGMAS) {
        keypoint[0] += 2.0 * sigma * SIDE_PX;
    }
    let similarity = object_keypoint_similarity(&truth, &moved);
    assert!((similarity - (-0.5_f64).exp()).abs() < 1e-12);
}

#[test]
fn the_box_reaches_one_length_further_on_each_side() {
    // From 10 to 30, so the enlarged one is from -10 to 50.
    for (place, expected) in [(20.0, 0.0), (-10.0, 0.0), (-13.0, 3.0), (50.0, 0.0), (54.0, 4.0)] {
        assert_eq!(outside_px(place, 10.0, 20.0), expected, "{place}");
    }
    assert!(outside_px(f64::NAN, 10.0, 20.0).is_nan());
}

#[test]
fn odd_numbers_are_harmless() {
    let truths = [person(1, 0.0)];
    let nowhere = PoseResult { keypoints: [[f64::NAN; 3]; N_KEYPOINTS], ..result(1, 0.0, 0.9) };
    assert_eq!(ap_and_ar(&truths, std::slice::from_ref(&nowhere)), rounded(0.0, 0.0));
    // It is a false one, not an ignored one, in an ignored box too.
    let results = [nowhere, result(1, 0.0, 0.5)];
    assert_eq!(ap_and_ar(&truths, &results), rounded(0.5, 1.0));
    let in_box = [person(1, 0.0), without_keypoints(1, 500.0)];
    assert_eq!(ap_and_ar(&in_box, &results), rounded(0.5, 1.0));
    // A score that is not a number comes last.
    let results = [result(1, 900.0, f64::NAN), result(1, 0.0, -5.0)];
    assert_eq!(ap_and_ar(&truths, &results), rounded(1.0, 1.0));
    // Without an area, only the very same place is similar.
    let point = [TruthPerson { area: 0.0, ..person(1, 0.0) }];
    assert_eq!(ap_and_ar(&point, &[result(1, 0.0, 0.9)]), rounded(1.0, 1.0));
    assert_eq!(ap_and_ar(&point, &[result(1, 1.0, 0.9)]), rounded(0.0, 0.0));
}
