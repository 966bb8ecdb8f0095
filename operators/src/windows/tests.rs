//! Windows over streams of rows, for any batches and any number of workers.

use std::sync::{Arc, Mutex};

use arrow::array::{ArrayRef, Float64Array, RecordBatch, RecordBatchOptions, StringArray};
use arrow::datatypes::SchemaRef;
use schemas::Rows;
use timely::dataflow::operators::{Input, Inspect};

use super::*;
use crate::stateful::Stateful;
use crate::testing::remember;

/// Key, time and value of a row.
type Row = (&'static str, i64, f64);

fn schema() -> SchemaRef {
    let fields = [("key", DataType::Utf8), ("x", DataType::Float64)];
    let fields = fields.map(|(name, data_type)| Field::new(name, data_type, true));
    Arc::new(Schema::new(fields.to_vec()))
}

fn rows(partition: &str, sequence: usize, rows: &[Row]) -> Rows {
    let keys: StringArray = rows.iter().map(|(key, ..)| Some(*key)).collect();
    let values: Float64Array = rows.iter().map(|(.., value)| Some(*value)).collect();
    let columns: Vec<ArrayRef> = vec![Arc::new(keys), Arc::new(values)];
    let batch =
        RecordBatch::try_new_with_options(schema(), columns, &RecordBatchOptions::default());
    Rows {
        stream: "events".into(),
        partition: partition.into(),
        sequence: sequence as u64,
        times_ns: rows.iter().map(|(_, time_ms, _)| time_ms * 1_000_000).collect(),
        batch: batch.expect("two columns of the same length"),
    }
}

fn config(window: &str) -> WindowsConfig {
    let aggregates = r#"{ "n": "count", "sum": "sum(x)" }"#;
    let text = format!(r#"{{ "key": ["key"], "window": {window}, "aggregates": {aggregates} }}"#);
    serde_json::from_str(&text).expect("these are settings")
}

/// Runs windows over rows, each at its tick, and returns the output in order, as lines.
fn run(config: &WindowsConfig, inputs: &[(Tick, Row)], per_batch: usize, workers: usize) -> String {
    let found = Arc::new(Mutex::new(Vec::new()));
    let (to, inputs, config) = (Arc::clone(&found), inputs.to_vec(), config.clone());
    timely::execute(timely::Config::process(workers), move |worker| {
        let to = Arc::clone(&to);
        let output = config.schema(&schema()).expect("the columns are there");
        let mut input = worker.dataflow(|scope| {
            let (input, stream) = scope.new_input();
            let context = Context::detached("counts");
            let stream: StreamVec<'_, Tick, Rows> = stream;
            stream.windows(&config, output, context).inspect_time(move |time, rows| {
                to.lock().expect("nobody panicked").push((*time, rows.clone()));
            });
            input
        });
        if worker.index() == 0 {
            for same_tick in inputs.chunk_by(|(a, _), (b, _)| a == b) {
                let tick = same_tick[0].0;
                if tick > *input.time() {
                    input.advance_to(tick);
                }
                let of_tick: Vec<_> = same_tick.iter().map(|(_, row)| *row).collect();
                for (nth, batch) in of_tick.chunks(per_batch).enumerate() {
                    input.send(rows("0", nth * per_batch, batch));
                    worker.step();
                }
            }
        }
    })
    .expect("it starts")
    .join()
    .into_iter()
    .for_each(|worker| worker.expect("no worker panics"));
    let mut found = Arc::try_unwrap(found).expect("all are done").into_inner().expect("intact");
    found.sort_by(|a, b| {
        (a.0, &a.1.stream, &a.1.partition).cmp(&(b.0, &b.1.stream, &b.1.partition))
    });
    let mut lines = Vec::new();
    for (tick, rows) in found {
        lines.extend(format!("at {tick} {}\n", rows.stream).into_bytes());
        rows.write_json_lines(&mut lines).expect("they are numbers and text");
    }
    String::from_utf8(lines).expect("text")
}

#[test]
fn tumbling_windows_leave_at_their_end() {
    let config = config(r#"{ "tumbling": { "length": "1s" } }"#);
    let inputs = [(0, ("a", 5, 1.0)), (10, ("a", 10, 2.0)), (1200, ("a", 1200, 4.0))];
    let expected = "at 1000 counts\n\
        {\"key\":\"a\",\"window_start_ns\":0,\"window_end_ns\":1000000000,\"n\":2,\"sum\":3.0}\n\
        at 2000 counts\n\
        {\"key\":\"a\",\"window_start_ns\":1000000000,\"window_end_ns\":2000000000,\"n\":1,\"sum\":4.0}\n";
    assert_eq!(run(&config, &inputs, 1, 1), expected);
}

#[test]
fn a_late_row_is_shown_and_not_counted() {
    let config = config(r#"{ "tumbling": { "length": "1s" } }"#);
    let inputs = [(0, ("a", 5, 1.0)), (1200, ("a", 999, 2.0)), (1200, ("a", 1100, 4.0))];
    let found = run(&config, &inputs, 9, 1);
    assert!(found.contains("at 1200 counts.late\n{\"key\":\"a\",\"x\":2.0}\n"), "{found}");
    assert!(
        found.contains("\"n\":1,\"sum\":1.0") && found.contains("\"n\":1,\"sum\":4.0"),
        "{found}"
    );
}

#[test]
fn sessions_grow_together() {
    let config = config(r#"{ "session": { "gap": "1s" } }"#);
    let inputs = [
        (0, ("a", 0, 1.0)),
        (100, ("a", 100, 2.0)),
        (1900, ("a", 1900, 4.0)),
        (1900, ("b", 1900, 7.0)),
        (2000, ("a", 500, 8.0)),
        (9000, ("a", 9000, 16.0)),
    ];
    let found = run(&config, &inputs, 9, 1);
    let sums: Vec<_> = found.lines().filter_map(|line| line.split_once("\"sum\":")).collect();
    let sums: Vec<_> = sums.iter().map(|(_, sum)| *sum).collect();
    assert_eq!(sums, ["3.0}", "7.0}", "4.0}", "16.0}"], "that of 500 was over at 1500: {found}");
    assert!(found.contains("at 2000 counts.late"), "{found}");
    let earlier = [&inputs[..3], &[(1950, ("a", 1050, 8.0))]].concat();
    let found = run(&config, &earlier, 9, 1);
    assert!(found.contains("\"window_start_ns\":0,\"window_end_ns\":1100000000"), "{found}");
    assert!(
        found.contains("\"window_start_ns\":1050000000,\"window_end_ns\":2900000000,\"n\":2"),
        "{found}"
    );
}

#[test]
fn neither_batches_nor_workers_change_a_bit() {
    let keys = ["a", "b", "c", "d", "e", "f", "g"];
    let mut seed = 3_u64;
    let inputs: Vec<_> = (0..500_i64)
        .map(|nth| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let key = keys[(seed >> 40) as usize % keys.len()];
            let value = (seed >> 11) as f64 * 1e-9;
            ((nth * 7 / 10 * 10).unsigned_abs(), (key, nth * 7, value))
        })
        .collect();
    for window in [
        r#"{ "tumbling": { "length": "500ms" } }"#,
        r#"{ "sliding": { "length": "1s", "every": "250ms" } }"#,
        r#"{ "session": { "gap": "40ms" } }"#,
    ] {
        let config = config(window);
        let expected = run(&config, &inputs, 1, 1);
        assert!(expected.lines().count() > 20, "{expected}");
        for (per_batch, workers) in [(3, 1), (100, 2), (2, 4)] {
            let found = run(&config, &inputs, per_batch, workers);
            assert!(found == expected, "{window} in batches of {per_batch} on {workers}");
        }
    }
}

/// Keys of one bucket.
fn keys_of_a_bucket(n_keys: usize) -> Vec<&'static str> {
    let bucket = |name: &str| {
        let (column, mut key) = (StringArray::from(vec![name]), Vec::new());
        key::encode(&column, 0, &mut key);
        key::Key(key).bucket()
    };
    let names = (0..).map(|nth: u64| nth.to_string()).filter(|name| bucket(name) == 0);
    names.take(n_keys).map(|name| &*name.leak()).collect()
}

#[test]
fn the_keys_that_were_idle_longest_are_forgotten() {
    const MORE: usize = 500;
    let max_keys = FinalAggregate::LIMITS.max_keys_per_group;
    let keys = keys_of_a_bucket(max_keys + MORE);
    let config = config(r#"{ "tumbling": { "length": "100s" } }"#);
    // The first key is used again after all others, so the next keys are evicted.
    let inputs: Vec<_> = keys
        .iter()
        .chain(&keys[..1])
        .zip(0_i64..)
        .map(|(key, nth)| ((nth / 1000 * 10).unsigned_abs(), (*key, nth / 1000 * 10, 1.0)))
        .collect();
    let expected = run(&config, &inputs, 1000, 1);
    assert_eq!(expected.lines().filter(|line| line.contains("window_end_ns")).count(), max_keys);
    let has = |key: &str| expected.contains(&format!("{{\"key\":\"{key}\",\"window_start_ns\":0"));
    assert!(has(keys[max_keys + MORE - 1]) && !has(keys[1]));
    for workers in [2, 4] {
        assert!(run(&config, &inputs, 7, workers) == expected, "with {workers} workers");
    }
}

#[test]
fn a_forgotten_key_is_counted_and_not_saved() {
    let keys = keys_of_a_bucket(FinalAggregate::LIMITS.max_keys_per_group + 500);
    let config = config(r#"{ "session": { "gap": "100s" } }"#);
    let output = config.schema(&schema()).expect("the columns are there");
    let inputs = keys.chunks(100).zip(0_i64..).map(|(keys, time_ms)| {
        let of_tick: Vec<_> = keys.iter().map(|key| (*key, time_ms, 1.0)).collect();
        (time_ms.unsigned_abs(), vec![rows("0", 0, &of_tick)])
    });
    let inputs: Vec<_> = inputs.collect();
    let found = remember(inputs, move |rows, context| rows.windows(&config, output, context));
    assert_eq!(found.dropped["too many keys"], 500);
    assert_eq!(found.n_keys, 0, "all windows have left");
    assert!(found.most_keys <= FinalAggregate::LIMITS.max_keys_per_group, "{}", found.most_keys);
}

#[test]
fn mistakes_are_told() {
    let problem = |settings: &str| {
        let config: WindowsConfig = serde_json::from_str(settings).expect("these are settings");
        config.schema(&schema()).expect_err("something is wrong").to_string()
    };
    let window = r#""window": { "tumbling": { "length": "1s" } }"#;
    let told = problem(&format!(r#"{{ "key": ["kex"], {window}, "aggregates": {{}} }}"#));
    assert_eq!(told, "key: no column \"kex\": expected one of key, x");
    let told = problem(&format!(r#"{{ {window}, "aggregates": {{ "m": "max(key)" }} }}"#));
    assert_eq!(told, "aggregates: \"key\" cannot be aggregated: expected a column of numbers");
    let told =
        problem(&format!(r#"{{ "key": ["x"], {window}, "aggregates": {{ "x": "count" }} }}"#));
    assert_eq!(told, "aggregates: there would be two columns \"x\"");
    let zero = r#"{ "window": { "tumbling": { "length": "0s" } }, "aggregates": {} }"#;
    let zero: WindowsConfig = serde_json::from_str(zero).expect("these are settings");
    assert!(zero.problems()[0].starts_with("window: length must be at least"));
}
