//! Why there is no checkpoint.

/// A failure of the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The database could not be opened.
    #[error("could not open the store {location:?}")]
    Open {
        /// The database, without a password.
        location: String,
        /// What it said.
        source: sqlx::Error,
    },
    /// The database failed.
    #[error("could not reach the store")]
    Database(#[from] sqlx::Error),
    /// Another run of the pipeline has begun.
    #[error("pipeline {pipeline:?} was taken over: run {generation} is not its newest any more")]
    Fenced {
        /// The pipeline.
        pipeline: String,
        /// This run.
        generation: i64,
    },
    /// There are checkpoints, but not one of them is intact.
    #[error(
        "all checkpoints of pipeline {pipeline:?} are damaged; --fresh starts it anew, from the \
         beginning of its sources"
    )]
    Damaged {
        /// The pipeline.
        pipeline: String,
    },
    /// Something that was changed while the pipeline ran cannot be read.
    #[error("the store's {name:?} of {operator:?} cannot be read; it may be a newer version's")]
    Configuration {
        /// The operator.
        operator: String,
        /// What of it.
        name: String,
        /// Why.
        source: serde_json::Error,
    },
}

impl StoreError {
    pub(super) fn open(location: &str, source: sqlx::Error) -> Self {
        Self::Open { location: without_password(location), source }
    }

    /// Says whether the same call may succeed later.
    pub(crate) fn is_retryable(&self) -> bool {
        matches!(self, Self::Database(_))
    }
}

/// A database's location as it may be shown.
fn without_password(location: &str) -> String {
    match (location.find("://"), location.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => {
            format!("{}://***{}", &location[..scheme], &location[at..])
        }
        _ => location.to_owned(),
    }
}
