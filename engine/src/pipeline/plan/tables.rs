//! The tables of a history: each stream of rows has its own table.

use std::collections::BTreeMap;

use queries::PERSONS;
use schemas::{RecordKind, table_of_stream};
use sinks::{REJECTED_TABLE, SinkConfig};

use crate::pipeline::Component;
use crate::pipeline::plan::{StreamName, Streams};
use crate::{Diagnostic, Pipeline};

/// Reports streams of rows whose table belongs to another kind of record, or to another stream.
pub(super) fn diagnostics(pipeline: &Pipeline, streams: &Streams) -> Vec<Diagnostic> {
    let keep_history =
        pipeline.sinks.iter().filter(|sink| matches!(sink.config, SinkConfig::Delta(_)));
    keep_history.flat_map(|sink| of_sink(sink, streams)).collect()
}

fn of_sink(sink: &Component<SinkConfig>, streams: &Streams) -> Vec<Diagnostic> {
    let is_rows = |input: &str| streams.get(&StreamName::parse(input)) == Some(&RecordKind::Rows);
    let mut tables = BTreeMap::<String, &str>::new();
    let mut diagnostics = Vec::new();
    for (input, at) in sink.inputs.iter().filter(|(input, _)| is_rows(input)) {
        let table = table_of_stream(input);
        let message = if is_built_in(&table) {
            format!("the table \"{table}\" is for other records")
        } else if let Some(other) = tables.insert(table.clone(), input)
            && other != input
        {
            format!("\"{input}\" and \"{other}\" would be one table, \"{table}\"")
        } else {
            continue;
        };
        let help = "rename the component that these rows come from";
        diagnostics.push(Diagnostic::new(at.clone(), message).with_help(help));
    }
    diagnostics
}

/// Returns true for the table of a record kind, the view of persons, and the table of rejected records.
fn is_built_in(table: &str) -> bool {
    let mut kinds = RecordKind::ALL.into_iter();
    [PERSONS, REJECTED_TABLE].contains(&table) || kinds.any(|kind| kind.table() == table)
}
