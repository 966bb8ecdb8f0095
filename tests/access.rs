//! Who may use the API: credentials, scopes, sessions, and the commands that manage them.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use engine::Store;
use identity::{Scope, SigningAlgorithm, SigningKey};
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use tempfile::TempDir;
use ureq::Body;
use ureq::http::Response;

use crate::http;
use crate::support::process::{self, Server};
use crate::support::wait;

const PIPELINE: &str = r#"
name = "flat"
api = { token_algorithm = "EdDSA" }
sources.room = { type = "simulate", scene = "pipelines/scenes/flat.toml", speed = "recorded" }
operators.zones = { type = "zones", inputs = ["room.truth"], zones.hall.coordinates = [[0, 0], [2, 0], [2, 2]] }
sinks.history = { type = "delta", inputs = ["room.truth"], path = "history", commit_interval = "1h" }
sinks.live = { type = "live", inputs = ["room.truth"] }
"#;

/// A server that asks for credentials, with the password of its first user.
struct Guarded {
    directory: TempDir,
    server: Server,
    password: String,
}

impl Guarded {
    fn start() -> Self {
        Self::start_with("EdDSA")
    }

    fn start_with(algorithm: &str) -> Self {
        let directory = tempfile::tempdir().expect("room");
        let pipelines = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines");
        symlink(pipelines, directory.path().join("pipelines")).expect("a link");
        let pipeline = PIPELINE.replace("EdDSA", algorithm);
        fs::write(directory.path().join("flat.toml"), pipeline).expect("room");
        let arguments = ["run", "flat.toml", "--listen", "127.0.0.1:0"];
        let mut server = Server::start(directory.path(), &arguments);
        let line = server.wait_for_words(&["first start", "admin"]);
        let password = line.trim().rsplit(' ').next().expect("a word").to_owned();
        Self { directory, server, password }
    }

    fn fresnel(&self, arguments: &[&str]) -> String {
        process::succeed(self.directory.path(), arguments).trim().to_owned()
    }

    fn key(&self, scopes: &str) -> String {
        self.fresnel(&["keys", "add", "test", "--scopes", scopes])
    }

    fn signing_key(&self) -> SigningKey {
        let store = Store::open(self.directory.path(), "fresnel.db").expect("a store");
        let accounts = store.handle().accounts();
        let key = accounts.block_on(accounts.signing_key(SigningAlgorithm::EdDsa)).expect("a key");
        store.close();
        key
    }

    fn sign_in(&self) -> Value {
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

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// Signs any header and any claims.
fn token(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> String) -> String {
    let message =
        format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()));
    let signature = sign(message.as_bytes());
    format!("{message}.{signature}")
}

/// Tokens that nobody should accept, made of one that is accepted, with what is wrong with them.
fn wrong_tokens(right: &str, key: &SigningKey) -> Vec<(&'static str, String)> {
    let decode = |part: &str| -> Value {
        serde_json::from_slice(&BASE64.decode(part).expect("base64")).expect("JSON")
    };
    let mut parts = right.split('.');
    let (header, claims) =
        (decode(parts.next().expect("a header")), decode(parts.next().expect("claims")));
    let secret = BASE64.decode(key.expose()).expect("base64");
    let own = EncodingKey::from_ed_der(&secret);
    let public = match Jwk::from_encoding_key(&own, Algorithm::EdDSA).expect("a key").algorithm {
        AlgorithmParameters::OctetKeyPair(pair) => pair.x,
        other => panic!("{other:?}"),
    };
    let sign = |message: &[u8]| {
        jsonwebtoken::crypto::sign(message, &own, Algorithm::EdDSA).expect("a signature")
    };
    let with = |value: &Value, name: &str, to: Value| {
        let mut value = value.clone();
        value[name] = to;
        value
    };
    let claim = |name, to| token(&header, &with(&claims, name, to), sign);
    let head = |name, to| token(&with(&header, name, to), &claims, sign);
    let hmac = |key: Vec<u8>| {
        let header = with(&header, "alg", json!("HS256"));
        token(&header, &claims, |message| {
            let key = EncodingKey::from_secret(&key);
            jsonwebtoken::crypto::sign(message, &key, Algorithm::HS256).expect("a signature")
        })
    };
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": public });
    let mut without_exp = claims.clone();
    without_exp.as_object_mut().expect("claims").remove("exp");
    vec![
        ("garbage", "garbage".to_owned()),
        ("garbage in three parts", "a.b.c".to_owned()),
        ("expired", claim("exp", json!(now_s() - 60))),
        ("not yet valid", claim("nbf", json!(now_s() + 600))),
        ("exp is text", claim("exp", json!((now_s() + 600).to_string()))),
        ("no exp", token(&header, &without_exp, sign)),
        ("another audience", claim("aud", json!("another"))),
        ("another issuer", claim("iss", json!("another"))),
        ("a session that is none", claim("sid", json!("0123456789abcdef"))),
        ("another user", claim("sub", json!("nobody"))),
        ("no algorithm", token(&with(&header, "alg", json!("none")), &claims, |_| String::new())),
        ("signed with the public key", hmac(BASE64.decode(&public).expect("base64"))),
        ("signed with the text of the public key", hmac(public.clone().into_bytes())),
        ("names its key set", head("jku", json!("https://evil.example/jwks"))),
        ("brings its key", head("jwk", jwk)),
        ("names its certificate", head("x5u", json!("https://evil.example/x5u"))),
        ("an unknown key", head("kid", json!("unknown"))),
        ("another type", head("typ", json!("JWT"))),
        ("critical extensions", head("crit", json!(["exp"]))),
        ("another signature", format!("{}AAAA{}", &right[..right.len() - 40], &right[right.len() - 36..])),
        ("no signature", right[..=right.rfind('.').expect("dots")].to_owned()),
        ("a refresh token", format!("fresnel_refresh_0123456789abcdef_{}", "A".repeat(43))),
        ("an unknown key", format!("fresnel_key_0123456789abcdef_{}", "A".repeat(43))),
    ]
}

