//! Settings that are refused, accepted, and accepted under old names.

use super::*;

#[test]
fn settings_that_cannot_work_are_refused_where_they_are() {
    let in_head = |settings: &str| GOOD.replace("tick = \"10ms\"", settings);
    let in_source = |settings: &str| {
        let format = "format = \"intel5300\"";
        GOOD.replace(format, &format!("{format}\n{settings}"))
    };
    for (text, line, expected) in [
        (in_head("tick = \"2h\""), "3", "tick must be from \"1ms\" to \"1h\", not \"2h\""),
        (in_head("tick = \"0ms\""), "3", "tick must be from \"1ms\" to \"1h\", not \"0s\""),
        (in_head("max_lead = \"0s\""), "3", "max_lead must be at least \"1ms\", not \"0s\""),
        (in_head("checkpoint = { granule = \"25h\" }"), "3", "checkpoint: granule must be from"),
        (in_head("checkpoint = { interval = \"25h\" }"), "3", "checkpoint: interval must be from"),
        (
            in_head("checkpoint = { retention = 1001 }"),
            "3",
            "checkpoint: retention must be at most",
        ),
        (in_source("max_delay = \"25h\""), "8", "source \"living\": max_delay must be at most"),
        (
            in_source("idle_timeout = \"0s\""),
            "8",
            "source \"living\": idle_timeout must be at least \"1ms\"",
        ),
        (in_source("speed = 1e-300"), "8", "source \"living\": speed must be"),
        (in_source("speed = nan"), "8", "source \"living\": invalid value"),
        (
            with_sink("delta", "history") + "commit_interval = \"2h\"\n",
            "26",
            "sink \"more\": commit_interval must be at most \"1h\"",
        ),
        (with_sink("json_lines", ""), "25", "sink \"more\": path must not be empty"),
    ] {
        assert_refused(&text, line, expected);
    }
}

#[test]
fn settings_of_operators_that_cannot_work_are_refused() {
    for (operator, settings, expected) in [
        (
            "motion",
            "calibration = \"2 days\"",
            "calibration must be from \"1ms\" to \"1day\", not \"2days\"",
        ),
        ("motion", "calibration = nan", "invalid type: number `NaN`"),
        ("motion", "report_every = \"2 days\"", "report_every must be"),
        ("motion", "threshold = nan", "threshold must be"),
        ("motion", "threshold = \"high\"", "invalid type: text \"high\", expected a number"),
        (
            "motion",
            "window_frames = 0",
            "invalid value: number `0`, expected a whole number from 1",
        ),
        (
            "windows",
            "window = { tumbling = 60 }",
            "invalid type: number `60`, expected a table of settings",
        ),
        ("windows", "window = \"tumbling\"", "invalid type: name without settings"),
        ("motion", "threshold = -0.5", "threshold must be"),
        ("motion", "window_frames = 100001", "window_frames must be from 1 to 100000, not"),
        ("infer", "every = \"0s\"", "every must be from \"1ms\" to \"1day\", not \"0s\""),
        ("infer", "every = \"-1s\"", "invalid value"),
        ("hampel", "frames = 2", "frames must be"),
        ("hampel", "frames = 32", "frames must be"),
        ("hampel", "sigmas = -1.0", "sigmas must be"),
        ("rooms", "max_age = \"0s\"", "max_age must be"),
        ("rooms", "hold = \"2day\"", "hold must be"),
        ("rooms", "rooms = { hall = [] }", "rooms: \"hall\" has no links"),
        ("select_subcarriers", "count = 1", "count must be"),
        ("select_subcarriers", "frames = 1", "frames must be"),
        ("track", "max_distance_m = -1.2", "max_distance_m must be"),
        ("track", "min_confidence = 1.5", "min_confidence must be"),
        ("track", "max_age = \"25h\"", "max_age must be"),
        ("activity", "window = \"10ms\"", "window must be at least \"100ms\""),
        ("activity", "standing_height = 0", "standing_height must be"),
        ("activity", "walking_m_s = nan", "walking_m_s must be"),
        ("activity", "max_fall = \"25h\"", "max_fall must be"),
        (
            "zones",
            "zones = { hall = { coordinates = [[0, 0], [1, 0], [1, nan]] } }",
            "zones: \"hall\": a zone's corners are finite numbers",
        ),
        (
            "windows",
            "window = { sliding = { length = \"999999999s\", every = \"1ms\" } }",
            "window: each row would be in 999999999000 windows, at most 10000",
        ),
        ("windows", "window = { sliding = { length = \"x\", every = \"1s\" } }", "invalid value"),
        (
            "windows",
            "window = { tumbling = { length = \"0s\" } }",
            "window: length must be at least",
        ),
        ("windows", "window = { session = { gap = \"0s\" } }", "window: gap must be at least"),
    ] {
        let (input, required) = match operator {
            "hampel" | "select_subcarriers" => ("clean", ""),
            "motion" => ("clean", "subcarriers = [1, 2]"),
            "rooms" => ("motion", ""),
            "infer" => ("clean", "model = \"n\""),
            "windows" => ("pose", "aggregates = { n = \"count\" }"),
            "track" => ("pose", "confirm = \"1s\""),
            _ => ("pose", ""),
        };
        let text = format!(
            "{GOOD}[operators.pose]\ntype = \"infer\"\ninputs = [\"clean\"]\nmodel = \"m\"\n\
             [operators.odd]\ntype = \"{operator}\"\ninputs = [\"{input}\"]\n{required}\n{settings}\n"
        );
        assert_refused(&text, "30", &format!("operator \"odd\": {expected}"));
    }
}

