//! The JSON Schema of pipeline files, for editors.

use operators::OperatorConfig;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use schemas::TimeSpan;
use serde_json::{Map, Value, json};
use sinks::SinkConfig;
use sources::SourceConfig;

use super::{ApiConfig, CheckpointConfig};

/// Returns the JSON Schema of pipeline files.
pub fn json_schema() -> Value {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let mut duration = |description: &str| {
        let mut schema = generator.subschema_for::<TimeSpan>().to_value();
        schema["description"] = description.into();
        schema
    };
    let tick = duration("The step of event time; \"10ms\" by default.");
    let max_lead = duration(
        "How far in event time a source may be ahead of the slowest sink; \"2s\" by default.",
    );
    let max_in_flight = json!({
        "type": "integer",
        "minimum": 1,
        "description": "How many mebibytes of each partition may be on their way to the slowest sink; 64 by default.",
    });
    let properties = json!({
        "$schema": { "type": "string" },
        "name": { "type": "string", "description": "The pipeline's name.", "pattern": "^[A-Za-z0-9_-]+$" },
        "tick": tick,
        "max_lead": max_lead,
        "max_in_flight_mib": max_in_flight,
        "checkpoint": generator.subschema_for::<CheckpointConfig>(),
        "api": generator.subschema_for::<ApiConfig>(),
        "sources": components::<SourceConfig>(&mut generator, false),
        "operators": components::<OperatorConfig>(&mut generator, true),
        "sinks": components::<SinkConfig>(&mut generator, true),
    });
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Fresnel pipeline",
        "type": "object",
        "required": ["name", "sources", "sinks"],
        "additionalProperties": false,
        "properties": properties,
        "$defs": Value::Object(generator.take_definitions(true)),
    })
}

/// Returns the schema of tables by name. Each table has one of the types of `C`, and the key `inputs` if
/// `takes_inputs` is set.
fn components<C: JsonSchema>(generator: &mut SchemaGenerator, takes_inputs: bool) -> Value {
    let mut schema = C::json_schema(generator).to_value();
    let variants = schema["oneOf"].as_array_mut().into_iter().flatten();
    for variant in variants {
        inline(variant, generator.definitions());
        if takes_inputs {
            let inputs = json!({
                "type": "array",
                "items": { "type": "string" },
                "minItems": 1,
                "description": "Names of the streams to take from: NAME or NAME.PORT.",
            });
            variant["properties"]["inputs"] = inputs;
            if let Some(required) = variant["required"].as_array_mut() {
                required.push("inputs".into());
            }
        }
    }
    json!({ "type": "object", "additionalProperties": schema })
}

/// Replaces the reference of a variant by the referenced settings. Next to a reference, the schema could
/// not refuse unknown keys.
fn inline(variant: &mut Value, definitions: &Map<String, Value>) {
    let Some(reference) = variant["$ref"].as_str().map(str::to_owned) else { return };
    let Some(settings) = reference.rsplit('/').next().and_then(|name| definitions.get(name)) else {
        return;
    };
    let (tag, description) =
        (variant["properties"]["type"].clone(), variant["description"].clone());
    let mut merged = settings.clone();
    if !merged["properties"].is_object() {
        merged["properties"] = json!({});
    }
    merged["properties"]["type"] = tag;
    merged["description"] = description;
    let required = merged["required"].as_array().cloned().unwrap_or_default();
    merged["required"] = [vec!["type".into()], required].concat().into();
    merged["additionalProperties"] = false.into();
    *variant = merged;
}
