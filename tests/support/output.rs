//! The output of a program, line by line. A thread reads it, so that the program never waits for its reader.

use std::io::{BufRead, BufReader, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;

use crate::support::wait::PATIENCE;

/// The lines of a program's output.
pub(crate) struct OutputLines(Receiver<String>);

impl OutputLines {
    /// Reads the output from now on.
    #[expect(clippy::disallowed_methods, reason = "the output of a test has an end")]
    pub(crate) fn of(output: impl Read + Send + 'static) -> Self {
        let (to, lines) = channel();
        thread::spawn(move || {
            let mut output = BufReader::new(output);
            let mut line = Vec::new();
            while output.read_until(b'\n', &mut line).is_ok_and(|n_bytes| n_bytes > 0) {
                // The program must not wait after the test has enough of it.
                let _ = to.send(String::from_utf8_lossy(&line).into_owned());
                line.clear();
            }
        });
        Self(lines)
    }

    /// Returns the lines that remain until the program's end, however long it is silent.
    pub(crate) fn rest(&mut self) -> String {
        self.0.iter().collect()
    }
}

impl Iterator for OutputLines {
    type Item = String;

    /// Waits for the next line; None at the end. Panics if the program is silent for too long.
    fn next(&mut self) -> Option<String> {
        match self.0.recv_timeout(PATIENCE) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("it printed nothing more, and did not end"),
        }
    }
}
