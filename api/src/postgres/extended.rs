//! Extended queries: prepared statements with parameters, and portals that return their rows.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use futures::{Sink, SinkExt as _};
use pgwire::api::portal::{Format, Portal, PortalExecutionState};
use pgwire::api::query::{
    ExtendedQueryHandler, send_execution_response, send_partial_query_response,
};
use pgwire::api::results::{FieldFormat, FieldInfo, Response, Tag};
use pgwire::api::stmt::{QueryParser, StoredStatement};
use pgwire::api::store::{Entry, PortalStore};
use pgwire::api::{ClientInfo, ClientPortalStore, ConnectionHandle, DEFAULT_NAME, Type};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::extendedquery::{
    Bind, BindComplete, Close, CloseComplete, Execute, Parse, ParseComplete, Sync as EndOfCycle,
    TARGET_TYPE_BYTE_PORTAL,
};
use pgwire::messages::response::{EmptyQueryResponse, ReadyForQuery, TransactionStatus};

use crate::error::RequestError;
use crate::postgres::commands::Command;
use crate::postgres::error::failure;
use crate::postgres::portals::{Portals, check_name};
use crate::postgres::session::Session;
use crate::postgres::{parameters, rows};

/// Bytes of the prepared statements of a connection.
const MAX_PREPARED_BYTES: usize = 4 << 20;
/// Bytes that a statement takes besides its text.
const OVERHEAD_BYTES: usize = 1024;

/// A statement that is prepared.
#[derive(Clone, Debug)]
pub(super) struct Prepared {
    statement: Statement,
    _room: Arc<Room>,
}

#[derive(Clone, Debug)]
enum Statement {
    Command(Command),
    Query { sql: Arc<str>, columns: SchemaRef, parameters: Arc<[Type]> },
}

/// Room for a prepared statement, which is free again when the statement is forgotten.
#[derive(Debug)]
struct Room {
    n_bytes: usize,
    in_use: Arc<AtomicUsize>,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.in_use.fetch_sub(self.n_bytes, Ordering::Relaxed);
    }
}

/// Prepares statements.
pub(super) struct Preparer {
    session: Arc<Session>,
    /// Bytes of the prepared statements.
    in_use: Arc<AtomicUsize>,
}

impl Preparer {
    async fn query(&self, sql: &str) -> PgWireResult<Statement> {
        let description = self.session.description(sql).await?;
        let (columns, _) = description.into_batches().await.map_err(RequestError::from)?;
        let parameters = parameters::types(&columns).into();
        Ok(Statement::Query { sql: sql.into(), columns, parameters })
    }

    fn room(&self, sql: &str) -> PgWireResult<Arc<Room>> {
        let n_bytes = sql.len() + OVERHEAD_BYTES;
        let room = Room { n_bytes, in_use: Arc::clone(&self.in_use) };
        let n_before = self.in_use.fetch_add(n_bytes, Ordering::Relaxed);
        if n_before + n_bytes > MAX_PREPARED_BYTES {
            let reason = "the prepared statements of this connection are too long: deallocate some";
            return Err(failure("53200", reason.to_owned()));
        }
        Ok(Arc::new(room))
    }
}

#[async_trait]
impl QueryParser for Preparer {
    type Statement = Prepared;

    async fn parse_sql<C>(
        &self,
        _: &C,
        text: &str,
        _: &[Option<Type>],
    ) -> PgWireResult<Option<Prepared>>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        let statements = queries::statements(text).map_err(RequestError::from)?;
        let sql = match <[_; 1]>::try_from(statements) {
            Ok([sql]) => sql,
            Err(statements) if statements.is_empty() => return Ok(None),
            Err(_) => {
                let reason = "a prepared statement cannot have several commands";
                return Err(failure("42601", reason.to_owned()));
            }
        };
        let room = self.room(sql)?;
        let statement = match Command::parse(sql) {
            Some(command) => Statement::Command(command),
            None => self.query(sql).await?,
        };
        Ok(Some(Prepared { statement, _room: room }))
    }

    fn get_parameter_types(&self, statement: &Prepared) -> PgWireResult<Vec<Type>> {
        Ok(match &statement.statement {
            Statement::Command(_) => Vec::new(),
            Statement::Query { parameters, .. } => parameters.to_vec(),
        })
    }

    fn get_result_schema(
        &self,
        statement: &Prepared,
        format: Option<&Format>,
    ) -> PgWireResult<Vec<FieldInfo>> {
        let format = format.unwrap_or(&Format::UnifiedText);
        match &statement.statement {
            Statement::Command(command) => Ok(command.columns(first(format))),
            Statement::Query { columns, .. } => rows::columns(columns, format),
        }
    }
}

/// Answers extended queries.
pub(super) struct Extended {
    preparer: Arc<Preparer>,
    session: Arc<Session>,
    /// The portals, which end with their transaction.
    portals: Portals,
}

impl Extended {
    pub(super) fn new(session: Arc<Session>) -> Self {
        let preparer = Preparer { session: Arc::clone(&session), in_use: Arc::default() };
        Self { preparer: Arc::new(preparer), session, portals: Portals::default() }
    }

    /// Runs the statement of a portal, which a request on another connection can cancel.
    async fn start<C>(&self, client: &mut C, portal: &Portal<Prepared>) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let handle = client.session_extensions().get::<Arc<ConnectionHandle>>();
        let Some(handle) = handle else { return self.do_query(client, portal, 0).await };
        let cancelled = handle.start_query().await;
        tokio::select! {
            response = self.do_query(client, portal, 0) => response,
            _ = cancelled => Err(PgWireError::QueryCanceled),
        }
    }
}

