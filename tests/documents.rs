//! Documents: generated ones are current (`UPDATE_GOLDEN=1` renews them), links lead to files, and whole pipelines
//! are valid.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::reference;
use crate::support::process;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn generated_documents_are_current() {
    let openapi = serde_json::to_value(api::openapi()).expect("OpenAPI is JSON");
    let documents = [("pipeline.schema.json", engine::json_schema()), ("openapi.json", openapi)];
    let documents = documents.map(|(name, document)| (name.to_owned(), format!("{document:#}\n")));
    let pages = reference::pages().into_iter();
    let pages = pages.map(|(name, text)| (format!("src/reference/{name}"), text));
    for (name, text) in documents.into_iter().chain(pages) {
        let path = root().join("docs").join(&name);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&path, &text).expect("docs can be written");
        }
        let found = fs::read_to_string(&path).unwrap_or_default();
        assert!(found == text, "docs/{name} is stale: run with UPDATE_GOLDEN=1");
    }
}

/// The pages of the book, relative to its folder.
fn book() -> Vec<String> {
    let folders = ["", "reference/"].into_iter().flat_map(|folder| {
        let files = fs::read_dir(root().join("docs/src").join(folder)).expect("the book").flatten();
        files.map(move |file| format!("{folder}{}", file.file_name().to_string_lossy()))
    });
    folders.filter(|name| Path::new(name).extension().is_some_and(|it| it == "md")).collect()
}

/// The documents for people, with their texts.
fn pages() -> Vec<(PathBuf, String)> {
    let pages = book().into_iter().map(|name| root().join("docs/src").join(name));
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
            let file = link.split('#').next().unwrap_or(link);
            assert!(folder.join(file).exists(), "{}: {link}", path.display());
            n_links += 1;
        }
    }
    assert!(n_links > 20, "{n_links} links");
}

/// Every page is in the table of contents.
pub(crate) fn the_book_lists_its_pages() {
    let summary = fs::read_to_string(root().join("docs/src/SUMMARY.md")).expect("a summary");
    for name in book() {
        assert!(name == "SUMMARY.md" || summary.contains(&format!("({name})")), "{name}");
    }
}

/// Blocks of TOML with a name are whole pipelines.
pub(crate) fn pipelines_in_documents_are_valid() {
    let mut n_pipelines = 0;
    for (path, text) in pages() {
        let blocks = text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
        for pipeline in blocks.filter(|block| block.trim_start().starts_with("name = ")) {
            let directory = tempfile::tempdir().expect("room");
            // The tutorial makes it in its first step.
            fs::write(directory.path().join("thermometers.jsonl"), "").expect("room");
            fs::write(directory.path().join("page.toml"), pipeline).expect("room");
            let printed = process::succeed(directory.path(), &["validate", "page.toml"]);
            assert!(printed.contains("page.toml"), "{}: {printed}", path.display());
            n_pipelines += 1;
        }
    }
    assert!(n_pipelines >= 3, "README and tutorials have some: {n_pipelines}");
}

/// The line of a board in the tutorial is one that the decoder accepts.
pub(crate) fn the_line_of_a_board_is_a_frame() {
    let page = fs::read_to_string(root().join("docs/src/motion.md")).expect("the tutorial");
    let line = page.lines().find(|line| line.trim().starts_with("CSI_DATA,")).expect("a line");
    let numbers: Vec<_> = (0..128).map(|nth| (nth % 7).to_string()).collect();
    let line = line.trim().replace("1,-2,3,4,...", &numbers.join(","));
    let directory = tempfile::tempdir().expect("room");
    fs::write(directory.path().join("board.csv"), line + "\n").expect("room");
    let arguments = ["inspect", "board.csv", "--format", "esp32"];
    let printed = process::succeed(directory.path(), &arguments);
    assert!(printed.contains("1 frame"), "{printed}");
}

/// The commands of the tutorial, step by step.
pub(crate) fn the_tutorial_of_a_sensor_works() {
    let page = fs::read_to_string(root().join("docs/src/sensor.md")).expect("the tutorial");
    let blocks = |language: &str| -> Vec<_> {
        let fence = format!("```{language}\n");
        let blocks = page.split(&fence).skip(1).filter_map(|rest| rest.split("```").next());
        blocks.map(str::to_owned).collect()
    };
    let directory = tempfile::tempdir().expect("room");
    fs::write(directory.path().join("thermometers.toml"), &blocks("toml")[0]).expect("room");
    let script = blocks("sh").concat();
    let program = env!("CARGO_BIN_EXE_fresnel");
    let script = format!("set -e; fresnel() {{ {program} \"$@\"; }}\n{script}");
    let output = Command::new("bash").args(["-c", &script]).current_dir(directory.path()).output();
    let output = output.expect("bash runs");
    let printed = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}{errors}");
    assert!(printed.contains("2026-01-01T00:00:00Z | room0 | 20"), "{printed}");
}
