//! Errors of sinks.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::path::PathBuf;

use arrow::error::ArrowError;
use deltalake::DeltaTableError;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use registry::RegistryError;
use schemas::TableError;
use storage::{StorageError, is_outage};

use crate::kafka::connection::no_answer;
use crate::rejected::{NO_COLUMN, NO_FORM};

/// A failure of a sink. `Display` describes only this error; its cause is `source()`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SinkError {
    /// A file or folder could not be opened for writing.
    #[error("could not open {path:?} for writing")]
    Open {
        /// The path of the file or folder.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// A write to a file failed.
    #[error("could not write to {path:?}")]
    Write {
        /// The path of the file or folder.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// A record could not be encoded as JSON.
    #[error("cannot encode a record of tick {tick}")]
    Encode {
        /// The record's tick.
        tick: u64,
        /// The encoder's error.
        source: serde_json::Error,
    },
    /// Records could not be converted to a table's columns.
    #[error("cannot put records into the table at {path:?}")]
    Table {
        /// The table's folder.
        path: PathBuf,
        /// The cause.
        source: TableError,
    },
    /// A file is shorter than its committed part.
    #[error("{path:?} has {found} bytes, but {committed} were committed")]
    Shorter {
        /// The path of the file or folder.
        path: PathBuf,
        /// Its length now, in bytes.
        found: u64,
        /// Its committed length, in bytes.
        committed: u64,
    },
    /// A file contains output of another sink or pipeline, or of an unknown writer.
    #[error("{path:?} has {}: move it away, or choose another path", output_of(.writer.as_deref()))]
    OfOthers {
        /// The path of the file or folder.
        path: PathBuf,
        /// The writer, if known.
        writer: Option<String>,
    },
    /// A table was removed or replaced during the run.
    #[error("{path:?} was removed or replaced while the pipeline ran")]
    Removed {
        /// The path of the file or folder.
        path: PathBuf,
    },
    /// Another run has written to the same place.
    #[error("another run of the pipeline writes to {path:?}")]
    Fenced {
        /// The path of the file or folder.
        path: PathBuf,
    },
    /// A later run has taken over the sink's name at the brokers.
    #[error("another run of the pipeline sends as {sink:?}")]
    TakenOver {
        /// Pipeline and name of the sink.
        sink: String,
    },
    /// Records could not be converted to the columns of a topic's values.
    #[error("cannot put a record into the columns of {topic:?}")]
    Columns {
        /// The topic.
        topic: String,
        /// The cause.
        source: TableError,
    },
    /// Avro cannot represent a record.
    #[error("cannot write a record as a value of {topic:?}")]
    Value {
        /// The topic.
        topic: String,
        /// The encoder's error.
        source: ArrowError,
    },
    /// Avro cannot represent the columns of a topic's values.
    #[error("cannot write values of {topic:?} as avro")]
    Avro {
        /// The topic.
        topic: String,
        /// The encoder's error.
        source: ArrowError,
    },
    /// Protobuf cannot represent the columns of a topic's values.
    #[error("columns of {topic:?} have no form in protobuf")]
    Protobuf {
        /// The topic.
        topic: String,
    },
    /// The schema of values could not be registered.
    #[error("values have no schema")]
    Registry {
        /// The registry's error.
        source: RegistryError,
    },
    /// Brokers could not be reached, or rejected a request.
    #[error("could not send to kafka at {brokers}{}", no_answer(source))]
    Kafka {
        /// The brokers, as in the pipeline file.
        brokers: String,
        /// The client's error.
        source: Box<KafkaError>,
    },
    /// The place of a history cannot be used.
    #[error(transparent)]
    Storage(StorageError),
    /// A Delta table could not be read or committed to.
    #[error("could not read the table at {path:?}, or commit to it")]
    Delta {
        /// The table's folder.
        path: PathBuf,
        /// The table library's error.
        source: Box<DeltaTableError>,
    },
}

impl From<StorageError> for SinkError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Folder { path, source } => Self::Open { path, source },
            error => Self::Storage(error),
        }
    }
}

impl SinkError {
    /// Returns true if a later run has taken over.
    pub fn is_taken_over(&self) -> bool {
        matches!(self, Self::Fenced { .. } | Self::TakenOver { .. })
    }

    /// Returns the reason of a rejection, if a single record causes the error.
    pub(crate) fn rejects(&self) -> Option<&'static str> {
        match self {
            Self::Columns { .. } => Some(NO_COLUMN),
            Self::Encode { .. } | Self::Value { .. } => Some(NO_FORM),
            _ => None,
        }
    }

    /// Returns true if the destination is unreachable or full.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Kafka { .. } | Self::Registry { .. } => self.is_retryable(),
            Self::Write { source, .. } => is_of_full_disk(source),
            Self::Delta { source, .. } => is_of_full_disk(source) || is_outage(source),
            _ => false,
        }
    }

    /// Returns true if the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            // Space on the disk may be freed.
            Self::Write { .. } | Self::Delta { .. } => true,
            Self::Kafka { source, .. } => !refused(source),
            Self::Registry { source } => source.is_outage(),
            // A retry does not change a wrong path or an unencodable value.
            Self::Open { .. }
            | Self::Storage(_)
            | Self::Encode { .. }
            | Self::Table { .. }
            | Self::Columns { .. }
            | Self::Value { .. }
            | Self::Avro { .. }
            | Self::Protobuf { .. }
            | Self::Shorter { .. }
            | Self::OfOthers { .. }
            | Self::Removed { .. }
            | Self::Fenced { .. }
            | Self::TakenOver { .. } => false,
        }
    }
}

/// True if a full disk causes the error; its space may be freed at any time.
fn is_of_full_disk(error: &(dyn Error + 'static)) -> bool {
    let Some(io) = error.downcast_ref::<io::Error>() else {
        return error.source().is_some_and(is_of_full_disk);
    };
    let wrapped = io.get_ref().is_some_and(|wrapped| is_of_full_disk(wrapped));
    wrapped || matches!(io.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

fn output_of(writer: Option<&str>) -> String {
    match writer {
        Some(writer) => format!("output of {writer:?}"),
        None => "content of unknown origin".to_owned(),
    }
}

/// True if brokers or the client reject every attempt.
fn refused(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{
        ClusterAuthorizationFailed, InvalidTopic, MessageSizeTooLarge, SaslAuthenticationFailed,
        TopicAuthorizationFailed, TransactionalIdAuthorizationFailed,
    };
    let misconfigured =
        matches!(error, KafkaError::ClientConfig(..) | KafkaError::ClientCreation(_));
    let code = error.rdkafka_error_code();
    let code = match error {
        KafkaError::Transaction(error) => Some(error.code()),
        _ => code,
    };
    misconfigured
        || code.is_some_and(|code| {
            matches!(
                code,
                ClusterAuthorizationFailed
                    | InvalidTopic
                    | MessageSizeTooLarge
                    | SaslAuthenticationFailed
                    | TopicAuthorizationFailed
                    | TransactionalIdAuthorizationFailed
            )
        })
}
