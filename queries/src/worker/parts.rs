//! Sends the bytes of an answer in parts, up to a limit.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::QueryError;
use crate::protocol::Response;
use crate::worker::Server;

/// Bytes of a part.
const PART_BYTES: usize = 64 * 1024;

/// A writer whose bytes go to the server. Clones share the part that is not sent yet.
#[derive(Clone)]
pub(super) struct Parts(Arc<Mutex<State>>);

struct State {
    server: Server,
    max_bytes: u64,
    n_sent: u64,
    part: Vec<u8>,
}

impl Parts {
    pub(super) fn new(server: Server, max_bytes: u64) -> Self {
        Self(Arc::new(Mutex::new(State { server, max_bytes, n_sent: 0, part: Vec::new() })))
    }

    /// Sends the last part.
    pub(super) fn finish(&self) -> io::Result<()> {
        self.lock().send()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for Parts {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.lock();
        let bytes = &bytes[..bytes.len().min(PART_BYTES)];
        if state.n_sent + (state.part.len() + bytes.len()) as u64 > state.max_bytes {
            return Err(io::Error::other(QueryError::TooManyBytes(state.max_bytes)));
        }
        state.part.extend_from_slice(bytes);
        if state.part.len() >= PART_BYTES {
            state.send()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl State {
    fn send(&mut self) -> io::Result<()> {
        let part = std::mem::take(&mut self.part);
        self.n_sent += part.len() as u64;
        self.server.send(&Response::Part(part))
    }
}
