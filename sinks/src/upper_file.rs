//! The upper of a plain file: a small file beside it that records its committed part.
//!
//! The file has two slots that are written in turn, so that a torn commit leaves the previous one
//! intact. A run that takes over replaces both files with copies. An earlier run then writes to files
//! that have no name any more.
//!
//! After a failed sync the content of the file is unknown, and the next sync may succeed although
//! nothing was written. So a new file replaces it.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use schemas::Tick;
use serde::{Deserialize, Serialize};
use storage::sync_folder;

const SLOT_BYTES: usize = 256;
const N_SLOTS: u64 = 2;

/// The committed part of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Committed {
    /// The writer.
    pub(crate) writer: String,
    /// The number of the commit.
    number: u64,
    /// The file has everything before this tick.
    pub(crate) upper: Tick,
    /// Length of the file at this commit.
    pub(crate) n_bytes: u64,
}

/// The upper of a file, in a file beside it.
#[derive(Debug)]
pub(crate) struct UpperFile {
    path: PathBuf,
    file: File,
    committed: Committed,
    /// True from the start of a commit until it is durable.
    in_doubt: bool,
}

impl UpperFile {
    /// The path of a file's upper.
    fn path_beside(path: &Path) -> PathBuf {
        let mut name = path.as_os_str().to_owned();
        name.push(".upper");
        name.into()
    }

    /// Reads the last two commits to the file at `path`, newest first. Returns those of `writer` that
    /// are intact.
    pub(crate) fn read(path: &Path, writer: &str) -> io::Result<Vec<Committed>> {
        let mut commits = Self::commits(path)?;
        commits.retain(|committed| committed.writer == writer);
        Ok(commits)
    }

    /// Reads the commits of all writers to the file at `path`, as [`UpperFile::read`] does.
    pub(crate) fn commits(path: &Path) -> io::Result<Vec<Committed>> {
        let bytes = match fs::read(Self::path_beside(path)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut commits: Vec<_> = bytes.chunks(SLOT_BYTES).filter_map(decode).collect();
        commits.sort_by_key(|committed| std::cmp::Reverse(committed.number));
        Ok(commits)
    }

    /// Creates or replaces the upper of a file of `n_bytes` that has everything before `upper`.
    pub(crate) fn begin(path: &Path, writer: &str, upper: Tick, n_bytes: u64) -> io::Result<Self> {
        let path = Self::path_beside(path);
        let committed = Committed { writer: writer.to_owned(), number: 1, upper, n_bytes };
        let file = create(&path, &committed)?;
        sync_folder(&path)?;
        Ok(Self { path, file, committed, in_doubt: false })
    }

    pub(crate) fn upper(&self) -> Tick {
        self.committed.upper
    }

    /// Records that the first `n_bytes` of the file contain everything before `upper`. After an error,
    /// a reader may find this commit or the previous one: both must be true.
    pub(crate) fn commit(&mut self, upper: Tick, n_bytes: u64) -> io::Result<()> {
        let number = self.committed.number.saturating_add(1);
        let committed = Committed { number, upper, n_bytes, ..self.committed.clone() };
        if std::mem::replace(&mut self.in_doubt, true) {
            self.replace(&committed)?;
        } else {
            write_slot(&self.file, &committed)?;
        }
        (self.in_doubt, self.committed) = (false, committed);
        Ok(())
    }

    /// Replaces the file with a new one.
    fn replace(&mut self, committed: &Committed) -> io::Result<()> {
        if self.is_replaced() {
            return Err(io::Error::other("another run has replaced the file"));
        }
        self.file = create(&self.path, committed)?;
        sync_folder(&self.path)
    }

    /// True if another run has replaced this file with its own.
    pub(crate) fn is_replaced(&self) -> bool {
        let same = || {
            let (named, open) = (fs::metadata(&self.path)?, self.file.metadata()?);
            io::Result::Ok((named.dev(), named.ino()) == (open.dev(), open.ino()))
        };
        !same().unwrap_or(false)
    }
}

/// Creates a file with one commit, and renames it when it is durable.
fn create(path: &Path, committed: &Committed) -> io::Result<File> {
    let new = path.with_extension("upper-new");
    let file = File::create(&new)?;
    write_slot(&file, committed)?;
    fs::rename(new, path)?;
    Ok(file)
}

fn write_slot(file: &File, committed: &Committed) -> io::Result<()> {
    let at = committed.number % N_SLOTS * SLOT_BYTES as u64;
    file.write_all_at(&encode(committed)?, at)?;
    sync(file)
}

/// Makes written bytes durable.
fn sync(file: &File) -> io::Result<()> {
    #[cfg(test)]
    tests::pass_sync()?;
    file.sync_data()
}

/// A slot: a checksum and JSON, padded with spaces.
fn encode(committed: &Committed) -> io::Result<Vec<u8>> {
    let json = serde_json::to_string(committed)?;
    let mut slot = format!("{:08x} {json}", crc32fast::hash(json.as_bytes())).into_bytes();
    if slot.len() >= SLOT_BYTES {
        return Err(io::Error::other("the names of pipeline and sink are too long"));
    }
    slot.resize(SLOT_BYTES - 1, b' ');
    slot.push(b'\n');
    Ok(slot)
}

fn decode(slot: &[u8]) -> Option<Committed> {
    let (checksum, json) = std::str::from_utf8(slot).ok()?.trim_end().split_once(' ')?;
    let intact = u32::from_str_radix(checksum, 16) == Ok(crc32fast::hash(json.as_bytes()));
    if intact { serde_json::from_str(json).ok() } else { None }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        static FAILING_SYNCS: Cell<u32> = const { Cell::new(0) };
    }

