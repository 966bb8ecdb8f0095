//! Ends WebSockets and taps when their credential expires or is revoked.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use crate::app::App;
use crate::auth::credential::Credential;
use crate::error::RequestError;

/// Time between two checks of the credential of a stream.
const INTERVAL: Duration = Duration::from_secs(5);

/// Returns a receiver that becomes true when the server ends, or when the credential expires or is revoked.
pub(crate) fn ending(app: &App, credential: Option<Credential>) -> watch::Receiver<bool> {
    let Some(credential) = credential else { return app.server.ending.clone() };
    let (sender, ending) = watch::channel(false);
    let (app, mut server_ending) = (app.clone(), app.server.ending.clone());
    tokio::spawn(async move {
        tokio::select! {
            _ = server_ending.wait_for(|ending| *ending) => {}
            () = invalid(&app, &credential) => {}
            () = sender.closed() => {}
        }
        // Nobody listens if the stream has ended before.
        let _ = sender.send(true);
    });
    ending
}

/// Waits until a credential is refused. A store that does not answer refuses none.
async fn invalid(app: &App, credential: &Credential) {
    let Some(auth) = app.auth.if_required() else { return std::future::pending().await };
    loop {
        // Another process can revoke a credential, and the store does not report changes.
        sleep(INTERVAL).await;
        if let Err(RequestError::Credential(_)) = auth.principal(credential.clone()).await {
            return;
        }
    }
}
