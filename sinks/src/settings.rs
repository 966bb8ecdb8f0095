//! The interface between the settings of a sink and the engine, and checks of settings.

use std::path::{Path, PathBuf};

use schemas::TimeSpan;

use crate::{OpenSink, OutputError, SinkContext, SinkError};

/// Checkpoints wait for commits, and journals for checkpoints.
const MAX_COMMIT_INTERVAL: TimeSpan = TimeSpan::from_s(3600);

/// The properties of a sink that follow from its settings, and its opening.
pub(crate) trait SinkSettings {
    /// Returns the errors in the settings: the name of each setting, and the expected values.
    fn problems(&self) -> Vec<String> {
        Vec::new()
    }

    /// Returns true if the sink takes pictures, which have neither a table nor messages.
    fn takes_pictures(&self) -> bool {
        false
    }

    /// Returns the location of the sink's upper; none for sinks without an upper.
    fn state_shape(&self) -> Option<String> {
        None
    }

    /// Returns true if the API reads what the sink stores.
    fn is_served(&self) -> bool {
        false
    }

    /// Returns the files and folders that the sink writes, as in the pipeline file. Devices are left
    /// out: they store nothing, so several sinks can write to one.
    fn files(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    /// Returns a warning of the output of earlier runs before a fresh start; none without output.
    fn leftovers(&self, _directory: &Path) -> Option<String> {
        None
    }

    /// Returns the files and folders with output of a sink's earlier runs, whose writer names begin
    /// with `writer`. Relative paths are relative to `directory`.
    ///
    /// # Errors
    ///
    /// [`OutputError`] if another writer has written there as well, or may have.
    fn output(&self, _writer: &str, _directory: &Path) -> Result<Vec<PathBuf>, OutputError> {
        Ok(Vec::new())
    }

    /// Opens the sink.
    ///
    /// # Errors
    ///
    /// [`SinkError`] if a file or folder cannot be written, or a broker cannot be reached.
    fn open_sink(&self, context: &SinkContext<'_>) -> Result<OpenSink, SinkError>;
}

/// Rejects an empty path.
pub(crate) fn path_mistake(path: &Path) -> Option<String> {
    path.as_os_str().is_empty().then(|| "path must not be empty".to_owned())
}

/// Rejects intervals that checkpoints would wait for too long.
pub(crate) fn interval_mistake(commit_interval: TimeSpan) -> Option<String> {
    (commit_interval > MAX_COMMIT_INTERVAL).then(|| {
        format!(
            "commit_interval must be at most {MAX_COMMIT_INTERVAL}, not {commit_interval}: a \
             checkpoint waits for commits"
        )
    })
}

#[cfg(test)]
mod tests {
    use crate::SinkConfig;

    #[test]
    fn settings_that_cannot_work_are_named() {
        for (sink, good, bad, setting) in [
            ("json_lines", r#""path": "a""#, r#""path": """#, "path"),
            ("delta", r#""path": "a""#, r#""path": """#, "path"),
            (
                "delta",
                r#""path": "a", "commit_interval": "0s""#,
                r#""path": "a", "commit_interval": "61m""#,
                "commit_interval",
            ),
            ("kafka", r#""brokers": "a:1""#, r#""brokers": " ""#, "brokers"),
            (
                "kafka",
                r#""brokers": "a:1", "topic": "fresnel.events.v1""#,
                r#""brokers": "a:1", "topic": "the events""#,
                "topic",
            ),
            (
                "kafka",
                r#""brokers": "a:1", "topic": "flat.progress""#,
                r#""brokers": "a:1", "topic": "fresnel.progress""#,
                "topic",
            ),
            (
                "kafka",
                r#""brokers": "a:1", "prefix": "flat""#,
                r#""brokers": "a:1", "prefix": """#,
                "prefix",
            ),
        ] {
            let problem = |settings: &str| {
                let text = format!("{{ \"{sink}\": {{ {settings} }} }}");
                let config: SinkConfig = serde_json::from_str(&text).expect("these are settings");
                config.problems().pop()
            };
            assert_eq!(problem(good), None);
            let found = problem(bad).expect("it cannot work");
            assert!(found.starts_with(&format!("{setting} must")), "{bad}: {found}");
        }
    }
}
