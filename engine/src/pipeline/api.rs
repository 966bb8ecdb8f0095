//! The settings of the API.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use identity::{DEFAULT_TIER, SigningAlgorithm};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{Network, Origin};

const DEFAULT_ADDRESS: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// The address of the API, and who may use it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ApiConfig {
    /// Address to listen on; "127.0.0.1:8080" by default.
    pub listen: SocketAddr,
    /// Another address, for connections with TLS.
    pub tls: Option<TlsConfig>,
    /// Another address, for clients of PostgreSQL, such as `psql` and Grafana: they query the history. With
    /// `tls`, connections may be encrypted.
    pub postgres: Option<PostgresConfig>,
    /// Whether clients need credentials: `"required"` by default. With `"off"`, everybody on this host may do
    /// everything, so the server must listen on loopback.
    pub auth: Auth,
    /// Algorithm that signs access tokens: `"EdDSA"` by default, `"HS256"` or `"RS256"`. The key is made at the
    /// first start, and kept in the store.
    pub token_algorithm: SigningAlgorithm,
    /// An OpenID Connect issuer whose tokens are accepted, too.
    pub issuer: Option<IssuerConfig>,
    /// Names of this server besides `localhost`, such as "pi.home". On loopback, and with any name here, a
    /// request for another name is refused.
    pub hosts: Vec<String>,
    /// Origins of web pages that may use the API besides those of this server, such as
    /// `https://home.example`.
    pub origins: Vec<Origin>,
    /// Networks of proxies, such as "127.0.0.1" or "10.0.0.0/8", whose header `X-Forwarded-For` has the address
    /// of the client.
    pub trusted_proxies: Vec<Network>,
    /// Requests an hour by tier: `default` for addresses without a valid credential, `authenticated` for users
    /// and keys, `premium` and any other tier for those that have it, and `streaming` for streams that are
    /// opened. 100, 1000, 10000 and 3600 by default. Does not apply with `auth = "off"`.
    pub rate_limits: RateLimits,
}

/// An OpenID Connect issuer. The claim `scope` or `scp` of its tokens contains the scopes of Fresnel.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IssuerConfig {
    /// Its URL, as its tokens contain it, such as `https://id.example/realms/home`.
    pub url: String,
    /// The audience that its tokens must name.
    pub audience: String,
    /// The URL of its keys; by default, its discovery document has it.
    #[serde(default)]
    pub jwks_url: Option<String>,
    /// The tier of the rate limits of its users; "authenticated" by default.
    #[serde(default = "default_tier")]
    pub tier: String,
}

fn default_tier() -> String {
    DEFAULT_TIER.to_owned()
}

/// An address for connections with TLS, and the certificate of the server.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// Address to listen on, such as "0.0.0.0:8443".
    pub listen: SocketAddr,
    /// File with the certificate and those of its issuers, in PEM.
    pub certificate: PathBuf,
    /// File with the private key, in PEM.
    pub key: PathBuf,
}

/// An address for clients of PostgreSQL.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PostgresConfig {
    /// Address to listen on, such as "127.0.0.1:5432".
    pub listen: SocketAddr,
}

/// The maximum number of requests per hour, by tier.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct RateLimits(BTreeMap<String, u32>);

/// The tiers that always exist, with their requests an hour.
const TIERS: [(&str, u32); 4] =
    [("default", 100), (DEFAULT_TIER, 1000), ("premium", 10_000), ("streaming", 3600)];

impl RateLimits {
    /// Returns the maximum number of requests per hour of a tier; none if the tier is unknown.
    pub fn of(&self, tier: &str) -> Option<u32> {
        let standard = || TIERS.iter().find(|(name, _)| *name == tier).map(|(_, limit)| *limit);
        self.0.get(tier).copied().or_else(standard)
    }
}

/// Whether clients of the API need credentials.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Auth {
    /// Clients need credentials for everything except signing in and health probes.
    #[default]
    Required,
    /// Clients need no credentials.
    Off,
}

impl ApiConfig {
    /// Returns the addresses to listen on, by setting.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = (&'static str, SocketAddr)> {
        let tls = self.tls.as_ref().map(|tls| ("tls.listen", tls.listen));
        let postgres = self.postgres.as_ref().map(|postgres| ("postgres.listen", postgres.listen));
        [("listen", self.listen)].into_iter().chain(tls).chain(postgres)
    }

    /// Returns the errors in the settings: the name of each setting, and the expected values.
    pub fn problems(&self) -> Vec<String> {
        let is_open = |address: &SocketAddr| self.auth == Auth::Off && !address.ip().is_loopback();
        let open = self.addresses().map(|(_, address)| address).filter(is_open);
        let open = open.map(|address| {
            format!(
                "auth = \"off\" lets everybody who can reach {address} do everything: listen on loopback, such \
                 as 127.0.0.1:{}, or remove it and sign in",
                address.port()
            )
        });
        open.chain(self.shared_addresses()).collect()
    }

    /// Returns an error for each address that a setting before has.
    fn shared_addresses(&self) -> impl Iterator<Item = String> {
        let later = self.addresses().enumerate().filter(|(_, (_, address))| address.port() != 0);
        later.filter_map(|(nth, (name, address))| {
            let (before, _) = self.addresses().take(nth).find(|(_, before)| *before == address)?;
            Some(format!("{name} is {address}, as is {before}: each needs a port of its own"))
        })
    }
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self {
            listen: DEFAULT_ADDRESS,
            tls: None,
            postgres: None,
            auth: Auth::default(),
            token_algorithm: SigningAlgorithm::default(),
            issuer: None,
            hosts: Vec::new(),
            origins: Vec::new(),
            trusted_proxies: Vec::new(),
            rate_limits: RateLimits::default(),
        }
    }
}
