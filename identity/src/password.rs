//! Passwords, which are stored as Argon2id hashes (RFC 9106).

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _, phc};

use crate::AccountError;
use crate::secret::random;

/// The fewest characters of a password.
pub const MIN_PASSWORD_LENGTH: usize = 12;
/// The most bytes of a password.
const MAX_BYTES: usize = 1024;
/// Letters of generated passwords: none of them looks like another one.
const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
/// Letters of a generated password: 120 random bits.
const N_LETTERS: usize = 24;
/// Letters between two dashes of a generated password.
const GROUP: usize = 6;

/// The hash of a password, in the format of PHC.
///
/// Hashing takes about 50 ms and 19 MiB, by intention: call it where that harms nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// Hashes a password.
    ///
    /// # Errors
    ///
    /// [`AccountError`] if the password is too short or too long.
    pub fn of(password: &str) -> Result<Self, AccountError> {
        check_password(password)?;
        let hash = Argon2::default().hash_password(password.as_bytes());
        let hash = hash.map_err(|_| AccountError::Cryptography("no password hash"))?;
        Ok(Self(hash.to_string()))
    }

    /// Takes a hash that was stored.
    pub fn stored(hash: String) -> Self {
        Self(hash)
    }

    /// Returns the hash to store.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True if it is the hash of a password.
    pub fn matches(&self, password: &str) -> bool {
        let hash = phc::PasswordHash::new(&self.0);
        hash.is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
    }
}

/// Checks the length of a password.
///
/// # Errors
///
/// [`AccountError`] if it is too short or too long.
pub fn check_password(password: &str) -> Result<(), AccountError> {
    if password.chars().count() < MIN_PASSWORD_LENGTH {
        return Err(AccountError::ShortPassword);
    }
    if password.len() > MAX_BYTES {
        return Err(AccountError::LongPassword);
    }
    Ok(())
}

/// Generates a password that people can type.
///
/// # Errors
///
/// [`AccountError::Cryptography`] if the system has no random numbers.
pub fn generate_password() -> Result<String, AccountError> {
    let letters = random::<N_LETTERS>()?.map(|byte| char::from(LETTERS[usize::from(byte % 32)]));
    let groups = letters.chunks(GROUP).map(|group| group.iter().collect::<String>());
    Ok(groups.collect::<Vec<_>>().join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_knows_its_password() {
        let password = generate_password().expect("random numbers");
        let hash = PasswordHash::of(&password).expect("a hash");
        let stored = PasswordHash::stored(hash.as_str().to_owned());
        assert!(hash.as_str().starts_with("$argon2id$"));
        assert!(stored.matches(&password) && !stored.matches("another password"));
        assert!(!PasswordHash::stored("rubbish".to_owned()).matches(&password));
    }

    #[test]
    fn passwords_have_a_length() {
        assert!(matches!(PasswordHash::of("short"), Err(AccountError::ShortPassword)));
        assert!(matches!(PasswordHash::of(&"long".repeat(300)), Err(AccountError::LongPassword)));
        assert_eq!(generate_password().expect("random numbers").len(), 27);
    }
}
