//! What a process of its own costs a query: the same query within the process, and in a process that waits for
//! it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use queries::{Format, History, Query, Workers};
use tokio::runtime::Runtime;

/// Queries of each kind; they take turns.
const ROUNDS: usize = 100;
const QUERIES: [&str; 3] = [
    "SELECT 1",
    "SELECT count(*) FROM poses",
    "SELECT person, count(*) FROM persons GROUP BY person",
];
/// A history of two minutes.
const PIPELINE: &str = r#"
name = "bench"
sources.room = { type = "simulate", scene = "SCENE", duration = "2m" }
sinks.history = { type = "delta", inputs = ["room.truth"], path = "history" }
"#;

fn main() {
    let directory = tempfile::tempdir().expect("room");
    let history = Arc::new(written(directory.path()));
    let runtime = Runtime::new().expect("threads");
    let workers = Workers::of(env!("CARGO_BIN_EXE_fresnel").into());
    for sql in QUERIES {
        let query = Query::new(sql, Format::Json);
        let (mut within, mut apart) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            within.push(time(|| {
                let answer = runtime.block_on(history.query(&query)).expect("rows");
                answer.encode(Format::Json).expect("JSON");
            }));
            apart.push(time(|| {
                let answer = workers.answer(&history, query.clone(), "bench", "bench");
                runtime.block_on(answer).expect("rows");
            }));
        }
        let (within, apart) = (median(within), median(apart));
        let more = apart.saturating_sub(within);
        print(&format!("{sql}: {within:.1?} within, {apart:.1?} apart, {more:.1?} more"));
    }
}

/// Runs the pipeline, and returns its history.
fn written(directory: &Path) -> History {
    let scene = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines/scenes/flat.toml");
    let pipeline = PIPELINE.replace("SCENE", &scene.to_string_lossy());
    std::fs::write(directory.join("bench.toml"), pipeline).expect("room");
    let run = std::process::Command::new(env!("CARGO_BIN_EXE_fresnel"))
        .current_dir(directory)
        .args(["run", "bench.toml"])
        .output()
        .expect("the program starts");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    History::new(directory.join("history").into(), None)
}

#[expect(clippy::disallowed_methods, reason = "it is a bench")]
fn time(work: impl FnOnce()) -> Duration {
    let started = Instant::now();
    work();
    started.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[expect(clippy::print_stdout, reason = "it is a bench")]
fn print(line: &str) {
    println!("{line}");
}
