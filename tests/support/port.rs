//! Ports for servers that must be told one.

use std::net::{Ipv4Addr, TcpListener};

/// A port that was free a moment ago.
pub(crate) fn free() -> u16 {
    let [port] = distinct();
    port
}

/// Ports that were free a moment ago, no two of them the same.
pub(crate) fn distinct<const N: usize>() -> [u16; N] {
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    // All are held before any is let go.
    let listeners = [(); N].map(|()| bind());
    listeners.map(|listener| listener.local_addr().expect("it is bound").port())
}
