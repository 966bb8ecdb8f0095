//! Tokens of another issuer (OpenID Connect): this server checks them, and issues none.
//!
//! Source: OpenID Connect Core 1.0, section 3.1.3.7; RFC 7517 (key sets); RFC 9068.

use std::collections::HashMap;

use jsonwebtoken::jwk::{AlgorithmParameters, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use serde::Deserialize;

use crate::access_token::{claims, plain_header};
use crate::{CredentialError, Principal, PrincipalKind, Scopes};

/// The issuer that a server trusts.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// Its URL, which its tokens contain.
    pub url: String,
    /// The audience that its tokens must name.
    pub audience: String,
    /// The tier of the rate limits of its users.
    pub tier: String,
}

/// The public keys of an issuer, by id.
#[derive(Clone, Debug, Default)]
pub struct IssuerKeys(HashMap<String, (Vec<Algorithm>, DecodingKey)>);

#[derive(Clone, Debug, Deserialize)]
struct Claims {
    sub: String,
    /// Scopes, separated by spaces.
    #[serde(default)]
    scope: String,
    /// Scopes, as some issuers name them.
    #[serde(default)]
    scp: Vec<String>,
}

impl IssuerKeys {
    /// Parses a key set. Keys that sign nothing, symmetric keys and keys of unknown types are left out.
    ///
    /// # Errors
    ///
    /// The error of the parser, if the text is no key set.
    pub fn parse(text: &[u8]) -> Result<Self, serde_json::Error> {
        let set: JwkSet = serde_json::from_slice(text)?;
        let keys = set.keys.iter().filter_map(|jwk| {
            let signs =
                jwk.common.public_key_use.as_ref().is_none_or(|it| *it == PublicKeyUse::Signature);
            let is_public = !matches!(jwk.algorithm, AlgorithmParameters::OctetKey(_));
            let key = DecodingKey::from_jwk(jwk).ok().filter(|_| signs && is_public)?;
            let algorithms = algorithms(&key)?;
            Some((jwk.common.key_id.clone()?, (algorithms, key)))
        });
        Ok(Self(keys.collect()))
    }

    /// True if a token names a key that is known. Others may be new keys of the issuer.
    pub fn know_key_of(&self, token: &str) -> bool {
        let id = plain_header(token).ok().and_then(|header| header.kid);
        id.is_some_and(|id| self.0.contains_key(&id))
    }

    /// Returns the principal of a token of an issuer.
    ///
    /// # Errors
    ///
    /// [`CredentialError`] unless one of the keys has signed it, for this audience and this time.
    pub fn check(&self, token: &str, issuer: &Issuer) -> Result<Principal, CredentialError> {
        let id = plain_header(token)?.kid.ok_or(CredentialError::Invalid)?;
        let (algorithms, key) = self.0.get(&id).ok_or(CredentialError::Invalid)?;
        let claims: Claims = claims(token, key, algorithms.clone(), &issuer.url, &issuer.audience)?;
        let scopes = Scopes::known_in(&(claims.scope + " " + &claims.scp.join(" ")));
        Ok(Principal {
            kind: PrincipalKind::External,
            name: claims.sub,
            scopes,
            tier: issuer.tier.clone(),
            session: None,
        })
    }
}

/// Returns the algorithms that a public key may be used with.
fn algorithms(key: &DecodingKey) -> Option<Vec<Algorithm>> {
    match key.family() {
        AlgorithmFamily::Rsa => Some(vec![Algorithm::RS256, Algorithm::PS256]),
        AlgorithmFamily::Ec => Some(vec![Algorithm::ES256]),
        AlgorithmFamily::Ed => Some(vec![Algorithm::EdDSA]),
        AlgorithmFamily::Hmac => None,
    }
}
