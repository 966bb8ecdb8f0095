//! Who may do what: credentials of requests, the scopes of routes, and signing in.

mod access;
mod attempts;
mod authenticator;
mod credential;
mod directory;
mod gate;
mod issuer;
mod passwords;
pub(crate) mod session;
pub(crate) mod token;
mod validity;

pub(crate) use crate::auth::access::{Access, access};
pub(crate) use crate::auth::authenticator::Authenticator;
pub(crate) use crate::auth::credential::{API_KEY, COOKIE, Credential};
pub(crate) use crate::auth::gate::{authorise, gate};
pub(crate) use crate::auth::passwords::{begin_session, end_session};
pub(crate) use crate::auth::validity::ending;
