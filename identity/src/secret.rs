//! Secrets that the server generates: API keys, refresh tokens and cookies of sessions.
//!
//! A secret is stored as its SHA-256: it has 256 random bits, so nobody can guess it, and a slow hash, as
//! for passwords, would protect nothing.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::AccountError;

const ID_BYTES: usize = 8;
const SECRET_BYTES: usize = 32;

/// What a secret is for. Secrets of one kind are of no use as another kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretKind {
    /// An API key.
    ApiKey,
    /// A refresh token.
    RefreshToken,
    /// The cookie of a session.
    Cookie,
}

impl SecretKind {
    /// Returns what the secrets of this kind begin with.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::ApiKey => "fresnel_key",
            Self::RefreshToken => "fresnel_refresh",
            Self::Cookie => "fresnel_session",
        }
    }
}

/// A random secret, with an id by which its hash is found.
///
/// Its text is `PREFIX_ID_SECRET`; [`Secret::expose`] returns it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    kind: SecretKind,
    id: String,
    /// The random part of its text.
    random: String,
}

impl Secret {
    /// Generates a secret with a new id.
    ///
    /// # Errors
    ///
    /// [`AccountError::Cryptography`] if the system has no random numbers.
    pub fn generate(kind: SecretKind) -> Result<Self, AccountError> {
        let id = random::<ID_BYTES>()?;
        let id = id.iter().fold(String::new(), |id, byte| id + &format!("{byte:02x}"));
        Self::generate_for(kind, id)
    }

    /// Generates a secret for an id.
    ///
    /// # Errors
    ///
    /// [`AccountError::Cryptography`] if the system has no random numbers.
    pub fn generate_for(kind: SecretKind, id: String) -> Result<Self, AccountError> {
        Ok(Self { kind, id, random: URL_SAFE_NO_PAD.encode(random::<SECRET_BYTES>()?) })
    }

    /// Parses the text of a secret of a kind; none if it is not one.
    pub fn parse(kind: SecretKind, text: &str) -> Option<Self> {
        let (id, random) = text.strip_prefix(kind.prefix())?.strip_prefix('_')?.split_once('_')?;
        let is_id = id.len() == 2 * ID_BYTES && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_random = URL_SAFE_NO_PAD.decode(random).is_ok_and(|it| it.len() == SECRET_BYTES);
        let (id, random) = (id.to_owned(), random.to_owned());
        (is_id && is_random).then_some(Self { kind, id, random })
    }

    /// Returns the id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the text of the secret, which is for its owner only.
    pub fn expose(&self) -> String {
        format!("{}_{}_{}", self.kind.prefix(), self.id, self.random)
    }

    /// Returns the hash to store.
    pub fn hash(&self) -> String {
        URL_SAFE_NO_PAD.encode(digest(&SHA256, self.expose().as_bytes()))
    }

    /// True if a stored hash is that of this secret. Takes the same time for all hashes.
    pub fn has_hash(&self, hash: &str) -> bool {
        verify_slices_are_equal(self.hash().as_bytes(), hash.as_bytes()).is_ok()
    }
}

impl fmt::Debug for Secret {
    /// Writes the id only: what is printed ends up in logs.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}_{}_…", self.kind.prefix(), self.id)
    }
}

/// Returns random bytes.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], AccountError> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| AccountError::Cryptography("no random numbers"))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_by_its_id_and_known_by_its_hash() {
        let secret = Secret::generate(SecretKind::ApiKey).expect("random numbers");
        let parsed = Secret::parse(SecretKind::ApiKey, &secret.expose()).expect("a key");
        assert!(parsed == secret && parsed.has_hash(&secret.hash()));
        let other = Secret::generate_for(SecretKind::ApiKey, secret.id().to_owned());
        assert!(!other.expect("random numbers").has_hash(&secret.hash()));
        assert!(Secret::parse(SecretKind::Cookie, &secret.expose()).is_none());
        assert!(!format!("{secret:?}").contains(&secret.random));
    }

    #[test]
    fn other_texts_are_no_secrets() {
        let text = Secret::generate(SecretKind::ApiKey).expect("random numbers").expose();
        for text in [
            "",
            "fresnel_key",
            "fresnel_key__",
            &text[..text.len() - 1],
            &format!("{text}A"),
            &text[1..],
        ] {
            assert!(Secret::parse(SecretKind::ApiKey, text).is_none(), "{text}");
        }
    }
}
