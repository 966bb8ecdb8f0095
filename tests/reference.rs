//! The reference of the book, generated from the JSON Schema of pipeline files, the tables and the metrics.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use engine::{Counters, Metrics, Plan};
use queries::{Format, History, Query};
use schemas::RecordKind;
use serde_json::Value;
use sources::simulate::scene_schema;

use crate::api_reference;
use crate::support::process;

/// Pipelines that contain an example of each component.
const EXAMPLES: [&str; 11] = [
    "pipelines/demo.toml",
    "pipelines/esp32.toml",
    "pipelines/windows.toml",
    "pipelines/intel5300.toml",
    "pipelines/camera.toml",
    "pipelines/camera_and_csi.toml",
    "docs/examples/poses.toml",
    "docs/examples/outliers.toml",
    "docs/examples/subcarriers.toml",
    "docs/examples/rooms.toml",
    "docs/examples/overlay.toml",
];
/// Commands without subcommands of their own.
const COMMANDS: [&str; 23] = [
    "run",
    "demo",
    "validate",
    "graph",
    "record",
    "inspect",
    "convert",
    "sql",
    "forget",
    "tap",
    "top",
    "health",
    "evaluate",
    "simulate",
    "train",
    "schema",
    "completions",
    "man",
    "users",
    "keys",
    "models",
    "detect",
    "checkpoint",
];

/// The names of the generated pages in `docs/src/reference`, with their texts.
pub(crate) fn pages() -> Vec<(&'static str, String)> {
    let schema = engine::json_schema();
    vec![
        ("pipeline.md", pipeline(&schema)),
        ("sources.md", components(&schema, "sources", "Sources")),
        ("transports.md", transports(&schema)),
        ("formats.md", formats(&schema)),
        ("operators.md", components(&schema, "operators", "Operators")),
        ("sinks.md", components(&schema, "sinks", "Sinks")),
        ("tables.md", tables()),
        ("scenes.md", scenes()),
        ("api.md", api_reference::page()),
        ("metrics.md", metrics()),
        ("commands.md", commands()),
    ]
}

/// The settings outside of components.
fn pipeline(schema: &Value) -> String {
    let mut text = page("Pipeline files", "The settings outside of sources, operators and sinks.");
    let mut top = schema.clone();
    for section in ["$schema", "sources", "operators", "sinks", "api", "checkpoint"] {
        top["properties"].as_object_mut().expect("an object").remove(section);
    }
    text += &settings(schema, &top);
    for (section, definition) in [("checkpoint", "CheckpointConfig"), ("api", "ApiConfig")] {
        let definition = &schema["$defs"][definition];
        let _ = write!(text, "\n## `[{section}]`\n\n{}\n\n", description(definition));
        text += &settings(schema, definition);
    }
    text
}

/// Scene files, with the steps of scripts.
fn scenes() -> String {
    let schema = scene_schema().to_value();
    let mut text = page(
        "Scenes",
        "A scene file describes a simulated room, its radios and its people. Lengths are in metres, and the origin \
         is a corner of the floor. The examples are in `pipelines/scenes`.",
    );
    text += &settings(&schema, &schema);
    for (table, definition) in [
        ("[room]", "Room"),
        ("[radio]", "Radio"),
        ("[access_point]", "AccessPoint"),
        ("[[senders]]", "Sender"),
        ("[[receivers]]", "Receiver"),
        ("[[reflectors]]", "Reflector"),
        ("[impairments]", "Impairments"),
        ("[disturbances]", "Disturbances"),
        ("[[people]]", "Person"),
    ] {
        let definition = &schema["$defs"][definition];
        let _ = write!(text, "\n## `{table}`\n\n{}\n\n", description(definition));
        text += &settings(&schema, definition);
    }
    text += "\n## Steps of a script\n\n| step | meaning |\n|---|---|\n";
    for step in schema["$defs"]["Step"]["oneOf"].as_array().expect("steps") {
        let name = step["properties"].as_object().and_then(|it| it.keys().next()).expect("a name");
        let _ = writeln!(text, "| `{name}` | {} |", description(step));
    }
    text
}

/// A section of components: settings, ports and an example of each.
fn components(schema: &Value, section: &str, title: &str) -> String {
    let variants = schema["properties"][section]["additionalProperties"]["oneOf"].as_array();
    let mut text = page(title, &format!("Each is a table `[{section}.NAME]` of a pipeline file."));
    for variant in variants.expect("components") {
        let name = variant["properties"]["type"]["const"].as_str().expect("a type");
        let _ = write!(text, "\n## `{name}`\n\n{}\n\n", description(variant));
        text += &settings(schema, variant);
        let (plan, component, example) = example(section, name);
        text += &ports(&plan, &component);
        let _ = write!(text, "\n```toml\n{example}```\n");
    }
    text
}

