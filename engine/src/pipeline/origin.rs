//! The origin of a web page.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The scheme, host and port of a web page, as browsers send them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub struct Origin(String);

impl TryFrom<String> for Origin {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let is_host =
            |host: &str| !host.is_empty() && !host.contains(['/', '?', '#', '@', '*', ' ']);
        if !host.is_some_and(is_host) || text != text.to_lowercase() {
            return Err(format!(
                "{text:?} is no origin: expected the scheme, host and port of a page in small letters, such as \
                 \"https://home.example\""
            ));
        }
        Ok(Self(text))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_as_browsers_send_it() {
        for (text, is_origin) in [
            ("https://home.example", true),
            ("http://localhost:3000", true),
            ("http://[::1]:3000", true),
            ("https://home.example/", false),
            ("https://Home.example", false),
            ("home.example", false),
            ("https://*", false),
            ("*", false),
            ("null", false),
        ] {
            assert_eq!(Origin::try_from(text.to_owned()).is_ok(), is_origin, "{text}");
        }
    }
}
