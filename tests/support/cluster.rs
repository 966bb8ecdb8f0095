//! Several processes that run one pipeline together.

use std::fs;
use std::path::Path;

use crate::support::port;
use crate::support::process::Server;

/// Starts `N` processes of a run in one folder, on ports of their own.
pub(crate) fn start<const N: usize>(directory: &Path, arguments: &[&str]) -> [Server; N] {
    let addresses: Vec<_> = (0..N).map(|_| format!("127.0.0.1:{}\n", port::free())).collect();
    fs::write(directory.join("hosts"), addresses.concat()).expect("room");
    std::array::from_fn(|process| {
        let process = process.to_string();
        let arguments = [arguments, &["--hosts", "hosts", "--process", &process]].concat();
        Server::start_silent(directory, &arguments)
    })
}

/// Runs them to their end; all must succeed.
pub(crate) fn succeed<const N: usize>(directory: &Path, arguments: &[&str]) {
    for server in start::<N>(directory, arguments) {
        let (code, said) = server.wait();
        assert_eq!(code, Some(0), "{said}");
    }
}
