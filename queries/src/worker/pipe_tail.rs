//! The rows that are not committed, which the server has.

use schemas::{Record, Tick};

use crate::LiveTail;
use crate::protocol::{Request, Response, TailOutline};
use crate::worker::Server;

/// Asks the server for the rows of a tail.
#[derive(Debug)]
pub(super) struct PipeTail {
    server: Server,
    outline: TailOutline,
}

impl PipeTail {
    pub(super) fn new(server: Server, outline: TailOutline) -> Self {
        Self { server, outline }
    }
}

impl LiveTail for PipeTail {
    fn writer(&self) -> &str {
        &self.outline.writer
    }

    fn tables(&self) -> Vec<String> {
        self.outline.tables.clone()
    }

    fn rows(&self, table: &str, after: Option<Tick>) -> Vec<(Tick, Record)> {
        let question = Response::Rows { table: table.to_owned(), after };
        match self.server.ask(&question) {
            Ok(Request::Rows(rows)) => rows,
            // A query without these rows would be wrong, and without the server nobody reads its answer.
            _ => std::process::exit(1),
        }
    }
}
