//! Simple queries: a text with statements, and the rows of each as text.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use futures::Sink;
use pgwire::api::portal::Format;
use pgwire::api::query::SimpleQueryHandler;
use pgwire::api::results::{FieldFormat, Response};
use pgwire::api::store::PortalStore;
use pgwire::api::{ClientInfo, ClientPortalStore};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;
use queries::Parameters;

use crate::error::RequestError;
use crate::postgres::commands::Command;
use crate::postgres::rows;
use crate::postgres::session::Session;

/// Most statements of a text.
const MAX_STATEMENTS: usize = 100;

/// Answers simple queries.
pub(super) struct Simple(Arc<Session>);

impl Simple {
    pub(super) fn new(session: Arc<Session>) -> Self {
        Self(session)
    }

    async fn answer<C>(&self, client: &mut C, sql: &str) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let command = Command::parse(sql);
        Session::check_transaction(client.transaction_status(), command.as_ref())?;
        if let Some(command) = command {
            return self.0.obey(client, &command, FieldFormat::Text).await;
        }
        let answer = self.0.rows(sql, Parameters::default()).await?;
        rows::response(answer, &Format::UnifiedText).await
    }
}

#[async_trait]
impl SimpleQueryHandler for Simple {
    async fn do_query<C>(&self, client: &mut C, text: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let statements = queries::statements(text).map_err(RequestError::from)?;
        if statements.len() > MAX_STATEMENTS {
            let reason = format!("there are more than {MAX_STATEMENTS} statements in one text");
            return Err(RequestError::BadRequest(reason).into());
        }
        let mut responses = Vec::new();
        for sql in statements {
            match self.answer(client, sql).await {
                Ok(response) => responses.push(response),
                // Those after it are not run.
                Err(error) => {
                    responses.push(Response::Error(Box::new(error.into())));
                    break;
                }
            }
        }
        if responses.is_empty() {
            responses.push(Response::EmptyQuery);
        }
        Ok(responses)
    }
}
