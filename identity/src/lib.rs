//! Who may use the API: users with passwords, API keys, sessions, tokens, and the scopes of all of them.
//!
//! Nothing here reads a clock or a database: callers pass the time, and store the accounts.

mod access_token;
mod accounts;
mod api_key;
mod error;
mod issuer;
mod name;
mod password;
mod principal;
mod role;
mod scope;
mod secret;
mod session;
mod signing_key;
mod user;

pub use crate::access_token::{ACCESS_TOKEN_TTL, AccessToken, AccessTokens};
pub use crate::accounts::Accounts;
pub use crate::api_key::ApiKey;
pub use crate::error::{AccountError, CredentialError};
pub use crate::issuer::{Issuer, IssuerKeys};
pub use crate::name::check_name;
pub use crate::password::{MIN_PASSWORD_LENGTH, PasswordHash, check_password, generate_password};
pub use crate::principal::{Principal, PrincipalKind};
pub use crate::role::Role;
pub use crate::scope::{Scope, Scopes};
pub use crate::secret::{Secret, SecretKind};
pub use crate::session::{REFRESH_TTL, Session};
pub use crate::signing_key::{SigningAlgorithm, SigningKey};
pub use crate::user::{DEFAULT_TIER, User};
