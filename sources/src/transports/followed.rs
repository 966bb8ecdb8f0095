//! Which file the latest entries of a journal are from, so that another one that takes its place while nothing
//! runs is not taken for it.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::transports::fingerprint::Fingerprint;

/// Its name in the folder of the journal.
const NAME: &str = "followed.json";

/// A file, and the offset of the journal from which on entries are from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Followed {
    pub(super) file: Fingerprint,
    pub(super) from: u64,
}

impl Followed {
    /// What was kept in a folder; none if nothing was.
    pub(super) fn load(folder: &Path) -> io::Result<Option<Self>> {
        match fs::read(folder.join(NAME)) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Keeps it in a folder, as a whole or not at all.
    pub(super) fn keep(&self, folder: &Path) -> io::Result<()> {
        let new = folder.join("followed.new");
        let mut file = File::create(&new)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_all()?;
        fs::rename(new, folder.join(NAME))?;
        File::open(folder)?.sync_all()
    }
}
