//! Who may use the API: credentials, scopes, sessions, limits, and the commands that manage them.

mod commands;
mod credentials;
mod documentation;
mod issuer;
mod limits;
mod sessions;
mod tls;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tempfile::TempDir;
use ureq::Body;
use ureq::http::Response;

use crate::support::process::{self, Server};

pub(crate) use crate::access::commands::{only_loopback_is_open, users_and_keys_are_managed};
pub(crate) use crate::access::credentials::{
    credentials_that_are_wrong_are_refused, scopes_decide_what_a_credential_allows,
    streams_end_with_their_credentials,
};
pub(crate) use crate::access::documentation::{
    a_generated_client_uses_the_api, the_document_is_true, the_documented_commands_work,
};
pub(crate) use crate::access::issuer::tokens_of_the_issuer_are_accepted;
pub(crate) use crate::access::limits::{clients_have_so_many_requests, proxies_name_their_clients};
pub(crate) use crate::access::sessions::{
    cookies_are_for_own_pages, passwords_cannot_be_guessed, sessions_are_refreshed_and_end,
};
pub(crate) use crate::access::tls::{certificate, connections_may_be_encrypted};

const PIPELINE: &str = r#"
name = "flat"
api = { token_algorithm = "EdDSA" }
sources.room = { type = "simulate", scene = "pipelines/scenes/flat.toml", speed = "recorded" }
operators.zones = { type = "zones", inputs = ["room.truth"], zones.hall.coordinates = [[0, 0], [2, 0], [2, 2]] }
sinks.history = { type = "delta", inputs = ["room.truth"], path = "history", commit_interval = "1h" }
sinks.live = { type = "live", inputs = ["room.truth"] }
"#;

/// A server that asks for credentials, with the password of its first user.
pub(crate) struct Guarded {
    pub(crate) directory: TempDir,
    pub(crate) server: Server,
    pub(crate) password: String,
    /// What the server has said so far.
    pub(crate) said: String,
}

impl Guarded {
    fn start() -> Self {
        Self::start_with("EdDSA")
    }

    /// Starts a server with an algorithm for tokens, and more requests than any test has.
    fn start_with(algorithm: &str) -> Self {
        let limits = "rate_limits = { default = 1000000, authenticated = 1000000 }";
        Self::start_api(&format!("token_algorithm = \"{algorithm}\", {limits}"))
    }

    /// Starts a server with settings of its API.
    pub(crate) fn start_api(settings: &str) -> Self {
        let directory = tempfile::tempdir().expect("room");
        let pipelines = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines");
        symlink(pipelines, directory.path().join("pipelines")).expect("a link");
        let pipeline = PIPELINE.replace("token_algorithm = \"EdDSA\"", settings);
        fs::write(directory.path().join("flat.toml"), pipeline).expect("room");
        let arguments = ["run", "flat.toml", "--listen", "127.0.0.1:0"];
        let mut server = Server::start(directory.path(), &arguments);
        let said = server.wait_for_words(&["first start", "admin"]);
        let password = said.trim().rsplit(' ').next().expect("a word").to_owned();
        Self { directory, server, password, said }
    }

    pub(crate) fn fresnel(&self, arguments: &[&str]) -> String {
        process::succeed(self.directory.path(), arguments).trim().to_owned()
    }

    pub(crate) fn key(&self, scopes: &str) -> String {
        self.fresnel(&["keys", "add", "test", "--scopes", scopes])
    }

    pub(crate) fn sign_in(&self) -> Value {
        let user = json!({ "username": "admin", "password": self.password });
        let (status, tokens) = self.server.post("/api/v1/auth/token", &user);
        assert_eq!(status, 200, "{tokens}");
        serde_json::from_str(&tokens).expect("JSON")
    }

    fn send(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Response<Body> {
        send(&self.server.address, method, path, headers)
    }

    fn status(&self, path: &str, credential: &str) -> u16 {
        let authorization = format!("Bearer {credential}");
        self.send("GET", path, &[("authorization", &authorization)]).status().as_u16()
    }

    /// Returns the routes that ask for credentials: method, path, and the scopes that they ask for.
    fn routes(&self, key: &str) -> Vec<(String, String, Vec<String>)> {
        let authorization = format!("Bearer {key}");
        let response =
            self.send("GET", "/api/v1/openapi.json", &[("authorization", &authorization)]);
        let document: Value = response.into_body().read_json().expect("JSON");
        let paths = document["paths"].as_object().expect("paths");
        let routes = paths.iter().flat_map(|(path, item)| {
            let operations = item.as_object().expect("operations").iter();
            operations.filter_map(move |(method, operation)| {
                let security = operation["security"].as_array().expect("it is declared");
                let scopes = security.first()?["token"].as_array().expect("scopes").iter();
                let scopes = scopes.map(|scope| scope.as_str().expect("text").to_owned()).collect();
                Some((method.to_uppercase(), path.replace(['{', '}'], ""), scopes))
            })
        });
        let pages = ["/docs", "/docs/introduction.md", "/api/v1", "/api/v1/openapi.json"];
        let pages = pages.map(|path| ("GET".to_owned(), path.to_owned(), Vec::new()));
        routes.chain(pages).collect()
    }
}

fn send(address: &str, method: &str, path: &str, headers: &[(&str, &str)]) -> Response<Body> {
    let mut request =
        ureq::http::Request::builder().method(method).uri(format!("http://{address}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = agent().run(request.body(()).expect("a request"));
    response.unwrap_or_else(|error| panic!("{method} {path}: {error}"))
}

fn post(address: &str, path: &str, body: &Value) -> Response<Body> {
    agent().post(format!("http://{address}{path}")).send_json(body).expect("it answers")
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(20)))
        .max_redirects(0)
        .max_redirects_will_error(false)
        .allow_non_standard_methods(true)
        .build()
        .into()
}

fn header<'a>(response: &'a Response<Body>, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().expect("text"))
}

/// The current time in seconds since the Unix epoch.
#[expect(clippy::disallowed_methods, reason = "tokens are a matter of clocks")]
fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}
