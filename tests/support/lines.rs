//! JSON Lines that a run writes, read while it writes them.

use std::fs;
use std::path::Path;

use serde_json::Value;

/// Returns the records of a file so far, without an incomplete last line.
pub(crate) fn records(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let whole_lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    whole_lines.map(|line| serde_json::from_str(line).expect("a record")).collect()
}

/// Returns the sequence number and the time in nanoseconds of each CSI frame of a file so far, in order.
pub(crate) fn frames(path: &Path) -> Vec<(u64, i64)> {
    let frames = records(path).into_iter().flat_map(|batch| {
        let list = |name: &str| batch[name].as_array().expect("a list").clone();
        list("sequence").into_iter().zip(list("captured_at_ns"))
    });
    let number = |number: Value| number.as_u64().expect("a number");
    frames.map(|(sequence, time)| (number(sequence), time.as_i64().expect("a number"))).collect()
}
