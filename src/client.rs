//! A client of the API of a running pipeline.

use std::error::Error;
use std::io::Read;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;
use std::{env, fmt};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// Time-out of a connection, and of the header of a response.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The environment variable with an API key. An argument would be visible to other users of the host.
const API_KEY: &str = "FRESNEL_API_KEY";

/// The pipeline answers only clients with a credential.
#[derive(Debug)]
pub(crate) struct NeedsCredentials;

impl fmt::Display for NeedsCredentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "the pipeline asks for credentials: set {API_KEY} to a key of `fresnel keys add`"
        )
    }
}

impl Error for NeedsCredentials {}

/// Requests resources of one pipeline.
pub(crate) struct Client {
    url: String,
    /// The API key, if the pipeline asks for credentials.
    api_key: Option<String>,
}

impl Client {
    /// Accepts `http://host:port`, `host:port`, and `:port` or `port` on this host.
    pub(crate) fn new(address: &str) -> Self {
        let address = address.trim_end_matches('/');
        let url = match address {
            url if url.contains("://") => url.to_owned(),
            port if port.starts_with(':') => format!("http://127.0.0.1{port}"),
            port if port.parse::<u16>().is_ok() => format!("http://127.0.0.1:{port}"),
            host => format!("http://{host}"),
        };
        let api_key = env::var(API_KEY).ok().map(|key| key.trim().to_owned());
        Self { url, api_key: api_key.filter(|key| !key.is_empty()) }
    }

    /// Returns the body of a resource as a stream. The error contains the problem that the server reports.
    pub(crate) fn get(&self, path: &str) -> Result<impl Read + use<>> {
        let url = format!("{}{path}", self.url);
        let request = match &self.api_key {
            Some(key) => ureq::get(&url).header("Authorization", format!("Bearer {key}")),
            None => ureq::get(&url),
        };
        let request = request
            .config()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(TIMEOUT))
            .timeout_recv_response(Some(TIMEOUT))
            .build();
        let response = request.call().with_context(|| {
            format!(
                "could not reach {url}: expected a running pipeline that serves its API there, with \
                 [api] in its file or --listen; another address is the last argument"
            )
        })?;
        let status = response.status();
        let body = response.into_body();
        if status.is_success() {
            return Ok(body.into_reader());
        }
        let problem = body.into_with_config().read_json::<Value>().unwrap_or_default();
        // Without a key, requests are limited by address, whoever else is there.
        if self.api_key.is_none() && (status == 401 || status == 429) {
            return Err(NeedsCredentials.into());
        }
        let of_key = if status == 401 { format!(" (the key of {API_KEY})") } else { String::new() };
        match problem["detail"].as_str().or(problem["error"].as_str()) {
            Some(detail) => bail!("{detail}{of_key}"),
            None => bail!("{url} answered {status}: expected the API of a pipeline"),
        }
    }
}

/// Parses an address to listen on: `host:port`, or `:port` or `port` on this host.
pub(crate) fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let address = match text {
        port if port.starts_with(':') => format!("127.0.0.1{port}"),
        port if port.parse::<u16>().is_ok() => format!("127.0.0.1:{port}"),
        address => address.to_owned(),
    };
    let port = address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    let (Some(_), addresses) = (port, address.to_socket_addrs()) else {
        return Err("expected HOST:PORT or :PORT, with a port up to 65535".to_owned());
    };
    let mut addresses = addresses.map_err(|error| error.to_string())?;
    addresses.next().ok_or_else(|| "the host has no address".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_can_be_short() {
        for (address, url) in [
            (":7801", "http://127.0.0.1:7801"),
            ("7801", "http://127.0.0.1:7801"),
            ("localhost:7801", "http://localhost:7801"),
            ("10.0.0.7:7801/", "http://10.0.0.7:7801"),
            ("https://home.example/fresnel/", "https://home.example/fresnel"),
        ] {
            assert_eq!(Client::new(address).url, url);
        }
        assert_eq!(listen_address(":7801"), Ok(([127, 0, 0, 1], 7801).into()));
        assert_eq!(listen_address("0.0.0.0:80"), Ok(([0, 0, 0, 0], 80).into()));
        assert!(listen_address("localhost:0").is_ok_and(|address| address.ip().is_loopback()));
        assert_eq!(listen_address("7801"), Ok(([127, 0, 0, 1], 7801).into()));
        assert!(listen_address("localhost").is_err() && listen_address(":99999").is_err());
    }
}
