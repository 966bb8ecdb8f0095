//! Records which file the latest entries of a journal are from. So a file that replaces it while Fresnel is
//! down is not mistaken for it.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::transports::fingerprint::Fingerprint;

/// File name in the folder of the journal.
const NAME: &str = "followed.json";

/// A file, and the offset of the journal from which on entries are from this file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Followed {
    pub(super) file: Fingerprint,
    pub(super) from: u64,
}

impl Followed {
    /// Loads the record in a folder; none if there is none.
    pub(super) fn load(folder: &Path) -> io::Result<Option<Self>> {
        match fs::read(folder.join(NAME)) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes the record into a folder, as a whole or not at all.
    pub(super) fn keep(&self, folder: &Path) -> io::Result<()> {
        let new = folder.join("followed.new");
        let mut file = File::create(&new)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_all()?;
        fs::rename(new, folder.join(NAME))?;
        File::open(folder)?.sync_all()
    }
}
