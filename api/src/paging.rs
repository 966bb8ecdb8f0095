//! Pages of a list: how many items, from where on.

use axum::http::{HeaderValue, Uri};
use queries::Query;

use crate::cursor::Cursor;
use crate::error::RequestError;
use crate::time::Span;

const DEFAULT_LIMIT: u32 = 100;
const MAX_LIMIT: u32 = 1000;
const MAX_SKIP: u32 = 10_000;

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
