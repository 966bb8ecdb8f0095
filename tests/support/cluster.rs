//! Several processes that run one pipeline together.

use std::fs;
use std::path::Path;

use crate::support::port;
use crate::support::process::Server;

/// Starts `N` processes of a run in one folder, on ports of their own.
pub(crate) fn start<const N: usize>(directory: &Path, arguments: &[&str]) -> [Server; N] {
    start_each(directory, arguments, |arguments| Server::start_silent(directory, arguments))
}

/// Starts `N` processes that die at a fail point.
pub(crate) fn start_failing<const N: usize>(
    directory: &Path,
    arguments: &[&str],
    at: &str,
) -> [Server; N] {
    start_each(directory, arguments, |arguments| {
        Server::start_failing_silent(directory, arguments, at)
    })
}

/// Starts two processes with arguments of their own.
pub(crate) fn start_unlike(directory: &Path, arguments: [&[&str]; 2]) -> [Server; 2] {
    let mut each = arguments.into_iter();
    start_each(directory, &[], |of_process| {
        let own = each.next().expect("there are two");
        Server::start_silent(directory, &[own, of_process].concat())
    })
}

fn start_each<const N: usize>(
    directory: &Path,
    arguments: &[&str],
    mut start: impl FnMut(&[&str]) -> Server,
) -> [Server; N] {
    let addresses = port::distinct::<N>().map(|port| format!("127.0.0.1:{port}\n"));
    fs::write(directory.join("hosts"), addresses.concat()).expect("room");
    std::array::from_fn(|process| {
        let process = process.to_string();
        start(&[arguments, &["--hosts", "hosts", "--process", &process]].concat())
    })
}

/// Runs `N` processes to their end; all must succeed.
pub(crate) fn succeed<const N: usize>(directory: &Path, arguments: &[&str]) {
    for server in start::<N>(directory, arguments) {
        let (code, said) = server.wait();
        assert_eq!(code, Some(0), "{said}");
    }
}
