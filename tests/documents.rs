//! Documents: generated ones are current (`UPDATE_GOLDEN=1` renews them), links lead to files, and whole pipelines
//! are valid.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::process;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn generated_documents_are_current() {
    let openapi = serde_json::to_value(api::openapi()).expect("OpenAPI is JSON");
    for (name, document) in
        [("pipeline.schema.json", engine::json_schema()), ("openapi.json", openapi)]
    {
        let path = root().join("docs").join(name);
        let text = format!("{document:#}\n");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&path, &text).expect("docs can be written");
        }
        let found = fs::read_to_string(&path).unwrap_or_default();
        assert!(found == text, "docs/{name} is stale: run with UPDATE_GOLDEN=1");
    }
}

/// The documents for people, with their texts.
fn pages() -> Vec<(PathBuf, String)> {
    let pages = fs::read_dir(root().join("docs/src")).expect("the book").flatten();
    let pages = pages.map(|page| page.path());
    let others = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"];
    let paths: Vec<_> = pages.chain(others.map(|name| root().join(name))).collect();
    paths.into_iter().map(|path| (path.clone(), fs::read_to_string(path).expect("text"))).collect()
}

pub(crate) fn links_lead_to_files() {
    let mut n_links = 0;
    for (path, text) in pages() {
        let folder = path.parent().expect("it is in a folder");
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.contains("://") && !link.starts_with('#')) {
            assert!(folder.join(link).exists(), "{}: {link}", path.display());
            n_links += 1;
        }
    }
    assert!(n_links > 20, "{n_links} links");
}

/// Every page is in the table of contents.
pub(crate) fn the_book_lists_its_pages() {
    let summary = fs::read_to_string(root().join("docs/src/SUMMARY.md")).expect("a summary");
    for page in fs::read_dir(root().join("docs/src")).expect("the book").flatten() {
        let name = page.file_name().to_string_lossy().into_owned();
        assert!(name == "SUMMARY.md" || summary.contains(&format!("({name})")), "{name}");
    }
}

/// Blocks of TOML with a name are whole pipelines.
pub(crate) fn pipelines_in_documents_are_valid() {
    let mut n_pipelines = 0;
    for (path, text) in pages() {
        let blocks = text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
        for pipeline in blocks.filter(|block| block.starts_with("name = ")) {
            let directory = tempfile::tempdir().expect("room");
            fs::write(directory.path().join("page.toml"), pipeline).expect("room");
            let printed = process::succeed(directory.path(), &["validate", "page.toml"]);
            assert!(printed.contains("page.toml"), "{}: {printed}", path.display());
            n_pipelines += 1;
        }
    }
    assert!(n_pipelines > 0, "README has one");
}
