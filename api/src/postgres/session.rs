//! Who a connection belongs to, and the queries that it runs.

use std::fmt::Debug;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::http::Method;
use futures::{Sink, SinkExt as _};
use pgwire::api::results::{FieldFormat, Response};
use pgwire::api::store::PortalStore;
use pgwire::api::{ClientInfo, ClientPortalStore};
use pgwire::error::{ErrorInfo, PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::response::TransactionStatus;
use queries::{Dialect, Format, Limits, Parameters, Purpose, Query, Spool};
use tokio::runtime::Handle;
use tokio::sync::Mutex;

use crate::app::App;
use crate::auth::{Credential, access, authorise, begin_session, end_session};
use crate::client::ClientAddress;
use crate::error::RequestError;
use crate::postgres::commands::Command;
use crate::postgres::error::failure;
use crate::postgres::messages::MessageLimit;
use crate::sql::new_id;

/// The resource whose scopes and rate limits apply.
const RESOURCE: &str = "/api/v1/sql";

/// A connection and its client.
pub(super) struct Session {
    app: App,
    address: ClientAddress,
    /// Present after the client has signed in, unless nobody signs in.
    credential: OnceLock<SignedIn>,
    settings: Mutex<Settings>,
    is_signed_in: AtomicBool,
    pub(super) message_limit: MessageLimit,
}

/// How a client has signed in.
struct SignedIn {
    credential: Credential,
    /// The session of a user, which ends with the connection.
    session: Option<String>,
}

/// The settings that a client can change.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    /// Time-out of a query; none for that of the server.
    pub(super) statement_timeout: Option<Duration>,
}

impl Session {
    pub(super) fn new(app: App, address: ClientAddress) -> Self {
        let (credential, settings, is_signed_in, message_limit) = Default::default();
        Self { app, address, credential, settings, is_signed_in, message_limit }
    }

    /// True once the client may send queries.
    pub(super) fn is_signed_in(&self) -> bool {
        self.is_signed_in.load(Ordering::Relaxed)
    }

    /// Lets the client send queries.
    pub(super) fn let_in(&self) {
        self.is_signed_in.store(true, Ordering::Relaxed);
        self.message_limit.raise();
    }

    /// True if clients need a password.
    pub(super) fn needs_password(&self) -> bool {
        self.app.auth.is_required()
    }

    /// Signs a client in with an API key, an access token, or the password of a user.
    ///
    /// # Errors
    ///
    /// [`RequestError`] if the password is refused, or does not allow queries.
    pub(super) async fn sign_in(&self, user: &str, password: &str) -> Result<(), RequestError> {
        let signed_in = match Credential::of_password(password) {
            Some(credential) => SignedIn { credential, session: None },
            None => self.begin(user, password).await?,
        };
        // A second sign-in is no message that a connection can have.
        let _ = self.credential.set(signed_in);
        self.authorise().await.map(|_| ())
    }

    /// Begins a session of a user.
    async fn begin(&self, user: &str, password: &str) -> Result<SignedIn, RequestError> {
        let user = (user.to_owned(), password.to_owned());
        let secret = begin_session(&self.app, self.address, user).await?;
        let session = Some(secret.id().to_owned());
        Ok(SignedIn { credential: Credential::Cookie(secret), session })
    }

    /// Returns the name under which limits count the client, if it may query; and counts a request.
    async fn authorise(&self) -> Result<String, RequestError> {
        let access = access(&Method::POST, RESOURCE);
        let access = access.ok_or_else(|| RequestError::NoSuchPath(RESOURCE.to_owned()))?;
        let credential = self.credential.get().map(|signed_in| signed_in.credential.clone());
        let client = authorise(&self.app, credential, self.address, access).await?;
        Ok(client.to_string())
    }

    /// Returns the rows of a query.
    pub(super) async fn rows(
        &self,
        sql: &str,
        parameters: Parameters,
    ) -> Result<Spool, RequestError> {
        let client = self.authorise().await?;
        self.answer(&client, Query { parameters, ..query(sql, Purpose::Rows) }).await
    }

    /// Returns the columns of a query, and the types of its parameters.
    pub(super) async fn description(&self, sql: &str) -> Result<Spool, RequestError> {
        let client = self.authorise().await?;
        self.answer(&client, query(sql, Purpose::Description)).await
    }

