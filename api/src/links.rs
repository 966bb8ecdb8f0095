//! `_links`: where to go on from a resource.
//!
//! Source: JSON Hypertext Application Language, draft-kelly-json-hal-11, section 4.1.1.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::version::path_of_version;

/// The paths of related resources, by relation.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub(crate) struct Links(BTreeMap<&'static str, Link>);

/// The path of a resource.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Link {
    href: String,
}

impl Links {
    /// Adds a link with a query. The first part is a path, and the others are names.
    pub(crate) fn and(mut self, relation: &'static str, parts: &[&str], query: &str) -> Self {
        let separator = if query.is_empty() { "" } else { "?" };
        let href = format!("{}{separator}{query}", path(parts));
        self.0.insert(relation, Link { href });
        self
    }
}

fn path(parts: &[&str]) -> String {
    let (path, names) = parts.split_first().unwrap_or((&"", &[]));
    let names = names.iter().map(|name| format!("/{}", encoded(name)));
    path_of_version(path) + &names.collect::<String>()
}

/// Encodes all but the unreserved characters of a URI.
///
/// Source: RFC 3986, section 2.
pub(crate) fn encoded(name: &str) -> String {
    let encode = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        byte => format!("%{byte:02X}"),
    };
    name.bytes().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_encoded() {
        let links = Links::default().and("self", &["/api/v1/pose/persons", "a/b ü"], "").and(
            "next",
            &["/x"],
            "skip=1",
        );
        let links = serde_json::to_value(links).expect("JSON");
        assert_eq!(links["self"]["href"], "/api/v1/pose/persons/a%2Fb%20%C3%BC");
        assert_eq!(links["next"]["href"], "/x?skip=1");
    }
}