/// No route but those that are open answers a client without a valid credential.
pub(crate) fn credentials_that_are_wrong_are_refused() {
    let guarded = Guarded::start();
    let tokens = guarded.sign_in();
    let right = tokens["access_token"].as_str().expect("a token");
    assert_eq!(guarded.status("/api/v1/auth/me", right), 200);
    let admin = guarded.key("admin:all");
    let routes = guarded.routes(&admin);
    assert!(routes.len() > 25, "{routes:?}");
    let mut wrong = wrong_tokens(right, &guarded.signing_key());
    let revoked = guarded.key("admin:all");
    assert_eq!(guarded.status("/api/v1/auth/me", &revoked), 200);
    guarded.fresnel(&["keys", "rm", revoked.split('_').nth(2).expect("an id")]);
    wait::until("it is revoked", || guarded.status("/api/v1/auth/me", &revoked) == 401);
    wrong.push(("revoked", revoked));
    let expired =
        guarded.fresnel(&["keys", "add", "short", "--scopes", "admin:all", "--expires", "1s"]);
    wait::until("it expires", || guarded.status("/api/v1/auth/me", &expired) == 401);
    wrong.push(("expired key", expired));
    let mut other = admin.clone();
    other.replace_range(
        admin.len() - 10..admin.len() - 9,
        if admin.as_bytes()[admin.len() - 10] == b'A' { "B" } else { "A" },
    );
    wrong.push(("another secret", other));
    let check = |what: &str, method: &str, path: &str, headers: &[(&str, &str)]| {
        let response = guarded.send(method, path, headers);
        assert_eq!(response.status(), 401, "{what}: {method} {path}");
        assert!(header(&response, "www-authenticate").starts_with("Bearer"), "{what}: {path}");
        assert_eq!(header(&response, "content-type"), "application/problem+json", "{what}: {path}");
    };
    for (method, path, _) in &routes {
        check("none", method, path, &[]);
        check("another scheme", method, path, &[("authorization", "Basic YWRtaW46YWRtaW4=")]);
        check("an empty key", method, path, &[("x-api-key", "")]);
        let cookie = format!("__Host-fresnel=fresnel_session_0123456789abcdef_{}", "A".repeat(43));
        check(
            "an unknown cookie",
            method,
            path,
            &[("cookie", &cookie), ("sec-fetch-site", "same-origin")],
        );
        for (what, credential) in &wrong {
            check(what, method, path, &[("authorization", &format!("Bearer {credential}"))]);
        }
    }
    // A browser is led to the page where its user can sign in.
    let response = guarded.send("GET", "/docs", &[("accept", "text/html")]);
    assert_eq!((response.status().as_u16(), header(&response, "location")), (303, "/"));
    for path in ["/", "/page.js", "/page.css", "/health/live", "/health/ready"] {
        assert!(guarded.send("GET", path, &[]).status().is_success(), "{path}");
    }
    // Nothing of a credential is in the log.
    let secrets = [
        right.to_owned(),
        admin,
        tokens["refresh_token"].as_str().expect("text").to_owned(),
        guarded.password.clone(),
    ];
    let (_, log) = guarded.server.terminate();
    assert!(secrets.iter().all(|secret| !log.contains(secret)), "{log}");
}

