//! Framing: records out of streams of bytes, and datagrams out of captures of a network.

pub(crate) mod framer;
pub(crate) mod network;
