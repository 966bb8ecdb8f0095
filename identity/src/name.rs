//! Names of users and API keys.

use crate::AccountError;

const MAX_LENGTH: usize = 64;

/// Checks a name: it is part of tokens, logs and URLs.
///
/// # Errors
///
/// [`AccountError::Name`] if it is empty, too long, or has other characters than letters and digits of ASCII
/// and `._@-`.
pub fn check_name(name: &str) -> Result<(), AccountError> {
    let is_allowed = |letter: char| letter.is_ascii_alphanumeric() || "._@-".contains(letter);
    let is_name = (1..=MAX_LENGTH).contains(&name.len()) && name.chars().all(is_allowed);
    is_name.then_some(()).ok_or_else(|| AccountError::Name(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        for name in ["a", "ann.lee@home.example", "sensor-7_b"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["", "a b", "a\n", "ä", "<b>", &"a".repeat(65)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
