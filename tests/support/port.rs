//! Ports for servers that must be told one.

use std::net::{Ipv4Addr, TcpListener};

/// A port that was free a moment ago.
pub(crate) fn free() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("it is bound").port()
}
