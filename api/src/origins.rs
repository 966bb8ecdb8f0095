//! Access of web pages to the API: the `Host` and `Origin` of a request, and CORS.
//!
//! Any page that somebody visits can send requests to servers on their machine. So a request of a page of
//! another origin is refused unless the pipeline names the origin. A page could also let a name of its own lead
//! to this machine (DNS rebinding), so a server that listens on loopback knows its names.
//!
//! Source: RFC 6454, section 7; the CORS protocol of the Fetch standard.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use engine::ApiConfig;
use tower_http::cors::CorsLayer;

use crate::auth::API_KEY;
use crate::error::RequestError;
use crate::rate_limits::{LIMIT, REMAINING, RESET};
use crate::server::IsEncrypted;
use crate::sql::QUERY_ID;

/// The hosts and origins of requests that are answered.
#[derive(Debug)]
pub(crate) struct Origins {
    /// Names of this server; none if it need not know them.
    hosts: Option<Vec<String>>,
    /// Origins of pages that may ask, besides those of this server.
    origins: Vec<String>,
}

impl Origins {
    /// Takes the settings of a server, and whether only clients on its host reach it.
    pub(crate) fn new(config: Option<&ApiConfig>, is_on_loopback: bool) -> Self {
        let hosts = config.map(|config| config.hosts.clone()).unwrap_or_default();
        let knows_names = is_on_loopback || !hosts.is_empty();
        let origins = config.map(|config| config.origins.iter().map(ToString::to_string));
        let origins = origins.into_iter().flatten().collect();
        Self { hosts: knows_names.then_some(hosts), origins }
    }

    /// Returns the middleware that adds the CORS headers for the configured origins.
    pub(crate) fn cors(&self) -> CorsLayer {
        let origins = self.origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
        CorsLayer::new()
            .allow_origin(origins.collect::<Vec<_>>())
            .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE])
            .allow_headers([
                header::ACCEPT,
                header::IF_NONE_MATCH,
                header::AUTHORIZATION,
                header::CONTENT_TYPE,
                API_KEY,
                QUERY_ID,
            ])
            .expose_headers([
                QUERY_ID,
                header::LINK,
                header::RETRY_AFTER,
                header::ETAG,
                LIMIT,
                REMAINING,
                RESET,
                header::CONTENT_DISPOSITION,
            ])
    }

    fn check(
        &self,
        headers: &HeaderMap,
        uri: &Uri,
        IsEncrypted(is_encrypted): IsEncrypted,
    ) -> Result<(), RequestError> {
        let authority = authority(headers, uri)?;
        if !authority.as_ref().is_none_or(|authority| self.is_known(authority.host())) {
            let host = authority.map(|authority| authority.host().to_owned());
            return Err(RequestError::UnknownHost(host.unwrap_or_default()));
        }
        for origin in headers.get_all(header::ORIGIN) {
            let origin = origin.to_str().unwrap_or("an origin that is no text");
            if !self.may_ask(origin, authority.as_ref(), is_encrypted) {
                return Err(RequestError::ForeignOrigin(origin.to_owned()));
            }
        }
        // Requests for pictures and scripts have no origin.
        let site =
            headers.get("sec-fetch-site").map_or("none", |site| site.to_str().unwrap_or_default());
        let is_foreign =
            !["none", "same-origin"].contains(&site) && !headers.contains_key(header::ORIGIN);
        let is_page = !API.iter().any(|path| uri.path().starts_with(path));
        let is_visit =
            is_page && headers.get("sec-fetch-mode").is_some_and(|mode| mode == "navigate");
        if is_foreign && !is_visit {
            return Err(RequestError::ForeignOrigin("another site".to_owned()));
        }
        Ok(())
    }

    /// True for pages of this server and for origins that the pipeline lists. A page without TLS is none of a
    /// server with TLS; a server without TLS may be behind a proxy with TLS.
    fn may_ask(&self, origin: &str, own: Option<&Authority>, is_encrypted: bool) -> bool {
        let (scheme, authority) = origin.split_once("://").unwrap_or_default();
        let own = own.filter(|_| !is_encrypted || scheme == "https");
        let port = |authority: &Authority| {
            authority.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 })
        };
        let is_own = own.zip(Authority::try_from(authority).ok()).is_some_and(|(own, origin)| {
            own.host().eq_ignore_ascii_case(origin.host()) && port(own) == port(&origin)
        });
        is_own || self.origins.iter().any(|known| known == origin)
    }

    /// Addresses are always known: only a name can be made to lead elsewhere.
    fn is_known(&self, host: &str) -> bool {
        let Some(hosts) = &self.hosts else { return true };
        let is_address = host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
        let is = |known: &str| known.eq_ignore_ascii_case(host);
        is_address || is("localhost") || hosts.iter().any(|known| is(known))
    }
}

