//! Tracking in images: scores that agree with those of `motmetrics`, and people who keep their ids.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{data, process, python};

/// Prints MOTA, IDF1 and switches of tracks by `motmetrics`, pooled over pairs of truth and tracks.
const MOTMETRICS: &str = r#"
import json, sys, numpy as np
# motmetrics 1.4.0 uses a function that NumPy 2 does not have.
np.asfarray = lambda values: np.asarray(values, dtype=float)
import motmetrics as mm
def rows(path):
    frames = {}
    for line in open(path):
        v = [float(x) for x in line.split(",")]
        if not (len(v) == 9 and (v[6] == 0 or v[7] != 1)):
            frames.setdefault(int(v[0]), []).append((int(v[1]), v[2:6]))
    return frames
accumulators = []
for truth, tracks in zip(sys.argv[1::2], sys.argv[2::2]):
    truth, tracks = rows(truth), rows(tracks)
    accumulator = mm.MOTAccumulator(auto_id=True)
    for frame in range(1, max([*truth, *tracks]) + 1):
        a, b = truth.get(frame, []), tracks.get(frame, [])
        distances = mm.distances.iou_matrix([x[1] for x in a], [x[1] for x in b], max_iou=0.5)
        accumulator.update([x[0] for x in a], [x[0] for x in b], distances)
    accumulators.append(accumulator)
names = [str(nth) for nth in range(len(accumulators))]
summary = mm.metrics.create().compute_many(accumulators, metrics=["mota", "idf1", "num_switches"],
    names=names, generate_overall=True).loc["OVERALL"]
print(json.dumps([float(summary.mota), float(summary.idf1), int(summary.num_switches)]))
"#;

/// Evaluates sequences; returns the scores of all of them, after a comparison with `motmetrics`.
fn evaluate(folder: &Path, sequences: &[(PathBuf, PathBuf)], frame_rate: &str) -> Value {
    let text = |path: &Path| path.to_str().expect("plain text").to_owned();
    let tracks: Vec<_> =
        (0..sequences.len()).map(|nth| folder.join(format!("tracks{nth}.txt"))).collect();
    let mut arguments = vec!["evaluate".to_owned(), "track".to_owned(), "--json".to_owned()];
    arguments.extend(["--frame-rate".to_owned(), frame_rate.to_owned()]);
    for ((detections, truth), tracks) in sequences.iter().zip(&tracks) {
        arguments.extend(["--detections".to_owned(), text(detections)]);
        arguments.extend(["--truth".to_owned(), text(truth)]);
        arguments.extend(["--tracks".to_owned(), text(tracks)]);
    }
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let scores: Value = serde_json::from_str(&process::succeed(folder, &arguments)).expect("JSON");
    let scores = scores["total"].clone();
    let files: Vec<_> = sequences
        .iter()
        .zip(&tracks)
        .flat_map(|((_, truth), tracks)| [text(truth), text(tracks)])
        .collect();
    let files: Vec<_> = files.iter().map(String::as_str).collect();
    let peer: (f64, f64, u64) =
        serde_json::from_str(&python::run(MOTMETRICS, &files)).expect("numbers");
    let close = |name: &str, peer: f64| {
        let own = scores[name].as_f64().expect("a number");
        assert!((own - peer).abs() < 0.0005, "{name} is {own}, {peer} by motmetrics");
    };
    close("mota", peer.0);
    close("idf1", peer.1);
    assert_eq!(scores["n_switches"], peer.2);
    scores
}

fn score(scores: &Value, name: &str) -> f64 {
    scores[name].as_f64().expect("a number")
}

/// Two people walk towards each other and pass; some detections are missing, and some are of nobody.
pub(crate) fn scores_agree_with_motmetrics() {
    let folder = tempfile::tempdir().expect("room");
    let (mut detections, mut truth) = (String::new(), String::new());
    for frame in 1..=120_u32 {
        let along = f64::from(frame) * 4.0;
        for (id, x) in [(1, 20.0 + along), (2, 520.0 - along)] {
            // Writing to a string does not fail.
            let _ = writeln!(truth, "{frame},{id},{x},100,40,100,1,-1,-1,-1");
            let is_missed = (frame + 7 * id).is_multiple_of(9);
            let off = f64::from(frame % 5) - 2.0;
            if !is_missed {
                let _ = writeln!(detections, "{frame},-1,{},101,41,99,0.9,-1,-1,-1", x + off);
            }
        }
        if frame.is_multiple_of(11) {
            let _ = writeln!(detections, "{frame},-1,{},300,30,60,0.6,-1,-1,-1", frame * 3 % 400);
        }
    }
    fs::write(folder.path().join("det.txt"), detections).expect("room");
    fs::write(folder.path().join("gt.txt"), truth).expect("room");
    let sequence = (folder.path().join("det.txt"), folder.path().join("gt.txt"));
    let scores = evaluate(folder.path(), &[sequence], "25");
    assert_eq!(scores["n_objects"], 240);
    assert!(score(&scores, "mota") > 0.9 && score(&scores, "hota") > 0.5, "{scores}");
}

/// The best peer, by sequences with real and with synthetic detections, has MOTA 0.696 and IDF1 0.779, and MOTA
/// 0.714 and IDF1 0.757.
pub(crate) fn real_sequences_are_tracked_better_than_by_peers() {
    let folder = tempfile::tempdir().expect("room");
    let sequence = |name: &str, detections: &str| {
        (data::file(&format!("mot/{name}/{detections}")), data::file(&format!("mot/{name}/gt.txt")))
    };
    let real = ["TUD-Campus", "TUD-Stadtmitte"].map(|name| sequence(name, "det.txt"));
    let scores = evaluate(folder.path(), &real, "25");
    assert!(score(&scores, "mota") >= 0.696 && score(&scores, "idf1") >= 0.779, "{scores}");
    let synthetic = ["MOT17-02", "MOT17-09"].map(|name| sequence(name, "det_synth.txt"));
    let scores = evaluate(folder.path(), &synthetic, "30");
    assert!(score(&scores, "mota") >= 0.714 && score(&scores, "idf1") >= 0.757, "{scores}");
}

pub(crate) fn what_cannot_be_evaluated_is_reported() {
    let folder = tempfile::tempdir().expect("room");
    fs::write(folder.path().join("a.txt"), "1,1,0,0,10,20,1\n").expect("room");
    fs::write(folder.path().join("bad.txt"), "1,1,0,0,10,20,1\n1,1,zero\n").expect("room");
    let evaluate = ["evaluate", "track", "--detections", "a.txt", "--truth"];
    let errors = process::fail(folder.path(), &[&evaluate[..], &["bad.txt"]].concat(), 1);
    assert!(errors.contains("line 2 of \"bad.txt\""), "{errors}");
    let two = [&evaluate[..], &["a.txt", "--truth", "a.txt"]].concat();
    let errors = process::fail(folder.path(), &two, 1);
    assert!(errors.contains("1 files of detections, 2 of truth"), "{errors}");
}
