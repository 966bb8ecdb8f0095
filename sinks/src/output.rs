//! What a sink leaves on disk.

use std::path::{Path, PathBuf};

use crate::SinkConfig;

/// Endings of the files that belong to one of JSON Lines: its upper, what it is replaced by, and what it
/// cannot hold.
const BESIDE: [&str; 5] = ["", ".upper", ".upper-new", ".new", ".rejected"];

impl SinkConfig {
    /// The files and folders that it writes, as the pipeline has them. Devices keep nothing, so that
    /// several sinks can write to one.
    pub fn files(&self) -> Vec<PathBuf> {
        match self {
            Self::Delta(config) => vec![config.path.clone()],
            Self::JsonLines(config) if is_device(&config.path) => Vec::new(),
            Self::JsonLines(config) => BESIDE.map(|ending| beside(&config.path, ending)).into(),
            Self::Kafka(_) | Self::Live(_) => Vec::new(),
        }
    }
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
    use super::*;
    use crate::JsonLinesConfig;

    #[test]
    fn a_device_is_written_by_anybody() {
        let files =
            |path: &str| SinkConfig::JsonLines(JsonLinesConfig { path: path.into() }).files();
        assert!(files("/dev/stdout").is_empty());
        assert_eq!(files("out.jsonl").len(), BESIDE.len());
        assert_eq!(files("/dev/shm/out.jsonl").len(), BESIDE.len());
    }
}
