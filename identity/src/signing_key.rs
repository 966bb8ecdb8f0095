//! Keys that sign access tokens.

use std::fmt;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{Ed25519KeyPair, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::AccountError;
use crate::secret::random;

/// What PKCS #8 (RFC 5208) writes before an RSA key of 2048 bits as in PKCS #1: version, algorithm and lengths.
const PKCS8_HEADER_BYTES: usize = 26;

/// The algorithm that signs access tokens (RFC 7518 and 8037).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SigningAlgorithm {
    /// Ed25519.
    #[default]
    #[serde(rename = "EdDSA")]
    EdDsa,
    /// HMAC with SHA-256.
    #[serde(rename = "HS256")]
    Hs256,
    /// RSA with SHA-256, and a key of 2048 bits.
    #[serde(rename = "RS256")]
    Rs256,
}

impl SigningAlgorithm {
    /// Returns the algorithm's name in headers of tokens.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Hs256 => "HS256",
            Self::Rs256 => "RS256",
        }
    }

    pub(crate) fn algorithm(self) -> Algorithm {
        match self {
            Self::EdDsa => Algorithm::EdDSA,
            Self::Hs256 => Algorithm::HS256,
            Self::Rs256 => Algorithm::RS256,
        }
    }

    fn encoding_key(self, key: &[u8]) -> EncodingKey {
        match self {
            Self::EdDsa => EncodingKey::from_ed_der(key),
            Self::Hs256 => EncodingKey::from_secret(key),
            Self::Rs256 => EncodingKey::from_rsa_der(key),
        }
    }
}

/// A private key, or a secret that both signs and checks.
#[derive(Clone)]
pub struct SigningKey {
    pub(crate) algorithm: SigningAlgorithm,
    /// The id of the key in headers of tokens: its thumbprint (RFC 7638).
    pub(crate) id: String,
    pub(crate) encoding: EncodingKey,
    pub(crate) decoding: DecodingKey,
    bytes: Vec<u8>,
}

impl SigningKey {
    /// Generates a key.
    ///
    /// # Errors
    ///
    /// [`AccountError::Cryptography`] if the library fails.
    pub fn generate(algorithm: SigningAlgorithm) -> Result<Self, AccountError> {
        let failed = |_| AccountError::Cryptography("no key could be made");
        let bytes = match algorithm {
            SigningAlgorithm::Hs256 => random::<32>()?.to_vec(),
            SigningAlgorithm::EdDsa => {
                let pair = Ed25519KeyPair::generate().map_err(failed)?;
                pair.to_pkcs8v1().map_err(failed)?.as_ref().to_vec()
            }
            SigningAlgorithm::Rs256 => {
                let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(failed)?;
                let key: Pkcs8V1Der<'_> = pair.as_der().map_err(failed)?;
                key.as_ref()[PKCS8_HEADER_BYTES..].to_vec()
            }
        };
        Self::of(algorithm, bytes)
    }

    /// Takes a key that was stored.
    ///
    /// # Errors
    ///
    /// [`AccountError::Cryptography`] if it is damaged.
    pub fn stored(algorithm: SigningAlgorithm, text: &str) -> Result<Self, AccountError> {
        let bytes = URL_SAFE_NO_PAD.decode(text);
        Self::of(algorithm, bytes.map_err(|_| damaged())?)
    }

    /// Returns the key to store.
    pub fn expose(&self) -> String {
        URL_SAFE_NO_PAD.encode(&self.bytes)
    }

    fn of(algorithm: SigningAlgorithm, bytes: Vec<u8>) -> Result<Self, AccountError> {
        let encoding = algorithm.encoding_key(&bytes);
        let jwk =
            Jwk::from_encoding_key(&encoding, algorithm.algorithm()).map_err(|_| damaged())?;
        let decoding = DecodingKey::from_jwk(&jwk).map_err(|_| damaged())?;
        let id = jwk.thumbprint(ThumbprintHash::SHA256).map_err(|_| damaged())?;
        Ok(Self { algorithm, id, encoding, decoding, bytes })
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SigningKey({}, {})", self.algorithm.as_str(), self.id)
    }
}

fn damaged() -> AccountError {
    AccountError::Cryptography("the stored signing key is damaged")
}