    /// Applies the options of a startup message.
    pub(super) async fn set(&self, options: &str) {
        for option in assignments(options) {
            if let Some(Command::SetTimeout(timeout)) = Command::parse(&format!("SET {option}")) {
                self.settings.lock().await.statement_timeout = timeout;
            }
        }
    }

    /// Returns an error of a query or a command in a transaction that has failed.
    pub(super) fn check_transaction(
        status: TransactionStatus,
        command: Option<&Command>,
    ) -> PgWireResult<()> {
        let has_failed = status == TransactionStatus::Error;
        if !has_failed || matches!(command, Some(Command::End(_))) {
            return Ok(());
        }
        let reason = "the transaction has failed: end it with ROLLBACK first";
        Err(failure("25P02", reason.to_owned()))
    }

    /// Follows a command, and confirms it.
    pub(super) async fn obey<C>(
        &self,
        client: &mut C,
        command: &Command,
        format: FieldFormat,
    ) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        match command {
            Command::SetTimeout(timeout) => {
                self.settings.lock().await.statement_timeout = *timeout;
                let longest = Limits::default().timeout;
                if timeout.is_some_and(|timeout| timeout > longest) {
                    notify(client, format!("queries still end after {longest:?}")).await?;
                }
            }
            Command::SetTimeZone(zone) => {
                notify(client, format!("times stay in UTC, and are not shown in {zone}")).await?;
            }
            Command::Deallocate(name) => client.portal_store().rm_statement(name),
            _ => {}
        }
        let timeout = self.settings.lock().await.statement_timeout;
        if client.transaction_status() == TransactionStatus::Error
            && matches!(command, Command::End(_))
        {
            return Command::End("ROLLBACK").confirmation(timeout, format);
        }
        command.confirmation(timeout, format)
    }

    async fn answer(&self, client: &str, query: Query) -> Result<Spool, RequestError> {
        let history = self.app.shared.history.as_ref().ok_or(RequestError::NoHistory)?;
        let limits = Limits::default();
        let timeout = self.settings.lock().await.statement_timeout;
        let timeout = timeout.map_or(limits.timeout, |timeout| timeout.min(limits.timeout));
        let query = Query { limits: Limits { timeout, ..limits }, ..query };
        Ok(self.app.workers.answer(history, query, &new_id(), client).await?)
    }
}

impl Drop for Session {
    /// Ends the session of a user.
    fn drop(&mut self) {
        let session = self.credential.take().and_then(|signed_in| signed_in.session);
        let Some((session, runtime)) = session.zip(Handle::try_current().ok()) else { return };
        let app = self.app.clone();
        runtime.spawn(async move {
            if let Err(error) = end_session(&app, &session).await {
                tracing::debug!(%error, "could not end a session, which expires by itself");
            }
        });
    }
}

/// Sends a notice, which clients show.
async fn notify<C>(client: &mut C, reason: String) -> PgWireResult<()>
where
    C: Sink<PgWireBackendMessage> + Unpin,
    PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
{
    let notice = ErrorInfo::new("NOTICE".to_owned(), "01000".to_owned(), reason);
    Ok(client.send(PgWireBackendMessage::NoticeResponse(notice.into())).await?)
}

/// Returns the assignments among options: `-c NAME=VALUE`, `-cNAME=VALUE` or `--NAME=VALUE`.
fn assignments(options: &str) -> Vec<&str> {
    let (mut assignments, mut words) = (Vec::new(), options.split_whitespace());
    while let Some(word) = words.next() {
        let assignment = match word.strip_prefix("-c").or_else(|| word.strip_prefix("--")) {
            Some("") => words.next(),
            assignment => assignment,
        };
        assignments.extend(assignment);
    }
    assignments
}

fn query(sql: &str, purpose: Purpose) -> Query {
    Query { dialect: Dialect::Postgres, purpose, ..Query::new(sql, Format::ArrowStream) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_have_assignments() {
        for (options, expected) in [
            ("-c a=1 -cb=2 --c=3", &["a=1", "b=2", "c=3"][..]),
            ("-c a=x-c -e b=2", &["a=x-c"]),
            ("-c", &[]),
            ("", &[]),
        ] {
            assert_eq!(assignments(options), expected, "{options}");
        }
    }
}
