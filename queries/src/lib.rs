//! SQL over the history and the rows that are not committed yet.

mod encoder;
mod error;
mod find;
mod format;
mod guard;
mod history;
mod information;
mod named;
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
pub use crate::named::{ACTIVITY, HEAT_MAP, PATH_OF_PERSON, PERSONS_OF_SPAN};
pub use crate::query::{Limits, Parameters, Query, Value};
pub use crate::tables::PERSONS;
pub use crate::worker::run_worker;
pub use crate::workers::{Spool, Workers};
