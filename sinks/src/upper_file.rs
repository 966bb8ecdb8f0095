//! The upper of a plain file: a small file beside it that says up to where it is committed.
//!
//! It has two slots that are written in turn, so that a commit that is torn leaves the one before. A
//! run that takes over replaces both files by copies: whatever an earlier run still writes then, it
//! writes to files that have no name any more.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use schemas::Tick;
use serde::{Deserialize, Serialize};

const SLOT_BYTES: usize = 256;
const N_SLOTS: u64 = 2;

/// What is committed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Committed {
    /// Who wrote it.
    pub(crate) writer: String,
    /// Counts commits.
    number: u64,
    /// The file holds everything before this tick.
    pub(crate) upper: Tick,
    /// Its length then.
    pub(crate) n_bytes: u64,
}

/// The file beside a file.
#[derive(Debug)]
pub(crate) struct UpperFile {
    file: File,
    committed: Committed,
}

impl UpperFile {
    /// Where the upper of a file is.
    pub(crate) fn path_beside(path: &Path) -> PathBuf {
        let mut name = path.as_os_str().to_owned();
        name.push(".upper");
        name.into()
    }

    /// What is committed to the file at `path`, if anything is.
    pub(crate) fn read(path: &Path) -> io::Result<Option<Committed>> {
        match fs::read(Self::path_beside(path)) {
            Ok(bytes) => {
                let slots = bytes.chunks(SLOT_BYTES).filter_map(decode);
                Ok(slots.max_by_key(|committed| committed.number))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Begins a file of `n_bytes` that holds everything before `upper`, in place of what was there.
    pub(crate) fn begin(path: &Path, writer: &str, upper: Tick, n_bytes: u64) -> io::Result<Self> {
        let committed = Committed { writer: writer.to_owned(), number: 0, upper, n_bytes };
        let beside = Self::path_beside(path);
        let new = beside.with_extension("upper-new");
        let file = File::create(&new)?;
        let mut upper_file = Self { file, committed };
        upper_file.commit(upper, n_bytes)?;
        fs::rename(new, &beside)?;
        sync_folder(&beside)?;
        Ok(upper_file)
    }

    pub(crate) fn upper(&self) -> Tick {
        self.committed.upper
    }

    /// Notes that the file holds everything before `upper`, in its first `n_bytes`.
    pub(crate) fn commit(&mut self, upper: Tick, n_bytes: u64) -> io::Result<()> {
        let number = self.committed.number + 1;
        let committed = Committed { number, upper, n_bytes, ..self.committed.clone() };
        let at = number % N_SLOTS * SLOT_BYTES as u64;
        self.file.write_all_at(&encode(&committed)?, at)?;
        self.file.sync_data()?;
        self.committed = committed;
        Ok(())
    }
}

/// A slot: JSON and its checksum, filled up with spaces.
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

/// Makes a new name in a folder durable.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_commit_leaves_the_one_before() {
        let folder = tempfile::tempdir().expect("room");
        let path = folder.path().join("out.jsonl");
        assert_eq!(UpperFile::read(&path).expect("it may be missing"), None);
        let mut upper = UpperFile::begin(&path, "flat/out/1", 0, 0).expect("room");
        upper.commit(10, 100).expect("room");
        upper.commit(20, 200).expect("room");
        let committed = || {
            let committed = UpperFile::read(&path).expect("it is there")?;
            Some((committed.upper, committed.n_bytes))
        };
        assert_eq!(committed(), Some((20, 200)));
        let beside = UpperFile::path_beside(&path);
        let intact = fs::read(&beside).expect("it is there");
        for at in 0..intact.len() {
            let mut damaged = intact.clone();
            damaged[at] ^= 1;
            fs::write(&beside, damaged).expect("room");
            assert!([Some((20, 200)), Some((10, 100))].contains(&committed()), "byte {at}");
        }
    }
}
