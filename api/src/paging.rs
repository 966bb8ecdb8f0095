//! Lists, and their pages: how many items, from where on.

use axum::http::{HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use queries::Query;
use serde::Serialize;

use crate::cursor::Cursor;
use crate::error::RequestError;
use crate::time::Span;

const DEFAULT_LIMIT: u32 = 100;
const MAX_LIMIT: u32 = 1000;
const MAX_SKIP: u32 = 10_000;

/// A list of items, with the `Link` header that leads to the next page.
#[derive(Debug)]
pub(crate) struct List<T> {
    items: Vec<T>,
    next: Option<HeaderValue>,
}

/// Marks responses that are lists.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IsList;

impl<T> List<T> {
    pub(crate) fn all(items: impl IntoIterator<Item = T>) -> Self {
        Self { items: items.into_iter().collect(), next: None }
    }

    pub(crate) fn page(items: impl IntoIterator<Item = T>, next: Option<HeaderValue>) -> Self {
        Self { next, ..Self::all(items) }
    }
}

impl<T: Serialize> IntoResponse for List<T> {
    fn into_response(self) -> Response {
        let mut response = (Extension(IsList), Json(self.items)).into_response();
        response.headers_mut().extend(self.next.map(|next| (header::LINK, next)));
        response
    }
}

/// Which items of a list.
#[derive(Clone, Debug, Default)]
pub(crate) struct PageParameters {
    /// Maximum number of items; 100 by default, at most 1000.
    pub(crate) limit: Option<u32>,
    /// Number of items to skip at the start; 0 by default, at most 10000.
    pub(crate) skip: Option<u32>,
    /// Where to go on: the `cursor` of the `Link` header of the page before.
    pub(crate) cursor: Option<String>,
}

/// A page within its bounds.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    limit: u32,
    skip: u32,
    /// The last item of the page before.
    pub(crate) after: Option<Cursor>,
}

impl PageParameters {
    /// # Errors
    ///
    /// [`RequestError::BadRequest`] for values out of bounds.
    pub(crate) fn page(&self) -> Result<Page, RequestError> {
        let (limit, skip) = (self.limit.unwrap_or(DEFAULT_LIMIT), self.skip.unwrap_or(0));
        if limit > MAX_LIMIT || skip > MAX_SKIP {
            let bounds = "limit may be 1000 at most, and skip 10000";
            return Err(RequestError::BadRequest(bounds.to_owned()));
        }
        let after = self.cursor.as_deref().map(Cursor::decode).transpose()?;
        Ok(Page { limit, skip, after })
    }
}

impl Page {
    /// Limits a query to this page.
    pub(crate) fn of(&self, query: Query) -> Query {
        let sql = format!("{} LIMIT {} OFFSET {}", query.sql.trim_end(), self.limit, self.skip);
        Query { sql, ..query }
    }

    /// Returns how many items there are up to the end of this page.
    pub(crate) fn end(&self) -> u32 {
        self.skip + self.limit
    }

    /// Returns the `Link` header that leads to the next page, if this one is full.
    /// Later pages are about the same span as the first one.
    pub(crate) fn next(
        &self,
        n_items: usize,
        last: Option<Cursor>,
        uri: &Uri,
        span: Option<Span>,
    ) -> Option<HeaderValue> {
        let is_full = n_items == self.limit as usize;
        last.filter(|_| is_full)?.link(uri.path_and_query()?.as_str(), span)
    }
}
