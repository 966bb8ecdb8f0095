//! Templates: pipeline files with parameters in their strings.
//!
//! A string that is a parameter, as in `"${port}"`, becomes the value with its type; a parameter within a string,
//! as in `"0.0.0.0:${port}"`, becomes text. A template is TOML before and after, so a value cannot add settings.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;
use toml::{Table, Value};

/// A template that cannot be read, or not be rendered with some values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// It is no TOML.
    #[error("{0}")]
    Syntax(String),
    /// A parameter has no end, or a name with other characters than letters, digits and `_`.
    #[error(
        "{0:?} has a parameter without a name: expected letters, digits and _, as in ${{port}}"
    )]
    Name(String),
    /// Parameters have no values.
    #[error("no values of {}", .0.join(", "))]
    Missing(Vec<String>),
    /// Values are those of no parameters.
    #[error("no parameters {}", .0.join(", "))]
    Unknown(Vec<String>),
    /// A value is none that TOML has, or a list or table within a string.
    #[error("the value of {0} cannot be written there")]
    Value(String),
}

/// A pipeline file with parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    table: Table,
    parameters: BTreeSet<String>,
}

/// Values of parameters, by name.
type Values = BTreeMap<String, Value>;

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    ///
    /// [`TemplateError`] if it is no TOML, or if a parameter has no name.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let table = text.parse::<Table>();
        let table = table.map_err(|error| TemplateError::Syntax(error.to_string()))?;
        let mut parameters = BTreeSet::new();
        for text in strings(&Value::Table(table.clone())) {
            parameters.extend(parts(&text)?.into_iter().filter_map(|(_, name)| name));
        }
        Ok(Self { table, parameters })
    }

    /// Returns the names of the parameters.
    pub fn parameters(&self) -> &BTreeSet<String> {
        &self.parameters
    }

    /// Returns the pipeline file with these values of the parameters.
    ///
    /// # Errors
    ///
    /// [`TemplateError`] if a value is missing, is one too many, or cannot be written.
    pub fn render(&self, values: &BTreeMap<String, Json>) -> Result<String, TemplateError> {
        let missing = self.parameters.iter().filter(|name| !values.contains_key(*name));
        let missing: Vec<_> = missing.cloned().collect();
        if !missing.is_empty() {
            return Err(TemplateError::Missing(missing));
        }
        let unknown = values.keys().filter(|name| !self.parameters.contains(*name));
        let unknown: Vec<_> = unknown.cloned().collect();
        if !unknown.is_empty() {
            return Err(TemplateError::Unknown(unknown));
        }
        let values = values.iter().map(|(name, value)| {
            let value = Value::try_from(value).map_err(|_| TemplateError::Value(name.clone()));
            Ok((name.clone(), value?))
        });
        let values = values.collect::<Result<Values, _>>()?;
        let mut rendered = Value::Table(self.table.clone());
        fill(&mut rendered, &values)?;
        toml::to_string(&rendered).map_err(|error| TemplateError::Syntax(error.to_string()))
    }
}

/// Returns all strings below a value.
fn strings(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(values) => values.iter().flat_map(strings).collect(),
        Value::Table(table) => table.values().flat_map(strings).collect(),
        _ => Vec::new(),
    }
}

/// Replaces the parameters in all strings below a value.
fn fill(value: &mut Value, values: &Values) -> Result<(), TemplateError> {
    match value {
        Value::String(text) => *value = filled(text, values)?,
        Value::Array(items) => items.iter_mut().try_for_each(|item| fill(item, values))?,
        Value::Table(table) => table.iter_mut().try_for_each(|(_, item)| fill(item, values))?,
        _ => {}
    }
    Ok(())
}

