//! Pages as HTML.

use axum::http::header;
use axum::response::{IntoResponse, Response};
use pulldown_cmark::{Event, Options, Parser, Tag, html};

use crate::docs::pages::SUMMARY;

/// The pages have no scripts, and load nothing.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'self'";
const LAYOUT: &str = include_str!("layout.html");

/// Converts Markdown; links to pages are relative to `folder`.
pub(super) fn to_html(markdown: &str, folder: &str) -> String {
    let events = Parser::new_ext(markdown, Options::ENABLE_TABLES).map(|event| match event {
        Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
            let dest_url = link(&dest_url, folder).into();
            Event::Start(Tag::Link { link_type, dest_url, title, id })
        }
        // The book is trusted, but its pages do not use HTML.
        Event::Html(text) | Event::InlineHtml(text) => Event::Text(text),
        event => event,
    });
    let mut text = String::new();
    html::push_html(&mut text, events);
    text
}

/// Returns the path on the server of a link on a page in `folder`.
fn link(link: &str, folder: &str) -> String {
    match link {
        external if external.contains("://") || external.starts_with(['#', '/']) => {
            external.to_owned()
        }
        "../openapi.json" => "/api/v1/openapi.json".to_owned(),
        page => match page.strip_prefix("../") {
            Some(page) => format!("/docs/{page}"),
            None => format!("/docs/{folder}{page}"),
        },
    }
}

/// Returns a page with the table of contents and the words of the last search.
pub(super) fn layout(title: &str, body: &str, query: &str) -> Response {
    let text = LAYOUT
        .replace("{title}", &escape(title))
        .replace("{query}", &escape(query))
        .replace("{contents}", &to_html(SUMMARY, ""))
        .replace("{body}", body);
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
    ];
    (headers, text).into_response()
}

/// Escapes text for HTML.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::new();
    // Writing to a string does not fail.
    let _ = pulldown_cmark_escape::escape_html(&mut escaped, text);
    // Braces would be placeholders of the layout.
    escaped.replace('{', "&#123;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_to_pages() {
        for (target, folder, expected) in [
            ("kafka.md", "", "/docs/kafka.md"),
            ("tables.md#csi", "reference/", "/docs/reference/tables.md#csi"),
            ("../kafka.md", "reference/", "/docs/kafka.md"),
            ("../openapi.json", "", "/api/v1/openapi.json"),
            ("https://example.org", "", "https://example.org"),
            ("#terms", "", "#terms"),
        ] {
            assert_eq!(link(target, folder), expected);
        }
    }
}
