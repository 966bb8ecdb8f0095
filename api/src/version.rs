//! Versions of the API, by the path (`/api/v2/...`) or, for paths without a version (`/api/...`), by the header
//! `Accept` (`application/json;version=2`).
//!
//! All versions have the same resources. Where a version differs, [`represent`] changes the response.
//!
//! Source: RFC 9745 (`Deprecation`), RFC 8594 (`Sunset`), RFC 5829 (`successor-version`).

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::{StreamExt as _, stream};
use serde::Serialize;

use crate::error::RequestError;
use crate::paging::IsList;

/// The header with the version of a response.
pub(crate) const API_VERSION: HeaderName = HeaderName::from_static("api-version");
/// The path of the version that the routes are written in.
const ROUTES: &str = "/api/v1";

/// A version of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Version {
    /// Its name in paths.
    pub(crate) name: &'static str,
    /// `stable`, or `beta` if it may still change.
    stage: &'static str,
    /// What differs from the version before.
    differs: &'static str,
    #[serde(skip)]
    deprecation: Option<Deprecation>,
}

/// The end of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Deprecation {
    /// Since when its clients should use the successor, in seconds since the Unix epoch.
    since_s: u64,
    /// When it will be gone, as an HTTP date.
    sunset: &'static str,
    successor: &'static str,
    /// The path of the migration guide.
    guide: &'static str,
}

/// All versions. The first one is that of requests that name none.
pub(crate) const VERSIONS: [Version; 2] = [
    Version { name: "v1", stage: "stable", differs: "", deprecation: None },
    Version {
        name: "v2",
        stage: "beta",
        differs: "Lists are objects: `items`, and `next` with the path of the next page or null.",
        deprecation: None,
    },
];

tokio::task_local! {
    /// The version of the request that the task answers.
    static CURRENT: Version;
}

/// Returns a path in the version of the request that is being answered.
pub(crate) fn path_of_version(path: &str) -> String {
    let version = CURRENT.try_with(|version| *version).unwrap_or(VERSIONS[0]);
    in_version(path, version)
}

fn in_version(path: &str, version: Version) -> String {
    match path.strip_prefix(ROUTES) {
        Some(rest) => format!("/api/{}{rest}", version.name),
        None => path.to_owned(),
    }
}

/// Finds the version of a request, and passes it to the routes. Adds the headers of the version.
pub(crate) async fn negotiate(mut request: Request, next: Next) -> Response {
    let (version, uri) = match version(request.uri(), request.headers()) {
        Ok(Some(found)) => found,
        Ok(None) => return next.run(request).await,
        Err(error) => return error.into_response(),
    };
    *request.uri_mut() = uri;
    request.extensions_mut().insert(version);
    let mut response = CURRENT.scope(version, next.run(request)).await;
    response.headers_mut().insert(API_VERSION, HeaderValue::from_static(version.name));
    if let Some(deprecation) = version.deprecation {
        deprecation.write(response.headers_mut());
    }
    response
}

/// Returns the version of a request, with its URI in the routes; none for paths outside of the API, and for those
/// of other servers' APIs.
fn version(uri: &Uri, headers: &HeaderMap) -> Result<Option<(Version, Uri)>, RequestError> {
    let Some(rest) = uri.path().strip_prefix("/api/") else { return Ok(None) };
    let (first, after) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if let Some(version) = VERSIONS.into_iter().find(|version| version.name == first) {
        return Ok(Some((version, with_path(uri, after))));
    }
    let names_other = first.strip_prefix('v').is_some_and(|it| it.parse::<u32>().is_ok());
    if names_other {
        return Ok(None);
    }
    Ok(Some((accepted(headers)?, with_path(uri, &format!("/{rest}")))))
}

/// Returns the URI of a route of the API.
fn with_path(uri: &Uri, path: &str) -> Uri {
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut parts = uri.clone().into_parts();
    // Parts of a URI are a URI.
    parts.path_and_query = PathAndQuery::try_from(format!("{ROUTES}{path}{query}")).ok();
    Uri::from_parts(parts).unwrap_or_else(|_| uri.clone())
}

/// Returns the version that the header `Accept` names.
fn accepted(headers: &HeaderMap) -> Result<Version, RequestError> {
    let ranges = headers.get_all(header::ACCEPT).iter().filter_map(|ranges| ranges.to_str().ok());
    let mut parameters = ranges.flat_map(|ranges| ranges.split([',', ';']));
    let named = parameters.find_map(|parameter| parameter.trim().strip_prefix("version="));
    let Some(named) = named else { return Ok(VERSIONS[0]) };
    let named = named.trim_matches('"').trim_start_matches('v');
    let found = VERSIONS.into_iter().find(|version| version.name.trim_start_matches('v') == named);
    found.ok_or_else(|| RequestError::NoSuchVersion(named.to_owned()))
}

