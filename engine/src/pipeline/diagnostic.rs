//! Errors in a pipeline file: the place, the problem, the expected value, and a suggestion.

use std::fmt;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::plain_words;

/// An error in a pipeline file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The range in the text, in bytes.
    pub at: Range<usize>,
    /// The problem, and the expected value.
    pub message: String,
    /// The expected values, or a suggestion.
    pub help: Option<String>,
}

impl Diagnostic {
    pub(super) fn new(at: Range<usize>, message: impl Into<String>) -> Self {
        Self { at, message: message.into(), help: None }
    }

    pub(super) fn with_help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    /// Suggests the candidate that is most similar to `found`, if any is similar enough.
    pub(super) fn suggesting<'a>(
        self,
        found: &str,
        candidates: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        match closest(found, candidates) {
            Some(candidate) => self.with_help(format!("did you mean \"{candidate}\"?")),
            None => self,
        }
    }
}

impl From<toml::de::Error> for Diagnostic {
    /// Keeps the span and the message. The message for an unknown name lists the known names in backticks;
    /// the most similar of them is suggested.
    fn from(error: toml::de::Error) -> Self {
        let message = plain_words(&error.message().trim_end().replace('\n', ", "));
        let diagnostic = Self::new(error.span().unwrap_or(0..0), message.clone());
        let mut names = message.split('`').skip(1).step_by(2);
        match names.next() {
            Some(found) if message.starts_with("unknown") => diagnostic.suggesting(found, names),
            _ => diagnostic,
        }
    }
}

/// Returns the candidate that is most similar to `found`; none if no candidate is similar enough.
fn closest<'a>(found: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const LIKENESS: f64 = 0.75;
    let likeness = |candidate: &&str| strsim::jaro_winkler(found, candidate);
    let candidates = candidates.into_iter().filter(|candidate| likeness(candidate) > LIKENESS);
    candidates.max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
}

/// A failure to read or check a pipeline file.
#[derive(Debug)]
pub enum PipelineError {
    /// The file could not be read.
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The file has errors.
    Invalid {
        /// The file.
        path: PathBuf,
        /// The text of the file.
        text: String,
        /// The errors, in the order of the file; never empty.
        diagnostics: Vec<Diagnostic>,
    },
}

impl std::error::Error for PipelineError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { source, .. } => Some(source),
            Self::Invalid { .. } => None,
        }
    }
}

impl fmt::Display for PipelineError {
    /// Writes one diagnostic a paragraph; each begins with `file:line:column`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, text, diagnostics) = match self {
            Self::Read { path, .. } => {
                write!(formatter, "could not read pipeline {}", path.display())?;
                return match similar_file(path) {
                    Some(name) => write!(formatter, "; did you mean {name}?"),
                    None => Ok(()),
                };
            }
            Self::Invalid { path, text, diagnostics } => (path, text, diagnostics),
        };
        for (nth, diagnostic) in diagnostics.iter().enumerate() {
            let (line, column) = line_and_column(text, diagnostic.at.start);
            let new_line = if nth > 0 { "\n" } else { "" };
            write!(
                formatter,
                "{new_line}{}:{line}:{column}: {}",
                path.display(),
                diagnostic.message
            )?;
            if let Some(help) = &diagnostic.help {
                write!(formatter, "\n  help: {help}")?;
            }
        }
        Ok(())
    }
}

/// Returns the file beside a missing one that has the most similar name.
fn similar_file(path: &Path) -> Option<String> {
    if path.exists() {
        return None;
    }
    let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    let files = fs::read_dir(folder).ok()?.flatten();
    let names: Vec<_> = files.filter_map(|file| file.file_name().into_string().ok()).collect();
    let found = closest(path.file_name()?.to_str()?, names.iter().map(String::as_str))?;
    Some(path.with_file_name(found).display().to_string())
}

/// Returns the line and the column of a byte, both from 1; columns count characters.
fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(at)];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}