/// Where the paths of data begin; the others are pages.
const API: [&str; 3] = ["/api", "/ws", "/metrics"];

/// Refuses requests of pages that may not ask.
pub(crate) async fn check(
    State(origins): State<Arc<Origins>>,
    request: Request,
    next: Next,
) -> Response {
    let is_encrypted = request.extensions().get().copied().unwrap_or_default();
    match origins.check(request.headers(), request.uri(), is_encrypted) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

/// Returns the host and the port that a request is for.
fn authority(headers: &HeaderMap, uri: &Uri) -> Result<Option<Authority>, RequestError> {
    if let Some(authority) = uri.authority() {
        return Ok(Some(authority.clone()));
    }
    let Some(host) = headers.get(header::HOST) else { return Ok(None) };
    let authority = Authority::try_from(host.as_bytes()).ok();
    let authority = authority.filter(|authority| !authority.as_str().contains('@'));
    let invalid = || RequestError::BadRequest("the header `host` is invalid".to_owned());
    authority.map(Some).ok_or_else(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(origins: &Origins, host: &str, origin: Option<&str>) -> Result<(), u16> {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().expect("a value"));
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().expect("a value"));
        }
        let checked = origins.check(&headers, &Uri::from_static("/"), IsEncrypted(false));
        checked.map_err(|error| error.into_response().status().as_u16())
    }

    #[test]
    fn a_page_without_tls_is_none_of_a_server_with_tls() {
        let origins = Origins { hosts: None, origins: Vec::new() };
        for (origin, is_encrypted, expected) in [
            ("http://pi.home", true, false),
            ("https://pi.home", true, true),
            ("http://pi.home", false, true),
            ("https://pi.home", false, true),
        ] {
            let own = Authority::from_static("pi.home");
            let may_ask = origins.may_ask(origin, Some(&own), is_encrypted);
            assert_eq!(may_ask, expected, "{origin} {is_encrypted}");
        }
    }

    #[test]
    fn pictures_of_other_sites_are_refused() {
        let origins = Origins { hosts: None, origins: Vec::new() };
        for (path, site, mode, is_answered) in [
            ("/api/v1/sql", "cross-site", "no-cors", false),
            ("/api/v1/sql", "same-site", "no-cors", false),
            ("/api/v1/sql", "cross-site", "navigate", false),
            ("/api/v1/sql", "same-origin", "cors", true),
            ("/api/v1/sql", "none", "navigate", true),
            ("/docs", "cross-site", "navigate", true),
            ("/docs", "cross-site", "no-cors", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("sec-fetch-site", HeaderValue::from_static(site));
            headers.insert("sec-fetch-mode", HeaderValue::from_static(mode));
            let checked = origins.check(&headers, &Uri::from_static(path), IsEncrypted(false));
            assert_eq!(checked.is_ok(), is_answered, "{path} {site} {mode}");
        }
    }

    #[test]
    fn pages_of_others_are_refused() {
        let loopback = Origins { hosts: Some(vec!["pi.home".to_owned()]), origins: Vec::new() };
        for (host, origin, expected) in [
            ("127.0.0.1:8080", None, Ok(())),
            ("localhost:8080", Some("http://localhost:8080"), Ok(())),
            ("[::1]:8080", Some("http://[::1]:8080"), Ok(())),
            ("192.168.1.7", None, Ok(())),
            ("PI.home", Some("https://pi.home"), Ok(())),
            ("evil.example:8080", None, Err(421)),
            ("localhost.evil.example", None, Err(421)),
            ("pi.home.evil.example", None, Err(421)),
            ("localhost:8080", Some("http://localhost:3000"), Err(403)),
            ("localhost:8080", Some("http://127.0.0.1:8080"), Err(403)),
            ("localhost:8080", Some("http://evil.example"), Err(403)),
            ("localhost:8080", Some("null"), Err(403)),
            ("localhost:8080", Some("file://"), Err(403)),
            ("a b", None, Err(400)),
            ("evil@localhost", None, Err(400)),
            ("localhost:80", Some("http://localhost"), Ok(())),
            ("localhost", Some("https://localhost:443"), Ok(())),
            ("localhost:8080", Some("http://localhost"), Err(403)),
        ] {
            assert_eq!(check(&loopback, host, origin), expected, "{host} {origin:?}");
        }
        let open = Origins { hosts: None, origins: vec!["https://home.example".to_owned()] };
        assert_eq!(check(&open, "any.example", None), Ok(()));
        assert_eq!(check(&open, "any.example", Some("https://home.example")), Ok(()));
        assert_eq!(check(&open, "any.example", Some("https://home.example.evil")), Err(403));
    }
}
