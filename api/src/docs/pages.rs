//! The pages of the book, which are part of the program.

/// A page in Markdown.
pub(super) struct Page {
    /// The path of the page within the book.
    pub(super) name: &'static str,
    pub(super) text: &'static str,
}

/// The table of contents.
pub(super) const SUMMARY: &str = include_str!("../../../docs/src/SUMMARY.md");

macro_rules! pages {
    ($($name:literal),* $(,)?) => {
        &[$(Page { name: $name, text: include_str!(concat!("../../../docs/src/", $name)) }),*]
    };
}

/// All pages, in the order of the table of contents.
pub(super) const PAGES: &[Page] = pages![
    "introduction.md",
    "people.md",
    "sensor.md",
    "motion.md",
    "captures.md",
    "live-sources.md",
    "camera.md",
    "camera-and-csi.md",
    "kafka.md",
    "windows.md",
    "fault-tolerance.md",
    "cluster.md",
    "state.md",
    "queries.md",
    "access.md",
    "recipes.md",
    "simulation.md",
    "reference/pipeline.md",
    "reference/sources.md",
    "reference/transports.md",
    "reference/formats.md",
    "reference/operators.md",
    "reference/sinks.md",
    "reference/scenes.md",
    "reference/tables.md",
    "reference/api.md",
    "reference/metrics.md",
    "reference/commands.md",
    "environment.md",
];

impl Page {
    /// Returns the folder of the page within the book: empty, or with a slash at its end.
    pub(super) fn folder(&self) -> &str {
        self.name.rfind('/').map_or("", |at| &self.name[..=at])
    }

    /// Returns the text of the first heading.
    pub(super) fn title(&self) -> &str {
        self.text.lines().next().unwrap_or_default().trim_start_matches("# ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_lists_all_pages() {
        let n_links = SUMMARY.matches("](").count();
        assert_eq!(n_links, PAGES.len(), "each page is part of the program");
        for page in PAGES {
            assert!(SUMMARY.contains(&format!("({})", page.name)), "{}", page.name);
            assert!(!page.title().is_empty() && page.text.starts_with("# "), "{}", page.name);
        }
    }
}