    /// Makes the next syncs of this thread fail.
    pub(crate) fn fail_syncs(n_syncs: u32) {
        FAILING_SYNCS.set(n_syncs);
    }

    pub(super) fn pass_sync() -> io::Result<()> {
        let n_failing = FAILING_SYNCS.get();
        FAILING_SYNCS.set(n_failing.saturating_sub(1));
        if n_failing > 0 { Err(io::Error::other("the disk is broken")) } else { Ok(()) }
    }

    const WRITER: &str = "flat/out/1";

    /// Upper and length of the newest intact commit.
    fn newest(path: &Path) -> Option<(Tick, u64)> {
        let commits = UpperFile::read(path, WRITER).expect("it is there");
        commits.first().map(|committed| (committed.upper, committed.n_bytes))
    }

    #[test]
    fn a_torn_commit_leaves_the_one_before() {
        let folder = tempfile::tempdir().expect("room");
        let path = folder.path().join("out.jsonl");
        assert_eq!(newest(&path), None, "it may be missing");
        let mut upper = UpperFile::begin(&path, WRITER, 0, 0).expect("room");
        upper.commit(10, 100).expect("room");
        upper.commit(20, 200).expect("room");
        assert_eq!(newest(&path), Some((20, 200)));
        assert!(UpperFile::read(&path, "flat/out/2").expect("it is there").is_empty());
        let beside = UpperFile::path_beside(&path);
        let intact = fs::read(&beside).expect("it is there");
        for at in 0..intact.len() {
            let mut damaged = intact.clone();
            damaged[at] ^= 1;
            fs::write(&beside, damaged).expect("room");
            assert!([Some((20, 200)), Some((10, 100))].contains(&newest(&path)), "byte {at}");
        }
    }

    #[test]
    fn after_a_failed_sync_another_file_takes_its_place() {
        let folder = tempfile::tempdir().expect("room");
        let path = folder.path().join("out.jsonl");
        let mut upper = UpperFile::begin(&path, WRITER, 0, 0).expect("room");
        upper.commit(10, 100).expect("room");
        let before = upper.file.metadata().expect("it is open").ino();
        fail_syncs(3);
        for _ in 0..3 {
            upper.commit(20, 200).expect_err("the sync fails");
            assert!([Some((20, 200)), Some((10, 100))].contains(&newest(&path)));
            assert_eq!(upper.upper(), 10, "it is not durable");
        }
        upper.commit(20, 200).expect("the disk is well again");
        assert_eq!((newest(&path), upper.upper()), (Some((20, 200)), 20));
        assert_ne!(upper.file.metadata().expect("it is open").ino(), before);
        upper.commit(30, 300).expect("room");
        assert_eq!(newest(&path), Some((30, 300)));
    }

    #[test]
    fn a_file_that_was_taken_over_is_left_alone() {
        let folder = tempfile::tempdir().expect("room");
        let path = folder.path().join("out.jsonl");
        let mut first = UpperFile::begin(&path, WRITER, 0, 0).expect("room");
        let second = UpperFile::begin(&path, WRITER, 40, 400).expect("room");
        fail_syncs(1);
        first.commit(10, 100).expect_err("the sync fails");
        first.commit(10, 100).expect_err("its place is taken");
        assert!(first.is_replaced() && !second.is_replaced());
        assert_eq!(newest(&path), Some((40, 400)));
    }
}
