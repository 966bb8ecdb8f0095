//! A serial port: a terminal whose other end is a Python script.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};

/// Prints the name of a terminal, then writes its own input to it.
const BOARD: &str = "
import os, tty
board, port = os.openpty()
tty.setraw(port)
print(os.ttyname(port), flush=True)
while read := os.read(0, 65536):
    os.write(board, read)
";

/// A board at a serial port; it ends with the test.
pub(crate) struct Board {
    script: Child,
    input: ChildStdin,
    /// The path of the port.
    pub(crate) port: String,
}

impl Board {
    pub(crate) fn start() -> Self {
        let mut script = Command::new("python3");
        let script = script.args(["-c", BOARD]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut script = script.spawn().expect("python starts");
        let mut port = String::new();
        let output = script.stdout.take().expect("it is piped");
        BufReader::new(output).read_line(&mut port).expect("it prints text");
        let input = script.stdin.take().expect("it is piped");
        Self { script, input, port: port.trim().to_owned() }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.input.write_all(bytes).expect("it reads");
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.script.kill();
        let _ = self.script.wait();
    }
}
