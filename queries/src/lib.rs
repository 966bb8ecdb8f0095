//! SQL over the history and the rows that are not committed yet.

mod catalog;
mod description;
mod encoder;
mod error;
mod find;
mod format;
mod guard;
mod history;
mod information;
mod named;
mod narrow_scan;
mod parameters;
mod postgres;
mod protocol;
mod query;
mod session;
mod tables;
mod timestamps;
mod worker;
mod workers;

pub use crate::error::QueryError;
pub use crate::find::{find_histories, is_history};
pub use crate::format::Format;
pub use crate::history::{Answer, History, LiveTail};
pub use crate::named::{ACTIVITY, EVENTS, HEAT_MAP, OCCUPANCY, PATH_OF_PERSON, PERSONS_OF_SPAN};
pub use crate::postgres::{postgres_setting, statements};
pub use crate::query::{Dialect, Limits, Parameters, Purpose, Query, Value, ValueType};
pub use crate::tables::PERSONS;
pub use crate::worker::run_worker;
pub use crate::workers::{Batches, Spool, Workers, remove_abandoned_files};
