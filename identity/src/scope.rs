//! Scopes: what a principal may do.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::AccountError;

/// A permission of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Read people, their poses and the zones.
    PoseRead,
    /// Read heat maps, activity and exports; together with [`Scope::PoseRead`], query with SQL.
    AnalyticsRead,
    /// Read status, health, metrics and the configuration.
    SystemRead,
    /// Change the configuration.
    ConfigWrite,
    /// Change zones.
    ZoneWrite,
    /// Everything.
    AdminAll,
    /// Follow live streams.
    StreamSubscribe,
    /// Send records to streams.
    StreamPublish,
}

impl Scope {
    /// All scopes.
    pub const ALL: [Self; 8] = [
        Self::PoseRead,
        Self::AnalyticsRead,
        Self::SystemRead,
        Self::ConfigWrite,
        Self::ZoneWrite,
        Self::AdminAll,
        Self::StreamSubscribe,
        Self::StreamPublish,
    ];

    /// Returns the scope as tokens contain it, such as `pose:read`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PoseRead => "pose:read",
            Self::AnalyticsRead => "analytics:read",
            Self::SystemRead => "system:read",
            Self::ConfigWrite => "config:write",
            Self::ZoneWrite => "zone:write",
            Self::AdminAll => "admin:all",
            Self::StreamSubscribe => "stream:subscribe",
            Self::StreamPublish => "stream:publish",
        }
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A set of scopes. As text, they are separated by spaces, as in OAuth 2.0 (RFC 6749, section 3.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Scopes(u8);

impl Scopes {
    /// True if they include a scope; `admin:all` includes all.
    pub fn include(self, scope: Scope) -> bool {
        self.0 & (scope.bit() | Scope::AdminAll.bit()) != 0
    }

    /// True if they include all of these scopes.
    pub fn include_all(self, scopes: &[Scope]) -> bool {
        scopes.iter().all(|scope| self.include(*scope))
    }

    /// Returns the scopes that both sets include.
    #[must_use]
    pub fn intersection(self, other: Self) -> Self {
        match (self.include(Scope::AdminAll), other.include(Scope::AdminAll)) {
            (true, _) => other,
            (_, true) => self,
            _ => Self(self.0 & other.0),
        }
    }

    /// True if there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Collects the scopes of a text that are known here. Other servers issue tokens with other scopes, too.
    pub fn known_in(text: &str) -> Self {
        let scopes = text.split_ascii_whitespace().filter_map(known);
        scopes.collect()
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | scope.bit()))
    }
}

impl From<Scopes> for String {
    fn from(scopes: Scopes) -> Self {
        scopes.to_string()
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scopes = Scope::ALL.into_iter().filter(|scope| self.0 & scope.bit() != 0);
        formatter.write_str(&scopes.map(Scope::as_str).collect::<Vec<_>>().join(" "))
    }
}

impl TryFrom<String> for Scopes {
    type Error = AccountError;

    fn try_from(text: String) -> Result<Self, AccountError> {
        text.parse()
    }
}

impl FromStr for Scopes {
    type Err = AccountError;

    fn from_str(text: &str) -> Result<Self, AccountError> {
        let scope = |name: &str| known(name).ok_or_else(|| AccountError::Scope(name.to_owned()));
        text.split([' ', ',']).filter(|name| !name.is_empty()).map(scope).collect()
    }
}

fn known(name: &str) -> Option<Scope> {
    Scope::ALL.into_iter().find(|scope| scope.as_str() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn administrators_may_do_everything() {
        let admin = Scopes::from_iter([Scope::AdminAll]);
        assert!(admin.include_all(&Scope::ALL));
        let reader: Scopes = "pose:read".parse().expect("a scope");
        assert_eq!(admin.intersection(reader), reader);
        assert!(!reader.include(Scope::AdminAll) && !reader.include(Scope::AnalyticsRead));
    }

    #[test]
    fn scopes_are_text() {
        let all: Scopes = Scope::ALL.into_iter().collect();
        assert_eq!(all.to_string().parse::<Scopes>().expect("scopes"), all);
        assert_eq!(
            "pose:read,zone:write".parse::<Scopes>().expect("scopes").to_string(),
            "pose:read zone:write"
        );
        let error = "pose:write".parse::<Scopes>().expect_err("there is none").to_string();
        assert!(error.contains("pose:write") && error.contains("pose:read"), "{error}");
        assert_eq!(Scopes::known_in("openid pose:read profile").to_string(), "pose:read");
    }
}
