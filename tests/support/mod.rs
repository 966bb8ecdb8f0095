//! Helpers that the tests share.

pub(crate) mod capture;
pub(crate) mod cluster;
pub(crate) mod data;
pub(crate) mod ffmpeg;
pub(crate) mod figures;
pub(crate) mod kafka;
pub(crate) mod lines;
pub(crate) mod models;
pub(crate) mod mosquitto;
pub(crate) mod npy;
pub(crate) mod object_store;
pub(crate) mod output;
pub(crate) mod pcap;
pub(crate) mod port;
pub(crate) mod postgres;
pub(crate) mod process;
pub(crate) mod python;
pub(crate) mod registry;
pub(crate) mod serial;
pub(crate) mod soak;
pub(crate) mod wait;
