//! Simulated runs in this process, with in-memory sources and sinks and a store that fails. A seed
//! determines when runs are stopped, killed or failed. The output must equal that of a run without
//! faults.
//!
//! A seed determines all random choices, so that `FRESNEL_SEED=17` repeats a failed seed.
//! `FRESNEL_SEEDS=10000` tries more than the usual number.

mod chance;
mod sink;
mod source;
mod store;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use schemas::Progress;
use sinks::{OpenSink, SinkContext, SinkError};
use sources::{Partition, SourceContext, SourceError};
use tempfile::TempDir;

use crate::run::connectors::Connectors;
use crate::run::simulation::chance::Chance;
use crate::run::simulation::sink::{Disk, SimulatedSink};
use crate::run::simulation::source::{Script, SimulatedSource};
use crate::run::simulation::store::SimulatedStore;
use crate::run::{Cluster, RunBuilder, RunOptions, WhenAlive};
use crate::store::{CommitLog, Session, Store};
use crate::{Plan, PlannedSink, PlannedSource};

/// Seeds that every test run tries.
const SEEDS: u64 = 200;
/// Scripts of sources. One run without faults reads each script.
const SCRIPTS: u64 = 8;
/// Upper bound on the runs of a seed until its sources have ended.
const MOST_RUNS: usize = 60;

const PIPELINE: &str = r#"
name = "simulated"
checkpoint = { interval = "1ms", granule = "50ms", retention = 2 }

[sources.a]
type = "json"
transport = { file = "a" }
fields = { device = "text", n = "int" }
time = { field = "n" }

[sources.b]
type = "json"
transport = { file = "b" }
fields = { device = "text", n = "int" }
time = { field = "n" }

[operators.windows]
type = "windows"
inputs = ["a", "b"]
key = ["device"]
window = { sliding = { length = "400ms", every = "100ms" } }
aggregates = { n = "count", sum = "sum(n)" }

[operators.sessions]
type = "windows"
inputs = ["a"]
key = ["device"]
window = { session = { gap = "150ms" } }
aggregates = { n = "count", least = "min(n)" }

[sinks.rows]
type = "json_lines"
inputs = ["a", "b"]
path = "rows"

[sinks.results]
type = "json_lines"
inputs = ["windows", "sessions", "windows.late", "sessions.late"]
path = "results"
"#;

/// A source that is added to a pipeline with earlier runs, and a sink for it.
const ADDED: &str = r#"
[sources.c]
type = "json"
transport = { file = "c" }
fields = { device = "text", n = "int" }
time = { field = "n" }

[sinks.added]
type = "json_lines"
inputs = ["c"]
path = "added"
"#;

/// The state that outlives a run: scripts, disks and the folder of the store.
#[derive(Debug)]
struct World {
    folder: TempDir,
    scripts: BTreeMap<&'static str, Arc<Script>>,
    disks: BTreeMap<String, Arc<Mutex<Disk>>>,
}

/// The sources and sinks of one run.
#[derive(Debug)]
struct Life {
    scripts: BTreeMap<&'static str, Arc<Script>>,
    disks: BTreeMap<String, Arc<Mutex<Disk>>>,
    fate: Fate,
    seed: u64,
    alive: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
}

/// The end of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// The run reads its sources to their end.
    Ends,
    /// The run is asked to stop at a commit of its sinks.
    Stops { commit: u64 },
    /// The run dies at a commit of its sinks, before or after it is durable.
    Dies { commit: u64, committed: bool },
    /// The run dies at a checkpoint, before or after its commit.
    DiesAtCheckpoint { commit: u64, committed: bool },
    /// A source fails at a poll.
    Fails { poll: u64 },
}

impl World {
    fn new(script: u64) -> Self {
        let scripts = ["a", "b", "c"].into_iter().zip(0..);
        let scripts =
            scripts.map(|(name, nth)| (name, Arc::new(Script::new(script * 3 + nth, nth == 2))));
        let disks = ["rows", "results", "added"].map(|name| (name.to_owned(), Arc::default()));
        let folder = tempfile::tempdir().expect("room");
        Self { folder, scripts: scripts.collect(), disks: disks.into() }
    }

    /// Runs the pipeline once. True if the pipeline has ended.
    fn run(&self, pipeline: &str, fate: Fate, seed: u64, n_workers: usize) -> bool {
        let plan = Plan::parse(Path::new("simulated.toml"), pipeline).expect("it is a pipeline");
        let stop = Arc::<AtomicBool>::default();
        let options = RunOptions {
            directory: self.folder.path().to_owned(),
            workers: n_workers,
            cluster: Cluster::default(),
            fresh: false,
            quarantine: Vec::new(),
            drop_state: Vec::new(),
            when_alive: WhenAlive::Refuse,
            stop: Arc::clone(&stop),
        };
        let alive = Arc::new(AtomicBool::new(true));
        let (scripts, disks) = (self.scripts.clone(), self.disks.clone());
        let life = Life { scripts, disks, fate, seed, alive: Arc::clone(&alive), stop };
        let builder = RunBuilder::new(plan, options).expect("nobody else runs it");
        let run = builder.with_connectors(Arc::new(life)).start().expect("memory can be opened");
        match run.wait() {
            Ok(ended) => drop(ended.release()),
            Err(error) => {
                let expected = !matches!(fate, Fate::Ends | Fate::Stops { .. });
                assert!(expected, "{fate:?}: {error:?}");
                alive.store(false, Ordering::Release);
            }
        }
        self.bury()
    }

