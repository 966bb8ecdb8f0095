//! A schema registry, which stores the schemas that messages refer to by number.
//!
//! Source: Confluent Schema Registry API, `GET /schemas/ids/(int: id)`.

use std::time::Duration;

use serde::Deserialize;

use crate::SourceError;

/// Time-out of a response.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A registry at a URL.
#[derive(Clone, Debug)]
pub(crate) struct Registry {
    url: String,
    agent: ureq::Agent,
}

/// The registry's answer about a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Schema {
    /// The schema's text.
    Known(String),
    /// The registry has no schema of that number.
    Unknown,
}

/// The body of a response with a schema.
#[derive(Deserialize)]
struct Answer {
    schema: String,
}

const NOT_FOUND: u16 = 404;

impl Registry {
    pub(crate) fn new(url: &str) -> Self {
        let config = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT));
        Self { url: url.trim_end_matches('/').to_owned(), agent: config.build().into() }
    }

    /// Requests the schema of a number.
    ///
    /// # Errors
    ///
    /// [`SourceError::Registry`] if the registry does not answer, or answers with an error of its own.
    pub(crate) fn schema(&self, number: u32) -> Result<Schema, SourceError> {
        let ask = || {
            let answer = self.agent.get(format!("{}/schemas/ids/{number}", self.url)).call()?;
            Ok(Schema::Known(answer.into_body().read_json::<Answer>()?.schema))
        };
        let asked = match ask() {
            Err(ureq::Error::StatusCode(NOT_FOUND)) => Ok(Schema::Unknown),
            asked => asked,
        };
        asked.map_err(|source| SourceError::Registry {
            url: self.url.clone(),
            number,
            source: Box::new(source),
        })
    }
}