/// Changes the response of a route to that of the version of the request.
pub(crate) async fn represent(request: Request, next: Next) -> Response {
    let version = request.extensions().get::<Version>().copied();
    let response = next.run(request).await;
    match version {
        Some(version)
            if version.name == "v2" && response.extensions().get::<IsList>().is_some() =>
        {
            object_of(response, version)
        }
        _ => response,
    }
}

/// Makes an object of a list: the header `Link` becomes a member.
fn object_of(response: Response, version: Version) -> Response {
    let (mut parts, body) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    let link = parts.headers.remove(header::LINK);
    let next =
        link.as_ref().and_then(|link| link.to_str().ok()?.strip_prefix('<')?.split('>').next());
    let next = serde_json::to_string(&next.map(|next| in_version(next, version)));
    let end = format!(",\"next\":{}}}", next.unwrap_or_default());
    let part = |part: Bytes| stream::once(async { Ok::<_, axum::Error>(part) });
    let start = part(Bytes::from_static(b"{\"items\":"));
    let body = start.chain(body.into_data_stream()).chain(part(end.into()));
    Response::from_parts(parts, Body::from_stream(body))
}

impl Deprecation {
    fn write(self, headers: &mut HeaderMap) {
        let Self { since_s, sunset, successor, guide } = self;
        let links = format!(
            "<{guide}>; rel=\"deprecation\", </api/{successor}>; rel=\"successor-version\""
        );
        headers.insert(HeaderName::from_static("sunset"), HeaderValue::from_static(sunset));
        let since = HeaderValue::from_str(&format!("@{since_s}"));
        let values = [
            (HeaderName::from_static("deprecation"), since),
            (header::LINK, HeaderValue::from_str(&links)),
        ];
        for (name, value) in values {
            if let Ok(value) = value {
                headers.append(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(uri: &str, accept: &'static str) -> Option<(&'static str, String)> {
        let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))]);
        let uri = uri.parse().expect("a URI");
        let found = version(&uri, &headers).ok()?;
        found.map(|(version, uri)| (version.name, uri.to_string()))
    }

    #[test]
    fn the_path_comes_before_the_header() {
        let json = "application/json;version=2, */*";
        for (uri, accept, expected) in [
            ("/api/v1/pose/current?a=b", "*/*", Some(("v1", "/api/v1/pose/current?a=b"))),
            ("/api/v2/pose/current?a=b", "*/*", Some(("v2", "/api/v1/pose/current?a=b"))),
            ("/api/v1/pose/current", json, Some(("v1", "/api/v1/pose/current"))),
            ("/api/pose/current", json, Some(("v2", "/api/v1/pose/current"))),
            (
                "/api/pose/current",
                "text/html; version=\"v1\"",
                Some(("v1", "/api/v1/pose/current")),
            ),
            ("/api/pose/current", "*/*", Some(("v1", "/api/v1/pose/current"))),
            ("/api/pose/current", "*/*;version=9", None),
            ("/api/v2", "*/*", Some(("v2", "/api/v1"))),
            ("/api/v3/query_sql", "*/*", None),
            ("/api/v10/pose", "*/*", None),
            ("/metrics", json, None),
        ] {
            let expected = expected.map(|(name, uri)| (name, uri.to_owned()));
            assert_eq!(asked(uri, accept), expected, "{uri} {accept}");
        }
    }

    #[test]
    fn a_deprecated_version_says_until_when_it_is_there() {
        let deprecation = Deprecation {
            since_s: 1_767_225_600,
            sunset: "Fri, 01 Jan 2027 00:00:00 GMT",
            successor: "v2",
            guide: "/docs/versions.md",
        };
        let mut headers =
            HeaderMap::from_iter([(header::LINK, HeaderValue::from_static("</a>; rel=\"next\""))]);
        deprecation.write(&mut headers);
        assert_eq!(headers["deprecation"], "@1767225600");
        assert_eq!(headers["sunset"], "Fri, 01 Jan 2027 00:00:00 GMT");
        let links: Vec<_> = headers.get_all(header::LINK).iter().collect();
        assert_eq!(links.len(), 2);
        assert!(links[1].to_str().expect("text").contains("</api/v2>; rel=\"successor-version\""));
    }

    #[tokio::test]
    async fn lists_of_the_second_version_are_objects() {
        let link = "</api/v1/pose/persons?cursor=a>; rel=\"next\"";
        let response = ([(header::LINK, link)], "[1,2]").into_response();
        let object = object_of(response, VERSIONS[1]);
        assert!(object.headers().get(header::LINK).is_none());
        let body = axum::body::to_bytes(object.into_body(), 1000).await.expect("a body");
        assert_eq!(body, "{\"items\":[1,2],\"next\":\"/api/v2/pose/persons?cursor=a\"}");
        let last = object_of("[]".into_response(), VERSIONS[1]).into_body();
        let last = axum::body::to_bytes(last, 1000).await.expect("a body");
        assert_eq!(last, "{\"items\":[],\"next\":null}");
    }
}
