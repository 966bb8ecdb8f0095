//! Tokens of an OpenID Connect issuer.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use identity::{SigningAlgorithm, SigningKey};
use jsonwebtoken::jwk::{Jwk, KeyAlgorithm};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use crate::access::{Guarded, now_s};
use crate::support::wait;

/// An issuer: its discovery document and its keys, over HTTP.
struct FakeIssuer {
    url: String,
    keys: Arc<Mutex<Vec<Jwk>>>,
    n_fetches: Arc<AtomicUsize>,
}

impl FakeIssuer {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let (keys, n_fetches) = (Arc::<Mutex<Vec<Jwk>>>::default(), Arc::<AtomicUsize>::default());
        let (issuer, served, counted) = (url.clone(), Arc::clone(&keys), Arc::clone(&n_fetches));
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut lines = BufReader::new(stream.try_clone().expect("a socket")).lines();
                let line = lines.next().expect("a request").expect("text");
                lines.map_while(Result::ok).find(String::is_empty);
                let body = if line.contains("openid-configuration") {
                    json!({ "issuer": issuer, "jwks_uri": format!("{issuer}/keys") })
                } else {
                    counted.fetch_add(1, Ordering::Relaxed);
                    json!({ "keys": *served.lock().expect("no panic") })
                };
                let body = body.to_string();
                let length = body.len();
                let response = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
                );
                stream.write_all(response.as_bytes()).expect("it reads");
            }
        });
        Self { url, keys, n_fetches }
    }

    /// Replaces the keys by a new one, and returns it.
    fn rotate(&self, id: &str, algorithm: SigningAlgorithm) -> (EncodingKey, Header) {
        let bytes = BASE64.decode(SigningKey::generate(algorithm).expect("a key").expose());
        let bytes = bytes.expect("base64");
        let (key, algorithm, of_jwk) = match algorithm {
            SigningAlgorithm::Rs256 => {
                (EncodingKey::from_rsa_der(&bytes), Algorithm::RS256, KeyAlgorithm::RS256)
            }
            _ => (EncodingKey::from_ed_der(&bytes), Algorithm::EdDSA, KeyAlgorithm::EdDSA),
        };
        let mut jwk = Jwk::from_encoding_key(&key, algorithm).expect("a key");
        jwk.common.key_id = Some(id.to_owned());
        jwk.common.key_algorithm = Some(of_jwk);
        *self.keys.lock().expect("no panic") = vec![jwk];
        let mut header = Header::new(algorithm);
        header.kid = Some(id.to_owned());
        (key, header)
    }

    fn claims(&self) -> Value {
        let now_s = now_s();
        json!({
            "iss": self.url, "aud": ["fresnel", "other"], "sub": "7f3a", "exp": now_s + 300, "iat": now_s,
            "scope": "openid profile pose:read",
        })
    }
}

/// Tokens of the trusted issuer are accepted, also after it has changed its keys; others are not, and however
/// many there are, the issuer is asked once a minute.
pub(crate) fn tokens_of_the_issuer_are_accepted() {
    let issuer = FakeIssuer::start();
    let settings = format!("issuer = {{ url = \"{}\", audience = \"fresnel\" }}", issuer.url);
    let guarded = Guarded::start_api(&settings);
    let (key, header) = issuer.rotate("first", SigningAlgorithm::Rs256);
    let claims = issuer.claims();
    let sign = |claims: &Value| encode(&header, claims, &key).expect("a token");
    let token = sign(&claims);
    assert_eq!(guarded.status("/api/v1/auth/me", &token), 200);
    assert_eq!(guarded.status("/api/v1/system/health", &token), 403);
    let with = |name: &str, to: Value| {
        let mut claims = claims.clone();
        claims[name] = to;
        sign(&claims)
    };
    for (what, token) in [
        ("another audience", with("aud", json!("other"))),
        ("another issuer", with("iss", json!("https://evil.example"))),
        ("expired", with("exp", json!(1))),
        ("no user", with("sub", Value::Null)),
    ] {
        assert_eq!(guarded.status("/api/v1/auth/me", &token), 401, "{what}");
    }
    let n_fetches = issuer.n_fetches.load(Ordering::Relaxed);
    let (key, header) = issuer.rotate("second", SigningAlgorithm::EdDsa);
    let token = encode(&header, &claims, &key).expect("a token");
    for _ in 0..20 {
        guarded.status("/api/v1/auth/me", &token);
    }
    assert!(issuer.n_fetches.load(Ordering::Relaxed) <= n_fetches + 1);
    wait::until("the new key is fetched", || guarded.status("/api/v1/auth/me", &token) == 200);
}
