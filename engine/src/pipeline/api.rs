//! The settings of the API.

use std::net::{Ipv4Addr, SocketAddr};

use identity::SigningAlgorithm;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::Origin;

const DEFAULT_ADDRESS: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// The address of the API, and who may use it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ApiConfig {
    /// Address to listen on; "127.0.0.1:8080" by default.
    pub listen: SocketAddr,
    /// Whether clients need credentials: `"required"` by default. With `"off"`, everybody on this host may do
    /// everything, so the server must listen on loopback.
    pub auth: Auth,
    /// Algorithm that signs access tokens: `"EdDSA"` by default, `"HS256"` or `"RS256"`. The key is made at the
    /// first start, and kept in the store.
    pub token_algorithm: SigningAlgorithm,
    /// Names of this server besides `localhost`, such as "pi.home". On loopback, and with any name here, a
    /// request for another name is refused.
    pub hosts: Vec<String>,
    /// Origins of web pages that may use the API besides those of this server, such as
    /// `https://home.example`.
    pub origins: Vec<Origin>,
}

/// Whether clients of the API need credentials.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Auth {
    /// They need them for everything but to sign in, and to ask whether the server lives.
    #[default]
    Required,
    /// They need none.
    Off,
}

impl ApiConfig {
    /// Returns the errors in the settings: the name of each setting, and the expected values.
    pub fn problems(&self) -> Vec<String> {
        let is_open = self.auth == Auth::Off && !self.listen.ip().is_loopback();
        let open = is_open.then(|| {
            format!(
                "auth = \"off\" lets everybody who can reach {} do everything: listen on loopback, such as \
                 127.0.0.1:{}, or remove it and sign in",
                self.listen,
                self.listen.port()
            )
        });
        open.into_iter().collect()
    }
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self {
            listen: DEFAULT_ADDRESS,
            auth: Auth::default(),
            token_algorithm: SigningAlgorithm::default(),
            hosts: Vec::new(),
            origins: Vec::new(),
        }
    }
}
