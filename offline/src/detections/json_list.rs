//! A JSON list that is written one item at a time, and is there whole or not at all.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::detections::DetectionError;

/// A file with a list.
pub(super) struct JsonList {
    path: PathBuf,
    partial: PathBuf,
    writer: BufWriter<File>,
    /// What follows the last item.
    end: &'static str,
    is_empty: bool,
}

impl JsonList {
    /// Begins the file with the text before the first item.
    pub(super) fn create(
        path: &Path,
        head: &str,
        end: &'static str,
    ) -> Result<Self, DetectionError> {
        let partial = path.with_added_extension("partial");
        let failed = |source| DetectionError::Write { path: partial.clone(), source };
        let mut writer = BufWriter::new(File::create(&partial).map_err(failed)?);
        writer.write_all(head.as_bytes()).map_err(failed)?;
        Ok(Self { path: path.to_owned(), partial, writer, end, is_empty: true })
    }

    pub(super) fn push(&mut self, item: &impl Serialize) -> Result<(), DetectionError> {
        let separator: &[u8] = if self.is_empty { b"\n" } else { b",\n" };
        self.is_empty = false;
        let written = self.writer.write_all(separator);
        let written = written.and_then(|()| Ok(serde_json::to_writer(&mut self.writer, item)?));
        written.map_err(|source| self.failed(source))
    }

    /// Ends the list, and gives the file its name.
    pub(super) fn finish(mut self) -> Result<(), DetectionError> {
        let end = [b"\n", self.end.as_bytes()].concat();
        let written = self.writer.write_all(&end).and_then(|()| self.writer.flush());
        let named = written.and_then(|()| fs::rename(&self.partial, &self.path));
        named.map_err(|source| self.failed(source))
    }

    fn failed(&self, source: io::Error) -> DetectionError {
        DetectionError::Write { path: self.path.clone(), source }
    }
}
