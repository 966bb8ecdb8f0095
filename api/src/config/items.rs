//! Items that clients set by name, and that are kept in the store.

use std::fmt::Display;

use engine::{ItemKind, ItemStore};
use identity::check_name;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::app::App;
use crate::error::RequestError;

/// The most items of a kind.
const MAX_ITEMS: usize = 1000;

/// Returns the items of a kind, by name.
pub(super) async fn all<T: DeserializeOwned>(
    app: &App,
    kind: ItemKind,
) -> Result<Vec<(String, T)>, RequestError> {
    let items = store(app).all(kind).await?.into_iter();
    let items = items.filter_map(|(name, body)| match decode(&body) {
        Ok(item) => Some((name, item)),
        Err(error) => {
            tracing::warn!(%error, kind = kind.as_str(), name, "the store has an item that is broken");
            None
        }
    });
    Ok(items.collect())
}

/// # Errors
///
/// [`RequestError::NotFound`] if there is none of this name.
pub(super) async fn get<T: DeserializeOwned>(
    app: &App,
    kind: ItemKind,
    name: &str,
) -> Result<T, RequestError> {
    let body = store(app).get(kind, name).await?;
    decode(&body.ok_or_else(|| no_item(kind, name))?)
}

/// Adds or replaces an item.
///
/// # Errors
///
/// [`RequestError::BadRequest`] if the name is none; [`RequestError::TooManyItems`] if there are too many.
pub(super) async fn set<T: Serialize>(
    app: &App,
    kind: ItemKind,
    name: &str,
    item: &T,
) -> Result<(), RequestError> {
    check_name(name).map_err(|error| RequestError::BadRequest(error.to_string()))?;
    let body = serde_json::to_string(item).map_err(RequestError::Rows)?;
    if store(app).replace(kind, name, &body).await? {
        return Ok(());
    }
    if store(app).all(kind).await?.len() >= MAX_ITEMS {
        return Err(RequestError::TooManyItems(MAX_ITEMS));
    }
    Ok(store(app).set(kind, name, &body).await?)
}

/// # Errors
///
/// [`RequestError::NotFound`] if there is none of this name.
pub(super) async fn remove(app: &App, kind: ItemKind, name: &str) -> Result<(), RequestError> {
    let is_known = store(app).remove(kind, name).await?;
    is_known.then_some(()).ok_or_else(|| no_item(kind, name))
}

fn store(app: &App) -> &ItemStore {
    &app.shared.items
}

fn decode<T: DeserializeOwned>(body: &str) -> Result<T, RequestError> {
    serde_json::from_str(body).map_err(RequestError::Rows)
}

fn no_item(kind: ItemKind, name: &str) -> RequestError {
    let kind = kind.as_str();
    RequestError::NotFound(format!("no {kind} {name:?}: /api/v1/config/{kind}s lists all of them"))
}

/// Returns the error of an invalid value.
pub(super) fn refuse(reason: impl Display) -> RequestError {
    RequestError::BadRequest(reason.to_string())
}
