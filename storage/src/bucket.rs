//! Buckets of S3 and of Google Cloud Storage. Their addresses and credentials are those of the environment, by
//! the names that the tools of these stores use.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::Duration;

use deltalake::logstore::{
    LogStore, LogStoreFactory, ObjectStoreFactory, ObjectStoreRef, StorageConfig, default_logstore,
    logstore_factories, object_store_factories,
};
use deltalake::{DeltaResult, DeltaTableError};
use object_store::aws::AmazonS3Builder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::path::Path;
use object_store::{Error, ObjectStoreExt as _, PutPayload, RetryConfig};
use url::Url;

use crate::StorageError;

/// The schemes of URLs of buckets.
pub(crate) const SCHEMES: [&str; 2] = ["s3", "gs"];
/// The object that shows whether this process may write.
const PROBE: &str = ".fresnel";
/// How long a request is tried again. Whoever writes or reads has retries of its own.
const RETRY_TIMEOUT: Duration = Duration::from_secs(20);

/// The stores of the buckets that this process uses, with their connections.
static STORES: Mutex<Option<HashMap<String, ObjectStoreRef>>> = Mutex::new(None);

/// Returns the store of the bucket of a URL, and the path of the URL in it.
pub(crate) fn store(url: &Url) -> Result<(ObjectStoreRef, Path), Error> {
    let bucket = url[..url::Position::BeforePath].to_owned();
    let path = Path::from_url_path(url.path())?;
    let mut stores = STORES.lock().unwrap_or_else(PoisonError::into_inner);
    let stores = stores.get_or_insert_default();
    if let Some(store) = stores.get(&bucket) {
        return Ok((Arc::clone(store), path));
    }
    let store = build(url)?;
    stores.insert(bucket, Arc::clone(&store));
    Ok((store, path))
}

fn build(url: &Url) -> Result<ObjectStoreRef, Error> {
    let retry = RetryConfig { retry_timeout: RETRY_TIMEOUT, ..RetryConfig::default() };
    if url.scheme() == "gs" {
        let store = GoogleCloudStorageBuilder::from_env().with_url(url.as_str());
        return Ok(Arc::new(store.with_retry(retry).build()?));
    }
    let store = AmazonS3Builder::from_env().with_url(url.as_str());
    Ok(Arc::new(store.with_retry(retry).build()?))
}

/// Writes and removes an object, which fails without the right to do so.
pub(crate) async fn check_writable(url: &Url) -> Result<(), StorageError> {
    check_address()?;
    let checked = async {
        let (store, path) = store(url)?;
        let probe = path.join(PROBE);
        store.put(&probe, PutPayload::new()).await?;
        store.delete(&probe).await
    };
    checked.await.map_err(|source| failed(url, source))
}

/// Checks the addresses of the environment, which the client of the store does not.
pub(crate) fn check_address() -> Result<(), StorageError> {
    for name in ["AWS_ENDPOINT_URL", "AWS_ENDPOINT"] {
        let Ok(value) = std::env::var(name) else { continue };
        let url = Url::parse(&value).ok().filter(Url::has_host);
        if url.is_none_or(|url| !["http", "https"].contains(&url.scheme())) {
            return Err(StorageError::Address { name, value });
        }
    }
    Ok(())
}

pub(crate) fn failed(url: &Url, source: Error) -> StorageError {
    StorageError::Bucket { url: url.to_string(), source: Box::new(source) }
}

/// Makes tables in buckets known to the table format.
pub(crate) fn register() {
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(|| {
        for scheme in SCHEMES {
            let Ok(url) = Url::parse(&format!("{scheme}://")) else { continue };
            object_store_factories().insert(url.clone(), Arc::new(Buckets));
            logstore_factories().insert(url, Arc::new(Buckets));
        }
    });
}

/// Makes the stores of tables. A commit creates an object under the condition that there is none, which both
/// kinds of stores guarantee.
#[derive(Debug)]
struct Buckets;

impl ObjectStoreFactory for Buckets {
    fn parse_url_opts(&self, url: &Url, _: &StorageConfig) -> DeltaResult<(ObjectStoreRef, Path)> {
        store(url).map_err(|source| DeltaTableError::ObjectStore { source })
    }
}

impl LogStoreFactory for Buckets {
    fn with_options(
        &self,
        prefixed: ObjectStoreRef,
        root: ObjectStoreRef,
        location: &Url,
        options: &StorageConfig,
    ) -> DeltaResult<Arc<dyn LogStore>> {
        Ok(default_logstore(prefixed, root, location, options))
    }
}
