//! One connection: its messages, one after the other, until it ends.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use pgwire::api::cancel::DefaultCancelHandler;
use pgwire::api::{ClientInfo as _, DefaultClient, NoopHandler, PgWireConnectionState};
use pgwire::error::{ErrorInfo, PgWireError};
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use pgwire::tokio::server::{PgWireMessageServerCodec, process_error, process_message};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio_rustls::TlsAcceptor;
use tokio_util::codec::{Framed, FramedParts};

use crate::app::App;
use crate::client::ClientAddress;
use crate::postgres::extended::{Extended, Prepared};
use crate::postgres::hangup::Hangup;
use crate::postgres::messages::Messages;
use crate::postgres::negotiation::negotiate;
use crate::postgres::session::Session;
use crate::postgres::simple::Simple;
use crate::postgres::startup::{Cancellation, Startup};
use crate::server::{Activity, Socket, Timeouts};

/// How long a connection may be idle: pools of clients keep theirs open.
const IDLE: Duration = Duration::from_mins(10);

/// What all connections share.
#[derive(Clone, Debug)]
pub(crate) struct Postgres {
    app: App,
    cancellation: Cancellation,
}

type Connection = Framed<Messages<Socket>, PgWireMessageServerCodec<Prepared>>;

/// The handlers of a connection.
struct Handlers {
    startup: Arc<Startup>,
    simple: Arc<Simple>,
    extended: Arc<Extended>,
    cancel: Arc<DefaultCancelHandler>,
}

impl Postgres {
    pub(crate) fn new(app: App) -> Self {
        Self { app, cancellation: Cancellation::default() }
    }

    /// Returns the time-outs of a connection.
    pub(crate) fn timeouts(timeouts: Timeouts) -> Timeouts {
        Timeouts { idle: IDLE, ..timeouts }
    }

    /// Serves a connection until its client or the server ends it.
    pub(crate) async fn serve(
        &self,
        stream: TcpStream,
        tls: Option<&TlsAcceptor>,
        client: ClientAddress,
        activity: Arc<Activity>,
        place: OwnedSemaphorePermit,
        ending: watch::Receiver<bool>,
    ) {
        let (Ok(peer), Ok(hangup)) = (stream.peer_addr(), Hangup::of(&stream)) else { return };
        let Ok((stream, start)) = negotiate(stream, tls).await else { return };
        activity.change_protocol();
        let codec = PgWireMessageServerCodec::new(DefaultClient::new(peer, stream.is_encrypted()));
        let socket = Socket::new(stream, Arc::clone(&activity), place);
        let session = Arc::new(Session::new(self.app.clone(), client));
        let limit = session.message_limit.clone();
        let mut parts =
            FramedParts::new::<PgWireBackendMessage>(Messages::new(socket, &start, limit), codec);
        parts.read_buf.extend_from_slice(&start);
        let mut connection = Framed::from_parts(parts);
        connection.set_state(PgWireConnectionState::AwaitingStartup);
        let handlers = self.handlers(&session);
        let conversation = Conversation { connection, handlers, session, hangup };
        if let Err(error) = conversation.run(&activity, ending).await {
            tracing::debug!(%error, "a connection of a PostgreSQL client broke");
        }
    }

    fn handlers(&self, session: &Arc<Session>) -> Handlers {
        Handlers {
            startup: Arc::new(Startup::new(Arc::clone(session), self.cancellation.clone())),
            simple: Arc::new(Simple::new(Arc::clone(session))),
            extended: Arc::new(Extended::new(Arc::clone(session))),
            cancel: Arc::new(DefaultCancelHandler::new(Arc::clone(&self.cancellation.connections))),
        }
    }
}

/// A connection with all that answers its messages.
struct Conversation {
    connection: Connection,
    handlers: Handlers,
    session: Arc<Session>,
    hangup: Hangup,
}

impl Conversation {
    /// Answers messages until the client hangs up or the server ends.
    async fn run(
        mut self,
        activity: &Arc<Activity>,
        mut ending: watch::Receiver<bool>,
    ) -> Result<(), io::Error> {
        loop {
            let message = tokio::select! {
                message = self.connection.next() => Some(message),
                _ = ending.wait_for(|ending| *ending) => None,
            };
            let Some(message) = message else { return say_goodbye(&mut self.connection).await };
            let message = match message {
                None | Some(Ok(PgWireFrontendMessage::Terminate(_))) => return Ok(()),
                Some(Ok(message)) => message,
                Some(Err(error)) => return refuse(&mut self.connection, error).await,
            };
            // Until the client has signed in, the time limit of the first request applies.
            let _working = self.session.is_signed_in().then(|| activity.working());
            let Self { connection, handlers, session, hangup } = &mut self;
            let goes_on = tokio::select! {
                answered = answer(connection, handlers, session, message) => answered?,
                () = hangup.wait() => return Ok(()),
            };
            if !goes_on {
                return Ok(());
            }
        }
    }
}

/// Answers a message. Returns false if the connection has ended.
async fn answer(
    connection: &mut Connection,
    handlers: &Handlers,
    session: &Session,
    message: PgWireFrontendMessage,
) -> Result<bool, io::Error> {
    let waits_for_sync = message.is_extended_query();
    let answered = process_message(
        message,
        connection,
        Arc::clone(&handlers.startup),
        Arc::clone(&handlers.simple),
        Arc::clone(&handlers.extended),
        Arc::new(NoopHandler),
        Arc::clone(&handlers.cancel),
    );
    match answered.await {
        Ok(()) => Ok(true),
        Err(error) if session.is_signed_in() => {
            process_error(connection, error, waits_for_sync).await?;
            Ok(true)
        }
        Err(error) => end_with(connection, error.into()).await.map(|()| false),
    }
}

/// Reports the end of the server.
async fn say_goodbye(connection: &mut Connection) -> Result<(), io::Error> {
    let reason = "the server ends".to_owned();
    end_with(connection, ErrorInfo::new("FATAL".to_owned(), "57P01".to_owned(), reason)).await
}

/// Reports an invalid message. The connection cannot go on after it.
async fn refuse(connection: &mut Connection, error: PgWireError) -> Result<(), io::Error> {
    let reason = error.to_string();
    end_with(connection, ErrorInfo::new("FATAL".to_owned(), "08P01".to_owned(), reason)).await
}

async fn end_with(connection: &mut Connection, error: ErrorInfo) -> Result<(), io::Error> {
    connection.send(PgWireBackendMessage::ErrorResponse(error.into())).await?;
    connection.close().await
}
