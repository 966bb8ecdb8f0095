//! Checks of settings. Each message begins with the name of the setting, and describes the accepted
//! values.

use std::path::Path;

use schemas::TimeSpan;

use crate::{DeltaConfig, JsonLinesConfig, KafkaConfig, SinkConfig};

/// Checkpoints wait for commits, and journals for checkpoints.
const MAX_COMMIT_INTERVAL: TimeSpan = TimeSpan::from_s(3600);
/// The longest name that brokers accept.
const MAX_TOPIC_BYTES: usize = 249;

impl SinkConfig {
    /// Returns a problem of the settings: the name of a setting, and the expected values.
    pub fn problem(&self) -> Option<String> {
        match self {
            Self::Delta(DeltaConfig { path, commit_interval }) => {
                path_mistake(path).or_else(|| interval_mistake(*commit_interval))
            }
            Self::JsonLines(JsonLinesConfig { path }) => path_mistake(path),
            Self::Kafka(config) => config.problem(),
            Self::Live(_) => None,
        }
    }
}

impl KafkaConfig {
    fn problem(&self) -> Option<String> {
        if self.brokers.trim().is_empty() {
            return Some("brokers must name one, as in \"localhost:9092\"".to_owned());
        }
        let of_prefix = name_mistake("prefix", &self.prefix);
        let of_topic = || {
            let topic = self.topic.as_ref()?;
            if *topic == format!("{}.progress", self.prefix) {
                return Some(format!(
                    "topic must be another one than \"{topic}\": that is not for records"
                ));
            }
            name_mistake("topic", topic)
        };
        of_prefix.or_else(of_topic).or_else(|| interval_mistake(self.commit_interval))
    }
}

fn path_mistake(path: &Path) -> Option<String> {
    path.as_os_str().is_empty().then(|| "path must not be empty".to_owned())
}

fn interval_mistake(commit_interval: TimeSpan) -> Option<String> {
    (commit_interval > MAX_COMMIT_INTERVAL).then(|| {
        format!(
            "commit_interval must be at most {MAX_COMMIT_INTERVAL}, not {commit_interval}: a \
             checkpoint waits for commits"
        )
    })
}

/// Rejects names that brokers do not accept as a topic, or as part of one.
fn name_mistake(setting: &str, name: &str) -> Option<String> {
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    let is_name = (1..=MAX_TOPIC_BYTES).contains(&name.len()) && name.chars().all(allowed);
    (!is_name || [".", ".."].contains(&name)).then(|| {
        format!(
            "{setting} must be 1 to {MAX_TOPIC_BYTES} letters, digits, \".\", \"_\" and \"-\", not \
             \"{name}\""
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
                config.problem()
            };
            assert_eq!(problem(good), None);
            let found = problem(bad).expect("it cannot work");
            assert!(found.starts_with(&format!("{setting} must")), "{bad}: {found}");
        }
    }
}
