//! `fresnel users` and `fresnel keys`: who may use the API of the pipelines of a store.

mod keys;
mod users;

use std::time::SystemTime;

use anyhow::{Result, bail};
use engine::Store;

use crate::checkpoints;

pub(crate) use crate::accounts::keys::KeysCommand;
pub(crate) use crate::accounts::users::UsersCommand;

/// Calls `act` with an existing store, which it closes afterwards.
fn with_store<T>(location: &str, act: impl FnOnce(&Store) -> Result<T>) -> Result<T> {
    let store = checkpoints::open(location)?;
    let result = act(&store);
    store.close();
    result
}

/// Fails unless something was found.
fn found(is_found: bool, what: &str, name: &str) -> Result<()> {
    if is_found { Ok(()) } else { bail!("no {what} {name:?}: `ls` lists all of them") }
}

/// The current time in seconds since the Unix epoch.
#[expect(clippy::disallowed_methods, reason = "people want to know when")]
fn now_s() -> u64 {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since_epoch.unwrap_or_default().as_secs()
}

/// Writes a time in seconds since the Unix epoch.
fn time(at_s: u64) -> String {
    let time = i64::try_from(at_s).ok().and_then(|at_s| chrono::DateTime::from_timestamp(at_s, 0));
    time.map(|time| time.format("%FT%TZ").to_string()).unwrap_or_default()
}
