//! The accounts in a store: who may use the API of its pipelines.

use identity::{
    AccountError, Accounts, ApiKey, PasswordHash, Session, SigningAlgorithm, SigningKey, User,
};
use sqlx::any::AnyRow;
use sqlx::{Any, Row, Transaction};

use crate::store::{StoreError, StoreHandle};

/// The most sessions of a user; the oldest ends when another one begins.
const MAX_SESSIONS: i64 = 100;

/// Access to the accounts in a store. Every pipeline of the store has the same accounts.
#[derive(Clone, Debug)]
pub struct AccountStore(StoreHandle);

impl AccountStore {
    pub(super) fn new(store: StoreHandle) -> Self {
        Self(store)
    }

    /// Blocks until a call is done. Must not be called on a thread of an async runtime.
    pub fn block_on<T>(&self, call: impl Future<Output = T>) -> T {
        self.0.block_on(call)
    }

    /// Loads all accounts.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails, or if an account is one of a newer version.
    pub async fn load(&self) -> Result<Accounts, StoreError> {
        let sessions = sqlx::query("SELECT id, user_name, hash, expires_at FROM sessions");
        let sessions = sessions.fetch_all(&self.0.pool).await?;
        let sessions = sessions.iter().map(session).collect::<Result<_, _>>()?;
        Ok(Accounts::new(self.users().await?, self.keys().await?, sessions))
    }

    /// Lists the users by name.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails, or if a user has a role of a newer version.
    pub async fn users(&self) -> Result<Vec<User>, StoreError> {
        let users = "SELECT name, password, role, tier, created_at FROM users ORDER BY name";
        sqlx::query(users).fetch_all(&self.0.pool).await?.iter().map(user).collect()
    }

    /// Lists the API keys by the time when they were made.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails, or if a key has a scope of a newer version.
    pub async fn keys(&self) -> Result<Vec<ApiKey>, StoreError> {
        let keys = "SELECT id, hash, name, scopes, tier, created_at, expires_at FROM api_keys
             ORDER BY created_at, id";
        sqlx::query(keys).fetch_all(&self.0.pool).await?.iter().map(key).collect()
    }

