//! Formats: pure decoders, bytes in and records or a counted error out.

pub(crate) mod csi;
pub(crate) mod decoder;
pub(crate) mod frame;
pub(crate) mod json;
pub(crate) mod poses;
pub(crate) mod row;
