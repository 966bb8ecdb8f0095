//! The output of earlier runs in a history: tables, whose logs name their writers.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;
use storage::{Location, log_of, tables_in};

use crate::delta::DeltaConfig;
use crate::output::OutputError;

impl DeltaConfig {
    /// Returns a warning of existing tables before a fresh start.
    pub(crate) fn leftovers(&self, directory: &Path) -> Option<String> {
        // A place that cannot be read is reported when it is opened.
        let tables = tables(&self.path.within(directory)).unwrap_or_default();
        let (path, names) = (&self.path, tables.join(", "));
        (!tables.is_empty()).then(|| {
            format!(
                "\"{path}\" has rows of earlier runs in {names}: new rows are added to them, unless \
                 --clear removes what this pipeline wrote"
            )
        })
    }

    /// Returns the tables that this sink has written.
    pub(crate) fn output(
        &self,
        writer: &str,
        directory: &Path,
    ) -> Result<Vec<PathBuf>, OutputError> {
        let place = self.path.within(directory);
        let Some(folder) = place.folder() else {
            return if tables(&place).is_some_and(|tables| tables.is_empty()) {
                Ok(Vec::new())
            } else {
                Err(OutputError::Bucket { url: place.to_string() })
            };
        };
        if !folder.is_dir() {
            return Ok(Vec::new());
        }
        let mut output = Vec::new();
        for table in tables_in(folder).map_err(|source| failed(folder, source))? {
            let path = folder.join(table);
            let writers = writers(&path).map_err(|source| failed(&path, source))?;
            let (ours, others): (Vec<_>, Vec<_>) =
                writers.into_iter().partition(|it| it.starts_with(writer));
            match others.into_iter().next() {
                _ if ours.is_empty() => {}
                None => output.push(path),
                Some(writer) => return Err(OutputError::OfOthers { path, writer }),
            }
        }
        Ok(output)
    }
}

/// Returns the tables of a place; none if it cannot be read.
fn tables(place: &Location) -> Option<Vec<String>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    runtime.block_on(place.tables()).ok()
}

fn failed(path: &Path, source: io::Error) -> OutputError {
    OutputError::Read { path: path.to_owned(), source }
}

/// Returns all writers that have committed to a table, as far back as its log reaches.
///
/// Source: Delta Lake transaction protocol, "Transaction Identifiers".
fn writers(table: &Path) -> io::Result<BTreeSet<String>> {
    let mut writers = BTreeSet::new();
    for commit in fs::read_dir(log_of(table))? {
        let commit = commit?.path();
        if commit.extension().is_some_and(|ending| ending == "json") {
            let actions = fs::read_to_string(commit)?;
            let actions = actions.lines().filter_map(|line| serde_json::from_str(line).ok());
            writers
                .extend(actions.filter_map(|action: Value| {
                    action["txn"]["appId"].as_str().map(str::to_owned)
                }));
        }
    }
    Ok(writers)
}

#[cfg(test)]
mod tests {
    use schemas::{Presence, Record, TimeSpan};

    use super::*;
    use crate::{Sink, SinkContext};

    fn write(config: &DeltaConfig, folder: &Path, name: &str, lineage: &str) {
        let context = SinkContext {
            pipeline: "flat",
            name,
            inputs: &[],
            lineage,
            generation: 1,
            directory: folder,
            hub: &std::sync::Arc::default(),
        };
        let mut sink = config.open(&context).expect("the folder can be written");
        sink.write(0, &[Record::Presence(Presence::default())]).expect("memory takes it");
        sink.commit(10).expect("room");
    }

    #[test]
    fn only_tables_that_the_sink_wrote_are_its_output() {
        let folder = tempfile::tempdir().expect("room");
        let folder = folder.path();
        let config = DeltaConfig {
            path: PathBuf::from("history").into(),
            commit_interval: TimeSpan::from_s(5),
        };
        let output = |writer: &str| config.output(writer, folder);
        assert_eq!(config.leftovers(folder), None);
        assert_eq!(output("flat/out/").expect("nothing is there"), Vec::<PathBuf>::new());
        write(&config, folder, "out", "1");
        write(&config, folder, "out", "2");
        fs::create_dir(folder.join("history/photos")).expect("room");
        let found = config.leftovers(folder).expect("it has a table");
        assert!(found.contains("of earlier runs in presence:"), "{found}");
        assert_eq!(output("flat/out/").expect("it tells"), [folder.join("history/presence")]);
        assert_eq!(output("flat/other/").expect("it tells"), Vec::<PathBuf>::new());
        write(&config, folder, "other", "1");
        assert!(matches!(output("flat/out/"), Err(OutputError::OfOthers { .. })));
    }
}