fn filled(text: &str, values: &Values) -> Result<Value, TemplateError> {
    let parts = parts(text)?;
    if let [(before, Some(name)), (after, None)] = &*parts
        && before.is_empty()
        && after.is_empty()
    {
        return Ok(values[name].clone());
    }
    let mut filled = String::new();
    for (before, name) in parts {
        filled += before;
        if let Some(name) = name {
            filled += &match &values[&name] {
                Value::Array(_) | Value::Table(_) => return Err(TemplateError::Value(name)),
                Value::String(text) => text.clone(),
                value => value.to_string(),
            };
        }
    }
    Ok(Value::String(filled))
}

/// Splits a text at its parameters: each part has the text before a parameter, and its name; the last one has none.
fn parts(text: &str) -> Result<Vec<(&str, Option<String>)>, TemplateError> {
    let (mut parts, mut rest) = (Vec::new(), text);
    while let Some((before, after)) = rest.split_once("${") {
        let (name, after) = after.split_once('}').unwrap_or_default();
        let is_letter = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        if name.is_empty() || !name.chars().all(is_letter) {
            return Err(TemplateError::Name(text.to_owned()));
        }
        parts.push((before, Some(name.to_owned())));
        rest = after;
    }
    parts.push((rest, None));
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TEXT: &str = r#"
name = "${site}_light"
api = { listen = "127.0.0.1:${port}", rate_limits = { default = "${limit}" } }
sources.boards = { type = "csi", format = "esp32", transport = "${transport}" }
"#;

    fn render(values: &Json) -> Result<String, TemplateError> {
        let template = Template::parse(TEXT).expect("a template");
        template.render(&serde_json::from_value(values.clone()).expect("an object"))
    }

    #[test]
    fn parameters_keep_their_types() {
        let names: Vec<_> =
            Template::parse(TEXT).expect("a template").parameters.into_iter().collect();
        assert_eq!(names, ["limit", "port", "site", "transport"]);
        let values = json!({ "site": "hall", "port": 8080, "limit": 7, "transport": { "udp": "0.0.0.0:5566" } });
        let rendered: Table = render(&values).expect("all values").parse().expect("TOML");
        assert_eq!(rendered["name"].as_str(), Some("hall_light"));
        assert_eq!(rendered["api"]["listen"].as_str(), Some("127.0.0.1:8080"));
        assert_eq!(rendered["api"]["rate_limits"]["default"].as_integer(), Some(7));
        assert_eq!(
            rendered["sources"]["boards"]["transport"]["udp"].as_str(),
            Some("0.0.0.0:5566")
        );
    }

    #[test]
    fn a_value_adds_no_settings() {
        let evil = "hall\"\n[api]\nauth = \"off";
        let values = json!({ "site": evil, "port": 1, "limit": 1, "transport": "x" });
        let rendered: Table = render(&values).expect("all values").parse().expect("TOML");
        assert_eq!(rendered["name"].as_str(), Some(&*format!("{evil}_light")));
        assert!(rendered["api"].get("auth").is_none());
    }

    #[test]
    fn mistakes_are_named() {
        let all =
            |transport: Json| json!({ "site": "a", "port": 1, "limit": 1, "transport": transport });
        let mut missing = all("x".into());
        missing.as_object_mut().expect("an object").remove("port");
        assert_eq!(render(&missing), Err(TemplateError::Missing(vec!["port".to_owned()])));
        let mut unknown = all("x".into());
        unknown["colour"] = "red".into();
        assert_eq!(render(&unknown), Err(TemplateError::Unknown(vec!["colour".to_owned()])));
        assert_eq!(render(&all(Json::Null)), Err(TemplateError::Value("transport".to_owned())));
        let mut list = all("x".into());
        list["site"] = json!([1]);
        assert_eq!(render(&list), Err(TemplateError::Value("site".to_owned())));
        for text in ["name = \"${}\"", "name = \"${a b}\"", "name = \"${a\""] {
            assert!(matches!(Template::parse(text), Err(TemplateError::Name(_))), "{text}");
        }
        assert!(matches!(Template::parse("name = ${a}"), Err(TemplateError::Syntax(_))));
    }
}
