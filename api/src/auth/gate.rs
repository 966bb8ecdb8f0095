//! The middleware that lets a request pass to its route, with its principal.

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use identity::Principal;

use crate::app::App;
use crate::auth::credential::Credential;
use crate::auth::{Access, access};
use crate::error::RequestError;

/// Lets a request pass if its credential allows what its route asks for. Requests without a route pass: they
/// are answered with 404 or 405.
pub(crate) async fn gate(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let Some(access) = path.and_then(|path| access(request.method(), path)) else {
        return next.run(request).await;
    };
    match admit(&app, access, request.method(), request.headers()).await {
        Ok(principal) => {
            request.extensions_mut().insert(principal);
            next.run(request).await
        }
        Err(RequestError::NoCredential) if wants_page(request.headers()) => {
            Redirect::to("/").into_response()
        }
        Err(error) => error.into_response(),
    }
}

/// Returns the principal of a request.
async fn admit(
    app: &App,
    access: Access,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Principal, RequestError> {
    let (true, Some(auth)) = (access != Access::Open, app.auth.needed()) else {
        return Ok(Principal::anybody());
    };
    let credential = Credential::of(headers).ok_or(RequestError::NoCredential)?;
    if matches!(credential, Credential::Cookie(_)) && !method.is_safe() {
        check_origin(headers)?;
    }
    let principal = auth.principal(credential).await?;
    match access {
        Access::Scopes(scopes) if !principal.scopes.include_all(scopes) => {
            Err(RequestError::NoScope(scopes))
        }
        _ => Ok(principal),
    }
}

/// Refuses requests that a browser may send for another site: those of this one have a header that says so,
/// which was checked before.
fn check_origin(headers: &HeaderMap) -> Result<(), RequestError> {
    let is_same = headers.get("sec-fetch-site").is_some_and(|site| site == "same-origin");
    if is_same || headers.contains_key(header::ORIGIN) {
        return Ok(());
    }
    Err(RequestError::ForeignOrigin("a page that hides its origin".to_owned()))
}

/// True for a browser that opens a page.
fn wants_page(headers: &HeaderMap) -> bool {
    let accepts = headers.get(header::ACCEPT).and_then(|accepts| accepts.to_str().ok());
    accepts.is_some_and(|accepts| accepts.contains("text/html"))
}