/// The first example of a component: its plan, its name and its tables.
fn example(section: &str, kind: &str) -> (Plan, String, String) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for path in EXAMPLES {
        let text = fs::read_to_string(root.join(path)).expect("an example");
        let parsed: toml::Table = text.parse().expect("TOML");
        let components = parsed.get(section).and_then(toml::Value::as_table);
        let found = components
            .into_iter()
            .flatten()
            .find(|(_, settings)| settings.get("type").and_then(toml::Value::as_str) == Some(kind));
        if let Some((name, _)) = found {
            let plan = Plan::load(&root.join(path)).expect("examples are valid");
            return (plan, name.clone(), tables_of(&text, &format!("[{section}.{name}")));
        }
    }
    panic!("no example of {section}: {kind}");
}

/// The tables of a TOML text whose headers begin like this.
fn tables_of(text: &str, header: &str) -> String {
    let mut is_inside = false;
    let lines = text.lines().filter(|line| {
        if line.starts_with('[') {
            let rest = line.strip_prefix(header);
            is_inside = rest.is_some_and(|rest| rest.starts_with([']', '.']));
        }
        is_inside
    });
    lines.collect::<Vec<_>>().join("\n").trim_end().to_owned() + "\n"
}

/// The outputs of a component.
fn ports(plan: &Plan, component: &str) -> String {
    let streams = plan.streams().into_iter().filter(|(stream, _)| stream.component == component);
    let rows: Vec<_> = streams
        .map(|(stream, kind)| format!("| `{stream}` | {kind} | {} |\n", kind_link(kind)))
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    format!("\n| output | records | columns |\n|---|---|---|\n{}", rows.concat())
}

fn kind_link(kind: RecordKind) -> String {
    match kind {
        RecordKind::Rows => "those of the pipeline".to_owned(),
        RecordKind::Video => "pictures, for operators and `video_overlay`".to_owned(),
        kind => format!("[`{}`](tables.md#{})", kind.table(), kind.table()),
    }
}

fn transports(schema: &Value) -> String {
    let mut text = page("Transports", "The values of `transport` of a source.");
    for variant in schema["$defs"]["Transport"]["oneOf"].as_array().expect("transports") {
        let (name, value) = only_property(variant);
        let _ = write!(text, "\n## `{name}`\n\n{}\n\n", description(variant));
        match value["$ref"].as_str() {
            Some(reference) => text += &settings(schema, definition(schema, reference)),
            None => {
                let _ = writeln!(text, "`transport = {{ {name} = \"...\" }}`");
            }
        }
    }
    text
}

fn only_property(variant: &Value) -> (&String, &Value) {
    let properties = variant["properties"].as_object().expect("an object");
    properties.iter().next().expect("a property")
}

fn formats(schema: &Value) -> String {
    let mut text = page("Formats of CSI", "The values of `format` of a `csi` source.");
    text += "| format | content |\n|---|---|\n";
    for format in schema["$defs"]["CsiFormat"]["oneOf"].as_array().expect("formats") {
        let name = format["const"].as_str().expect("a name");
        let _ = writeln!(text, "| `{name}` | {} |", description(format));
    }
    text
}

