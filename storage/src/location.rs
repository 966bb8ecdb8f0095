//! The place of a history or of one of its tables.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use deltalake::{DeltaTable, DeltaTableBuilder, DeltaTableError};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::StorageError;
use crate::bucket;
use crate::folder;
use crate::tables::{log_of, tables_in, tables_of_bucket};

/// A folder, or a URL of a bucket, such as `s3://home/history`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Location {
    /// A folder of this machine.
    Folder(PathBuf),
    /// The objects of a bucket whose names begin with the path of this URL.
    Bucket(Url),
}

impl Location {
    /// Returns the location, relative to a folder if it is a relative path.
    #[must_use]
    pub fn within(&self, directory: &Path) -> Self {
        match self {
            Self::Folder(path) => Self::Folder(directory.join(path)),
            Self::Bucket(url) => Self::Bucket(url.clone()),
        }
    }

    /// Returns the same location with an absolute path.
    #[must_use]
    pub fn absolute(self) -> Self {
        match self {
            Self::Folder(path) => Self::Folder(std::path::absolute(&path).unwrap_or(path)),
            Self::Bucket(url) => Self::Bucket(url),
        }
    }

    /// Returns the place of something in this place.
    #[must_use]
    pub fn join(&self, name: &str) -> Self {
        match self {
            Self::Folder(path) => Self::Folder(path.join(name)),
            Self::Bucket(url) => {
                let mut url = url.clone();
                // A URL of a bucket always has a path.
                if let Ok(mut segments) = url.path_segments_mut() {
                    segments.pop_if_empty().push(name);
                }
                Self::Bucket(url)
            }
        }
    }

    /// The folder; none for a bucket.
    pub fn folder(&self) -> Option<&Path> {
        match self {
            Self::Folder(path) => Some(path),
            Self::Bucket(_) => None,
        }
    }

    /// The location in the form of a path, for messages.
    pub fn to_path(&self) -> PathBuf {
        PathBuf::from(self.to_string())
    }

    /// Creates the folder if it is missing, and checks that this process can write there. Returns the location
    /// with an absolute path.
    ///
    /// # Errors
    ///
    /// [`StorageError`] if it cannot be written.
    pub async fn create(&self) -> Result<Self, StorageError> {
        match self {
            Self::Folder(path) => {
                let created = folder::create(path);
                let failed = |source| StorageError::Folder { path: path.clone(), source };
                Ok(Self::Folder(created.map_err(failed)?))
            }
            Self::Bucket(url) => {
                bucket::check_writable(url).await?;
                Ok(self.clone())
            }
        }
    }

    /// Returns the names of the tables here, in alphabetical order; none if the folder is missing.
    ///
    /// # Errors
    ///
    /// [`StorageError`] if the place cannot be read.
    pub async fn tables(&self) -> Result<Vec<String>, StorageError> {
        match self {
            Self::Folder(path) if !path.exists() => Ok(Vec::new()),
            Self::Folder(path) => {
                let failed = |source| StorageError::Folder { path: path.clone(), source };
                tables_in(path).map_err(failed)
            }
            Self::Bucket(url) => tables_of_bucket(url).await,
        }
    }

    /// Opens the table here, which may not exist yet.
    ///
    /// # Errors
    ///
    /// [`DeltaTableError`] if it cannot be read.
    pub async fn open(&self) -> Result<DeltaTable, DeltaTableError> {
        let builder = match self {
            Self::Folder(path) => folder::table(path)?,
            Self::Bucket(url) => {
                bucket::register();
                DeltaTableBuilder::from_url(url.clone())?
            }
        };
        let mut table = builder.build()?;
        match table.load().await {
            Ok(()) | Err(DeltaTableError::NotATable(_)) => Ok(table),
            Err(error) => Err(error),
        }
    }
}

impl Location {
    /// Opens the table here for reading; none if it does not exist, or if its first commit has not finished.
    ///
    /// # Errors
    ///
    /// [`DeltaTableError`] if it cannot be read.
    pub async fn open_existing(&self) -> Result<Option<DeltaTable>, DeltaTableError> {
        // Opening a table creates its folder.
        if self.folder().is_some_and(|folder| !log_of(folder).is_dir()) {
            return Ok(None);
        }
        let table = self.open().await?;
        Ok(table.snapshot().is_ok().then_some(table))
    }
}

impl FromStr for Location {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((scheme, _)) = text.split_once("://") else {
            let is_url =
                bucket::SCHEMES.iter().find(|scheme| text.starts_with(&format!("{scheme}:")));
            return match is_url {
                Some(scheme) => Err(format!("{text:?}: a URL begins with {scheme}://")),
                None => Ok(Self::Folder(PathBuf::from(text))),
            };
        };
        if !bucket::SCHEMES.contains(&scheme) {
            let expected = bucket::SCHEMES.join("://, ");
            return Err(format!("{text:?}: expected a folder, or a URL with {expected}://"));
        }
        let url = Url::parse(text).map_err(|error| format!("{text:?}: {error}"))?;
        let is_plain = url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        let has_bucket = url.host_str().is_some_and(|bucket| !bucket.is_empty());
        if is_plain && has_bucket {
            return Ok(Self::Bucket(url));
        }
        Err(format!("{text:?}: expected a bucket and a path, as in {scheme}://home/history"))
    }
}

impl TryFrom<String> for Location {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Location> for String {
    fn from(location: Location) -> Self {
        location.to_string()
    }
}

impl From<PathBuf> for Location {
    fn from(path: PathBuf) -> Self {
        Self::Folder(path)
    }
}

impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => path.display().fmt(formatter),
            Self::Bucket(url) => url.fmt(formatter),
        }
    }
}

impl JsonSchema for Location {
    fn schema_name() -> Cow<'static, str> {
        "Location".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_a_folder_or_a_bucket() {
        let parse = |text: &str| text.parse::<Location>();
        assert_eq!(parse("history"), Ok(Location::Folder("history".into())));
        for url in ["s3://home/history", "gs://home"] {
            let location = parse(url).expect("a bucket");
            assert_eq!(location.to_string(), url);
            assert_eq!(location.join("poses").to_string(), format!("{url}/poses"));
            assert_eq!(location.within(Path::new("/home")), location);
        }
        assert!(parse("s3:/home").is_err_and(|error| error.contains("begins with s3://")));
        for text in ["ftp://home/x", "s3://", "s3://key:secret@home/x", "s3://home/x?a=b"] {
            let error = parse(text).expect_err(text);
            assert!(error.starts_with(&format!("{text:?}: expected a")), "{error}");
        }
        let folder = Location::Folder("history".into());
        assert_eq!(folder.within(Path::new("/home")).to_string(), "/home/history");
    }
}
