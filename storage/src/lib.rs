//! Where the tables of a history are stored: in a folder, or in a bucket of S3 or Google Cloud Storage.
//!
//! Writers of a table exclude each other by creating the files of its log, each of which can be created only
//! once. So several processes, also on several machines, can share one history.

mod bucket;
mod durable_store;
mod error;
mod folder;
mod location;
mod tables;

pub use crate::error::{StorageError, is_outage};
pub use crate::folder::sync_folder;
pub use crate::location::Location;
pub use crate::tables::{log_of, tables_in};
