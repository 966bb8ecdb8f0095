//! The start of a connection: the client signs in.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use futures::{Sink, SinkExt as _};
use pgwire::api::auth::{
    DefaultServerParameterProvider, ServerParameterProvider, StartupHandler, finish_authentication,
    protocol_negotiation, save_startup_parameters_to_metadata,
};
use pgwire::api::{
    ClientInfo, ConnectionGuard, ConnectionHandle, ConnectionManager, METADATA_USER,
    PgWireConnectionState, PidSecretKeyGenerator, RandomPidSecretKeyGenerator,
};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::startup::Authentication;
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};

use queries::postgres_setting;

use crate::postgres::error::fatal;
use crate::postgres::session::Session;

/// The parameter with the options of the command line of a server.
const OPTIONS: &str = "options";

/// Signs clients in.
pub(super) struct Startup {
    session: Arc<Session>,
    cancellation: Cancellation,
}

/// How queries of connections are cancelled: over another connection, with a key.
#[derive(Clone, Debug)]
pub(super) struct Cancellation {
    keys: Arc<RandomPidSecretKeyGenerator>,
    /// The connections by their keys.
    pub(super) connections: Arc<ConnectionManager>,
}

impl Default for Cancellation {
    fn default() -> Self {
        Self { keys: Arc::default(), connections: Arc::new(ConnectionManager::new()) }
    }
}

impl Startup {
    pub(super) fn new(session: Arc<Session>, cancellation: Cancellation) -> Self {
        Self { session, cancellation }
    }

    /// Lets a client in. Its queries can be cancelled from then on.
    async fn welcome<C>(&self, client: &mut C) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        if let Some(options) = client.metadata().get(OPTIONS) {
            self.session.set(options).await;
        }
        let (pid, secret_key) = self.cancellation.keys.generate(client);
        client.set_pid_and_secret_key(pid, secret_key.clone());
        let (handle, guard) = self.cancellation.connections.register(pid, secret_key);
        client.session_extensions().insert::<Arc<ConnectionHandle>>(handle);
        client.session_extensions().insert::<ConnectionGuard>(guard);
        self.session.let_in();
        finish_authentication(client, &Greeting).await
    }
}

#[async_trait]
impl StartupHandler for Startup {
    async fn on_startup<C>(
        &self,
        client: &mut C,
        message: PgWireFrontendMessage,
    ) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        match message {
            PgWireFrontendMessage::Startup(startup) => {
                protocol_negotiation(client, &startup).await?;
                save_startup_parameters_to_metadata(client, &startup);
                if !self.session.needs_password() {
                    return self.welcome(client).await;
                }
                client.set_state(PgWireConnectionState::AuthenticationInProgress);
                let question = Authentication::CleartextPassword;
                client.send(PgWireBackendMessage::Authentication(question)).await?;
            }
            PgWireFrontendMessage::PasswordMessageFamily(message) => {
                let password = message.into_password()?.password;
                let user = client.metadata().get(METADATA_USER).cloned().unwrap_or_default();
                self.session.sign_in(&user, &password).await.map_err(fatal)?;
                self.welcome(client).await?;
            }
            // Others have no meaning before the client has signed in.
            _ => {}
        }
        Ok(())
    }
}

/// What a client learns of the server.
struct Greeting;

impl ServerParameterProvider for Greeting {
    fn server_parameters<C: ClientInfo>(&self, client: &C) -> Option<HashMap<String, String>> {
        let mut parameters = DefaultServerParameterProvider::default();
        let setting = |name| postgres_setting(name).unwrap_or_default().to_owned();
        parameters.server_version = setting("server_version");
        parameters.time_zone = setting("timezone");
        parameters.date_style = setting("datestyle");
        parameters.is_superuser = false;
        parameters.default_transaction_read_only = true;
        parameters.server_parameters(client)
    }
}
