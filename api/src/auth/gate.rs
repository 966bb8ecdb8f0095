//! The middleware that authenticates and authorises requests, and applies the rate limits.

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use identity::Principal;

use crate::app::App;
use crate::auth::access::methods;
use crate::auth::credential::Credential;
use crate::auth::{Access, access};
use crate::client::{Client, ClientAddress};
use crate::error::RequestError;
use crate::rate_limits::UsedLimit;

/// Passes a request to its route if the credential has the scopes of the route, and the client has not exceeded its
/// rate limit.
/// Requests without a route pass: they are answered with 404.
pub(crate) async fn gate(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let Some(path) = request.extensions().get::<MatchedPath>() else {
        return next.run(request).await;
    };
    let Some(access) = access(request.method(), path.as_str()) else {
        let error = RequestError::NoSuchMethod(request.method().clone());
        return ([(header::ALLOW, methods(path.as_str()))], error).into_response();
    };
    let principal = identify(&app, access, request.method(), request.headers()).await;
    let client = Client {
        principal: principal.as_ref().map_or_else(|_| Principal::nobody(), Principal::clone),
        address: ClientAddress::of(request.extensions()),
    };
    let used = app.limits.as_ref().and_then(|limits| limits.take(&client, access));
    let mut response = match permit(principal, access, used) {
        Ok(principal) => {
            request.extensions_mut().insert(principal);
            if let (Access::Stream(_), Some(_), Some(credential)) =
                (access, app.auth.if_required(), Credential::of(request.headers()))
            {
                request.extensions_mut().insert(credential);
            }
            next.run(request).await
        }
        Err(RequestError::NoCredential) if wants_page(request.headers()) => {
            Redirect::to("/").into_response()
        }
        Err(error) => error.into_response(),
    };
    if let Some(used) = used {
        used.write(&mut response);
    }
    response
}

/// Returns the client of a credential if it may use a route, for requests that do not come over HTTP.
///
/// # Errors
///
/// [`RequestError`] if the credential is refused, or has not the scopes of the route, or has no requests left.
pub(crate) async fn authorise(
    app: &App,
    credential: Option<Credential>,
    address: ClientAddress,
    access: Access,
) -> Result<Client, RequestError> {
    let principal = match (app.auth.if_required(), credential) {
        (None, _) => Ok(Principal::anybody()),
        (Some(auth), Some(credential)) => auth.principal(credential).await,
        (Some(_), None) => Err(RequestError::NoCredential),
    };
    let of_limits = principal.as_ref().map_or_else(|_| Principal::nobody(), Principal::clone);
    let client = Client { principal: of_limits, address };
    let used = app.limits.as_ref().and_then(|limits| limits.take(&client, access));
    Ok(Client { principal: permit(principal, access, used)?, address })
}

/// Returns the principal of a request.
async fn identify(
    app: &App,
    access: Access,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Principal, RequestError> {
    let Some(auth) = app.auth.if_required() else { return Ok(Principal::anybody()) };
    if access.scopes().is_none() {
        return Ok(Principal::nobody());
    }
    let credential = Credential::of(headers).ok_or(RequestError::NoCredential)?;
    if matches!(credential, Credential::Cookie(_)) && !method.is_safe() {
        check_origin(headers)?;
    }
    auth.principal(credential).await
}

/// Returns the principal if it may use a route, and has requests left.
fn permit(
    principal: Result<Principal, RequestError>,
    access: Access,
    used: Option<UsedLimit>,
) -> Result<Principal, RequestError> {
    if let Some(used) = used.filter(|used| !used.is_allowed()) {
        return Err(RequestError::TooManyRequests(used.until_reset()));
    }
    let (principal, scopes) = (principal?, access.scopes().unwrap_or_default());
    let may = principal.scopes.include_all(scopes);
    if may { Ok(principal) } else { Err(RequestError::NoScope(scopes)) }
}

/// Refuses requests that a browser may send for another site: those of this one have a header that says so,
/// which was checked before.
fn check_origin(headers: &HeaderMap) -> Result<(), RequestError> {
    let is_same = headers.get("sec-fetch-site").is_some_and(|site| site == "same-origin");
    if is_same || headers.contains_key(header::ORIGIN) {
        return Ok(());
    }
    Err(RequestError::NoOrigin)
}

/// True for a browser that opens a page.
fn wants_page(headers: &HeaderMap) -> bool {
    let accepts = headers.get(header::ACCEPT).and_then(|accepts| accepts.to_str().ok());
    accepts.is_some_and(|accepts| accepts.contains("text/html"))
}
