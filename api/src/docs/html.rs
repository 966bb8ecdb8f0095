//! Pages as HTML.

use axum::http::header;
use axum::response::{IntoResponse, Response};
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd, html};

use crate::docs::pages::SUMMARY;

/// The pages have no scripts, and load only pictures of the book.
const POLICY: &str = "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'self'";
const LAYOUT: &str = include_str!("layout.html");

/// Converts Markdown; links to pages are relative to `folder`.
pub(super) fn to_html(markdown: &str, folder: &str) -> String {
    let mut events: Vec<_> = Parser::new_ext(markdown, Options::ENABLE_TABLES).collect();
    name_headings(&mut events);
    let events = events.into_iter().map(|event| match event {
        Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
            let dest_url = link(&dest_url, folder).into();
            Event::Start(Tag::Link { link_type, dest_url, title, id })
        }
        Event::Start(Tag::Image { link_type, dest_url, title, id }) => {
            let dest_url = link(&dest_url, folder).into();
            Event::Start(Tag::Image { link_type, dest_url, title, id })
        }
        // The book is trusted, but its pages do not use HTML.
        Event::Html(text) | Event::InlineHtml(text) => Event::Text(text),
        event => event,
    });
    let mut text = String::new();
    html::push_html(&mut text, events);
    text
}

/// Gives each heading an id, so that links lead to it: its words in lower case, joined by hyphens.
fn name_headings(events: &mut [Event<'_>]) {
    for nth in 0..events.len() {
        if !matches!(events[nth], Event::Start(Tag::Heading { .. })) {
            continue;
        }
        let words =
            events[nth..].iter().take_while(|it| !matches!(it, Event::End(TagEnd::Heading(_))));
        let words: String = words.filter_map(text_of).collect();
        if let Event::Start(Tag::Heading { id, .. }) = &mut events[nth] {
            *id = Some(anchor(&words).into());
        }
    }
}

fn text_of<'a>(event: &'a Event<'_>) -> Option<&'a str> {
    match event {
        Event::Text(text) | Event::Code(text) => Some(text),
        _ => None,
    }
}

fn anchor(heading: &str) -> String {
    let letters = heading.to_lowercase();
    let letters = letters.chars().filter(|it| it.is_alphanumeric() || " -_".contains(*it));
    letters.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
}

/// Returns the path on the server of a link on a page in `folder`.
fn link(link: &str, folder: &str) -> String {
    match link {
        external if external.contains("://") || external.starts_with(['#', '/']) => {
            external.to_owned()
        }
        "../openapi.json" => "/api/v1/openapi.json".to_owned(),
        "../pipeline.schema.json" => "/docs/pipeline.schema.json".to_owned(),
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
    // The layout is filled in at its words in braces: a page must not contain such a word.
    escaped.replace('{', "&#123;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_can_be_linked_to() {
        let html = to_html("# Rows\n\n## `csi`\n\nText.\n\n## One run at a time\n", "");
        for id in ["<h1 id=\"rows\">", "<h2 id=\"csi\">", "<h2 id=\"one-run-at-a-time\">"] {
            assert!(html.contains(id), "{id}: {html}");
        }
    }

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
