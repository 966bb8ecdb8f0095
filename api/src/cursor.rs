//! Where a list goes on: after the last item of a page, by its keys.
//!
//! Unlike a number of items to skip, a cursor stays right while items are added, and costs the same on each page.

use axum::http::HeaderValue;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::error::RequestError;
use crate::time::Span;

/// The keys of the last item of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// The time of the item.
    pub(crate) ns: i64,
    /// Its name among the items of this time.
    pub(crate) name: String,
}

impl Cursor {
    /// Returns the text by which a client asks for the next page.
    pub(crate) fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(format!("{} {}", self.ns, self.name))
    }

    /// # Errors
    ///
    /// [`RequestError::BadRequest`] for text that is not from [`encode`](Self::encode).
    pub(crate) fn decode(text: &str) -> Result<Self, RequestError> {
        let decode = || {
            let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
            let text = String::from_utf8(bytes).ok()?;
            let (ns, name) = text.split_once(' ')?;
            Some(Self { ns: ns.parse().ok()?, name: name.to_owned() })
        };
        let unknown =
            "the `cursor` is not one of this server: take it from the `Link` header of a page";
        decode().ok_or_else(|| RequestError::BadRequest(unknown.to_owned()))
    }

    /// Returns the `Link` header that leads to the next page: the path and query of this one, with the cursor and
    /// the span.
    ///
    /// Source: RFC 8288.
    pub(crate) fn link(&self, path_and_query: &str, span: Option<Span>) -> Option<HeaderValue> {
        let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
        let span = span.map(Span::query);
        let replaced = ["cursor", "skip", "start_time", "end_time"];
        let replaced = &replaced[..if span.is_some() { 4 } else { 2 }];
        let others = query.split('&').filter(|parameter| {
            let name = parameter.split('=').next().unwrap_or_default();
            !name.is_empty() && !replaced.contains(&name)
        });
        let others = others.map(str::to_owned).chain(span);
        let query: Vec<_> = others.chain([format!("cursor={}", self.encode())]).collect();
        HeaderValue::from_str(&format!("<{path}?{}>; rel=\"next\"", query.join("&"))).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_leads_to_the_next_page() {
        let cursor = Cursor { ns: -5, name: "küche 1".to_owned() };
        assert_eq!(Cursor::decode(&cursor.encode()).ok(), Some(cursor.clone()));
        for text in ["", "x", "!", "MTIz", "YSBi"] {
            assert!(Cursor::decode(text).is_err(), "{text}");
        }
        let link = cursor.link("/a?limit=2&skip=3&cursor=old", None).expect("a header");
        let expected = format!("</a?limit=2&cursor={}>; rel=\"next\"", cursor.encode());
        assert_eq!(link, expected);
        assert_eq!(cursor.link("/a", None).expect("a header"), expected.replace("limit=2&", ""));
        let span = Span { start_ns: 0, end_ns: 1_800_000_000_000_000_001 };
        let link = cursor.link("/a?start_time=x&limit=2", Some(span)).expect("a header");
        let times = "start_time=1970-01-01T00:00:00Z&end_time=2027-01-15T08:00:00.000000001Z";
        assert_eq!(link, expected.replace("limit=2", &format!("limit=2&{times}")));
    }
}
