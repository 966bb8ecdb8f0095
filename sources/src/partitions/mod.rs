//! Partitions assign ticks to records in the order of each partition. This module contains positions,
//! lateness, idleness, the clocks and the presence of devices, and batches.

pub(crate) mod aligned;
pub(crate) mod collector;
pub(crate) mod decision;
pub(crate) mod device_demux;
pub(crate) mod device_partitions;
pub(crate) mod device_presence;
pub(crate) mod devices;
pub(crate) mod empty_columns;
pub(crate) mod errors;
pub(crate) mod frames;
pub(crate) mod idleness;
pub(crate) mod ingress;
pub(crate) mod journal_source;
pub(crate) mod pace;
pub(crate) mod partition_decoder;
pub(crate) mod peer_address;
pub mod position;
pub(crate) mod rows;
