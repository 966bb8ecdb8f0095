//! Browser sessions with a cookie, and the description of the client of a request.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use identity::{REFRESH_TTL, SecretKind};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::auth::COOKIE;
use crate::auth::passwords::{end_session, sign_in};
use crate::auth::token::Password;
use crate::client::{Client, ClientAddress};
use crate::error::{Problem, RequestError};
use crate::parameters::JsonBody;

/// What the cookie is for: this host alone, over TLS or on localhost, unreadable for scripts, and not sent with
/// requests of other sites.
const ATTRIBUTES: &str = "Path=/; Secure; HttpOnly; SameSite=Lax";

/// The client of a request.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Me {
    /// `user`, `key`, `external` for a user of another issuer, or `anybody` where nobody signs in.
    kind: String,
    /// The name of the user, or the id of the API key.
    name: String,
    /// What the credential allows.
    scopes: Vec<String>,
    /// The tier of the rate limits.
    tier: String,
}

/// Signs a user in with a cookie, for pages of this server.
#[utoipa::path(
    post,
    path = "/api/v1/auth/session",
    request_body = Password,
    responses(
        (status = 204, description = "The response has a cookie."),
        (status = 400, description = "The body is no user with a password.", body = Problem),
        (status = 401, description = "The user or the password is wrong.", body = Problem),
        (status = 404, description = "Nobody signs in here.", body = Problem),
        (status = 429, description = "Too many attempts have failed.", body = Problem),
    ),
)]
pub(crate) async fn begin(
    State(app): State<App>,
    address: ClientAddress,
    JsonBody(Password { username, password }): JsonBody<Password>,
) -> Result<(StatusCode, [(HeaderName, String); 1]), RequestError> {
    let kind = SecretKind::Cookie;
    let (_, secret) = sign_in(&app, address, (username, password), kind).await?;
    let cookie =
        format!("{COOKIE}={}; {ATTRIBUTES}; Max-Age={}", secret.expose(), REFRESH_TTL.as_secs());
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]))
}

/// Signs out: ends the session of the cookie or the access token.
#[utoipa::path(
    delete,
    path = "/api/v1/auth/session",
    responses(
        (status = 204, description = "The session has ended."),
        (status = 404, description = "The credential has no session.", body = Problem),
    ),
)]
pub(crate) async fn end(
    State(app): State<App>,
    client: Client,
) -> Result<(StatusCode, [(HeaderName, String); 1]), RequestError> {
    app.auth.required()?;
    let no_session = || RequestError::NotFound("an API key has no session".to_owned());
    let session = client.principal.session.ok_or_else(no_session)?;
    end_session(&app, &session).await?;
    let cookie = format!("{COOKIE}=; {ATTRIBUTES}; Max-Age=0");
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]))
}

/// Returns the client of the request with its scopes.
#[utoipa::path(
    get,
    path = "/api/v1/auth/me",
    responses((status = 200, description = "The client of the request.", body = Me)),
)]
pub(crate) async fn me(Client { principal, .. }: Client) -> Json<Me> {
    let scopes = principal.scopes.to_string();
    Json(Me {
        kind: principal.kind.as_str().to_owned(),
        name: principal.name,
        scopes: scopes.split_terminator(' ').map(str::to_owned).collect(),
        tier: principal.tier,
    })
}
