//! Who sends a request.

use std::fmt;

use crate::{Scope, Scopes};

/// A client whose credential was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// What kind of credential it has.
    pub kind: PrincipalKind,
    /// The name of the user, or the id of the key.
    pub name: String,
    /// What it may do.
    pub scopes: Scopes,
    /// The tier of its rate limits.
    pub tier: String,
    /// The session, if it has one.
    pub session: Option<String>,
}

/// The kinds of principals. Names of one kind may be names of another kind, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrincipalKind {
    /// A user of this server.
    User,
    /// An API key of this server.
    ApiKey,
    /// A user of another issuer.
    External,
    /// Anybody, where credentials are not needed.
    Anybody,
}

impl PrincipalKind {
    /// Returns the name of the kind.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::ApiKey => "key",
            Self::External => "external",
            Self::Anybody => "anybody",
        }
    }
}

impl Principal {
    /// Somebody who may do nothing.
    pub fn nobody() -> Self {
        Self { scopes: Scopes::default(), ..Self::anybody() }
    }

    /// Anybody who can reach a server that asks for no credentials.
    pub fn anybody() -> Self {
        Self {
            kind: PrincipalKind::Anybody,
            name: String::new(),
            scopes: Scopes::from_iter([Scope::AdminAll]),
            tier: String::new(),
            session: None,
        }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.kind.as_str(), self.name)
    }
}
