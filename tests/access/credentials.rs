//! Credentials that are refused, and what others allow.

use std::io;
use std::net::TcpStream;
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use engine::Store;
use identity::{Scope, SigningAlgorithm, SigningKey};
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use tungstenite::{ClientRequestBuilder, Message};

use crate::access::{Guarded, header, now_s, send};
use crate::support::wait;

impl Guarded {
    fn signing_key(&self) -> SigningKey {
        let store = Store::open(self.directory.path(), "fresnel.db").expect("a store");
        let accounts = store.handle().accounts();
        let key = accounts.block_on(accounts.signing_key(SigningAlgorithm::EdDsa)).expect("a key");
        store.close();
        key
    }
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
        (
            "another signature",
            format!("{}AAAA{}", &right[..right.len() - 40], &right[right.len() - 36..]),
        ),
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

/// A stream ends with its credential.
pub(crate) fn streams_end_with_their_credentials() {
    let guarded = Guarded::start();
    let key = guarded.key("admin:all");
    let authorization = format!("Bearer {key}");
    let tap = guarded.send(
        "GET",
        "/api/v1/streams/room/tap",
        &[("authorization", &authorization), ("accept", "*/*")],
    );
    assert_eq!(tap.status(), 200);
    let request = ClientRequestBuilder::new(
        format!("ws://{}/ws/v1/stream", guarded.server.address).parse().expect("a URI"),
    );
    let stream = TcpStream::connect(&guarded.server.address).expect("it listens");
    let request = request.with_header("Authorization", authorization);
    let (mut socket, _) = tungstenite::client(request, stream).expect("it is accepted");
    guarded.fresnel(&["keys", "rm", key.split('_').nth(2).expect("an id")]);
    let closed = loop {
        if let Message::Close(close) = socket.read().expect("it says goodbye") {
            break close.expect("a reason");
        }
    };
    assert_eq!(u16::from(closed.code), 4001);
    io::copy(&mut tap.into_body().into_reader(), &mut io::sink()).expect("it ends in order");
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
