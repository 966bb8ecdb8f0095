//! A schema registry: it knows the schemas that messages name by their numbers.
//!
//! Source: Confluent Schema Registry API, `GET /schemas/ids/(int: id)`.

use std::time::Duration;

use serde::Deserialize;

use crate::SourceError;

/// How long it may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A registry by its URL.
#[derive(Clone, Debug)]
pub(crate) struct Registry {
    url: String,
    agent: ureq::Agent,
}

/// Its answer.
#[derive(Deserialize)]
struct Known {
    schema: String,
}

impl Registry {
    pub(crate) fn new(url: &str) -> Self {
        let config = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT));
        Self { url: url.trim_end_matches('/').to_owned(), agent: config.build().into() }
    }

    /// The schema of a number.
    pub(crate) fn schema(&self, number: u32) -> Result<String, SourceError> {
        let ask = || {
            let answer = self.agent.get(format!("{}/schemas/ids/{number}", self.url)).call()?;
            Ok(answer.into_body().read_json::<Known>()?.schema)
        };
        ask().map_err(|source| SourceError::Registry {
            url: self.url.clone(),
            number,
            source: Box::new(source),
        })
    }
}