    /// Ends the lease, as the death of the run's process would. True if the pipeline has ended.
    fn bury(&self) -> bool {
        let store = Store::open(self.folder.path(), "fresnel.db").expect("it is there");
        store.lease("simulated").end().expect("it is there");
        let checkpoint = store.inspect("simulated", None).expect("it is intact");
        store.close();
        checkpoint.is_some_and(|checkpoint| checkpoint.progress == Progress::Ended)
    }

    fn output(&self, sink: &str) -> Vec<String> {
        self.disks[sink].lock().expect("nobody panicked").lines()
    }
}

impl Connectors for Life {
    fn open_source(
        &self,
        source: &PlannedSource,
        context: &SourceContext<'_>,
    ) -> Result<Vec<Partition>, SourceError> {
        let script = Arc::clone(&self.scripts[source.name.as_str()]);
        let fails_at = match self.fate {
            Fate::Fails { poll } if source.name == "a" => Some(poll),
            _ => None,
        };
        let chance = Chance::new(self.seed ^ u64::from(source.name.as_bytes()[0]));
        Ok(vec![SimulatedSource::open(script, context, chance, fails_at)?.into()])
    }

    fn open_sink(
        &self,
        sink: &PlannedSink,
        _context: &SinkContext<'_>,
    ) -> Result<OpenSink, SinkError> {
        let disk = Arc::clone(&self.disks[&sink.name]);
        let chance = Chance::new(self.seed ^ u64::from(sink.name.as_bytes()[1]));
        let (alive, stop) = (Arc::clone(&self.alive), Arc::clone(&self.stop));
        let sink = SimulatedSink::open(disk, chance, self.fate, alive, stop);
        Ok(OpenSink { sink: Box::new(sink), tail: None })
    }

    fn commit_log(&self, session: Session) -> Box<dyn CommitLog> {
        let chance = Chance::new(self.seed.rotate_left(32));
        let alive = Arc::clone(&self.alive);
        Box::new(SimulatedStore::new(session, chance, self.fate, alive))
    }
}

/// The output of one run without faults.
fn reference(script: u64) -> [Vec<String>; 2] {
    let world = World::new(script);
    assert!(world.run(PIPELINE, Fate::Ends, 0, 1));
    let output = [world.output("rows"), world.output("results")];
    assert!(output.iter().all(|lines| lines.len() > 50), "there is something to compare");
    output
}

fn fate(chance: &mut Chance) -> Fate {
    match chance.below(8) {
        0 | 1 => Fate::Stops { commit: chance.below(30) },
        2 | 3 => Fate::Dies { commit: chance.below(30), committed: chance.below(2) == 0 },
        4 => {
            let (commit, committed) = (1 + chance.below(20), chance.below(2) == 0);
            Fate::DiesAtCheckpoint { commit, committed }
        }
        5 => Fate::Fails { poll: chance.below(60) },
        _ => Fate::Ends,
    }
}

/// Runs the pipeline repeatedly, with 1 to 3 workers, until it ends. A source may be added on the way.
fn simulate(seed: u64, expected: &[Vec<String>; 2]) {
    let mut chance = Chance::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let world = World::new(seed % SCRIPTS);
    let (added_at, mut pipeline) = (chance.below(6) as usize, PIPELINE.to_owned());
    let ended = (0..MOST_RUNS).any(|nth| {
        if nth == added_at {
            pipeline += ADDED;
        }
        let (fate, n_workers) = (fate(&mut chance), 1 + chance.below(3) as usize);
        world.run(&pipeline, fate, chance.next(), n_workers)
    });
    assert!(ended, "it never came to its end");
    for (sink, expected) in ["rows", "results"].into_iter().zip(expected) {
        let found = world.output(sink);
        let first = found.iter().zip(expected).position(|(found, expected)| found != expected);
        assert!(&found == expected, "{sink}: {} of {}, {first:?}", found.len(), expected.len());
    }
    let mut added = world.output("added");
    if pipeline == PIPELINE {
        return;
    }
    added.sort_unstable();
    assert_eq!(added.len(), world.scripts["c"].rows.len(), "of the added source");
    added.dedup();
    assert_eq!(added.len(), world.scripts["c"].rows.len(), "each once");
}

#[test]
fn whatever_happens_the_output_is_the_same() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("FRESNEL_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("FRESNEL_SEEDS").unwrap_or(SEEDS),
    };
    let expected: Vec<_> = (0..SCRIPTS).map(reference).collect();
    for seed in seeds {
        let expected = &expected[(seed % SCRIPTS) as usize];
        let outcome = std::panic::catch_unwind(|| simulate(seed, expected));
        assert!(outcome.is_ok(), "again with FRESNEL_SEED={seed}");
    }
}