/// Every route answers exactly the credentials with its scopes.
pub(crate) fn scopes_decide_what_a_credential_allows() {
    let guarded = Guarded::start();
    let routes = guarded.routes(&guarded.key("admin:all"));
    for scope in Scope::ALL {
        let key = format!("Bearer {}", guarded.key(scope.as_str()));
        for (method, path, scopes) in &routes {
            let response = guarded.send(method, path, &[("authorization", &key)]);
            let may = scope == Scope::AdminAll || scopes.iter().all(|it| it == scope.as_str());
            let status = response.status().as_u16();
            assert_eq!(status != 403, may, "{scope}: {method} {path} {scopes:?} {status}");
            assert_ne!(status, 401, "{scope}: {method} {path}");
            let challenge = header(&response, "www-authenticate");
            assert_eq!(challenge.contains("insufficient_scope"), !may, "{challenge}");
        }
    }
    // What belongs to another client is as if it were not there.
    let (ann, bob) =
        (guarded.key("pose:read,analytics:read"), guarded.key("pose:read,analytics:read"));
    let address = &*guarded.server.address;
    let sql =
        "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t) SELECT count(*) FROM t";
    let path = format!("/api/v1/sql?q={}", sql.replace(' ', "%20").replace('+', "%2B"));
    let headers = [("authorization", format!("Bearer {ann}")), ("x-query-id", "of-ann".to_owned())];
    thread::scope(|scope| {
        let asked = scope.spawn(|| {
            let headers = headers.each_ref().map(|(name, value)| (*name, &**value));
            send(address, "GET", &path, &headers).status().as_u16()
        });
        let cancel = |key: &str, id: &str| {
            let authorization = format!("Bearer {key}");
            let path = format!("/api/v1/sql/{id}");
            let mut response = guarded.send("DELETE", &path, &[("authorization", &authorization)]);
            (response.status().as_u16(), response.body_mut().read_to_string().expect("text"))
        };
        wait::until("it runs", || {
            let absent = cancel(&bob, "of-nobody").1.replace("of-nobody", "of-ann");
            assert_eq!(cancel(&bob, "of-ann"), (404, absent));
            cancel(&ann, "of-ann").0 == 204
        });
        assert_eq!(asked.join().expect("an answer"), 409);
    });
}

/// A refresh token is used once; a session ends with its tokens.
pub(crate) fn sessions_are_refreshed_and_end() {
    for algorithm in ["HS256", "RS256"] {
        let guarded = Guarded::start_with(algorithm);
        let access = guarded.sign_in()["access_token"].as_str().expect("a token").to_owned();
        assert_eq!(guarded.status("/api/v1/auth/me", &access), 200, "{algorithm}");
    }
    let guarded = Guarded::start();
    let text = |tokens: &Value, name: &str| tokens[name].as_str().expect("text").to_owned();
    let refresh = |token: &str| {
        let (status, tokens) =
            guarded.server.post("/api/v1/auth/refresh", &json!({ "refresh_token": token }));
        (status, serde_json::from_str::<Value>(&tokens).expect("JSON"))
    };
    let first = guarded.sign_in();
    let (status, second) = refresh(&text(&first, "refresh_token"));
    assert_eq!((status, second["expires_in"].as_u64()), (200, Some(900)), "{second}");
    let access = text(&second, "access_token");
    assert_eq!(guarded.status("/api/v1/auth/me", &access), 200);
    // Somebody has a copy of the first one.
    assert_eq!(refresh(&text(&first, "refresh_token")).0, 401);
    assert_eq!(refresh(&text(&second, "refresh_token")).0, 401);
    assert_eq!(guarded.status("/api/v1/auth/me", &access), 401);
    let revoked = guarded.sign_in();
    let token = json!({ "refresh_token": text(&revoked, "refresh_token") });
    assert_eq!(guarded.server.post("/api/v1/auth/revoke", &token).0, 204);
    assert_eq!(guarded.status("/api/v1/auth/me", &text(&revoked, "access_token")), 401);
    let ended = text(&guarded.sign_in(), "access_token");
    let authorization = format!("Bearer {ended}");
    let end = guarded.send("DELETE", "/api/v1/auth/session", &[("authorization", &authorization)]);
    assert_eq!(end.status(), 204);
    assert_eq!(guarded.status("/api/v1/auth/me", &ended), 401);
    let changed = text(&guarded.sign_in(), "access_token");
    guarded.fresnel(&["users", "password", "admin"]);
    wait::until("its sessions end", || guarded.status("/api/v1/auth/me", &changed) == 401);
}

