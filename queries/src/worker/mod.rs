//! The process that runs queries: it reads them from its standard input, and writes the answers to its
//! standard output.
//!
//! A query can end it, or be ended with it, and nothing else: neither a limit of memory within a process nor a
//! time-out of a task stops a query that never yields, or a planner that recurses.

mod confinement;
mod parts;
mod pipe_tail;

use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arrow::error::ArrowError;

use crate::encoder::{Encoder, reason};
use crate::protocol::{Job, Request, Response, read, write};
use crate::session::{RUNTIME, Session};
use crate::worker::confinement::confine;
use crate::worker::parts::Parts;
use crate::worker::pipe_tail::PipeTail;
use crate::{Format, History, LiveTail, QueryError};

pub(crate) use crate::worker::confinement::MEMORY_BYTES;

/// The grace period of the tasks of a query, in milliseconds.
const GRACE_MS: u32 = 20;

/// Runs the queries that arrive at the standard input, until its end. `server` is the process that sends them.
///
/// # Errors
///
/// An error if the server has ended or does not follow the protocol, or if the process cannot be confined.
pub fn run_worker(server: u32) -> io::Result<()> {
    confine(server)?;
    let server = Server::new(io::stdin(), io::stdout());
    while let Some(request) = server.receive()? {
        let Request::Query(job) = request else { return Err(unexpected()) };
        let job_server = server.clone();
        let ended = RUNTIME.block_on(RUNTIME.spawn(async move { run(&job_server, *job).await }));
        let result = ended.map_err(|error| QueryError::Failed(error.to_string())).flatten();
        let result = result.map_err(QueryError::shortened);
        server.send(&Response::End { result, is_idle: becomes_idle() })?;
    }
    Ok(())
}

/// Returns true if all tasks of the query end within the grace period. A task that never yields does not.
///
/// The runtime has no event for the end of its last task, so this function polls.
fn becomes_idle() -> bool {
    (0..GRACE_MS).any(|_| {
        let is_idle = RUNTIME.metrics().num_alive_tasks() == 0;
        if !is_idle {
            std::thread::sleep(Duration::from_millis(1));
        }
        is_idle
    })
}

/// Runs a query, and sends the answer.
async fn run(server: &Server, job: Job) -> Result<(), QueryError> {
    let Job { query, place, tail } = job;
    let tail = tail.map(|outline| PipeTail::new(server.clone(), outline));
    let history = History::new(place, tail.map(|tail| Arc::new(tail) as Arc<dyn LiveTail>));
    let mut rows = Session::open(&history, query.dialect).await?.rows(&query).await?;
    let parts = Parts::new(server.clone(), query.limits.bytes);
    let failed = |error: ArrowError| failure(query.format, &error);
    let mut encoder = Encoder::new(query.format, rows.schema(), parts.clone()).map_err(failed)?;
    while let Some(batch) = rows.next().await {
        encoder.write(&batch?).map_err(failed)?;
    }
    encoder.finish().map_err(failed)?;
    parts.finish().map_err(|error| failed(error.into()))
}

/// Returns why an answer could not be encoded.
fn failure(format: Format, error: &ArrowError) -> QueryError {
    let refused = match error {
        ArrowError::IoError(_, error) => error.get_ref(),
        ArrowError::ExternalError(error) => Some(&**error as _),
        _ => None,
    };
    match refused.and_then(|error| error.downcast_ref::<QueryError>()) {
        Some(refused) => refused.clone(),
        None => QueryError::Format { format, reason: reason(error) },
    }
}

/// The server, at the other end of two pipes. Clones share them.
#[derive(Clone)]
struct Server(Arc<Mutex<Pipes>>);

struct Pipes {
    input: Box<dyn Read + Send>,
    output: Box<dyn Write + Send>,
}

impl Server {
    fn new(input: impl Read + Send + 'static, output: impl Write + Send + 'static) -> Self {
        let (input, output) = (Box::new(input), Box::new(output));
        Self(Arc::new(Mutex::new(Pipes { input, output })))
    }

    fn receive(&self) -> io::Result<Option<Request>> {
        read(&mut self.lock().input)
    }

    fn send(&self, response: &Response) -> io::Result<()> {
        write(&mut self.lock().output, response)
    }

    /// Sends a request of this side, and waits for the answer.
    fn ask(&self, response: &Response) -> io::Result<Request> {
        let mut pipes = self.lock();
        write(&mut pipes.output, response)?;
        read(&mut pipes.input)?.ok_or_else(unexpected)
    }

    fn lock(&self) -> MutexGuard<'_, Pipes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Server")
    }
}

fn unexpected() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "unexpected message")
}