#[async_trait]
impl ExtendedQueryHandler for Extended {
    type Statement = Prepared;
    type QueryParser = Preparer;

    fn query_parser(&self) -> Arc<Preparer> {
        Arc::clone(&self.preparer)
    }

    async fn on_parse<C>(&self, client: &mut C, message: Parse) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let name = message.name.as_deref().unwrap_or(DEFAULT_NAME);
        check_name(name)?;
        match StoredStatement::parse(client, &message, self.query_parser()).await? {
            Some(statement) => client.portal_store().put_statement(Arc::new(statement)),
            // The others would need room that nobody counts.
            None if name == DEFAULT_NAME => client.portal_store().put_empty_statement(name),
            None => return Err(failure("0A000", "an empty statement has no name".to_owned())),
        }
        client.send(PgWireBackendMessage::ParseComplete(ParseComplete::new())).await?;
        Ok(())
    }

    async fn on_bind<C>(&self, client: &mut C, message: Bind) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let of_statement = message.statement_name.as_deref().unwrap_or(DEFAULT_NAME);
        let name = message.portal_name.as_deref().unwrap_or(DEFAULT_NAME);
        self.portals.add(&message)?;
        let store = client.portal_store();
        match store.get_statement(of_statement) {
            Some(Entry::Value(statement)) => {
                store.put_portal(Arc::new(Portal::try_new(&message, statement)?));
            }
            Some(Entry::Empty) => store.put_empty_portal(name),
            None => return Err(PgWireError::StatementNotFound(of_statement.to_owned())),
        }
        client.send(PgWireBackendMessage::BindComplete(BindComplete::new())).await?;
        Ok(())
    }

    async fn on_close<C>(&self, client: &mut C, message: Close) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let name = message.name.as_deref().unwrap_or(DEFAULT_NAME);
        if message.target_type == TARGET_TYPE_BYTE_PORTAL {
            self.portals.remove(name);
            client.portal_store().rm_portal(name);
        } else {
            client.portal_store().rm_statement(name);
        }
        client.send(PgWireBackendMessage::CloseComplete(CloseComplete::new())).await?;
        Ok(())
    }

    /// Sends rows as the client reads them.
    async fn on_execute<C>(&self, client: &mut C, message: Execute) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let name = message.name.as_deref().unwrap_or(DEFAULT_NAME);
        let portal = match client.portal_store().get_portal(name) {
            Some(Entry::Value(portal)) => portal,
            Some(Entry::Empty) => {
                let nothing = PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new());
                return Ok(client.feed(nothing).await?);
            }
            None => return Err(PgWireError::PortalNotFound(name.to_owned())),
        };
        let state = portal.state();
        let mut state = state.lock().await;
        if matches!(*state, PortalExecutionState::Initial) {
            *state = match self.start(client, &portal).await? {
                Response::Query(rows) => PortalExecutionState::Suspended(rows),
                response => {
                    *state = PortalExecutionState::Finished;
                    return confirm(client, response).await;
                }
            };
        }
        let PortalExecutionState::Suspended(rows) = &mut *state else {
            let tag = Tag::new("SELECT").with_rows(0);
            return send_execution_response(client, tag).await;
        };
        // Not above 0: all rows.
        let max_rows = usize::try_from(message.max_rows).unwrap_or(0);
        if !send_partial_query_response(client, rows, max_rows).await? {
            *state = PortalExecutionState::Finished;
        }
        Ok(())
    }

    async fn on_sync<C>(&self, client: &mut C, _: EndOfCycle) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let status = client.transaction_status();
        if status == TransactionStatus::Idle {
            self.portals.clear();
            client.portal_store().clear_portals();
        }
        let ready = PgWireBackendMessage::ReadyForQuery(ReadyForQuery::new(status));
        client.send(ready).await?;
        Ok(())
    }

    async fn do_query<C>(
        &self,
        client: &mut C,
        portal: &Portal<Prepared>,
        _: usize,
    ) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let format = &portal.result_column_format;
        let command = match &portal.statement.statement.statement {
            Statement::Command(command) => Some(command),
            Statement::Query { .. } => None,
        };
        Session::check_transaction(client.transaction_status(), command)?;
        match &portal.statement.statement.statement {
            Statement::Command(command) => self.session.obey(client, command, first(format)).await,
            Statement::Query { sql, parameters, .. } => {
                let values = parameters::values(portal, parameters)?;
                rows::response(self.session.rows(sql, values).await?, format).await
            }
        }
    }
}

/// Confirms a command.
async fn confirm<C>(client: &mut C, response: Response) -> PgWireResult<()>
where
    C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send,
    C::Error: Debug,
    PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
{
    let (tag, status) = match response {
        Response::TransactionStart(tag) => (tag, TransactionStatus::Transaction),
        Response::TransactionEnd(tag) => (tag, TransactionStatus::Idle),
        Response::Execution(tag) => (tag, client.transaction_status()),
        _ => return Ok(()),
    };
    client.set_transaction_status(status);
    send_execution_response(client, tag).await
}

/// Returns the format of a first column.
fn first(format: &Format) -> FieldFormat {
    match format {
        Format::Individual(formats) if formats.is_empty() => FieldFormat::Text,
        format => format.format_for(0),
    }
}
