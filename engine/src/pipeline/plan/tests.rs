//! Invalid pipeline files, with their expected diagnostics.

mod settings;

use std::path::Path;

use crate::Plan;

const GOOD: &str = r#"
name = "flat"
tick = "10ms"

[sources.living]
type = "csi"
format = "intel5300"
transport = { file = "capture.dat" }

[operators.clean]
type = "sanitize_phase"
inputs = ["living"]

[operators.motion]
type = "motion"
inputs = ["clean"]

[sinks.lines]
type = "json_lines"
inputs = ["motion", "clean"]
path = "out.jsonl"
"#;

/// Returns the diagnostics of a pipeline that runs in `/flat`, or `none`.
fn diagnostics(text: &str) -> String {
    match Plan::parse_in(Path::new("flat.toml"), text, Path::new("/flat")) {
        Ok(_) => "none".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_good_file_becomes_a_plan() {
    let plan = Plan::parse(Path::new("flat.toml"), GOOD).expect("the file is good");
    let expected = "living\n└─ csi → clean\n   ├─ csi → motion\n   │  └─ presence → lines\n   └─ csi → lines\n";
    assert_eq!(plan.graph_text(), expected);
    assert!(plan.graph_dot().contains("\"clean\" -> \"motion\" [label=\"csi\"];"));
}

#[test]
fn every_mistake_tells_its_place_and_what_would_fit() {
    for (change, to, expected) in [
        (
            "type = \"sanitize_phase\"",
            "type = \"sanitise_phase\"",
            "flat.toml:11:8: operator \"clean\": unknown operator type `sanitise_phase`, expected one \
             of `sanitize_phase`, `hampel`, `select_subcarriers`, `motion`, `rooms`, `infer`, \
             `estimate_pose`, `place_on_floor`, `fuse_people`, `track`, `zones`, `activity`, `windows`\n  help: did you mean \"sanitize_phase\"?",
        ),
        (
            "path =",
            "paht =",
            "flat.toml:21:1: sink \"lines\": unknown field `paht`, expected `path`\n  help: did you \
             mean \"path\"?",
        ),
        (
            "path = \"out.jsonl\"",
            "path = 5",
            "flat.toml:21:8: sink \"lines\": invalid type: number `5`, expected a path in quotes",
        ),
        ("path = \"out.jsonl\"", "", "flat.toml:18:1: sink \"lines\": missing field `path`"),
        (
            "inputs = [\"clean\"]",
            "inputs = [\"clena\"]",
            "flat.toml:16:11: there is no stream \"clena\"; what would fit: \"clean\", \"living\"\n  \
             help: did you mean \"clean\"?",
        ),
        (
            "inputs = [\"living\"]",
            "inputs = [\"motion\"]",
            "flat.toml:12:11: \"clean\" takes csi, but \"motion\" gives presence\n  help: what would \
             fit: \"living\"",
        ),
        (
            "inputs = [\"living\"]",
            "inputs = []",
            "flat.toml:10:12: operator \"clean\" has no inputs: expected inputs = [\"...\"]",
        ),
        (
            "tick = \"10ms\"",
            "tick = 10",
            "flat.toml:3:8: invalid type: number `10`, expected a length of time such as \"10ms\", \"2s\" or \"1m\"",
        ),
        (
            "tick =",
            "tik =",
            "flat.toml:3:1: unknown key \"tik\", expected one of \"name\", \"tick\", \"max_lead\", \
             \"max_in_flight_mib\", \"checkpoint\", \"api\", \"sources\", \"operators\", \"sinks\"\n  help: did you mean \"tick\"?",
        ),
        (
            "[operators.motion]",
            "[operators.living]",
            "flat.toml:14:12: the name \"living\" is taken by another component",
        ),
        (
            "name = \"flat\"",
            "name = \"the flat\"",
            "flat.toml:2:8: \"the flat\" is no name, expected letters, digits, _ and -",
        ),
        (
            "type = \"csi\"",
            "",
            "flat.toml:5:10: source \"living\" has no type: expected type = \"...\"",
        ),
        (
            "format = \"intel5300\"",
            "format = \"intel530\"",
            "flat.toml:7:10: source \"living\": unknown value `intel530`, expected one of `intel5300`, \
             `atheros`, `nexmon`, `esp32`, `picoscenes`, `feitcsi`, `ruview`\n  help: did you mean \"intel5300\"?",
        ),
    ] {
        let text = GOOD.replacen(change, to, 1);
        let found = diagnostics(&text);
        assert!(found.contains(expected), "{to}:\n{found}\nexpected\n{expected}");
    }
}

#[test]
fn cycles_are_refused() {
    let text = GOOD
        .replace(
            "[operators.motion]\ntype = \"motion\"",
            "[operators.again]\ntype = \"sanitize_phase\"",
        )
        .replace("inputs = [\"living\"]", "inputs = [\"again\"]")
        .replace("inputs = [\"motion\", \"clean\"]", "inputs = [\"clean\"]");
    let expected = "flat.toml:10:12: \"clean\" is part of a cycle of \"clean\", \"again\"\n\
                    flat.toml:14:12: \"again\" is part of a cycle of \"clean\", \"again\"";
    assert_eq!(diagnostics(&text), expected);
}

#[test]
fn all_mistakes_are_told_at_once() {
    let text = GOOD.replace("tick =", "tik =").replace("path =", "paht =");
    assert_eq!(diagnostics(&text).matches("help:").count(), 2);
}

#[test]
fn what_is_no_toml_is_told_with_its_place() {
    let found = diagnostics("name = \"flat\"\ntick = = 3");
    assert!(found.starts_with("flat.toml:2:8: "), "{found}");
}

const ROWS: &str = r#"
name = "devices"

[sources.poses]
type = "json"
transport = { file = "poses.jsonl" }
fields = { at_ms = "int", device = "text" }
time = { field = "at_ms" }

[operators.seconds]
type = "windows"
inputs = ["poses"]
key = ["device"]
window = { tumbling = { length = "1s" } }
aggregates = { n = "count" }

[operators.minutes]
type = "windows"
inputs = ["seconds"]
window = { tumbling = { length = "60s" } }
aggregates = { most = "max(n)" }

[sinks.lines]
type = "json_lines"
inputs = ["minutes", "seconds.late"]
path = "out.jsonl"
"#;

#[test]
fn columns_are_followed_from_end_to_end() {
    assert_eq!(diagnostics(ROWS), "none");
    for (change, to, expected) in [
        (
            "key = [\"device\"]",
            "key = [\"devices\"]",
            "flat.toml:13:7: operator \"seconds\": key: no column \"devices\": expected one of at_ms, device",
        ),
        (
            "max(n)",
            "max(m)",
            "flat.toml:21:14: operator \"minutes\": aggregates: no column \"m\": expected one of device, \
             window_start_ns, window_end_ns, n",
        ),
        (
            "[\"seconds\"]",
            "[\"seconds\", \"poses\"]",
            "flat.toml:19:22: operator \"minutes\": \"poses\" has other columns than \"seconds\"",
        ),
        (
            "field = \"at_ms\"",
            "field = \"device\"",
            "flat.toml:8:8: source \"poses\": time: \"device\" must be of type \"int\" or \"float\"",
        ),
        (
            "max(n)",
            "maximum of n",
            "flat.toml:21:23: operator \"minutes\": invalid value: text \"maximum of n\", expected \
             \"count\", or sum, mean, min, max or a percentile such as p95 of a column, as in \
             \"mean(confidence)\"",
        ),
    ] {
        let told = diagnostics(&ROWS.replacen(change, to, 1));
        assert!(told.contains(expected), "{told}");
    }
}

/// Returns the pipeline with a second sink that writes to `path`.
fn with_sink(sink: &str, path: &str) -> String {
    format!("{GOOD}[sinks.more]\ntype = \"{sink}\"\ninputs = [\"clean\"]\npath = \"{path}\"\n")
}

#[test]
fn a_path_has_one_user() {
    for (sink, path, place, other) in [
        ("json_lines", "more.jsonl", "", ""),
        ("json_lines", "out.jsonl", "25:8", "sink \"lines\" writes \"out.jsonl\""),
        ("json_lines", "./a/../out.jsonl", "25:8", "sink \"lines\" writes \"out.jsonl\""),
        ("json_lines", "/flat//out.jsonl", "25:8", "sink \"lines\" writes \"out.jsonl\""),
        ("json_lines", "/flat2/out.jsonl", "", ""),
        ("delta", "out.jsonl/", "25:8", "sink \"lines\" writes \"out.jsonl\""),
        ("json_lines", "out.jsonl.upper", "25:8", "sink \"lines\" writes \"out.jsonl.upper\""),
        (
            "json_lines",
            "out.jsonl.rejected",
            "25:8",
            "sink \"lines\" writes \"out.jsonl.rejected\"",
        ),
        ("json_lines", "capture.dat", "25:8", "source \"living\" reads \"capture.dat\""),
        ("json_lines", "capture.datstp", "25:8", "source \"living\" reads \"capture.datstp\""),
        ("delta", "capture.dat/", "25:8", "source \"living\" reads \"capture.dat\""),
        ("json_lines", "fresnel.db", "25:8", "checkpoints are in \"fresnel.db\""),
        ("json_lines", "fresnel.db-wal", "25:8", "checkpoints are in \"fresnel.db-wal\""),
        ("json_lines", "fresnel.journal/x", "25:8", "journals are in \"fresnel.journal\""),
    ] {
        let found = diagnostics(&with_sink(sink, path));
        let message = format!("sink \"more\" writes \"{path}\", but {other}");
        let help = "help: give sink \"more\" a path of its own";
        let expected = format!("flat.toml:{place}: {message}\n  {help}");
        assert_eq!(found, if other.is_empty() { "none" } else { expected.as_str() });
    }
}

#[test]
fn a_file_in_a_history_is_refused_and_a_device_is_anybodys() {
    let inside = with_sink("delta", "history").replace("out.jsonl", "history/out.jsonl");
    let expected = "flat.toml:25:8: sink \"more\" writes \"history\", but sink \"lines\" writes \"history/out.jsonl\"";
    assert!(diagnostics(&inside).contains(expected), "{}", diagnostics(&inside));
    let terminal = with_sink("json_lines", "/dev/stdout").replace("out.jsonl", "/dev/stdout");
    assert_eq!(diagnostics(&terminal), "none");
    let model = "[operators.pose]\ntype = \"infer\"\ninputs = [\"clean\"]\nmodel = \"out.jsonl\"\n";
    let found = diagnostics(&format!("{GOOD}{model}"));
    assert!(found.contains("but operator \"pose\" reads \"out.jsonl\""), "{found}");
    let around =
        format!("{}[checkpoint]\nstore = \"history/run.db\"\n", with_sink("delta", "history"));
    assert_eq!(diagnostics(&around), "none", "a store in the folder of a history is no table");
    let elsewhere = "[checkpoint]\nstore = \"postgres://localhost/fresnel\"\n";
    assert_eq!(
        diagnostics(&format!("{}{elsewhere}", with_sink("json_lines", "fresnel.db"))),
        "none"
    );
}

#[test]
fn a_socket_has_one_listener() {
    let address = |transport: &str| format!("transport = {{ {transport} }}");
    for (first, second, expected) in [
        ("udp = \"127.0.0.1:5566\"", "udp = \"127.0.0.1:5567\"", None),
        ("udp = \"127.0.0.1:5566\"", "tcp = \"127.0.0.1:5566\"", None),
        ("follow = \"a.csv\"", "file = \"a.csv\"", None),
        (
            "udp = \"127.0.0.1:5566\"",
            "udp = \"0.0.0.0:5566\"",
            Some(
                "\"hall\" listens to udp 0.0.0.0:5566, but source \"living\" listens to udp 127.0.0.1:5566",
            ),
        ),
        (
            "udp = \"127.0.0.1:5566\"",
            "tcp = \"127.0.0.1:8080\"",
            Some(
                "\"hall\" listens to tcp 127.0.0.1:8080, but the API listens to tcp 127.0.0.1:8080",
            ),
        ),
        (
            "interface = { name = \"wlan0\" }",
            "interface = { name = \"wlan0\", port = 5500 }",
            Some("\"hall\" listens to port 5500 of interface wlan0, but"),
        ),
        (
            "serial = { path = \"/dev/ttyUSB0\" }",
            "serial = { path = \"/dev/ttyUSB0\", baud = 115200 }",
            Some("\"hall\" listens to serial port /dev/ttyUSB0, but"),
        ),
    ] {
        let living = GOOD.replace("transport = { file = \"capture.dat\" }", &address(first));
        let api = "[api]\nlisten = \"127.0.0.1:8080\"\n";
        let hall = "[sources.hall]\ntype = \"csi\"\nformat = \"esp32\"\n";
        let found = diagnostics(&format!("{living}{api}{hall}{}\n", address(second)));
        if let Some(expected) = expected {
            let expected = format!("flat.toml:27:13: source {expected}");
            assert!(found.starts_with(&expected), "{found}");
            assert!(found.contains("help: only one of them can"), "{found}");
        } else {
            assert_eq!(found, "none");
        }
    }
}

#[test]
fn a_stream_of_rows_has_a_table_of_its_own() {
    let history = ROWS.replace("type = \"json_lines\"", "type = \"delta\"");
    assert_eq!(diagnostics(&history), "none");
    let renamed = |from: &str, to: &str| {
        history
            .replace(&format!("[operators.{from}]"), &format!("[operators.{to}]"))
            .replace(&format!("inputs = [\"{from}\","), &format!("inputs = [\"{to}\","))
    };
    for (to, expected) in [
        (
            "seconds_late",
            "\"seconds.late\" and \"seconds_late\" would be one table, \"seconds_late\"",
        ),
        ("persons", "the table \"persons\" is for other records"),
        ("events", "the table \"events\" is for other records"),
        ("presence", "the table \"presence\" is for other records"),
    ] {
        let found = diagnostics(&renamed("minutes", to));
        assert!(found.contains(expected), "{found}");
        assert!(found.contains("help: rename the component"), "{found}");
        // A `json_lines` sink has no tables.
        let lines = renamed("minutes", to).replace("type = \"delta\"", "type = \"json_lines\"");
        assert_eq!(diagnostics(&lines), "none");
    }
}

#[test]
fn an_input_is_taken_once() {
    let found = diagnostics(&GOOD.replace("[\"motion\", \"clean\"]", "[\"clean\", \"clean\"]"));
    assert_eq!(found, "flat.toml:20:20: \"lines\" takes \"clean\" twice: name each input once");
}

/// Checks that the first diagnostic is in `line` and begins with `expected`.
fn assert_refused(text: &str, line: &str, expected: &str) {
    let found = diagnostics(text);
    let (place, said) = found.split_once(": ").expect("a place comes first");
    assert!(place.starts_with(&format!("flat.toml:{line}:")), "{found}\nexpected {expected}");
    assert!(said.starts_with(expected), "{found}\nexpected {expected}");
}

#[test]
fn missing_files_and_streams_without_a_view_are_reported() {
    let text = "name = \"flat\"\n[sources.room]\ntype = \"simulate\"\nscene = \"nowhere.toml\"\n\
                [operators.pose]\ntype = \"infer\"\ninputs = [\"room\"]\nmodel = \"nothing.safetensors\"\n\
                [sinks.live]\ntype = \"live\"\ninputs = [\"room\", \"pose\"]\n";
    let folder = tempfile::tempdir().expect("room");
    let path = folder.path().join("flat.toml");
    std::fs::write(&path, text).expect("room");
    let error = Plan::validate(&path, folder.path()).expect_err("files are missing").to_string();
    for words in [
        "scene nowhere.toml not found",
        "model nothing.safetensors not found",
        "no live view shows csi",
    ] {
        assert!(error.contains(words), "{words}\n{error}");
    }
}

#[test]
fn an_overlay_needs_pictures() {
    let text = "name = \"hall\"\n[sources.hall]\ntype = \"video\"\nurl = \"rtsp://camera/1\"\n\
                [operators.people]\ntype = \"estimate_pose\"\ninputs = [\"hall\"]\n\
                [sinks.overlay]\ntype = \"video_overlay\"\npath = \"out\"\ninputs = [\"people\"]\n";
    assert_refused(text, "8", "sink \"overlay\" has no pictures among its inputs");
    assert_eq!(diagnostics(&text.replace("[\"people\"]", "[\"hall\", \"people\"]")), "none");
}
