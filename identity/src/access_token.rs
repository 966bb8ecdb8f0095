//! Access tokens: JSON Web Tokens that name a user and what the user may do for the next quarter of an hour.
//!
//! Source: RFC 9068 (their claims and type) and RFC 8725 (which tokens to refuse).

use std::time::Duration;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation, decode, decode_header, encode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{AccountError, CredentialError, Scopes, Secret, SecretKind, SigningKey};

/// How long an access token is valid.
pub const ACCESS_TOKEN_TTL: Duration = Duration::from_mins(15);
/// How far the clocks of two servers may differ, in seconds.
const LEEWAY_S: u64 = 5;
/// The type of access tokens, so that no other token is taken for one.
const TOKEN_TYPE: &str = "at+jwt";
/// The issuer and the audience of the tokens of this program.
const FRESNEL: &str = "fresnel";

/// The claims of an access token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessToken {
    iss: String,
    aud: String,
    /// The user.
    pub sub: String,
    /// The session, with which the token ends.
    pub sid: String,
    /// The id of the token.
    pub jti: String,
    /// When it was issued, and from when it is valid, in seconds since the Unix epoch.
    iat: u64,
    nbf: u64,
    /// When it expires.
    pub exp: u64,
    /// What the user may do.
    pub scope: Scopes,
}

/// Issues and checks the access tokens of one key.
#[derive(Clone, Debug)]
pub struct AccessTokens(SigningKey);

impl AccessTokens {
    /// Issues tokens that a key signs.
    pub fn new(key: SigningKey) -> Self {
        Self(key)
    }

    /// Issues a token for a session of a user.
    ///
    /// # Errors
    ///
    /// [`AccountError::Cryptography`] if the library fails.
    pub fn issue(
        &self,
        user: &str,
        session: &str,
        scope: Scopes,
        now_s: u64,
    ) -> Result<String, AccountError> {
        let claims = AccessToken {
            iss: FRESNEL.to_owned(),
            aud: FRESNEL.to_owned(),
            sub: user.to_owned(),
            sid: session.to_owned(),
            jti: Secret::generate(SecretKind::RefreshToken)?.id().to_owned(),
            iat: now_s,
            nbf: now_s,
            exp: now_s + ACCESS_TOKEN_TTL.as_secs(),
            scope,
        };
        let mut header = Header::new(self.0.algorithm.algorithm());
        header.typ = Some(TOKEN_TYPE.to_owned());
        header.kid = Some(self.0.id.clone());
        encode(&header, &claims, &self.0.encoding)
            .map_err(|_| AccountError::Cryptography("no token could be signed"))
    }

    /// Checks a token.
    ///
    /// # Errors
    ///
    /// [`CredentialError`] unless it is an access token that this key has signed, for this time.
    pub fn check(&self, token: &str) -> Result<AccessToken, CredentialError> {
        let header = plain_header(token)?;
        if header.typ.as_deref() != Some(TOKEN_TYPE) || header.kid.as_ref() != Some(&self.0.id) {
            return Err(CredentialError::Invalid);
        }
        let algorithms = vec![self.0.algorithm.algorithm()];
        claims(token, &self.0.decoding, algorithms, FRESNEL, FRESNEL)
    }
}

/// Returns the header of a token; an error if the header says where its key is, which is for the server to
/// know, or if the header has extensions.
pub(crate) fn plain_header(token: &str) -> Result<Header, CredentialError> {
    let header = decode_header(token).map_err(|_| CredentialError::Invalid)?;
    let names_key = header.jku.is_some()
        || header.jwk.is_some()
        || header.x5u.is_some()
        || header.x5c.is_some()
        || header.crit.is_some();
    if names_key { Err(CredentialError::Invalid) } else { Ok(header) }
}

/// Checks signature, issuer, audience and time of a token, and returns its claims.
pub(crate) fn claims<C: DeserializeOwned + Clone>(
    token: &str,
    key: &DecodingKey,
    algorithms: Vec<Algorithm>,
    issuer: &str,
    audience: &str,
) -> Result<C, CredentialError> {
    let mut validation =
        Validation { algorithms, leeway: LEEWAY_S, validate_nbf: true, ..Validation::default() };
    validation.set_issuer(&[issuer]);
    validation.set_audience(&[audience]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    let checked = decode::<C>(token, key, &validation);
    let checked = checked.map_err(|error| match error.kind() {
        ErrorKind::ExpiredSignature => CredentialError::Expired,
        ErrorKind::ImmatureSignature => CredentialError::NotYet,
        _ => CredentialError::Invalid,
    })?;
    Ok(checked.claims)
}
