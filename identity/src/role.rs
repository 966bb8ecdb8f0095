//! Roles: names for the scopes of a user.

use std::fmt;
use std::str::FromStr;

use crate::{AccountError, Scope, Scopes};

/// What a user is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Reads everything.
    Viewer,
    /// Reads everything, and changes zones and the configuration.
    Operator,
    /// Does everything.
    Admin,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

    /// Returns the role's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// Returns the scopes of users with this role.
    pub fn scopes(self) -> Scopes {
        let reads =
            [Scope::PoseRead, Scope::AnalyticsRead, Scope::SystemRead, Scope::StreamSubscribe];
        let writes = [Scope::ConfigWrite, Scope::ZoneWrite, Scope::StreamPublish];
        match self {
            Self::Viewer => reads.into_iter().collect(),
            Self::Operator => reads.into_iter().chain(writes).collect(),
            Self::Admin => Scopes::from_iter([Scope::AdminAll]),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = AccountError;

    fn from_str(name: &str) -> Result<Self, AccountError> {
        let role = Self::ALL.into_iter().find(|role| role.as_str() == name);
        role.ok_or_else(|| AccountError::Role(name.to_owned()))
    }
}
