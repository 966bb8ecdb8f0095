//! The credential of a request.

use axum::http::{HeaderMap, HeaderName, header};
use identity::{Secret, SecretKind};

/// The header with an API key.
pub(crate) const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// The cookie of a session. Browsers accept the prefix only from the host itself, over TLS or on localhost.
pub(crate) const COOKIE: &str = "__Host-fresnel";
const BEARER: &str = "bearer";
/// How a JSON object begins in base64, and so a signed token.
const TOKEN_START: &str = "eyJ";

/// What a client sends to show who it is.
#[derive(Clone, Debug)]
pub(crate) enum Credential {
    /// An access token of this server, or of another issuer.
    Token(String),
    /// An API key.
    Key(Secret),
    /// The cookie of a session.
    Cookie(Secret),
    /// Something that is none of them.
    Unknown,
}

impl Credential {
    /// Returns the credential of a request; none if it has none. The header `Authorization` comes first, so
    /// that a wrong credential there is never ignored.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        if let Some(value) = headers.get(header::AUTHORIZATION) {
            let bearer = value.to_str().ok().and_then(bearer);
            return Some(match bearer {
                Some(text) if text.starts_with(SecretKind::ApiKey.prefix()) => Self::key(text),
                Some(text) if text.starts_with(SecretKind::RefreshToken.prefix()) => Self::Unknown,
                Some(text) => Self::Token(text.to_owned()),
                None => Self::Unknown,
            });
        }
        if let Some(value) = headers.get(API_KEY) {
            return Some(value.to_str().map_or(Self::Unknown, Self::key));
        }
        let cookie = cookie(headers)?;
        Some(Secret::parse(SecretKind::Cookie, cookie).map_or(Self::Unknown, Self::Cookie))
    }

    /// Returns the API key or the access token that stands in the place of a password; none if it is a password.
    pub(crate) fn of_password(password: &str) -> Option<Self> {
        if password.starts_with(SecretKind::ApiKey.prefix()) {
            return Some(Self::key(password));
        }
        let is_token = password.starts_with(TOKEN_START) && password.split('.').count() == 3;
        is_token.then(|| Self::Token(password.to_owned()))
    }

    fn key(text: &str) -> Self {
        Secret::parse(SecretKind::ApiKey, text).map_or(Self::Unknown, Self::Key)
    }
}

/// Returns the token of a header `Bearer TOKEN`.
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case(BEARER).then_some(token.trim())
}

/// Returns the value of the cookie of a session.
fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).into_iter();
    let mut cookies =
        cookies.filter_map(|cookies| cookies.to_str().ok()).flat_map(|it| it.split(';'));
    cookies.find_map(|cookie| cookie.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn of(name: HeaderName, value: &str) -> Option<Credential> {
        let value = HeaderValue::from_str(value).expect("a header");
        Credential::of(&HeaderMap::from_iter([(name, value)]))
    }

    #[test]
    fn credentials_are_in_three_headers() {
        let secret = |kind| Secret::generate(kind).expect("random numbers").expose();
        let (key, session) = (secret(SecretKind::ApiKey), secret(SecretKind::Cookie));
        let bearer = |text: &str| of(header::AUTHORIZATION, &format!("bearer {text}"));
        assert!(matches!(bearer(&key), Some(Credential::Key(_))));
        assert!(matches!(bearer("a.b.c"), Some(Credential::Token(_))));
        assert!(matches!(bearer(&key[..30]), Some(Credential::Unknown)));
        assert!(matches!(of(header::AUTHORIZATION, "Basic YTpi"), Some(Credential::Unknown)));
        assert!(matches!(of(API_KEY, &key), Some(Credential::Key(_))));
        let cookies = format!("a=b; {COOKIE}={session}; c=d");
        assert!(matches!(of(header::COOKIE, &cookies), Some(Credential::Cookie(_))));
        assert!(matches!(
            of(header::COOKIE, &format!("{COOKIE}={key}")),
            Some(Credential::Unknown)
        ));
        assert!(of(header::COOKIE, "__Host-fresnel2=a").is_none());
        assert!(matches!(Credential::of_password(&key), Some(Credential::Key(_))));
        assert!(matches!(Credential::of_password("eyJh.b.c"), Some(Credential::Token(_))));
        assert!(Credential::of_password("correct.horse.battery").is_none());
    }
}
