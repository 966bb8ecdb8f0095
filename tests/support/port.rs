//! Ports for servers that need a fixed one.

use std::net::{Ipv4Addr, TcpListener};

/// Returns a port that was free a moment ago.
pub(crate) fn free() -> u16 {
    let [port] = distinct();
    port
}

/// Returns ports that were free a moment ago, no two of them the same.
pub(crate) fn distinct<const N: usize>() -> [u16; N] {
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    // All ports are bound before any is released.
    let listeners = [(); N].map(|()| bind());
    listeners.map(|listener| listener.local_addr().expect("it is bound").port())
}
