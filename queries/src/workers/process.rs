//! One query process, as the server sees it.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::protocol::{Job, Request, Response, TailOutline, frame, receive};
use crate::worker::MEMORY_BYTES;
use crate::workers::folder::Folder;
use crate::workers::spool::Spool;
use crate::{History, Query, QueryError};

/// A query process. Dropping it kills it.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// True while it waits for a query.
    is_idle: bool,
    /// The temporary files of its queries.
    _files: Folder,
}

impl Process {
    /// Starts a process of `program`.
    pub(super) fn start(program: &Path) -> io::Result<Self> {
        let files = Folder::create(&std::env::temp_dir())?;
        let mut child = Command::new(program)
            .env("TMPDIR", files.path())
            .args(["sql-worker", &std::process::id().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // An interrupt of the terminal is for the server, which first answers its clients.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (input, output) = pipes.ok_or_else(|| io::Error::other("the process has no pipes"))?;
        let output = BufReader::new(output);
        Ok(Self { child, input, output, is_idle: true, _files: files })
    }

    /// True if it runs, and waits for a query.
    pub(super) fn is_idle(&mut self) -> bool {
        self.is_idle && matches!(self.child.try_wait(), Ok(None))
    }

    /// Runs a query. If the answer is not awaited, the process is in the middle of it and of no use.
    pub(super) async fn answer(
        &mut self,
        history: &Arc<History>,
        query: Query,
        spool: Spool,
    ) -> Result<Spool, QueryError> {
        self.is_idle = false;
        match self.exchange(history, query, spool).await {
            Ok((answer, is_idle)) => {
                self.is_idle = is_idle;
                answer
            }
            Err(error) => Err(self.why_it_ended(&error).await),
        }
    }

    /// Exchanges messages until the end of the answer. Also returns whether the process can take the next query.
    ///
    /// # Errors
    ///
    /// An error of the pipes, if the process has ended.
    async fn exchange(
        &mut self,
        history: &Arc<History>,
        query: Query,
        mut spool: Spool,
    ) -> io::Result<(Result<Spool, QueryError>, bool)> {
        let tail = history.tail().map(|tail| {
            let (writer, tables) = (tail.writer().to_owned(), tail.tables());
            TailOutline { writer, tables }
        });
        let job = Job { query, place: history.place().clone(), tail };
        self.send(&Request::Query(Box::new(job))).await?;
        let mut failure = None;
        loop {
            match receive(&mut self.output).await? {
                Response::Rows { table, after } => {
                    let rows = rows(Arc::clone(history), table, after).await?;
                    self.input.write_all(&rows).await?;
                }
                // The rest of an answer that cannot be kept is read and dropped.
                Response::Part(part) => {
                    if failure.is_none() {
                        failure = spool.push(part).await.err();
                    }
                }
                Response::End { result, is_idle } => {
                    let kept = failure.map_or(Ok(spool), |_| Err(QueryError::NoRoom));
                    return Ok((result.and(kept), is_idle));
                }
            }
        }
    }

    async fn send(&mut self, request: &Request) -> io::Result<()> {
        self.input.write_all(&frame(request)?).await
    }

    /// Returns what has ended the process.
    async fn why_it_ended(&mut self, error: &io::Error) -> QueryError {
        match self.child.wait().await {
            Ok(status) if status.signal().is_some() => QueryError::Exhausted(MEMORY_BYTES),
            Ok(status) => QueryError::NoWorker(format!("{error}; its process ended with {status}")),
            Err(error) => QueryError::NoWorker(error.to_string()),
        }
    }
}

/// Encodes rows that are not committed, on a thread that may take its time.
async fn rows(history: Arc<History>, table: String, after: Option<u64>) -> io::Result<Vec<u8>> {
    let encoded = tokio::task::spawn_blocking(move || {
        let rows = history.tail().map(|tail| tail.rows(&table, after)).unwrap_or_default();
        frame(&Request::Rows(rows))
    });
    encoded.await.map_err(io::Error::other)?
}
