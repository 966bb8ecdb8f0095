//! Sessions: tokens that are refreshed, cookies, and passwords that are guessed.

use std::thread;

use serde_json::{Value, json};

use crate::access::{Guarded, header, post};
use crate::support::wait;

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
    // Somebody knows the session, which every access token names, but no refresh token.
    let newest = text(&second, "refresh_token");
    let forged = format!("{}{}", &newest[..newest.len() - 43], "A".repeat(43));
    assert_eq!(refresh(&forged).0, 401);
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
