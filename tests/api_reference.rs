//! The reference of the API, generated from its OpenAPI document.

use std::fmt::Write as _;

use serde_json::Value;

/// The methods, in their usual order.
const METHODS: [&str; 4] = ["get", "post", "put", "delete"];

/// Returns the page.
pub(crate) fn page() -> String {
    let document = serde_json::to_value(api::openapi()).expect("JSON");
    let mut text = "# API\n\nThe resources of the API. `/api/v1/openapi.json` is the same for programs. Any request may \
                    also have a [`Problem`](#problem) as its response.\n"
        .to_owned();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for method in METHODS.into_iter().filter(|method| item[method].is_object()) {
            let _ = write!(text, "\n## `{} {path}`\n", method.to_uppercase());
            operation(&mut text, &item[method]);
        }
    }
    for (name, schema) in document["components"]["schemas"].as_object().expect("schemas") {
        let _ = write!(text, "\n## `{name}`\n\n{}\n", words(schema));
        fields(&mut text, schema);
    }
    text
}

fn operation(text: &mut String, operation: &Value) {
    let summary = operation["summary"].as_str().unwrap_or_default();
    let _ = write!(text, "\n{summary}\n");
    if operation["description"].is_string() {
        let _ = write!(text, "\n{}\n", words(operation));
    }
    let _ = write!(text, "\n{}\n", access(&operation["security"]));
    let parameters: Vec<_> = operation["parameters"].as_array().into_iter().flatten().collect();
    if !parameters.is_empty() {
        text.push_str("\n| parameter | in | type | meaning |\n|---|---|---|---|\n");
    }
    for parameter in parameters {
        let (name, place) = (as_text(&parameter["name"]), as_text(&parameter["in"]));
        let required = if parameter["required"] == true { "; required" } else { "" };
        let kind = kind(&parameter["schema"]);
        let _ = writeln!(text, "| `{name}` | {place} | {kind}{required} | {} |", words(parameter));
    }
    let body = &operation["requestBody"]["content"]["application/json"]["schema"];
    if body.is_object() {
        let _ = write!(text, "\nThe body is JSON: {}.\n", kind(body));
    }
    text.push_str("\n| status | body | meaning |\n|---|---|---|\n");
    for (status, response) in operation["responses"].as_object().expect("responses") {
        if status == "default" {
            continue;
        }
        let contents = response["content"].as_object().into_iter().flatten();
        let bodies: Vec<_> = contents.map(|(_, content)| kind(&content["schema"])).collect();
        let _ = writeln!(text, "| {status} | {} | {} |", bodies.join(" or "), words(response));
    }
}

/// What a resource asks of its clients.
fn access(security: &Value) -> String {
    let Some(scopes) = security[0]["token"].as_array() else {
        return "Needs no credential.".to_owned();
    };
    let scopes = scopes.iter().map(|scope| format!("`{}`", as_text(scope)));
    match scopes.collect::<Vec<_>>().join(" and ") {
        scopes if scopes.is_empty() => "Needs any credential.".to_owned(),
        scopes => format!("Needs {scopes}."),
    }
}

fn fields(text: &mut String, schema: &Value) {
    for part in schema["allOf"].as_array().into_iter().flatten() {
        if part["$ref"].is_string() {
            let _ = write!(text, "\nAll fields of {}.\n", kind(part));
        }
        fields(text, part);
    }
    for choice in schema["oneOf"].as_array().into_iter().flatten() {
        let _ = write!(text, "\nEither: {}\n", words(choice));
        fields(text, choice);
    }
    let Some(fields) = schema["properties"].as_object() else {
        if let Some(values) = schema["enum"].as_array() {
            let values: Vec<_> = values.iter().map(|value| format!("`{value}`")).collect();
            let _ = write!(text, "\nOne of {}.\n", values.join(", "));
        }
        return;
    };
    text.push_str("\n| field | type | meaning |\n|---|---|---|\n");
    for (name, field) in fields {
        let value = match field["enum"].as_array().map(Vec::as_slice) {
            Some([only]) => format!("`{only}`"),
            _ => kind(field),
        };
        let _ = writeln!(text, "| `{name}` | {value} | {} |", words(field));
    }
}

/// The type of a value, with a link if it is an object.
fn kind(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        return format!("[`{name}`](#{})", name.to_lowercase());
    }
    let choices = schema["oneOf"].as_array().or_else(|| schema["anyOf"].as_array());
    if let Some(choices) = choices {
        return choices.iter().map(kind).collect::<Vec<_>>().join(" or ");
    }
    let names = match &schema["type"] {
        Value::Array(names) => names.iter().map(as_text).collect(),
        name => vec![as_text(name)],
    };
    let names = names.into_iter().map(|name| match name {
        "array" => format!("list of {}", kind(&schema["items"])),
        "string" if schema["format"] == "date-time" => "time".to_owned(),
        "string" => "text".to_owned(),
        "" => "any".to_owned(),
        name => name.to_owned(),
    });
    names.collect::<Vec<_>>().join(" or ")
}

fn as_text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The description on one line, as cells of tables need it.
fn words(value: &Value) -> String {
    as_text(&value["description"]).replace('\n', " ").replace('|', "\\|")
}
