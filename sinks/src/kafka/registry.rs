//! A schema registry: it knows the schema that a topic's values are written by, and gives it a number.
//!
//! Source: Confluent Schema Registry API, `POST /subjects/(string: subject)/versions`; others, such as
//! Apicurio's, speak it too.

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

/// Why a registry gave no number.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// It cannot be reached, or refuses.
    #[error("the schema registry cannot be used: {0}")]
    Request(Box<ureq::Error>),
    /// It refuses the schema, for example because consumers of an earlier one could not read it.
    #[error("the schema registry refuses the schema of {subject:?} with status {status}: {reason}")]
    Refused {
        /// The topic, and that it is about values.
        subject: String,
        /// Its name in HTTP.
        status: u16,
        /// The registry's error.
        reason: String,
    },
}

/// Its answer.
#[derive(Deserialize)]
struct Registered {
    id: u32,
}

impl RegistryError {
    /// True if the registry may answer later.
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

    /// The number of a schema for the values of a topic; the same for the same schema.
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
