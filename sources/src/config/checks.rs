//! Checks of settings. An error text begins with the name of the setting, and contains the expected values.

use crate::{CsiConfig, JsonConfig, PosesConfig, SimulateConfig, SourceConfig, Speed};

/// One day: delayed records stay in memory and in checkpoints.
const MAX_DELAY_MS: u32 = 24 * 3_600_000;
/// A slower recording would take longer than a clock can represent.
const MIN_SPEED: f64 = 1e-3;
/// Within the range of nanoseconds since the Unix epoch in 64 bits.
const MAX_START_S: i64 = 8_000_000_000;
const MAX_DURATION_S: f64 = 1e9;

impl SourceConfig {
    /// Returns a problem of the settings that all sources have, if there is one.
    pub(crate) fn mistake_in_common(&self) -> Option<String> {
        match self {
            Self::Csi(CsiConfig { max_delay_ms, idle_timeout_ms, speed, .. })
            | Self::Json(JsonConfig { max_delay_ms, idle_timeout_ms, speed, .. })
            | Self::Poses(PosesConfig { max_delay_ms, idle_timeout_ms, speed, .. }) => {
                let in_time =
                    delay_mistake(*max_delay_ms).or_else(|| idle_mistake(*idle_timeout_ms));
                in_time.or_else(|| speed_mistake(*speed))
            }
            Self::Simulate(config) => speed_mistake(config.speed),
        }
    }
}

fn delay_mistake(max_delay_ms: u32) -> Option<String> {
    (max_delay_ms > MAX_DELAY_MS).then(|| {
        format!(
            "max_delay_ms must be at most {MAX_DELAY_MS}, not {max_delay_ms}: records wait as long in \
             memory"
        )
    })
}

fn idle_mistake(idle_timeout_ms: u32) -> Option<String> {
    let problem =
        "idle_timeout_ms must be at least 1, not 0: no partition would ever be waited for";
    (idle_timeout_ms == 0).then(|| problem.to_owned())
}

fn speed_mistake(speed: Speed) -> Option<String> {
    let Speed::Factor(factor) = speed else { return None };
    (factor < MIN_SPEED).then(|| {
        format!("speed must be \"full\", \"recorded\" or at least {MIN_SPEED}, not {factor}")
    })
}

impl SimulateConfig {
    /// Returns a problem of the settings, if there is one.
    pub(crate) fn problem(&self) -> Option<String> {
        let start_s = self.starts_at_s.filter(|start_s| !(0..=MAX_START_S).contains(start_s));
        if let Some(start_s) = start_s {
            return Some(format!("starts_at_s must be from 0 to {MAX_START_S}, not {start_s}"));
        }
        let lasts_s = self.duration_s.filter(|lasts_s| !(0.0..=MAX_DURATION_S).contains(lasts_s));
        lasts_s
            .map(|lasts_s| format!("duration_s must be from 0 to {MAX_DURATION_S}, not {lasts_s}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_cannot_work_are_named() {
        let csi = r#""format": "esp32", "transport": { "udp": "127.0.0.1:1" }"#;
        let rows =
            r#""fields": { "t": "int" }, "time": { "field": "t" }, "transport": { "file": "t" }"#;
        let room = r#""scene": "flat.toml""#;
        for (source, settings, setting, expected) in [
            ("csi", csi, r#""max_delay_ms": 86400001"#, "max_delay_ms must be at most 86400000"),
            ("csi", csi, r#""idle_timeout_ms": 0"#, "idle_timeout_ms must be at least 1"),
            ("csi", csi, r#""speed": 1e-300"#, "speed must be"),
            ("json", rows, r#""idle_timeout_ms": 0"#, "idle_timeout_ms must be at least 1"),
            ("simulate", room, r#""speed": 0.0001"#, "speed must be"),
            ("simulate", room, r#""duration_s": -1"#, "duration_s must be from 0 to"),
            ("simulate", room, r#""duration_s": 1e300"#, "duration_s must be from 0 to"),
            ("simulate", room, r#""starts_at_s": -1"#, "starts_at_s must be from 0 to"),
            ("simulate", room, r#""starts_at_s": 9223372036854775807"#, "starts_at_s must be"),
        ] {
            let of = |settings: &str| -> Option<String> {
                let text = format!("{{ \"{source}\": {{ {settings} }} }}");
                let config: SourceConfig = serde_json::from_str(&text).expect("these are settings");
                config.problem()
            };
            assert_eq!(of(settings), None);
            let found = of(&format!("{settings}, {setting}")).expect("it cannot work");
            assert!(found.starts_with(expected), "{setting}: {found}");
        }
    }
}
