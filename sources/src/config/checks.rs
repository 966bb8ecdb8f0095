//! Checks of settings. An error text begins with the name of the setting, and contains the expected values.

use schemas::TimeSpan;

use crate::Speed;

/// Delayed records stay in memory and in checkpoints.
const MAX_DELAY: TimeSpan = TimeSpan::from_s(24 * 3600);
const MIN_IDLE_TIMEOUT: TimeSpan = TimeSpan::from_ms(1);
/// A slower recording would take longer than a clock can represent.
const MIN_SPEED: f64 = 1e-3;

/// Returns the errors in the settings that all sources with a transport have.
pub(crate) fn problems_in_time(
    max_delay: TimeSpan,
    idle_timeout: TimeSpan,
    speed: Speed,
) -> Vec<String> {
    let problems = [
        problem_of_delay(max_delay),
        problem_of_idle_timeout(idle_timeout),
        problem_of_speed(speed),
    ];
    problems.into_iter().flatten().collect()
}

fn problem_of_delay(max_delay: TimeSpan) -> Option<String> {
    (max_delay > MAX_DELAY).then(|| {
        format!(
            "max_delay must be at most {MAX_DELAY}, not {max_delay}: records wait as long in \
             memory"
        )
    })
}

fn problem_of_idle_timeout(idle_timeout: TimeSpan) -> Option<String> {
    (idle_timeout < MIN_IDLE_TIMEOUT).then(|| {
        format!(
            "idle_timeout must be at least {MIN_IDLE_TIMEOUT}, not {idle_timeout}: no partition would \
             ever be waited for"
        )
    })
}

/// Returns an error in the speed.
pub(crate) fn problem_of_speed(speed: Speed) -> Option<String> {
    let Speed::Factor(factor) = speed else { return None };
    (factor < MIN_SPEED).then(|| {
        format!("speed must be \"full\", \"recorded\" or at least {MIN_SPEED}, not {factor}")
    })
}

#[cfg(test)]
mod tests {
    use crate::SourceConfig;

    #[test]
    fn settings_that_cannot_work_are_named() {
        let csi = r#""format": "esp32", "transport": { "udp": "127.0.0.1:1" }"#;
        let rows =
            r#""fields": { "t": "int" }, "time": { "field": "t" }, "transport": { "file": "t" }"#;
        let room = r#""scene": "flat.toml""#;
        for (source, settings, setting, expected) in [
            ("csi", csi, r#""max_delay": "25h""#, r#"max_delay must be at most "1day""#),
            ("csi", csi, r#""idle_timeout": "0s""#, r#"idle_timeout must be at least "1ms""#),
            ("csi", csi, r#""speed": 1e-300"#, "speed must be"),
            ("json", rows, r#""idle_timeout": "0s""#, r#"idle_timeout must be at least "1ms""#),
            ("simulate", room, r#""speed": 0.0001"#, "speed must be"),
            ("simulate", room, r#""starts_at_s": -1"#, "starts_at_s must be from 0 to"),
            ("simulate", room, r#""starts_at_s": 9223372036854775807"#, "starts_at_s must be"),
        ] {
            let of = |settings: &str| -> Option<String> {
                let text = format!("{{ \"{source}\": {{ {settings} }} }}");
                let config: SourceConfig = serde_json::from_str(&text).expect("these are settings");
                config.problems().pop()
            };
            assert_eq!(of(settings), None);
            let found = of(&format!("{settings}, {setting}")).expect("it cannot work");
            assert!(found.starts_with(expected), "{setting}: {found}");
        }
    }
}
