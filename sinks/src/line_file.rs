//! A file of whole lines, and its committed part.
//!
//! Lines are durable in the file before its upper covers them. So the file may be longer than its
//! committed part, but never shorter; the next start truncates it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use schemas::Tick;
use storage::sync_folder;

use crate::SinkError;
use crate::upper_file::UpperFile;

/// A file that can be truncated to its committed part.
pub(crate) trait Truncate {
    /// Truncates the file to its first `n_bytes`, and continues there.
    fn truncate(&mut self, n_bytes: u64) -> io::Result<()>;

    /// Makes written bytes durable.
    fn sync(&mut self) -> io::Result<()>;
}

impl Truncate for File {
    fn truncate(&mut self, n_bytes: u64) -> io::Result<()> {
        self.set_len(n_bytes)?;
        self.seek(SeekFrom::Start(n_bytes)).map(|_| ())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

/// A file, and lines to append to it. The next commit completes a failed one.
#[derive(Debug)]
pub(crate) struct LineFile<W> {
    path: PathBuf,
    pub(crate) file: W,
    /// None for devices, and before the file is fenced.
    upper: Option<UpperFile>,
    unfenced: Option<Unfenced>,
    /// Lines that are accepted but not committed.
    pub(crate) lines: Vec<u8>,
    /// Bytes of `lines` that are durable in the file.
    n_appended: usize,
    /// True if the file may end in an incomplete line.
    torn: bool,
    committed_bytes: u64,
}

impl LineFile<File> {
    /// Opens a copy of the file up to the last commit of `writer`; output of other writers is left out.
    /// [`LineFile::fence`] replaces the file with the copy.
    ///
    /// # Errors
    ///
    /// [`SinkError::Open`] if it cannot be written, [`SinkError::Shorter`] if committed lines are
    /// missing, [`SinkError::OfOthers`] if it contains output of another sink.
    pub(crate) fn open(path: PathBuf, writer: &str) -> Result<Self, SinkError> {
        let (upper, n_bytes) = committed(&path, writer)?;
        if n_bytes == 0 {
            refuse_others(&path, writer)?;
        }
        let copied = copy(&path, n_bytes);
        let file = copied.map_err(|source| SinkError::Open { path: path.clone(), source })?;
        let unfenced = Unfenced { writer: writer.to_owned(), upper, n_bytes };
        Ok(Self { unfenced: Some(unfenced), ..Self::new(path, file, None, n_bytes) })
    }
}

/// The committed part that a copy contains; the run that wrote the original may continue.
#[derive(Debug)]
struct Unfenced {
    writer: String,
    upper: Tick,
    n_bytes: u64,
}

impl Unfenced {
    fn replace(&self, path: &Path) -> io::Result<UpperFile> {
        fs::rename(copy_beside(path), path)?;
        sync_folder(path)?;
        UpperFile::begin(path, &self.writer, self.upper, self.n_bytes)
    }
}

/// Returns the upper and the length of a writer's newest commit that the file contains completely.
fn committed(path: &Path, writer: &str) -> Result<(Tick, u64), SinkError> {
    let commits = UpperFile::read(path, writer)
        .map_err(|source| SinkError::Open { path: path.to_owned(), source })?;
    let found = fs::metadata(path).map_or(0, |metadata| metadata.len());
    // If the last commit failed halfway, the previous one is valid.
    let whole = commits.iter().find(|committed| committed.n_bytes <= found);
    match (whole, commits.first()) {
        (Some(committed), _) => Ok((committed.upper, committed.n_bytes)),
        (None, None) => Ok((0, 0)),
        (None, Some(committed)) => {
            let (path, committed) = (path.to_owned(), committed.n_bytes);
            Err(SinkError::Shorter { path, found, committed })
        }
    }
}

/// Rejects a file of another sink.
fn refuse_others(path: &Path, writer: &str) -> Result<(), SinkError> {
    let n_bytes = fs::metadata(path).map_or(0, |metadata| metadata.len());
    if n_bytes == 0 {
        return Ok(());
    }
    let commits = UpperFile::commits(path)
        .map_err(|source| SinkError::Open { path: path.to_owned(), source })?;
    let last = commits.into_iter().next().map(|committed| committed.writer);
    match last {
        Some(last) if sink_of(&last) == sink_of(writer) => Ok(()),
        writer => Err(SinkError::OfOthers { path: path.to_owned(), writer }),
    }
}

/// Returns the pipeline and the sink of a writer, without its lineage.
fn sink_of(writer: &str) -> &str {
    writer.rsplit_once('/').map_or(writer, |(sink, _)| sink)
}

impl<W> LineFile<W> {
    pub(crate) fn new(
        path: PathBuf,
        file: W,
        upper: Option<UpperFile>,
        committed_bytes: u64,
    ) -> Self {
        let (lines, n_appended, torn) = (Vec::new(), 0, false);
        Self { path, file, upper, unfenced: None, lines, n_appended, torn, committed_bytes }
    }

    /// Replaces the file with the copy: later writes of an earlier run have no effect.
    ///
    /// # Errors
    ///
    /// [`SinkError::Fenced`] if an earlier run has written since the copy was made, [`SinkError::Open`] if
    /// the disk fails.
    pub(crate) fn fence(&mut self) -> Result<(), SinkError> {
        let Some(unfenced) = self.unfenced.take() else { return Ok(()) };
        let path = self.path.clone();
        if committed(&path, &unfenced.writer)? != (unfenced.upper, unfenced.n_bytes) {
            return Err(SinkError::Fenced { path });
        }
        let replaced = unfenced.replace(&path);
        self.upper = Some(replaced.map_err(|source| SinkError::Open { path, source })?);
        Ok(())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The tick before which the file has everything; none for devices.
    pub(crate) fn upper(&self) -> Option<Tick> {
        let copied = self.unfenced.as_ref().map(|unfenced| unfenced.upper);
        self.upper.as_ref().map(UpperFile::upper).or(copied)
    }

    /// True if another run has replaced the file.
    pub(crate) fn is_taken_over(&self) -> bool {
        self.upper.as_ref().is_some_and(UpperFile::is_replaced)
    }
}

impl<W: Write + Truncate> LineFile<W> {
    /// Makes the accepted lines durable, and then `upper`: the file has everything before it.
    ///
    /// # Errors
    ///
    /// [`SinkError::Write`] if the disk fails, [`SinkError::Fenced`] if another run has taken over.
    pub(crate) fn commit(&mut self, upper: Tick) -> Result<(), SinkError> {
        if let Err(source) = self.append() {
            // The next attempt must not write these bytes a second time.
            self.torn = self.cut().is_err();
            return Err(SinkError::Write { path: self.path.clone(), source });
        }
        let n_bytes = self.committed_bytes.saturating_add(self.lines.len() as u64);
        if let Some(upper_file) = &mut self.upper
            && let Err(source) = upper_file.commit(upper, n_bytes)
        {
            // The lines stay in the file: the stored upper may cover them.
            let (path, fenced) = (self.path.clone(), self.is_taken_over());
            let error =
                if fenced { SinkError::Fenced { path } } else { SinkError::Write { path, source } };
            return Err(error);
        }
        self.committed_bytes = n_bytes;
        self.n_appended = 0;
        self.lines.clear();
        Ok(())
    }

    /// Appends the accepted lines that are not in the file yet.
    fn append(&mut self) -> io::Result<()> {
        let keeps = self.upper.is_some();
        if self.torn && keeps {
            self.cut()?;
            self.torn = false;
        }
        self.file.write_all(&self.lines[self.n_appended..])?;
        self.file.flush()?;
        if keeps {
            self.file.sync()?;
        }
        self.n_appended = self.lines.len();
        Ok(())
    }

    /// Truncates the file to the bytes that are known to be durable.
    fn cut(&mut self) -> io::Result<()> {
        self.file.truncate(self.committed_bytes.saturating_add(self.n_appended as u64))
    }
}

/// The path of a file's copy.
fn copy_beside(path: &Path) -> PathBuf {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    PathBuf::from(new)
}

/// Copies the first `n_bytes` of a file, and opens the copy at their end.
fn copy(path: &Path, n_bytes: u64) -> io::Result<File> {
    let new = copy_beside(path);
    // A cancelled start may have left a copy, or may still have it open.
    if let Err(error) = fs::remove_file(&new)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    if n_bytes == 0 {
        File::create(&new)?;
    } else {
        fs::copy(path, &new)?;
    }
    let mut file = OpenOptions::new().write(true).open(&new)?;
    file.truncate(n_bytes)?;
    file.sync_all()?;
    Ok(file)
}
