//! Files of tables that survive a power cut. The bytes of a file are synced before its name is visible,
//! and its name before the write is reported.
//!
//! A file system may write names before bytes. Without a sync, a log may name empty files, or be empty
//! itself, although a checkpoint covers its rows.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    UploadPart,
};

use crate::folder::{make_parent, sync_folder};
use crate::tables::log_of;

/// Age at which a file with a temporary name is abandoned: no write takes so long.
const ABANDONED_AFTER: Duration = Duration::from_hours(1);

/// The local file system, with syncs.
#[derive(Debug, Default)]
pub(crate) struct DurableStore {
    files: LocalFileSystem,
}

impl fmt::Display for DurableStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("DurableStore")
    }
}

#[async_trait]
impl ObjectStore for DurableStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let path = self.files.path_to_filesystem(location)?;
        let may_replace = match options.mode {
            PutMode::Overwrite => true,
            PutMode::Create => false,
            PutMode::Update(_) => return self.files.put_opts(location, payload, options).await,
        };
        blocking(path, move |path| write(path, &payload, may_replace)).await?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let path = self.files.path_to_filesystem(location)?;
        blocking(path.clone(), make_parent).await?;
        let upload = self.files.put_multipart_opts(location, options).await?;
        Ok(Box::new(DurableUpload { upload, path }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.files.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.files.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        // Files that reappear after a power cut are in no version of a table.
        self.files.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.files.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.files.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.files.copy_opts(from, to, options).await?;
        blocking(self.files.path_to_filesystem(to)?, sync).await
    }
}

/// A file that is written in parts.
#[derive(Debug)]
struct DurableUpload {
    upload: Box<dyn MultipartUpload>,
    path: PathBuf,
}

#[async_trait]
impl MultipartUpload for DurableUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.upload.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        // No log names the file before this is done.
        let result = self.upload.complete().await?;
        blocking(self.path.clone(), sync).await?;
        Ok(result)
    }

    async fn abort(&mut self) -> Result<()> {
        self.upload.abort().await
    }
}

/// Runs a blocking call on a thread for such calls.
async fn blocking(
    path: PathBuf,
    call: impl FnOnce(&FilePath) -> io::Result<()> + Send + 'static,
) -> Result<()> {
    let called = tokio::task::spawn_blocking(move || {
        call(&path).map_err(|source| match source.kind() {
            ErrorKind::AlreadyExists => {
                Error::AlreadyExists { path: path.display().to_string(), source: source.into() }
            }
            _ => Error::Generic { store: "DurableStore", source: source.into() },
        })
    });
    called.await.map_err(|source| Error::JoinError { source })?
}

/// Writes a file atomically: its name exists only with all its bytes.
fn write(path: &FilePath, payload: &PutPayload, may_replace: bool) -> io::Result<()> {
    make_parent(path)?;
    let (mut file, staged) = stage(path)?;
    let written = payload.iter().try_for_each(|bytes| file.write_all(bytes));
    let named = written.and_then(|()| file.sync_all()).and_then(|()| {
        if may_replace { fs::rename(&staged, path) } else { fs::hard_link(&staged, path) }
    });
    if named.is_err() || !may_replace {
        // A leftover temporary file is harmless.
        let _ = fs::remove_file(&staged);
    }
    named?;
    sync_folder(path)
}

/// Creates a temporary file beside the final one. Listings leave out such names.
fn stage(path: &FilePath) -> io::Result<(File, PathBuf)> {
    let mut nth: u64 = 1;
    loop {
        let mut staged = path.as_os_str().to_owned();
        staged.push(format!("#{nth}"));
        let staged = PathBuf::from(staged);
        match File::create_new(&staged) {
            Ok(file) => return Ok((file, staged)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => nth += 1,
            Err(error) => return Err(error),
        }
    }
}

/// Removes temporary files that killed writers left in a table.
pub(crate) fn remove_abandoned(table: &FilePath) -> io::Result<()> {
    for folder in [table, &log_of(table)] {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if is_staged(&path) && is_abandoned(&path) {
                fs::remove_file(&path)?;
            }
        }
    }
    Ok(())
}

/// True for the temporary names of [`stage`] and of the local file system's uploads.
fn is_staged(path: &FilePath) -> bool {
    let nth = path.file_name().and_then(|name| name.to_str()?.rsplit_once('#'));
    nth.is_some_and(|(_, nth)| !nth.is_empty() && nth.bytes().all(|byte| byte.is_ascii_digit()))
}

fn is_abandoned(path: &FilePath) -> bool {
    let written_at = path.metadata().and_then(|metadata| metadata.modified());
    let age = written_at.ok().and_then(|written_at| written_at.elapsed().ok());
    age.is_some_and(|age| age > ABANDONED_AFTER)
}

/// Makes the current names in a table durable: a process may have died before its sync.
pub(crate) fn sync_names(table: &FilePath) -> io::Result<()> {
    File::open(log_of(table))?.sync_all()?;
    File::open(table)?.sync_all()?;
    sync_folder(table)
}

/// Syncs a file and its name.
fn sync(path: &FilePath) -> io::Result<()> {
    File::open(path)?.sync_all()?;
    sync_folder(path)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn files_of_killed_writers_are_removed() {
        let table = tempfile::tempdir().expect("room");
        let path = |name| table.path().join(name);
        fs::create_dir(log_of(table.path())).expect("room");
        let abandoned = ["1.parquet#1", "_delta_log/2.json#12"];
        let kept = ["1.parquet", "_delta_log/2.json", "a#b", "3#"];
        for name in abandoned.into_iter().chain(kept) {
            let file = File::create(path(name)).expect("room");
            file.set_modified(SystemTime::UNIX_EPOCH).expect("it is ours");
        }
        File::create(path("4.parquet#1")).expect("room");
        remove_abandoned(table.path()).expect("they can be removed");
        assert!(abandoned.into_iter().all(|name| !path(name).exists()));
        assert!(kept.into_iter().chain(["4.parquet#1"]).all(|name| path(name).exists()));
    }
}
