//! Tests of a history that is written, closed and opened again.

use std::fs;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use futures::TryStreamExt;
use schemas::{PoseFrame, Presence};

use super::*;
use crate::Hub;

const TOO_LARGE: u64 = 1 << 63;

fn open(folder: &Path) -> Delta {
    let hub = Arc::<Hub>::default();
    let context = SinkContext {
        pipeline: "flat",
        name: "history",
        inputs: &[],
        lineage: "1",
        generation: 1,
        directory: folder,
        hub: &hub,
    };
    let config = DeltaConfig {
        path: std::path::PathBuf::from("history").into(),
        commit_interval: TimeSpan::ZERO,
    };
    config.open(&context).expect("the folder can be written")
}

fn pose(frame_id: u64) -> Record {
    Record::Pose(PoseFrame { frame_id, ..PoseFrame::default() })
}

/// The values of a column as text, sorted.
fn column(folder: &Path, table: &str, column: &str) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let batches: Vec<RecordBatch> = runtime.expect("a runtime").block_on(async {
        let place = Location::Folder(folder.join("history").join(table));
        let table = place.open().await.expect("a table");
        let (_, batches) = table.scan_table().await.expect("it can be read");
        batches.try_collect().await.expect("it can be read")
    });
    let mut texts = Vec::new();
    for batch in batches {
        let values = cast(&batch[column], &DataType::Utf8).expect("values have a text");
        texts.extend(values.as_string::<i32>().iter().flatten().map(str::to_owned));
    }
    texts.sort_unstable();
    texts
}

#[test]
fn a_table_that_was_removed_is_reported() {
    let folder = tempfile::tempdir().expect("room");
    let mut history = open(folder.path());
    history.write(10, &[pose(1)]).expect("memory takes it");
    history.commit(20).expect("room");
    fs::remove_dir_all(folder.path().join("history/poses")).expect("it is there");
    history.write(20, &[pose(2)]).expect("memory takes it");
    let error = history.commit(30).expect_err("its rows are gone");
    assert!(matches!(error, SinkError::Removed { .. }), "{error}");
}

#[test]
fn a_record_without_a_column_is_a_dead_letter() {
    let folder = tempfile::tempdir().expect("room");
    let folder = folder.path();
    let mut first = open(folder);
    let presence = Record::Presence(Presence::default());
    let tick = [pose(1), pose(TOO_LARGE), presence, pose(2)];
    assert_eq!(first.write(10, &tick).expect("memory takes it"), 3);
    assert_eq!(first.take_rejected(), Rejected::from([(NO_COLUMN, 1)]));
    assert!(first.take_rejected().is_empty(), "they are counted once");
    first.commit(20).expect("the others fit");
    assert_eq!(first.n_bytes, 0);
    assert_eq!(column(folder, "poses", "frame_id"), ["1", "2"]);
    assert_eq!(column(folder, "presence", "motion").len(), 1);
    let letters = column(folder, "rejected", "detail");
    assert_eq!(letters, ["frame_id 9223372036854775808 is above 9223372036854775807"]);
    // The table of dead letters is committed first: here the run ends before the poses are committed.
    assert_eq!(first.write(20, &[pose(TOO_LARGE), pose(3)]).expect("memory takes it"), 1);
    first.commit_rejected(30).expect("room");
    let mut second = open(folder);
    assert_eq!(second.write(10, &tick).expect("memory takes it"), 0, "it is there already");
    assert_eq!(second.write(20, &[pose(TOO_LARGE), pose(3)]).expect("memory takes it"), 1);
    assert!(second.take_rejected().is_empty(), "its dead letter is there already");
    second.commit(30).expect("room");
    assert_eq!(column(folder, "poses", "frame_id"), ["1", "2", "3"]);
    assert_eq!(column(folder, "rejected", "detail").len(), 2);
}

#[test]
fn it_is_full_by_its_bytes() {
    let folder = tempfile::tempdir().expect("room");
    let mut sink = open(folder.path());
    let source = "x".repeat(FULL_BYTES / 2);
    let record = Record::Pose(PoseFrame { source, ..PoseFrame::default() });
    for (tick, full) in [(1, false), (2, true)] {
        sink.write(tick, std::slice::from_ref(&record)).expect("memory takes it");
        assert_eq!(sink.full(), full, "at tick {tick}");
    }
    sink.commit(3).expect("room");
    assert!(!sink.full());
}
