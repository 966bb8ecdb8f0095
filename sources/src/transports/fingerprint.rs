//! Fingerprints of files, which distinguish a file from one that replaced it.

use std::fs::File;
use std::io;

use serde::{Deserialize, Serialize};

use crate::journal::read_at;

/// Bytes at the beginning of a file that identify it.
const HEAD_BYTES: u64 = 4096;

/// The length of a file's beginning, and its checksum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fingerprint {
    n_bytes: u64,
    checksum: u32,
}

impl Fingerprint {
    /// Returns the fingerprint of a file, from its first 4096 bytes at most.
    pub(super) fn of(file: &File) -> io::Result<Self> {
        Self::of_head(file, HEAD_BYTES)
    }

    /// True if a file has this fingerprint; bytes may have been added since.
    pub(super) fn is_of(&self, file: &File) -> io::Result<bool> {
        Ok(Self::of_head(file, self.n_bytes)? == *self)
    }

    /// True if added bytes do not change the fingerprint.
    pub(super) fn is_full(&self) -> bool {
        self.n_bytes == HEAD_BYTES
    }

    fn of_head(file: &File, n_bytes: u64) -> io::Result<Self> {
        let mut head = vec![0; n_bytes.min(HEAD_BYTES) as usize];
        read_at(file, &mut head, 0)?;
        Ok(Self { n_bytes: head.len() as u64, checksum: crc32fast::hash(&head) })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_is_known_by_its_head() {
        let folder = tempfile::tempdir().expect("room");
        let path = folder.path().join("capture.dat");
        let open = |bytes: &[u8]| {
            fs::write(&path, bytes).expect("room");
            File::open(&path).expect("it is there")
        };
        let small = Fingerprint::of(&open(b"abc")).expect("it can be read");
        let long = vec![7; 10_000];
        let large = Fingerprint::of(&open(&long)).expect("it can be read");
        for (fingerprint, bytes, expected) in [
            (small, &b"abc"[..], true),
            (small, b"abcd", true),
            (small, b"ab", false),
            (small, b"abx", false),
            (large, &long, true),
            (large, &long[..5000], true),
            (large, &long[..4000], false),
        ] {
            let found = fingerprint.is_of(&open(bytes)).expect("it can be read");
            assert_eq!(found, expected, "{} bytes", bytes.len());
        }
    }
}
