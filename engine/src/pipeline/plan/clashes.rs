//! Conflicts between components that use the same file, or listen to the same socket.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use operators::OperatorConfig;
use sources::Endpoint;

use crate::paths::normalized;
use crate::{ApiConfig, CheckpointConfig, Diagnostic, JOURNALS, Pipeline};

/// Endings of the files of an `SQLite` database.
const BESIDE_STORE: [&str; 4] = ["", "-wal", "-shm", "-journal"];

/// Reports each sink with a path in use, and each source with a socket in use. Other users are components,
/// the checkpoint store, journals and the API. Relative paths are relative to `directory`.
pub(super) fn clashes(pipeline: &Pipeline, directory: &Path) -> Vec<Diagnostic> {
    let mut diagnostics = files(pipeline, directory);
    diagnostics.extend(sockets(pipeline));
    diagnostics
}

/// A file or folder in use.
struct Use {
    /// The user and the kind of use, such as `sink "out" writes`.
    user: String,
    /// The path in the pipeline file.
    path: PathBuf,
    /// The normalised path, for comparison.
    normalized: PathBuf,
}

impl Use {
    fn new(user: &str, path: PathBuf, directory: &Path) -> Self {
        let normalized = normalized(directory, &path);
        Self { user: user.to_owned(), path, normalized }
    }

    /// Returns true if the path is the path of `other`, or inside of it.
    fn is_in(&self, other: &Self) -> bool {
        self.normalized.starts_with(&other.normalized)
    }
}

impl fmt::Display for Use {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} \"{}\"", self.user, self.path.display())
    }
}

/// Reports sinks with a path in use. A sink's path must not be inside a path of another user. The reverse
/// is an error only for two sinks: a history ignores files that are not tables.
fn files(pipeline: &Pipeline, directory: &Path) -> Vec<Diagnostic> {
    let beside_sinks = beside_sinks(pipeline, directory);
    let mut written = Vec::<Use>::new();
    let mut diagnostics = Vec::new();
    for sink in &pipeline.sinks {
        let user = format!("sink \"{}\" writes", sink.name);
        let paths = sink.config.files().into_iter();
        let own: Vec<_> = paths.map(|path| Use::new(&user, path, directory)).collect();
        let clash = own.iter().find_map(|own| {
            let others = beside_sinks.iter().filter(|other| own.is_in(other));
            let sinks = written.iter().filter(|other| own.is_in(other) || other.is_in(own));
            Some((own, others.chain(sinks).next()?))
        });
        if let Some((own, other)) = clash {
            let message = format!("{own}, but {other}");
            let help = format!("give sink \"{}\" a path of its own", sink.name);
            diagnostics.push(Diagnostic::new(sink.at("path"), message).with_help(help));
        }
        written.extend(own);
    }
    diagnostics
}

/// Returns the files that components read, and the files of checkpoints and journals.
fn beside_sinks(pipeline: &Pipeline, directory: &Path) -> Vec<Use> {
    let mut taken = Vec::new();
    let mut take = |user: &str, path: PathBuf| taken.push(Use::new(user, path, directory));
    for source in &pipeline.sources {
        let user = format!("source \"{}\" reads", source.name);
        source.config.files().into_iter().for_each(|path| take(&user, path));
    }
    for operator in &pipeline.operators {
        if let OperatorConfig::Infer(config) = &operator.config {
            take(&format!("operator \"{}\" reads", operator.name), config.model.clone());
        }
    }
    for path in of_store(&pipeline.checkpoint) {
        take("checkpoints are in", path);
    }
    take("journals are in", JOURNALS.into());
    taken
}

/// Returns the files of the checkpoint store; none if the store is a server.
fn of_store(checkpoint: &CheckpointConfig) -> Vec<PathBuf> {
    let Some(store) = checkpoint.store_file() else { return Vec::new() };
    let beside = BESIDE_STORE.map(|ending| {
        let mut path = OsString::from(store);
        path.push(ending);
        PathBuf::from(path)
    });
    beside.into()
}

fn sockets(pipeline: &Pipeline) -> Vec<Diagnostic> {
    let api = pipeline.api.iter().flat_map(ApiConfig::addresses);
    let mut taken: Vec<_> = api.map(|(_, it)| ("the API".to_owned(), Endpoint::Tcp(it))).collect();
    let mut diagnostics = Vec::new();
    for source in &pipeline.sources {
        let Some(endpoint) = source.config.endpoint() else { continue };
        let user = format!("source \"{}\"", source.name);
        if let Some((other, theirs)) = taken.iter().find(|(_, it)| it.overlaps(&endpoint)) {
            let message = format!("{user} listens to {endpoint}, but {other} listens to {theirs}");
            let help = "only one of them can: change one, or let both streams come from one source";
            diagnostics.push(Diagnostic::new(source.at("transport"), message).with_help(help));
        }
        taken.push((user, endpoint));
    }
    diagnostics
}
