//! The portals of a connection: how many there are, and how much memory their values take.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use axum::body::Bytes;
use pgwire::api::DEFAULT_NAME;
use pgwire::error::PgWireResult;
use pgwire::messages::extendedquery::Bind;

use crate::postgres::error::failure;

/// Longest name of a statement or a portal, which is that of `PostgreSQL`.
const MAX_NAME_BYTES: usize = 63;
/// Portals of a connection.
const MAX_PORTALS: usize = 32;
/// Bytes of the values of all portals of a connection.
const MAX_BYTES: usize = 4 << 20;

/// The portals of a connection, with the bytes of their values.
#[derive(Debug, Default)]
pub(super) struct Portals(Mutex<BTreeMap<String, usize>>);

impl Portals {
    /// Adds a portal, which replaces that of the same name.
    pub(super) fn add(&self, bind: &Bind) -> PgWireResult<()> {
        let name = bind.portal_name.as_deref().unwrap_or(DEFAULT_NAME);
        check_name(name)?;
        let values = bind.parameters.iter().flatten();
        let n_bytes: usize = values.map(Bytes::len).sum();
        let mut portals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let others = portals.iter().filter(|(other, _)| *other != name);
        let (n_others, of_others) =
            others.fold((0, 0), |(n, sum), (_, bytes)| (n + 1, sum + bytes));
        if n_others == MAX_PORTALS || of_others + n_bytes > MAX_BYTES {
            let reason = format!(
                "a connection may have {MAX_PORTALS} portals with {} MiB of values: close some",
                MAX_BYTES >> 20
            );
            return Err(failure("53400", reason));
        }
        portals.insert(name.to_owned(), n_bytes);
        Ok(())
    }

    pub(super) fn remove(&self, name: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    pub(super) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// Refuses a long name.
pub(super) fn check_name(name: &str) -> PgWireResult<()> {
    if name.len() <= MAX_NAME_BYTES {
        return Ok(());
    }
    Err(failure("42622", format!("a name is longer than {MAX_NAME_BYTES} bytes")))
}
