//! The issuer of tokens that the pipeline file trusts (OpenID Connect): fetches its public keys.
//!
//! Source: OpenID Connect Discovery 1.0, section 4; RFC 7517, section 5.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use engine::IssuerConfig;
use identity::{CredentialError, Issuer, IssuerKeys, Principal};
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// The least time between two fetches, however many tokens have unknown keys.
const PAUSE: Duration = Duration::from_mins(1);
/// The age of keys from which they are fetched again, so that keys that the issuer has removed are refused.
const MAX_AGE: Duration = Duration::from_hours(1);
/// The age of keys from which they are refused: the issuer may have removed them since.
const MAX_AGE_IN_OUTAGE: Duration = Duration::from_hours(24);
const TIMEOUT: Duration = Duration::from_secs(5);
/// Longest answer of the issuer.
const MAX_BYTES: usize = 1 << 20;

/// A trusted issuer with the keys that are known.
#[derive(Debug)]
pub(super) struct TrustedIssuer {
    issuer: Issuer,
    /// Where its keys are; its discovery document has it by default.
    jwks_url: Option<String>,
    client: Client,
    /// The keys, and the time when they were fetched.
    keys: RwLock<(Arc<IssuerKeys>, Option<Instant>)>,
    /// The time of the last attempt to fetch them. Only one request fetches at a time.
    tried: Mutex<Option<Instant>>,
}

/// The part of a discovery document that is used.
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

/// The keys could not be fetched.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("{0}")]
    Http(#[from] reqwest::Error),
    #[error("the answer is longer than {MAX_BYTES} bytes")]
    Long,
    #[error("the answer is not what was expected: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the discovery document is that of {0}")]
    Issuer(String),
    #[error("{0} is no https URL")]
    Plain(String),
}

impl TrustedIssuer {
    pub(super) fn new(config: IssuerConfig) -> Self {
        let IssuerConfig { url, audience, jwks_url, tier } = config;
        let client = Client::builder().timeout(TIMEOUT).redirect(Policy::none()).build();
        Self {
            issuer: Issuer { url, audience, tier },
            jwks_url,
            client: client.unwrap_or_default(),
            keys: RwLock::default(),
            tried: Mutex::default(),
        }
    }

    /// Returns the principal of a token. Fetches the keys if that of the token is unknown, once a minute at most.
    pub(super) async fn principal(&self, token: &str) -> Result<Principal, CredentialError> {
        let (keys, age) = self.keys();
        if !keys.know_key_of(token) {
            self.update(&mut *self.tried.lock().await).await;
        } else if age >= MAX_AGE {
            // Who has a known key does not wait for the issuer.
            if let Ok(mut tried) = self.tried.try_lock() {
                self.update(&mut tried).await;
            }
        }
        let (keys, age) = self.keys();
        if age >= MAX_AGE_IN_OUTAGE {
            return Err(CredentialError::Invalid);
        }
        keys.check(token, &self.issuer)
    }

    /// Returns the keys, and their age.
    fn keys(&self) -> (Arc<IssuerKeys>, Duration) {
        let (keys, fetched) = self.keys.read().unwrap_or_else(PoisonError::into_inner).clone();
        (keys, fetched.map_or(Duration::MAX, |at| at.elapsed()))
    }

    /// Fetches the keys, unless that was tried within the last minute.
    async fn update(&self, tried: &mut Option<Instant>) {
        if tried.is_some_and(|at| at.elapsed() < PAUSE) {
            return;
        }
        *tried = Some(Instant::now());
        match self.fetch().await {
            Ok(keys) => {
                let fetched = (Arc::new(keys), *tried);
                *self.keys.write().unwrap_or_else(PoisonError::into_inner) = fetched;
            }
            Err(error) => {
                let issuer = &self.issuer.url;
                tracing::warn!(%error, issuer, "could not fetch the keys of the issuer");
            }
        }
    }

    async fn fetch(&self) -> Result<IssuerKeys, FetchError> {
        let url = match &self.jwks_url {
            Some(url) => url.clone(),
            None => self.discover().await?,
        };
        Ok(IssuerKeys::parse(&self.get(&url).await?)?)
    }

    async fn discover(&self) -> Result<String, FetchError> {
        let issuer = &self.issuer.url;
        let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let document: Discovery = serde_json::from_slice(&self.get(&url).await?)?;
        if document.issuer != *issuer {
            return Err(FetchError::Issuer(document.issuer));
        }
        Ok(document.jwks_uri)
    }

    async fn get(&self, url: &str) -> Result<Vec<u8>, FetchError> {
        if !is_private(url) {
            return Err(FetchError::Plain(url.to_owned()));
        }
        let mut response = self.client.get(url).send().await?.error_for_status()?;
        let mut body = Vec::new();
        while let Some(part) = response.chunk().await? {
            body.extend_from_slice(&part);
            if body.len() > MAX_BYTES {
                return Err(FetchError::Long);
            }
        }
        Ok(body)
    }
}

/// True for URLs with TLS, and for those of this host: nobody between can replace the keys.
fn is_private(url: &str) -> bool {
    let Ok(url) = Url::parse(url) else { return false };
    let is_here = url.host_str().is_some_and(|host| {
        let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    });
    url.scheme() == "https" || url.scheme() == "http" && is_here
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_over_tls_or_from_this_host() {
        for (url, expected) in [
            ("https://idp.example/jwks", true),
            ("http://127.0.0.1:9000/jwks", true),
            ("http://[::1]/jwks", true),
            ("http://localhost/jwks", true),
            ("http://idp.example/jwks", false),
            ("http://localhost.evil.example/jwks", false),
            ("file:///etc/passwd", false),
            ("jwks", false),
        ] {
            assert_eq!(is_private(url), expected, "{url}");
        }
    }
}
