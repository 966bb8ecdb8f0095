//! Authenticates clients: returns the principal of a credential.

use std::sync::Arc;
use std::time::Duration;

use engine::{AccountStore, ApiConfig, Auth, StoreError};
use identity::{
    AccessTokens, Accounts, CredentialError, PasswordHash, Principal, Role, SigningAlgorithm, User,
    generate_password,
};
use tokio::sync::OnceCell;
use tokio::time::sleep;

use crate::auth::attempts::Attempts;
use crate::auth::credential::Credential;
use crate::auth::directory::Directory;
use crate::auth::issuer::TrustedIssuer;
use crate::error::RequestError;
use crate::wall_clock::now_s;

/// The user that the first start of a store adds.
const FIRST_USER: &str = "admin";
/// The rate limit tier of the first user: administrators run `fresnel top`, which sends a request every second.
const TIER: &str = "premium";
/// Pause before a store that does not answer is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// Authenticates clients; contains nothing with `auth = "off"`.
#[derive(Clone, Debug)]
pub(crate) struct Authenticator(Option<Arc<Required>>);

/// The state of authentication: accounts, attempts to sign in, and the keys of tokens.
#[derive(Debug)]
pub(crate) struct Required {
    pub(super) directory: Directory,
    pub(super) attempts: Attempts,
    /// An issuer whose tokens are accepted, too.
    issuer: Option<TrustedIssuer>,
    algorithm: SigningAlgorithm,
    tokens: OnceCell<AccessTokens>,
}

impl Authenticator {
    pub(crate) fn new(config: Option<&ApiConfig>, store: &AccountStore) -> Self {
        let config = config.cloned().unwrap_or_default();
        let required = (config.auth == Auth::Required).then(|| Required {
            directory: Directory::new(store.clone()),
            attempts: Attempts::default(),
            issuer: config.issuer.map(TrustedIssuer::new),
            algorithm: config.token_algorithm,
            tokens: OnceCell::new(),
        });
        Self(required.map(Arc::new))
    }

    /// True if clients need credentials.
    pub(crate) fn is_required(&self) -> bool {
        self.0.is_some()
    }

    /// Returns the state of authentication; none with `auth = "off"`.
    pub(super) fn if_required(&self) -> Option<&Required> {
        self.0.as_deref()
    }

    /// Returns the state of authentication.
    ///
    /// # Errors
    ///
    /// [`RequestError::NotFound`] with `auth = "off"`.
    pub(super) fn required(&self) -> Result<&Required, RequestError> {
        let detail = "the pipeline file has auth = \"off\": nobody signs in";
        self.0.as_deref().ok_or_else(|| RequestError::NotFound(detail.to_owned()))
    }

    /// Adds a first user to a store that has none, and announces the password. Waits while the store does not
    /// answer.
    pub(crate) async fn add_first_user(self, announce: impl FnOnce(&str, &str)) {
        let Some(required) = self.0 else { return };
        loop {
            match required.first_password().await {
                Ok(Some(password)) => return announce(FIRST_USER, &password),
                Ok(None) => return,
                Err(error) => tracing::warn!(%error, "could not look for users, trying again"),
            }
            // The database does not report the end of an outage.
            sleep(PAUSE).await;
        }
    }
}

impl Required {
    /// Returns the principal of a credential.
    ///
    /// # Errors
    ///
    /// [`RequestError::Credential`] if it is refused; [`RequestError::Unavailable`] while the store does not
    /// answer.
    pub(super) async fn principal(
        &self,
        credential: Credential,
    ) -> Result<Principal, RequestError> {
        let token = match &credential {
            Credential::Token(token) => match self.tokens().await?.check(token) {
                Err(CredentialError::Invalid) => return self.external(token).await,
                token => Some(token?),
            },
            Credential::Unknown => return Err(CredentialError::Malformed.into()),
            _ => None,
        };
        let now_s = now_s();
        let find = |accounts: &Accounts| match (&credential, &token) {
            (Credential::Key(key), _) => accounts.of_key(key, now_s),
            (Credential::Cookie(cookie), _) => accounts.of_cookie(cookie, now_s),
            (_, Some(token)) => accounts.of_token(token, now_s),
            _ => Err(CredentialError::Invalid),
        };
        self.directory.find(find).await
    }

    /// Returns the principal of a token that this server has not issued.
    async fn external(&self, token: &str) -> Result<Principal, RequestError> {
        let issuer = self.issuer.as_ref().ok_or(CredentialError::Invalid)?;
        Ok(issuer.principal(token).await?)
    }

    /// Returns the issuer of access tokens. Loads or makes its key at the first call.
    pub(super) async fn tokens(&self) -> Result<&AccessTokens, RequestError> {
        let load = async || {
            let key = self.directory.store().signing_key(self.algorithm).await?;
            Ok::<_, StoreError>(AccessTokens::new(key))
        };
        Ok(self.tokens.get_or_try_init(load).await?)
    }

    /// Adds a first user. Returns the password, or none if there are users.
    async fn first_password(&self) -> Result<Option<String>, StoreError> {
        let store = self.directory.store();
        if !store.users().await?.is_empty() {
            return Ok(None);
        }
        let password = generate_password()?;
        let user = User {
            name: FIRST_USER.to_owned(),
            password: PasswordHash::of(&password)?,
            role: Role::Admin,
            tier: TIER.to_owned(),
            created_at_s: now_s(),
        };
        // Another server of the store may have been faster.
        Ok(store.add_user(&user).await?.then_some(password))
    }
}
