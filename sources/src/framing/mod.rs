//! Framing: splits streams of bytes into records, and network captures into datagrams.

pub(crate) mod framer;
pub(crate) mod network;
