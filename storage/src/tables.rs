//! The layout of a history: a place with a place for each table, in the format of Delta Lake.
//!
//! Source: Delta Lake transaction protocol, "File Types".

use std::path::{Path, PathBuf};
use std::{fs, io};

use deltalake::DeltaTable;
use futures::TryStreamExt as _;
use object_store::ObjectStore as _;
use url::Url;

use crate::durable_store::{remove_abandoned, sync_names};
use crate::folder;
use crate::{Location, StorageError, bucket};

const LOG: &str = "_delta_log";
const DATA: &str = "parquet";

/// Returns the folder of a table's log of commits.
pub fn log_of(table: &Path) -> PathBuf {
    table.join(LOG)
}

/// Returns the names of the tables in a folder, in alphabetical order.
///
/// # Errors
///
/// [`io::Error`] if the folder cannot be read.
pub fn tables_in(folder: &Path) -> io::Result<Vec<String>> {
    let mut tables = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if log_of(&entry.path()).is_dir() {
            tables.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    tables.sort();
    Ok(tables)
}

/// Returns the names of the tables in a bucket, in alphabetical order.
pub(crate) async fn tables_of_bucket(url: &Url) -> Result<Vec<String>, StorageError> {
    bucket::check_address()?;
    let tables = async {
        let (store, path) = bucket::store(url)?;
        let places = store.list_with_delimiter(Some(&path)).await?.common_prefixes;
        let mut tables = Vec::new();
        for place in places {
            let first = store.list(Some(&place.clone().join(LOG))).try_next().await?;
            tables.extend(place.filename().filter(|_| first.is_some()).map(str::to_owned));
        }
        Ok(tables)
    };
    let mut tables = tables.await.map_err(|source| bucket::failed(url, source))?;
    tables.sort();
    Ok(tables)
}

impl Location {
    /// Prepares the place of a table that may not exist yet.
    ///
    /// # Errors
    ///
    /// An error if its folder cannot be created.
    pub fn prepare_table(&self) -> io::Result<()> {
        self.folder().map_or(Ok(()), folder::make)
    }

    /// Makes the current names in a table durable: a process may have died before it could.
    ///
    /// # Errors
    ///
    /// An error if its folders cannot be synced.
    pub fn settle_table(&self) -> io::Result<()> {
        self.folder().map_or(Ok(()), sync_names)
    }

    /// Removes temporary files that killed writers left in a table. Object stores have none.
    ///
    /// # Errors
    ///
    /// An error if a file cannot be removed.
    pub fn remove_abandoned_files(&self) -> io::Result<()> {
        self.folder().map_or(Ok(()), remove_abandoned)
    }

    /// Returns the number of files of a table: in a folder with those of older versions, in a bucket those of the
    /// newest version.
    pub fn n_files(&self, table: &DeltaTable) -> usize {
        let Some(folder) = self.folder() else {
            let files =
                table.snapshot().ok().and_then(|state| state.snapshot().try_log_data().ok());
            return files.map_or(0, |files| files.num_files());
        };
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.filter(|entry| entry.path().extension().is_some_and(|it| it == DATA)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_folders_with_a_log() {
        let folder = tempfile::tempdir().expect("room");
        for name in ["poses", "events"] {
            fs::create_dir_all(log_of(&folder.path().join(name))).expect("room");
        }
        fs::create_dir(folder.path().join("photos")).expect("room");
        fs::write(folder.path().join("notes"), "none").expect("room");
        assert_eq!(tables_in(folder.path()).expect("it is there"), ["events", "poses"]);
        assert!(tables_in(&folder.path().join("nowhere")).is_err());
    }
}
