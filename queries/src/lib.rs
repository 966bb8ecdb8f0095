//! SQL over the history and the rows that are not committed yet.

mod error;
mod find;
mod format;
mod guard;
mod history;
mod tables;

pub use crate::error::QueryError;
pub use crate::find::{find_histories, is_history};
pub use crate::format::Format;
pub use crate::history::{Answer, History, Limits, LiveTail};
pub use crate::tables::PERSONS;