/// A row for each setting of an object.
fn settings(schema: &Value, object: &Value) -> String {
    let required: Vec<_> =
        object["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut text = String::from("| setting | type | default | meaning |\n|---|---|---|---|\n");
    for (name, setting) in object["properties"].as_object().expect("properties") {
        if name == "type" {
            continue;
        }
        let default = match &setting["default"] {
            _ if required.contains(&name.as_str()) => "required".to_owned(),
            Value::Null => String::new(),
            Value::Number(number) if number.is_f64() => {
                // As it is written in the program, in single precision.
                format!("`{}`", number.as_f64().unwrap_or_default() as f32)
            }
            default => format!("`{default}`"),
        };
        let kind = kind(schema, setting);
        let _ = writeln!(text, "| `{name}` | {kind} | {default} | {} |", description(setting));
    }
    text
}

/// The type of a setting, with its range.
fn kind(schema: &Value, setting: &Value) -> String {
    if let Some(reference) = setting["$ref"].as_str() {
        return kind(schema, definition(schema, reference));
    }
    let choices = setting["anyOf"].as_array().or_else(|| setting["oneOf"].as_array());
    if let Some(choices) = choices {
        let kinds = choices.iter().filter(|choice| choice["type"] != "null");
        let mut kinds: Vec<_> = kinds.map(|choice| kind(schema, choice)).collect();
        kinds.dedup();
        return kinds.join(" or ");
    }
    if let Some(value) = setting["const"].as_str() {
        return format!("`\"{value}\"`");
    }
    if let Some(values) = setting["enum"].as_array() {
        return values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(" or ");
    }
    let name = match &setting["type"] {
        Value::Array(types) => types[0].as_str().unwrap_or_default(),
        name => name.as_str().unwrap_or_default(),
    };
    match (name, setting["pattern"].as_str(), setting["minimum"].as_f64()) {
        ("string", Some(pattern), _) if pattern.contains('µ') => {
            "duration, such as `\"10ms\"` or `\"1s\"`".to_owned()
        }
        ("object", ..) => "table".to_owned(),
        ("array", ..) => format!("list of {}", kind(schema, &setting["items"])),
        (name, _, Some(minimum)) if minimum > 0.0 => format!("{name}, at least {minimum}"),
        (name, ..) => name.to_owned(),
    }
}

fn definition<'a>(schema: &'a Value, reference: &str) -> &'a Value {
    schema.pointer(reference.trim_start_matches('#')).expect("a definition")
}

/// The description on one line, as cells of tables need it.
fn description(value: &Value) -> String {
    let text = value["description"].as_str().unwrap_or_default();
    text.replace('\n', " ").replace('|', "\\|")
}

/// The tables of a history, with the columns that queries add.
fn tables() -> String {
    let about = "The tables of a history, one for each kind of record. Queries also have a timestamp in UTC for \
                 each column of nanoseconds, such as `captured_at` for `captured_at_ns`, and the view `persons` \
                 with a row for each person of each frame. Streams of rows have tables of their own, named after \
                 the stream.";
    let mut text = page("Tables", about);
    for kind in RecordKind::ALL {
        let _ =
            write!(text, "\n## `{}`\n\n| column | type | NULL |\n|---|---|---|\n", kind.table());
        for field in kind.arrow_schema().fields() {
            let data_type = [("non-null ", ""), (", field: 'element'", ""), ("Utf8", "text")]
                .iter()
                .fold(field.data_type().to_string(), |it, (from, to)| it.replace(from, to));
            let null = if field.is_nullable() { "yes" } else { "" };
            let _ = writeln!(text, "| `{}` | {data_type} | {null} |", field.name());
        }
    }
    text + &persons()
}

/// The columns of the view of people.
fn persons() -> String {
    let folder = tempfile::tempdir().expect("room");
    let history = History::new(folder.path().to_owned().into(), None);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let query = Query::new("SELECT * FROM persons", Format::Json);
    let answer = runtime.expect("a runtime").block_on(history.query(&query)).expect("no rows");
    let mut text = "\n## `persons`\n\n| column | type |\n|---|---|\n".to_owned();
    for field in answer.schema.fields() {
        let data_type = field.data_type().to_string().replace("Utf8", "text");
        let _ = writeln!(text, "| `{}` | {data_type} |", field.name());
    }
    text
}

fn metrics() -> String {
    let mut metrics = Metrics::default();
    Counters::default().write(&mut metrics);
    let described = format!("{metrics}{}", api::metrics_of_api());
    let lines = described.lines().filter(|line| line.starts_with('#'));
    let described = lines.collect::<Vec<_>>().join("\n");
    let about = "The metrics of `/metrics`: of each component, and of the API.";
    let mut text = page("Metrics", about);
    text += "| metric | type | meaning |\n|---|---|---|\n";
    let mut lines = described.lines();
    while let Some((help, kind)) = lines.next().zip(lines.next()) {
        let (name, help) =
            help.trim_start_matches("# HELP ").split_once(' ').expect("a description");
        let kind = kind.rsplit(' ').next().expect("a type");
        let _ = writeln!(text, "| `{name}` | {kind} | {help} |");
    }
    text
}

fn commands() -> String {
    let mut text = page("Commands", "The output of `fresnel COMMAND --help`.");
    let directory = tempfile::tempdir().expect("room");
    for command in COMMANDS {
        let help = process::succeed(directory.path(), &[command, "--help"]);
        let help: Vec<_> = help.lines().map(str::trim_end).collect();
        let _ = write!(
            text,
            "\n## `fresnel {command}`\n\n```text\n{}\n```\n",
            help.join("\n").trim_end()
        );
    }
    text
}

fn page(title: &str, about: &str) -> String {
    format!("# {title}\n\n{about}\n\n")
}
