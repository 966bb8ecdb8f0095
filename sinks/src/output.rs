//! The output of sinks on disk, and that of earlier runs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::JsonLinesConfig;
use crate::upper_file::UpperFile;

/// Endings of the files that belong to a JSON Lines file: its upper, its replacement, and its dead
/// letters.
const BESIDE: [&str; 6] = ["", ".upper", ".upper-new", ".new", ".rejected", ".rejected.upper"];

/// The reason that the output of a sink cannot be identified.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutputError {
    /// A file or folder could not be read.
    #[error("could not read {path:?}")]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The writer of a file is unknown.
    #[error(
        "{path:?} has no `.upper` file, so Fresnel cannot tell who wrote it: move or remove it by hand"
    )]
    Unknown {
        /// The file.
        path: PathBuf,
    },
    /// Another sink has written to a file or folder.
    #[error("{path:?} has output of {writer:?}: move or remove it by hand")]
    OfOthers {
        /// The file or folder.
        path: PathBuf,
        /// Pipeline, sink and lineage.
        writer: String,
    },
    /// A bucket has tables, or cannot be read.
    #[error("objects of {url} are not removed by Fresnel: remove them by hand")]
    Bucket {
        /// The URL of the history.
        url: String,
    },
}

impl JsonLinesConfig {
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        if is_device(&self.path) {
            return Vec::new();
        }
        BESIDE.map(|ending| beside(&self.path, ending)).into()
    }

    pub(crate) fn leftovers(&self, directory: &Path) -> Option<String> {
        let n_bytes = file_bytes(&directory.join(&self.path)).filter(|n_bytes| *n_bytes > 0)?;
        let path = self.path.display();
        Some(format!("\"{path}\" has {n_bytes} bytes, which this run replaces"))
    }

    pub(crate) fn output(
        &self,
        writer: &str,
        directory: &Path,
    ) -> Result<Vec<PathBuf>, OutputError> {
        let path = directory.join(&self.path);
        let Some(n_bytes) = file_bytes(&path) else { return Ok(Vec::new()) };
        let commits = UpperFile::commits(&path);
        let commits = commits.map_err(|source| OutputError::Read { path: path.clone(), source })?;
        match commits.into_iter().next() {
            Some(committed) if committed.writer.starts_with(writer) => {
                // Includes its dead letters, if there are any.
                let endings = ["", ".upper", ".rejected", ".rejected.upper"];
                let files = endings.map(|ending| beside(&path, ending)).into_iter();
                Ok(files.filter(|file| file.exists()).collect())
            }
            Some(committed) => Err(OutputError::OfOthers { path, writer: committed.writer }),
            None if n_bytes == 0 => Ok(Vec::new()),
            None => Err(OutputError::Unknown { path }),
        }
    }
}

/// Returns the length of a regular file; none for a device or a missing file.
fn file_bytes(path: &Path) -> Option<u64> {
    let metadata = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    Some(metadata.len())
}

fn is_device(path: &Path) -> bool {
    path.starts_with("/dev") && !path.starts_with("/dev/shm")
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(ending);
    path.into()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{Sink, SinkContext};

    const WRITER: &str = "flat/out/";

    #[test]
    fn only_files_that_the_sink_wrote_are_its_output() {
        let folder = tempfile::tempdir().expect("room");
        let folder = folder.path();
        let config = JsonLinesConfig { path: "out.jsonl".into() };
        let output = || config.output(WRITER, folder);
        assert_eq!(output().expect("nothing is there"), Vec::<PathBuf>::new());
        fs::write(folder.join("out.jsonl"), "mine\n").expect("room");
        assert!(matches!(output(), Err(OutputError::Unknown { .. })));
        fs::remove_file(folder.join("out.jsonl")).expect("it is there");
        let context = SinkContext {
            pipeline: "flat",
            name: "out",
            inputs: &[],
            lineage: "1",
            generation: 1,
            directory: folder,
            hub: &Arc::default(),
        };
        let mut sink = config.open(&context).expect("the folder can be written");
        sink.fence().expect("nobody else writes");
        let written = ["out.jsonl", "out.jsonl.upper"].map(|name| folder.join(name));
        assert_eq!(output().expect("it is told beside it"), written);
        fs::write(folder.join("out.jsonl.rejected"), "{}\n").expect("room");
        assert_eq!(output().expect("it is told beside it").len(), 3, "with its dead letters");
        let of_other = config.output("flat/other/", folder);
        assert!(matches!(of_other, Err(OutputError::OfOthers { .. })));
    }

    #[test]
    fn an_empty_file_is_nothing_to_speak_of() {
        let folder = tempfile::tempdir().expect("room");
        let config = JsonLinesConfig { path: "out.jsonl".into() };
        let path = folder.path().join("out.jsonl");
        fs::write(&path, "").expect("room");
        assert_eq!(config.leftovers(folder.path()), None);
        fs::write(&path, "{}\n").expect("room");
        let found = config.leftovers(folder.path()).expect("it has a line");
        assert!(found.contains("has 3 bytes"), "{found}");
    }

    #[test]
    fn a_device_is_written_by_anybody() {
        let files = |path: &str| JsonLinesConfig { path: path.into() }.files();
        assert!(files("/dev/stdout").is_empty());
        assert_eq!(files("out.jsonl").len(), BESIDE.len());
        assert_eq!(files("/dev/shm/out.jsonl").len(), BESIDE.len());
    }
}
