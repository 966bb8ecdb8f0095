//! Framing: records out of streams of bytes, and datagrams out of captures of a network.

pub(crate) mod cutter;
pub(crate) mod network;
