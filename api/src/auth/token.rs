//! Access tokens: signing in with a password, and refreshing.
//!
//! Source: RFC 6749, sections 5.1 and 6 (the response, and refreshing); RFC 9700, section 4.14 (rotation).

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use identity::{ACCESS_TOKEN_TTL, CredentialError, Secret, SecretKind};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::App;
use crate::auth::passwords::sign_in;
use crate::client::ClientAddress;
use crate::error::{Problem, RequestError};
use crate::parameters::JsonBody;
use crate::wall_clock::now_s;

/// A user with the password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Password {
    /// The user's name.
    pub(super) username: String,
    /// The password.
    #[schema(format = Password)]
    pub(super) password: String,
}

/// A refresh token.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Refresh {
    /// The newest refresh token of a session.
    refresh_token: String,
}

/// Tokens of a session.
#[derive(Serialize, ToSchema)]
pub(crate) struct Tokens {
    /// The token for the header `Authorization: Bearer TOKEN`.
    access_token: String,
    /// Always `Bearer`.
    token_type: &'static str,
    /// Time until the access token expires, in seconds.
    expires_in: u64,
    /// The token for the next access token. It can be used once.
    refresh_token: String,
    /// What the access token allows, separated by spaces.
    scope: String,
}

/// Signs a user in.
///
/// A session lasts seven days. An address has 5 attempts a minute and 20 an hour.
#[utoipa::path(
    post,
    path = "/api/v1/auth/token",
    request_body = Password,
    responses(
        (status = 200, description = "The tokens of a new session.", body = Tokens),
        (status = 400, description = "The body is no user with a password.", body = Problem),
        (status = 401, description = "The user or the password is wrong.", body = Problem),
        (status = 404, description = "Nobody signs in here.", body = Problem),
        (status = 429, description = "Too many attempts have failed.", body = Problem),
    ),
)]
pub(crate) async fn token(
    State(app): State<App>,
    address: ClientAddress,
    JsonBody(Password { username, password }): JsonBody<Password>,
) -> Result<impl IntoResponse, RequestError> {
    let kind = SecretKind::RefreshToken;
    let (principal, secret) = sign_in(&app, address, (username, password), kind).await?;
    issue(&app, &principal.name, principal.scopes, &secret).await
}

/// Returns a new access token and a new refresh token for a refresh token.
///
/// A refresh token that was used before ends its session, because somebody else may have it.
#[utoipa::path(
    post,
    path = "/api/v1/auth/refresh",
    request_body = Refresh,
    responses(
        (status = 200, description = "New tokens of the session.", body = Tokens),
        (status = 400, description = "The body has no refresh token.", body = Problem),
        (status = 401, description = "The session has ended.", body = Problem),
        (status = 404, description = "Nobody signs in here.", body = Problem),
    ),
)]
pub(crate) async fn refresh(
    State(app): State<App>,
    JsonBody(refresh): JsonBody<Refresh>,
) -> Result<impl IntoResponse, RequestError> {
    let auth = app.auth.required()?;
    let old = parse(&refresh)?;
    let user = auth.directory.find(|accounts| accounts.user_of(old.id(), now_s())).await?;
    let new = Secret::generate_for(SecretKind::RefreshToken, old.id().to_owned())?;
    let store = auth.directory.store();
    let is_rotated = store.rotate(old.id(), &old.hash(), &new.hash()).await?;
    if !is_rotated && store.end_reused(old.id(), &old.hash()).await? {
        tracing::warn!(
            user = user.name,
            "a refresh token was used twice, so its session was ended"
        );
    }
    auth.directory.reload().await?;
    if !is_rotated {
        return Err(CredentialError::Revoked.into());
    }
    issue(&app, &user.name, user.role.scopes(), &new).await
}

/// Ends the session of a refresh token, with its access tokens (RFC 7009).
#[utoipa::path(
    post,
    path = "/api/v1/auth/revoke",
    request_body = Refresh,
    responses(
        (status = 204, description = "The session has ended."),
        (status = 400, description = "The body has no refresh token.", body = Problem),
        (status = 401, description = "There is no such session.", body = Problem),
        (status = 404, description = "Nobody signs in here.", body = Problem),
    ),
)]
pub(crate) async fn revoke(
    State(app): State<App>,
    JsonBody(refresh): JsonBody<Refresh>,
) -> Result<StatusCode, RequestError> {
    let auth = app.auth.required()?;
    let token = parse(&refresh)?;
    let accounts = auth.directory.newest().await?;
    let session = accounts.session(token.id(), now_s()).ok_or(CredentialError::Revoked)?;
    if !token.has_hash(&session.hash) {
        return Err(CredentialError::Invalid.into());
    }
    auth.directory.store().remove_session(token.id()).await?;
    auth.directory.reload().await?;
    Ok(StatusCode::NO_CONTENT)
}

fn parse(refresh: &Refresh) -> Result<Secret, CredentialError> {
    let token = Secret::parse(SecretKind::RefreshToken, &refresh.refresh_token);
    token.ok_or(CredentialError::Invalid)
}

async fn issue(
    app: &App,
    user: &str,
    scopes: identity::Scopes,
    refresh: &Secret,
) -> Result<impl IntoResponse + use<>, RequestError> {
    let tokens = app.auth.required()?.tokens().await?;
    let access_token = tokens.issue(user, refresh.id(), scopes, now_s())?;
    let tokens = Tokens {
        access_token,
        token_type: "Bearer",
        expires_in: ACCESS_TOKEN_TTL.as_secs(),
        refresh_token: refresh.expose(),
        scope: scopes.to_string(),
    };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(tokens)))
}