#[test]
fn old_names_of_durations_are_accepted() {
    let old = ROWS.replace(r#"tumbling = { length = "1s" }"#, "tumbling = { length_s = 1 }");
    let old = old.replace("time = {", "max_delay_ms = 20.5\ntime = {");
    assert_ne!(old, ROWS);
    assert_eq!(diagnostics(&old), "none");
    let octal = old.replace("max_delay_ms = 20.5", "max_delay_ms = 0o777777777777");
    assert!(diagnostics(&octal).contains("max_delay must be at most \"1day\", not \"2years"));
    for (settings, expected) in [
        ("calibration_s = 100000", "calibration must be from \"1ms\" to \"1day\", not \"1day 3h"),
        ("calibration_s = -1", "invalid type: number `-1`, expected a length of time"),
        ("report_every_s = nan", "invalid type: number `NaN`, expected a length of time"),
        ("calibration_s = 1\ncalibration = \"1s\"", "unknown field `calibration_s`"),
        ("calibration = 1", "invalid type: number `1`, expected a length of time such as"),
    ] {
        let text =
            format!("{GOOD}[operators.odd]\ntype = \"motion\"\ninputs = [\"clean\"]\n{settings}\n");
        let found = diagnostics(&text);
        assert!(found.contains(expected), "{settings}: {found}");
    }
}

#[test]
fn settings_at_their_limits_are_taken() {
    for settings in ["tick = \"1h\"", "max_lead = \"1ms\"", "checkpoint = { granule = \"1ms\" }"] {
        assert_eq!(diagnostics(&GOOD.replace("tick = \"10ms\"", settings)), "none", "{settings}");
    }
    let sliding = r#"sliding = { length = "10s", every = "1ms" }"#;
    assert_eq!(diagnostics(&ROWS.replace(r#"tumbling = { length = "60s" }"#, sliding)), "none");
}

#[test]
fn every_mistake_of_a_component_is_found_at_once() {
    let text = GOOD.replace(
        "type = \"motion\"\n",
        "type = \"motion\"\nwindow_frames = \"many\"\ncolour = \"red\"\ncalibration = \"0s\"\nreport_every = \"2days\"\n",
    );
    let found = diagnostics(&text);
    for expected in [
        "flat.toml:16:17: operator \"motion\": invalid type: text \"many\"",
        "flat.toml:17:1: operator \"motion\": unknown field `colour`",
        "flat.toml:18:15: operator \"motion\": calibration must be from",
        "flat.toml:19:16: operator \"motion\": report_every must be from",
    ] {
        assert!(found.contains(expected), "{expected}: {found}");
    }
    let text = format!(
        "{GOOD}[operators.w]\ntype = \"windows\"\ninputs = [\"motion\"]\ncolour = 1\n[operators.w.aggregates]\nn = \"cnt\"\n\
         [operators.w.window.tumbling]\nlength = 5\n"
    );
    let found = diagnostics(&text);
    for expected in ["unknown field `colour`", "\"cnt\"", "flat.toml:29:10: "] {
        assert!(found.contains(expected), "{expected}: {found}");
    }
    let text = GOOD.replace("inputs = [\"clean\"]", "inputs = [\"nope\"]\ncalibration = \"0s\"");
    let found = diagnostics(&text);
    assert!(found.contains("\"nope\"") && found.contains("calibration must be"), "{found}");
    // A required setting with a wrong value is not missing, too.
    let found = diagnostics(&GOOD.replace("format = \"intel5300\"", "format = 5"));
    assert!(found.contains("flat.toml:7:10: source \"living\": "), "{found}");
    assert!(!found.contains("missing"), "{found}");
}

#[test]
fn windows_with_gaps_are_refused() {
    let sliding = r#"sliding = { length = "10s", every = "11s" }"#;
    let found = diagnostics(&ROWS.replace(r#"tumbling = { length = "60s" }"#, sliding));
    assert!(found.contains("every must be at most \"10s\", not \"11s\""), "{found}");
}

#[test]
fn components_that_nothing_reads_are_listed() {
    let unread = format!("{GOOD}[operators.odd]\ntype = \"motion\"\ninputs = [\"clean\"]\n");
    let plan = Plan::parse(Path::new("flat.toml"), &unread).expect("it is valid");
    assert_eq!(plan.unread(), ["odd"]);
    let plan = Plan::parse(Path::new("flat.toml"), GOOD).expect("it is valid");
    assert!(plan.unread().is_empty());
}
