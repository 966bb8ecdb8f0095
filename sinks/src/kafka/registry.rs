//! A client of a schema registry, which stores the schema of a topic's values and returns its id.
//!
//! Source: Confluent Schema Registry API, `POST /subjects/(string: subject)/versions`; other
//! registries, such as Apicurio, have it too.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

/// Time-out of a response.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A registry by its URL.
pub(super) struct Registry {
    url: String,
    agent: ureq::Agent,
}

/// The language of a schema.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum SchemaType {
    Avro,
    Protobuf,
}

/// The failure of a registration.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The registry cannot be reached, or its response cannot be read.
    #[error("the schema registry cannot be used: {0}")]
    Request(Box<ureq::Error>),
    /// The registry rejects the schema, for example because consumers of an earlier schema could not
    /// read it.
    #[error("the schema registry refuses the schema of {subject:?} with status {status}: {reason}")]
    Refused {
        /// The registry's name for the values of the topic: `TOPIC-value`.
        subject: String,
        /// The HTTP status.
        status: u16,
        /// The registry's error.
        reason: String,
    },
}

/// The registry's response.
#[derive(Deserialize)]
struct Registered {
    id: u32,
}

impl RegistryError {
    /// True if a later request may succeed.
    pub(crate) fn is_outage(&self) -> bool {
        match self {
            Self::Request(_) => true,
            Self::Refused { status, .. } => *status >= 500,
        }
    }
}

impl Registry {
    pub(super) fn new(url: &str) -> Self {
        let config = ureq::Agent::config_builder().http_status_as_error(false);
        let agent = config.timeout_global(Some(TIMEOUT)).build().into();
        Self { url: url.trim_end_matches('/').to_owned(), agent }
    }

    /// Registers a schema for the values of a topic, and returns its id; the same id for the same
    /// schema.
    pub(super) fn register(
        &self,
        topic: &str,
        schema_type: SchemaType,
        schema: &str,
    ) -> Result<u32, RegistryError> {
        let failed = |error| RegistryError::Request(Box::new(error));
        let subject = format!("{topic}-value");
        let body = json!({ "schema": schema, "schemaType": schema_type });
        let url = format!("{}/subjects/{subject}/versions", self.url);
        let request = self.agent.post(url);
        let request = request.content_type("application/vnd.schemaregistry.v1+json");
        let response = request.send(body.to_string()).map_err(failed)?;
        let status = response.status();
        let mut body = response.into_body();
        if !status.is_success() {
            let (status, reason) = (status.as_u16(), body.read_to_string().unwrap_or_default());
            return Err(RegistryError::Refused { subject, status, reason });
        }
        Ok(body.read_json::<Registered>().map_err(failed)?.id)
    }
}
