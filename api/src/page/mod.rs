//! The page at `/`: live skeletons on the floor plan.

use axum::http::header;
use axum::response::IntoResponse;

const INDEX: &str = include_str!("index.html");
/// Content security policy: the page is one file and connects only to its own server.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'";

pub(crate) async fn index() -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
    ];
    (headers, INDEX)
}
