//! Checks of passwords.

use std::sync::LazyLock;

use identity::{PasswordHash, Principal, PrincipalKind, Secret, SecretKind, Session, User};
use tokio::sync::Semaphore;

use crate::app::App;
use crate::auth::directory::Directory;
use crate::client::ClientAddress;
use crate::error::RequestError;
use crate::wall_clock::now_s;

/// Passwords that are checked at once: each check takes 19 MiB and the time of one thread.
static CHECKS: Semaphore = Semaphore::const_new(2);
/// Passwords that are checked or wait for it.
static WAITING: Semaphore = Semaphore::const_new(32);
/// Compared when a user is unknown, so that the answer takes as long as for others.
static NOBODY: LazyLock<PasswordHash> =
    LazyLock::new(|| PasswordHash::stored(NOBODY_HASH.to_owned()));
const NOBODY_HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5IGhhcyBpdA$\
    Z3Vlc3NpbmcgaXMgb2Ygbm8gdXNlLCB0aGlzIGlzIGE";

/// Checks the password of a user, and begins a session with a secret of a kind.
///
/// # Errors
///
/// [`RequestError`] if the password or the user is wrong, or after too many attempts.
pub(super) async fn sign_in(
    app: &App,
    address: ClientAddress,
    (name, password): (String, String),
    kind: SecretKind,
) -> Result<(Principal, Secret), RequestError> {
    let auth = app.auth.required()?;
    auth.attempts.begin(address, &name)?;
    let user = authenticated(&auth.directory, &name, password).await?;
    let secret = Secret::generate(kind)?;
    let now_s = now_s();
    let (store, session) = (auth.directory.store(), Session::begin(&name, &secret, now_s));
    // The password may have been changed while it was checked.
    if !store.add_session(&session, &user.password, now_s).await? {
        return Err(RequestError::WrongPassword);
    }
    auth.attempts.succeeded(address, &name);
    auth.directory.reload().await?;
    let principal = Principal {
        kind: PrincipalKind::User,
        name,
        scopes: user.role.scopes(),
        tier: user.tier,
        session: Some(secret.id().to_owned()),
    };
    Ok((principal, secret))
}

/// Returns the user of a name if the password is right. The user or the password may be newer than the accounts that
/// the server knows.
async fn authenticated(
    directory: &Directory,
    name: &str,
    password: String,
) -> Result<User, RequestError> {
    let known = directory.accounts().await?.user(name).cloned();
    if let Some(user) = check(known.clone(), password.clone()).await? {
        return Ok(user);
    }
    let newest = directory.newest().await?.user(name).cloned();
    let password_of = |user: &Option<User>| user.as_ref().map(|user| user.password.clone());
    if password_of(&newest) == password_of(&known) {
        return Err(RequestError::WrongPassword);
    }
    check(newest, password).await?.ok_or(RequestError::WrongPassword)
}

/// Begins a session of a user, for a connection.
///
/// # Errors
///
/// [`RequestError`] if the password or the user is wrong, or after too many attempts.
pub(crate) async fn begin_session(
    app: &App,
    address: ClientAddress,
    user: (String, String),
) -> Result<Secret, RequestError> {
    Ok(sign_in(app, address, user, SecretKind::Cookie).await?.1)
}

/// Ends a session.
///
/// # Errors
///
/// [`RequestError::Store`] if the store does not answer.
pub(crate) async fn end_session(app: &App, id: &str) -> Result<(), RequestError> {
    let auth = app.auth.required()?;
    auth.directory.store().remove_session(id).await?;
    Ok(auth.directory.reload().await?)
}

/// Returns the user if the password is right.
async fn check(user: Option<User>, password: String) -> Result<Option<User>, RequestError> {
    let _waiting = WAITING.try_acquire().map_err(|_| RequestError::TooManySignIns)?;
    let check = CHECKS.acquire().await.map_err(|_| RequestError::Interrupted)?;
    let checked = tokio::task::spawn_blocking(move || {
        // A client that hangs up does not end the check, so it keeps its place.
        let _check = check;
        let hash = user.as_ref().map_or(&*NOBODY, |user| &user.password);
        let is_right = hash.matches(&password);
        user.filter(|_| is_right)
    });
    checked.await.map_err(|_| RequestError::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_user_takes_as_long_as_others() {
        let right = PasswordHash::of("correct horse battery").expect("a hash");
        let parameters = |hash: &PasswordHash| {
            hash.as_str().split('$').take(4).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(parameters(&right), parameters(&NOBODY));
        assert!(!NOBODY.matches(""));
    }
}
