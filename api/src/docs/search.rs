//! Full-text search over the pages of the book.

use std::fmt::Write as _;

use crate::docs::html::escape;
use crate::docs::pages::PAGES;

/// Maximum number of lines in the results of a page.
const LINES_PER_PAGE: usize = 3;

/// Returns the lines that contain all words of a query, as HTML.
pub(super) fn results(query: &str) -> String {
    let words: Vec<_> = query.split_whitespace().map(str::to_lowercase).collect();
    let mut html = format!("<h1>Search: {}</h1>", escape(query));
    let mut is_found = false;
    for page in PAGES.iter().filter(|_| !words.is_empty()) {
        let lines = page.text.lines().filter(|line| {
            let line = line.to_lowercase();
            words.iter().all(|word| line.contains(word))
        });
        let lines: Vec<_> = lines.take(LINES_PER_PAGE).map(escape).collect();
        if !lines.is_empty() {
            is_found = true;
            let (name, title) = (page.name, escape(page.title()));
            let lines = lines.join("</li><li>");
            let _ = write!(
                html,
                "<h2><a href=\"/docs/{name}\">{title}</a></h2><ul><li>{lines}</li></ul>"
            );
        }
    }
    if !is_found {
        html.push_str("<p>No line contains all of these words.</p>");
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_with_all_words_are_found() {
        let html = results("Kafka TOPIC");
        assert!(html.contains("href=\"/docs/kafka.md\""), "{html}");
        assert!(!results("xyzzy kafka").contains("href"));
        assert!(!results("").contains("href"));
        assert!(results("<script>").contains("&lt;script&gt;"));
    }
}