    /// Adds a user. Returns false if the name is taken.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn add_user(&self, user: &User) -> Result<bool, StoreError> {
        let insert = "INSERT INTO users (name, password, role, tier, created_at)
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT (name) DO NOTHING";
        let insert = sqlx::query(insert).bind(user.name.as_str()).bind(user.password.as_str());
        let insert = insert.bind(user.role.as_str()).bind(user.tier.as_str());
        let insert = insert.bind(user.created_at_s.cast_signed()).execute(&self.0.pool);
        Ok(insert.await?.rows_affected() == 1)
    }

    /// Changes the password of a user, and ends the user's sessions. Returns false if there is no such user.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn set_password(
        &self,
        name: &str,
        password: &PasswordHash,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.0.pool.begin().await?;
        let update = sqlx::query("UPDATE users SET password = $1 WHERE name = $2");
        let update = update.bind(password.as_str()).bind(name).execute(&mut *transaction);
        let is_known = update.await?.rows_affected() == 1;
        end_sessions(&mut transaction, name).await?;
        transaction.commit().await?;
        Ok(is_known)
    }

    /// Removes a user, and ends the user's sessions. Returns false if there is no such user.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn remove_user(&self, name: &str) -> Result<bool, StoreError> {
        let mut transaction = self.0.pool.begin().await?;
        let delete = sqlx::query("DELETE FROM users WHERE name = $1").bind(name);
        let is_known = delete.execute(&mut *transaction).await?.rows_affected() == 1;
        end_sessions(&mut transaction, name).await?;
        transaction.commit().await?;
        Ok(is_known)
    }

    /// Adds an API key.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn add_key(&self, key: &ApiKey) -> Result<(), StoreError> {
        let insert = "INSERT INTO api_keys (id, hash, name, scopes, tier, created_at, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7)";
        let insert = sqlx::query(insert).bind(key.id.as_str()).bind(key.hash.as_str());
        let insert = insert.bind(key.name.as_str()).bind(key.scopes.to_string());
        let insert = insert.bind(key.tier.as_str()).bind(key.created_at_s.cast_signed());
        let insert = insert.bind(key.expires_at_s.map(u64::cast_signed));
        insert.execute(&self.0.pool).await?;
        Ok(())
    }

    /// Removes an API key. Returns false if there is no such key.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn remove_key(&self, id: &str) -> Result<bool, StoreError> {
        let delete = sqlx::query("DELETE FROM api_keys WHERE id = $1").bind(id);
        Ok(delete.execute(&self.0.pool).await?.rows_affected() == 1)
    }

    /// Adds a session of a user who knows a password, and removes those that have expired or are too many.
    /// Returns false if the user is gone, or has another password by now.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn add_session(
        &self,
        session: &Session,
        password: &PasswordHash,
        now_s: u64,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.0.pool.begin().await?;
        // The update locks the user, so that the password does not change meanwhile.
        let lock = "UPDATE users SET name = name WHERE name = $1 AND password = $2";
        let lock = sqlx::query(lock).bind(session.user.as_str()).bind(password.as_str());
        if lock.execute(&mut *transaction).await?.rows_affected() != 1 {
            return Ok(false);
        }
        let expired = sqlx::query("DELETE FROM sessions WHERE expires_at <= $1");
        expired.bind(now_s.cast_signed()).execute(&mut *transaction).await?;
        let surplus = "DELETE FROM sessions WHERE user_name = $1 AND id NOT IN
             (SELECT id FROM sessions WHERE user_name = $1 ORDER BY expires_at DESC LIMIT $2)";
        let surplus = sqlx::query(surplus).bind(session.user.as_str()).bind(MAX_SESSIONS - 1);
        surplus.execute(&mut *transaction).await?;
        let insert = "INSERT INTO sessions (id, user_name, hash, previous_hash, expires_at)
             VALUES ($1, $2, $3, '', $4)";
        let insert = sqlx::query(insert).bind(session.id.as_str()).bind(session.user.as_str());
        let insert = insert.bind(session.hash.as_str()).bind(session.expires_at_s.cast_signed());
        insert.execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Replaces the secret of a session. Returns false if the session has ended or has another secret by now.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn rotate(&self, id: &str, old: &str, new: &str) -> Result<bool, StoreError> {
        let update =
            "UPDATE sessions SET hash = $1, previous_hash = $3 WHERE id = $2 AND hash = $3";
        let update = sqlx::query(update).bind(new).bind(id).bind(old).execute(&self.0.pool);
        Ok(update.await?.rows_affected() == 1)
    }

    /// Ends a session if a secret is the one before its newest. Returns false if it is not.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn end_reused(&self, id: &str, hash: &str) -> Result<bool, StoreError> {
        let delete = "DELETE FROM sessions WHERE id = $1 AND previous_hash = $2";
        let delete = sqlx::query(delete).bind(id).bind(hash).execute(&self.0.pool);
        Ok(delete.await?.rows_affected() == 1)
    }

    /// Ends a session.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn remove_session(&self, id: &str) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM sessions WHERE id = $1").bind(id).execute(&self.0.pool).await?;
        Ok(())
    }

    /// Returns the key of an algorithm, which all servers of the store share. The first one makes it.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails, or if the key is damaged.
    pub async fn signing_key(&self, algorithm: SigningAlgorithm) -> Result<SigningKey, StoreError> {
        if let Some(key) = self.stored_signing_key(algorithm).await? {
            return Ok(key);
        }
        let key = SigningKey::generate(algorithm)?;
        let insert = "INSERT INTO signing_keys (algorithm, private_key) VALUES ($1, $2)
             ON CONFLICT (algorithm) DO NOTHING";
        let insert = sqlx::query(insert).bind(algorithm.as_str()).bind(key.expose());
        insert.execute(&self.0.pool).await?;
        Ok(self.stored_signing_key(algorithm).await?.unwrap_or(key))
    }

    async fn stored_signing_key(
        &self,
        algorithm: SigningAlgorithm,
    ) -> Result<Option<SigningKey>, StoreError> {
        let select = sqlx::query("SELECT private_key FROM signing_keys WHERE algorithm = $1");
        let row = select.bind(algorithm.as_str()).fetch_optional(&self.0.pool).await?;
        let Some(row) = row else { return Ok(None) };
        let key: String = row.try_get(0)?;
        Ok(Some(SigningKey::stored(algorithm, &key)?))
    }
}

async fn end_sessions(
    transaction: &mut Transaction<'_, Any>,
    user: &str,
) -> Result<(), StoreError> {
    let delete = sqlx::query("DELETE FROM sessions WHERE user_name = $1").bind(user);
    delete.execute(&mut **transaction).await?;
    Ok(())
}

fn user(row: &AnyRow) -> Result<User, StoreError> {
    let role: String = row.try_get(2)?;
    Ok(User {
        name: row.try_get(0)?,
        password: PasswordHash::stored(row.try_get(1)?),
        role: role.parse()?,
        tier: row.try_get(3)?,
        created_at_s: row.try_get::<i64, _>(4)?.unsigned_abs(),
    })
}

fn key(row: &AnyRow) -> Result<ApiKey, StoreError> {
    let scopes: String = row.try_get(3)?;
    Ok(ApiKey {
        id: row.try_get(0)?,
        hash: row.try_get(1)?,
        name: row.try_get(2)?,
        scopes: scopes.parse()?,
        tier: row.try_get(4)?,
        created_at_s: row.try_get::<i64, _>(5)?.unsigned_abs(),
        expires_at_s: row.try_get::<Option<i64>, _>(6)?.map(i64::unsigned_abs),
    })
}

fn session(row: &AnyRow) -> Result<Session, StoreError> {
    Ok(Session {
        id: row.try_get(0)?,
        user: row.try_get(1)?,
        hash: row.try_get(2)?,
        expires_at_s: row.try_get::<i64, _>(3)?.unsigned_abs(),
    })
}

impl From<AccountError> for StoreError {
    fn from(source: AccountError) -> Self {
        Self::Account { source }
    }
}
