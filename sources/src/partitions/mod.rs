//! Partitions: what gives records their ticks, in the order of the partition that they are of. Positions,
//! lateness, idleness, the clocks and the presence of devices, and batches.

pub(crate) mod aligned;
pub(crate) mod decision;
pub(crate) mod devices;
pub(crate) mod errors;
pub(crate) mod frames;
pub(crate) mod idleness;
pub(crate) mod inbox;
pub(crate) mod ingress;
pub(crate) mod intake;
pub(crate) mod journaled;
pub(crate) mod messages;
pub(crate) mod pace;
pub mod position;
pub(crate) mod routers;
pub(crate) mod rows;
pub(crate) mod sender;
pub(crate) mod senders;