/// The cookie of a session is for pages of the server only.
pub(crate) fn cookies_are_for_own_pages() {
    let guarded = Guarded::start();
    let user = json!({ "username": "admin", "password": guarded.password });
    let agent: ureq::Agent =
        ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let response = agent
        .post(format!("http://{}/api/v1/auth/session", guarded.server.address))
        .send_json(&user)
        .expect("it answers");
    assert_eq!(response.status(), 204);
    let cookie = header(&response, "set-cookie").to_owned();
    for attribute in ["__Host-fresnel=", "; Path=/", "; Secure", "; HttpOnly", "; SameSite=Lax"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    let cookie = cookie.split(';').next().expect("a cookie");
    let send = |method, path, more: &[(&str, &str)]| {
        guarded.send(method, path, &[&[("cookie", cookie)], more].concat()).status().as_u16()
    };
    let own = format!("http://{}", guarded.server.address);
    assert_eq!(send("GET", "/api/v1/auth/me", &[]), 200);
    let zone = "/api/v1/config/zones/hall";
    assert_eq!(send("DELETE", zone, &[]), 403, "a form of another site may send it");
    assert_eq!(send("DELETE", zone, &[("origin", "http://evil.example")]), 403);
    assert_eq!(send("DELETE", zone, &[("sec-fetch-site", "cross-site")]), 403);
    assert_eq!(send("GET", "/ws/v1/stream", &[("origin", "http://evil.example")]), 403);
    assert_eq!(send("DELETE", zone, &[("origin", &own)]), 200);
    assert_eq!(send("DELETE", "/api/v1/auth/session", &[("sec-fetch-site", "same-origin")]), 204);
    assert_eq!(send("GET", "/api/v1/auth/me", &[]), 401);
    let page = guarded.send("GET", "/", &[]);
    let policy = header(&page, "content-security-policy");
    assert!(policy.contains("script-src 'self'") && !policy.contains("unsafe"), "{policy}");
}

/// Who guesses passwords has few attempts, and learns nothing about users.
pub(crate) fn passwords_cannot_be_guessed() {
    let guarded = Guarded::start();
    let (address, password) = (&*guarded.server.address, &guarded.password);
    let attempt = |name: &str, password: &str| {
        let user = json!({ "username": name, "password": password });
        let response = post(address, "/api/v1/auth/token", &user);
        (response.status().as_u16(), response.into_body().read_to_string().expect("text"))
    };
    let unknown = attempt("nobody", "a password of nobody");
    assert_eq!((unknown.0, unknown), (401, attempt("admin", "not the password")));
    let statuses: Vec<_> = thread::scope(|scope| {
        let attempts = (0..20).map(|_| scope.spawn(|| attempt("admin", "not the password").0));
        let attempts: Vec<_> = attempts.collect();
        attempts.into_iter().map(|it| it.join().expect("an answer")).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 401).count(), 3, "{statuses:?}");
    let (status, problem) = attempt("admin", password);
    assert_eq!(status, 429, "{problem}");
    // Keys are not passwords.
    assert_eq!(guarded.status("/api/v1/auth/me", &guarded.key("pose:read")), 200);
}

/// The commands add, list and remove users and keys, while the pipeline runs.
pub(crate) fn users_and_keys_are_managed() {
    let guarded = Guarded::start();
    let password = guarded.fresnel(&["users", "add", "ann", "--role", "viewer"]);
    let (status, tokens) = guarded
        .server
        .post("/api/v1/auth/token", &json!({ "username": "ann", "password": password }));
    assert_eq!(status, 200, "{tokens}");
    let tokens: Value = serde_json::from_str(&tokens).expect("JSON");
    assert_eq!(tokens["scope"], "pose:read analytics:read system:read stream:subscribe");
    let access = tokens["access_token"].as_str().expect("a token");
    assert_eq!(guarded.status("/api/v1/system/health", access), 200);
    let path = guarded.directory.path();
    let said = process::fail(path, &["users", "add", "ann"], 1);
    assert!(said.contains("exists"), "{said}");
    let said = process::fail(path, &["users", "add", "a b"], 1);
    assert!(said.contains("no name"), "{said}");
    let mut child = Command::new(env!("CARGO_BIN_EXE_fresnel"))
        .current_dir(path)
        .args(["users", "password", "ann", "--password-stdin"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("it starts");
    child.stdin.take().expect("piped").write_all(b"a password of ann\n").expect("it reads");
    assert!(child.wait().expect("it ends").success());
    wait::until("her session ends", || guarded.status("/api/v1/auth/me", access) == 401);
    let user = json!({ "username": "ann", "password": "a password of ann" });
    assert_eq!(guarded.server.post("/api/v1/auth/token", &user).0, 200);
    let users = guarded.fresnel(&["users", "ls"]);
    assert!(
        users.contains("ann") && users.contains("viewer") && users.contains("admin"),
        "{users}"
    );
    guarded.fresnel(&["users", "rm", "ann"]);
    wait::until("she is gone", || guarded.server.post("/api/v1/auth/token", &user).0 != 200);
    let said = process::fail(path, &["users", "rm", "ann"], 1);
    assert!(said.contains("no user \"ann\""), "{said}");
    let key = guarded.key("system:read");
    let keys = guarded.fresnel(&["keys", "ls"]);
    let id = key.split('_').nth(2).expect("an id");
    assert!(keys.contains(id) && keys.contains("system:read") && !keys.contains(&key), "{keys}");
    let said = process::fail(path, &["keys", "add", "x", "--scopes", "pose:write"], 2);
    assert!(said.contains("pose:write") && said.contains("pose:read"), "{said}");
    let health = |key: &str| {
        let arguments = ["health", &guarded.server.address];
        let output = process::fresnel_with(path, &arguments, &("FRESNEL_API_KEY", key.to_owned()));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    assert_eq!(health(&key), "healthy");
    assert_eq!(guarded.fresnel(&["health", &guarded.server.address]), "ready");
    let said = process::fail(path, &["keys", "ls", "--store", "nowhere.db"], 1);
    assert!(said.contains("not found"), "{said}");
}

/// The OpenAPI document is true for clients with a key and for others.
pub(crate) fn the_document_is_true() {
    let guarded = Guarded::start();
    let key = format!("Authorization: Bearer {}", guarded.key("admin:all"));
    http::check_document(guarded.directory.path(), &guarded.server, &["--header", &key]);
    // A client without a key cannot read the document, so it has a copy.
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
    let url = format!("--url=http://{}", guarded.server.address);
    http::check_document_at(&document.to_string_lossy(), guarded.directory.path(), &[&url]);
}

/// Every command in the documentation of access does what the page says.
pub(crate) fn the_documented_commands_work() {
    let guarded = Guarded::start();
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/src/access.md");
    let page = fs::read_to_string(page).expect("it is there");
    let blocks = page.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let commands: String = blocks.collect();
    assert!(commands.lines().count() > 15, "{commands}");
    let program = Path::new(env!("CARGO_BIN_EXE_fresnel")).parent().expect("a folder");
    let script = format!(
        "set -euo pipefail; PATH={}:$PATH; curl() {{ command curl --silent --show-error --fail \"$@\"; }}\n{}",
        program.display(),
        commands.replace("localhost:8080", &guarded.server.address)
    );
    let output = Command::new("bash").args(["-c", &script]).current_dir(guarded.directory.path()).output();
    let output = output.expect("there is bash");
    let (said, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{errors}");
    for words in ["viewer", "grafana", "healthy", "\"name\":\"ann\""] {
        assert!(said.contains(words), "{words}: {said}");
    }
}

/// Only a server that nobody else can reach may ask for no credentials.
pub(crate) fn only_loopback_is_open() {
    let directory = tempfile::tempdir().expect("room");
    let write = |api: &str| {
        let pipeline = PIPELINE.replace("api = { token_algorithm = \"EdDSA\" }", api);
        fs::write(directory.path().join("flat.toml"), pipeline).expect("room");
    };
    write("api = { auth = \"off\", listen = \"0.0.0.0:8080\" }");
    let said = process::fail(directory.path(), &["validate", "flat.toml"], 78);
    assert!(said.contains("auth = \"off\"") && said.contains("127.0.0.1:8080"), "{said}");
    write("api = { auth = \"off\" }");
    let said = process::fail(directory.path(), &["run", "flat.toml", "--listen", "0.0.0.0:0"], 1);
    assert!(said.contains("auth = \"off\""), "{said}");
    let mut demo = Server::start(directory.path(), &["demo", "--listen", "0.0.0.0:0"]);
    demo.wait_for_words(&["first start", "admin"]);
}
