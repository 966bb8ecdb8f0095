//! Errors of accounts and of credentials.

use crate::{MIN_PASSWORD_LENGTH, Role, Scope};

/// An account that cannot be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccountError {
    /// There is no such scope.
    #[error("no scope {_0:?}: expected some of {}", Scope::ALL.map(Scope::as_str).join(", "))]
    Scope(String),
    /// There is no such role.
    #[error("no role {_0:?}: expected one of {}", Role::ALL.map(Role::as_str).join(", "))]
    Role(String),
    /// The name does not fit into tokens and logs.
    #[error("{0:?} is no name: expected 1 to 64 letters, digits and any of . _ @ -")]
    Name(String),
    /// The password is too easy to guess.
    #[error("the password is too short: expected at least {MIN_PASSWORD_LENGTH} characters")]
    ShortPassword,
    /// The password is longer than any password that is hashed.
    #[error("the password is too long: expected at most 1024 bytes")]
    LongPassword,
    /// A password could not be hashed, or a key could not be made or read.
    #[error("the cryptography library failed: {0}")]
    Cryptography(&'static str),
}

/// Why a credential is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialError {
    /// It is neither a token nor a key, or nobody here has issued it.
    #[error("the credential is not valid here")]
    Invalid,
    /// It does not look like one.
    #[error(
        "the credential has the wrong form: expected an access token or an API key, as in `Authorization: Bearer \
         ...`, or an API key in `X-API-Key`"
    )]
    Malformed,
    /// It was valid.
    #[error("the credential has expired")]
    Expired,
    /// It will be valid.
    #[error("the token is not valid yet")]
    NotYet,
    /// Somebody took it back, or its user is gone.
    #[error("the credential was revoked")]
    Revoked,
}
