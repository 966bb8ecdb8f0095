//! A client of a schema registry, which stores the schemas that messages refer to by number.
//!
//! Source: Confluent Schema Registry API, `GET /schemas/ids/(int: id)` and
//! `POST /subjects/(string: subject)/versions`; other registries, such as Apicurio, have it too.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use ureq::Body;
use ureq::http::{Response, StatusCode};

/// Time-out of a response.
const TIMEOUT: Duration = Duration::from_secs(10);
const CONTENT_TYPE: &str = "application/vnd.schemaregistry.v1+json";

/// A registry at a URL.
#[derive(Clone, Debug)]
pub struct Registry {
    url: String,
    agent: ureq::Agent,
}

/// The registry's answer about a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schema {
    /// The schema's text.
    Known(String),
    /// The registry has no schema of that number.
    Unknown,
}

/// The language of a schema.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum SchemaType {
    /// Apache Avro.
    Avro,
    /// Protocol Buffers.
    Protobuf,
}

/// A failure of the registry, or its refusal.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The registry cannot be reached, or its response cannot be read.
    #[error("the schema registry at {url} cannot be used")]
    Request {
        /// The registry as the pipeline has it.
        url: String,
        /// The failure.
        source: Box<ureq::Error>,
    },
    /// The registry does not return a schema.
    #[error("the schema registry at {url} answered with status {status} about schema {number}")]
    Failed {
        /// The registry as the pipeline has it.
        url: String,
        /// The schema's number.
        number: u32,
        /// The HTTP status.
        status: u16,
    },
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

impl RegistryError {
    /// True if a later request may succeed.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Request { .. } | Self::Failed { .. } => true,
            Self::Refused { status, .. } => *status >= 500,
        }
    }
}

/// The body of a response with a schema.
#[derive(Deserialize)]
struct Answer {
    schema: String,
}

/// The body of a response to a registration.
#[derive(Deserialize)]
struct Registered {
    id: u32,
}

impl Registry {
    /// Returns a client of the registry at `url`; it connects with the first request.
    pub fn new(url: &str) -> Self {
        let config = ureq::Agent::config_builder().http_status_as_error(false);
        let agent = config.timeout_global(Some(TIMEOUT)).build().into();
        Self { url: url.trim_end_matches('/').to_owned(), agent }
    }

    /// Requests the schema of a number.
    ///
    /// # Errors
    ///
    /// [`RegistryError`] if the registry does not answer, or answers with an error of its own.
    pub fn schema(&self, number: u32) -> Result<Schema, RegistryError> {
        let request = self.agent.get(format!("{}/schemas/ids/{number}", self.url));
        let response = self.received(request.call())?;
        match response.status() {
            StatusCode::NOT_FOUND => Ok(Schema::Unknown),
            status if !status.is_success() => Err(RegistryError::Failed {
                url: self.url.clone(),
                number,
                status: status.as_u16(),
            }),
            _ => {
                let answer: Answer = self.received(response.into_body().read_json())?;
                Ok(Schema::Known(answer.schema))
            }
        }
    }

    /// Registers a schema for the values of a topic, and returns its number; the same number for the same
    /// schema.
    ///
    /// # Errors
    ///
    /// [`RegistryError`] if the registry does not answer, or rejects the schema.
    pub fn register(
        &self,
        topic: &str,
        schema_type: SchemaType,
        schema: &str,
    ) -> Result<u32, RegistryError> {
        let subject = format!("{topic}-value");
        let body = json!({ "schema": schema, "schemaType": schema_type });
        let request = self.agent.post(format!("{}/subjects/{subject}/versions", self.url));
        let response = request.content_type(CONTENT_TYPE).send(body.to_string());
        let response = self.received(response)?;
        if !response.status().is_success() {
            return Err(refusal(subject, response));
        }
        let registered: Registered = self.received(response.into_body().read_json())?;
        Ok(registered.id)
    }

    fn received<T>(&self, result: Result<T, ureq::Error>) -> Result<T, RegistryError> {
        let failed = |source| RegistryError::Request { url: self.url.clone(), source };
        result.map_err(Box::new).map_err(failed)
    }
}

fn refusal(subject: String, response: Response<Body>) -> RegistryError {
    let status = response.status().as_u16();
    let reason = response.into_body().read_to_string().unwrap_or_default();
    RegistryError::Refused { subject, status, reason }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// A registry that answers once.
    fn answering(status: &str, body: &str) -> Registry {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let length = body.len();
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}");
        thread::spawn(move || {
            let (stream, _) = listener.accept().expect("a client");
            let mut reader = BufReader::new(&stream);
            let mut n_bytes = 0;
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).expect("a request");
                if let Some(length) = line.to_lowercase().strip_prefix("content-length: ") {
                    n_bytes = length.trim().parse().expect("a length");
                }
                if line.trim().is_empty() {
                    break;
                }
            }
            reader.read_exact(&mut vec![0; n_bytes]).expect("a body");
            (&stream).write_all(answer.as_bytes()).expect("a client");
        });
        Registry::new(&format!("http://{address}/"))
    }

    #[test]
    fn schemas_are_requested_by_number() {
        let schema = answering("200 OK", r#"{ "schema": "\"int\"" }"#).schema(7);
        assert_eq!(schema.expect("an answer"), Schema::Known("\"int\"".to_owned()));
        let unknown = answering("404 Not Found", "{}").schema(7);
        assert_eq!(unknown.expect("an answer"), Schema::Unknown);
        for (status, body) in [("500 Oh", "{}"), ("401 Who", "{}"), ("200 OK", "nothing")] {
            let error = answering(status, body).schema(7).expect_err("no schema");
            assert!(error.is_outage(), "{error}");
        }
    }

    #[test]
    fn schemas_are_registered_for_a_topic() {
        let register = |registry: Registry| registry.register("poses", SchemaType::Avro, "\"int\"");
        assert_eq!(register(answering("200 OK", r#"{ "id": 3 }"#)).expect("an answer"), 3);
        let refused = register(answering("409 Conflict", "not compatible")).expect_err("refused");
        assert!(!refused.is_outage());
        let expected = "the schema registry refuses the schema of \"poses-value\" with status 409: not compatible";
        assert_eq!(refused.to_string(), expected);
        assert!(register(answering("503 Later", "")).expect_err("refused").is_outage());
        let nobody = Registry::new("http://127.0.0.1:1");
        assert!(register(nobody).expect_err("nobody listens").is_outage());
    }
}
