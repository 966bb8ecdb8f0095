//! Contract tests of sinks: a destination contains each committed record exactly once, whichever run wrote it.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use ::sinks::{Hub, Sink, SinkConfig, SinkContext, SinkError};
use schemas::{PoseFrame, Record, RecordKind, Tick};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::kafka::Kafka;
use crate::support::process;

/// Reads the ids of the frames that are committed in a folder.
type Committed = Box<dyn Fn(&Path) -> Vec<u64>>;

/// A sink under test.
struct Destination {
    folder: TempDir,
    config: SinkConfig,
    committed: Committed,
}

impl Destination {
    fn new(settings: &Value, committed: impl Fn(&Path) -> Vec<u64> + 'static) -> Self {
        let config = serde_json::from_value(settings.clone()).expect("these are settings");
        let folder = tempfile::tempdir().expect("room");
        Self { folder, config, committed: Box::new(committed) }
    }

    /// Opens the sink as the run with this number does.
    fn open(&self, generation: i64) -> Result<Box<dyn Sink>, SinkError> {
        let context = SinkContext {
            pipeline: "flat",
            name: "out",
            inputs: &[("people".to_owned(), RecordKind::Pose)],
            lineage: "1",
            generation,
            directory: self.folder.path(),
            hub: &Arc::<Hub>::default(),
        };
        Ok(self.config.open(&context)?.sink)
    }

    /// Opens the sink and fences earlier runs.
    fn start(&self, generation: i64) -> Box<dyn Sink> {
        let mut sink = self.open(generation).expect("the destination is there");
        sink.fence().expect("no other run writes");
        sink
    }

    fn committed(&self) -> Vec<u64> {
        let mut ids = (self.committed)(self.folder.path());
        ids.sort_unstable();
        ids
    }
}

fn frames(ids: &[u64]) -> Vec<Record> {
    let frame =
        |frame_id: &u64| Record::Pose(PoseFrame { frame_id: *frame_id, ..PoseFrame::default() });
    ids.iter().map(frame).collect()
}

fn write(sink: &mut Box<dyn Sink>, tick: Tick, ids: &[u64]) -> usize {
    sink.write(tick, &frames(ids)).expect("there is room")
}

/// Records are counted, and are there after the commit; the upper is that of the commit.
fn commits_what_it_accepts(destination: &Destination) {
    let mut sink = destination.start(1);
    assert_eq!(sink.upper(), Some(0), "nothing is there");
    assert_eq!(write(&mut sink, 10, &[1, 2]), 2);
    assert_eq!(write(&mut sink, 20, &[]), 0);
    assert_eq!(write(&mut sink, 30, &[3]), 1);
    sink.commit(40).expect("there is room");
    assert_eq!(sink.upper(), Some(40));
    assert!(sink.take_rejected().is_empty() && !sink.full());
    assert_eq!(destination.committed(), [1, 2, 3]);
}

/// The next run has the upper of the last commit. A replay of ticks below it adds nothing; accepted records
/// that were not committed are not there.
fn continues_at_its_upper(destination: &Destination) {
    let mut sink = destination.start(2);
    assert_eq!(sink.upper(), Some(40));
    assert_eq!(write(&mut sink, 30, &[3]), 0, "it is there already");
    write(&mut sink, 40, &[4]);
    drop(sink);
    assert_eq!(destination.committed(), [1, 2, 3]);
    let mut sink = destination.start(3);
    assert_eq!(sink.upper(), Some(40));
    assert_eq!(write(&mut sink, 30, &[3]), 0);
    assert_eq!(write(&mut sink, 40, &[4]), 1);
    assert_eq!(write(&mut sink, 50, &[5]), 1);
    sink.commit(60).expect("there is room");
    assert_eq!(destination.committed(), [1, 2, 3, 4, 5]);
}

/// A commit without records, also a repeated one, adds nothing. Its upper may stay, as that of tables does; it is
/// the same for the next run.
fn commits_nothing_without_records(destination: &Destination) {
    let mut sink = destination.start(4);
    sink.commit(70).expect("there is room");
    sink.commit(70).expect("there is room");
    let upper = sink.upper();
    assert!((Some(60)..=Some(70)).contains(&upper), "{upper:?}");
    drop(sink);
    assert_eq!(destination.start(5).upper(), upper);
    assert_eq!(destination.committed(), [1, 2, 3, 4, 5]);
}

/// What a run commits after a later run has fenced it is not there twice.
fn fences_earlier_runs(destination: &Destination) {
    let mut earlier = destination.start(6);
    write(&mut earlier, 70, &[6]);
    let mut later = destination.start(7);
    write(&mut later, 70, &[6]);
    later.commit(80).expect("it is the newest run");
    // The earlier run fails, or has no effect.
    let _ = earlier.commit(80);
    drop((earlier, later));
    let mut last = destination.start(8);
    assert_eq!(write(&mut last, 70, &[6]), 0, "it is there already");
    last.commit(90).expect("nobody else writes");
    assert_eq!(destination.committed(), [1, 2, 3, 4, 5, 6]);
}

fn keeps_the_contract(destination: &Destination) {
    commits_what_it_accepts(destination);
    continues_at_its_upper(destination);
    commits_nothing_without_records(destination);
    fences_earlier_runs(destination);
}

fn ids(rows: &[Value]) -> Vec<u64> {
    rows.iter().map(|row| row["frame_id"].as_u64().expect("a frame")).collect()
}

pub(crate) fn json_lines_keep_the_contract() {
    let settings = json!({ "json_lines": { "path": "out.jsonl" } });
    keeps_the_contract(&Destination::new(&settings, |folder| {
        let text = fs::read_to_string(folder.join("out.jsonl")).expect("it is there");
        let rows = text.lines().map(|line| serde_json::from_str(line).expect("JSON"));
        ids(&rows.collect::<Vec<_>>())
    }));
}

pub(crate) fn a_history_keeps_the_contract() {
    let settings = json!({ "delta": { "path": "history" } });
    keeps_the_contract(&Destination::new(&settings, |folder| {
        let arguments = ["sql", "--format", "json", "SELECT frame_id FROM poses"];
        let rows = process::succeed(folder, &arguments);
        ids(&serde_json::from_str::<Vec<Value>>(&rows).expect("JSON"))
    }));
}

pub(crate) fn topics_keep_the_contract() {
    let kafka = Kafka::start();
    let settings = json!({ "kafka": { "brokers": kafka.brokers(), "prefix": "contract" } });
    keeps_the_contract(&Destination::new(&settings, move |_| {
        let messages = kafka.read("contract.pose.frames.v1").into_iter();
        let rows = messages.map(|it| serde_json::from_str(&it.value).expect("JSON"));
        ids(&rows.collect::<Vec<_>>())
    }));
}

/// Live views store nothing, so they have no upper; every record is counted and published.
pub(crate) fn live_views_count_records() {
    let destination = Destination::new(&json!({ "live": {} }), |_| Vec::new());
    let mut sink = destination.start(1);
    assert_eq!(sink.upper(), None);
    assert_eq!(write(&mut sink, 10, &[1, 2]), 2);
    sink.commit(20).expect("it stores nothing");
    assert_eq!(sink.upper(), None);
}
