//! Why a sink cannot take records.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::path::PathBuf;

use arrow::error::ArrowError;
use deltalake::DeltaTableError;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use schemas::TableError;

use crate::kafka::RegistryError;
use crate::rejected::{NO_COLUMN, NO_FORM};

/// A failure of a sink. `Display` tells this error alone; its cause is `source()`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SinkError {
    /// A file or folder could not be opened for writing.
    #[error("could not open {path:?} for writing")]
    Open {
        /// The path as the pipeline has it.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// A file stopped taking bytes.
    #[error("could not write to {path:?}")]
    Write {
        /// The path as the pipeline has it.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// A record could not be put into JSON.
    #[error("cannot encode a record of tick {tick}")]
    Encode {
        /// The record's tick.
        tick: u64,
        /// The encoder's error.
        source: serde_json::Error,
    },
    /// Records could not be put into a table's columns.
    #[error("cannot put records into the table at {path:?}")]
    Table {
        /// The table's folder.
        path: PathBuf,
        /// The cause.
        source: TableError,
    },
    /// A file is shorter than it was when it was committed to.
    #[error("{path:?} has {found} bytes, but {committed} were committed")]
    Shorter {
        /// The path as the pipeline has it.
        path: PathBuf,
        /// Its length now.
        found: u64,
        /// The upper before.
        committed: u64,
    },
    /// A file holds what another sink or pipeline has written, or nobody knows who.
    #[error("{path:?} has {}: move it away, or choose another path", output_of(.writer.as_deref()))]
    OfOthers {
        /// The path as the pipeline has it.
        path: PathBuf,
        /// The writer, if it is known.
        writer: Option<String>,
    },
    /// A table is not there any more.
    #[error("{path:?} was removed or replaced while the pipeline ran")]
    Removed {
        /// The path as the pipeline has it.
        path: PathBuf,
    },
    /// Another run has written to the same place since.
    #[error("another run of the pipeline writes to {path:?}")]
    Fenced {
        /// The path as the pipeline has it.
        path: PathBuf,
    },
    /// A later run has the sink's name now, among all that send.
    #[error("another run of the pipeline sends as {sink:?}")]
    TakenOver {
        /// Pipeline and name of the sink.
        sink: String,
    },
    /// Records could not be put into the columns that a topic's values have.
    #[error("cannot put a record into the columns of {topic:?}")]
    Columns {
        /// The topic.
        topic: String,
        /// The cause.
        source: TableError,
    },
    /// A record has no form in Avro.
    #[error("cannot write a record as a value of {topic:?}")]
    Value {
        /// The topic.
        topic: String,
        /// The encoder's error.
        source: ArrowError,
    },
    /// Columns have no form in Avro.
    #[error("cannot write values of {topic:?} as avro")]
    Avro {
        /// The topic.
        topic: String,
        /// The encoder's error.
        source: ArrowError,
    },
    /// Columns have no form in Protobuf.
    #[error("columns of {topic:?} have no form in protobuf")]
    Protobuf {
        /// The topic.
        topic: String,
    },
    /// A schema has no number.
    #[error("values have no schema")]
    Registry {
        /// The registry's error.
        source: RegistryError,
    },
    /// Brokers could not be reached, or refused.
    #[error("could not send to kafka at {brokers}")]
    Kafka {
        /// The brokers as the pipeline has them.
        brokers: String,
        /// The client's error.
        source: Box<KafkaError>,
    },
    /// A Delta table could not be read or committed to.
    #[error("could not read the table at {path:?}, or commit to it")]
    Delta {
        /// The table's folder.
        path: PathBuf,
        /// The table library's error.
        source: Box<DeltaTableError>,
    },
}

impl SinkError {
    /// True if a later run has taken over.
    pub fn is_taken_over(&self) -> bool {
        matches!(self, Self::Fenced { .. } | Self::TakenOver { .. })
    }

    /// Why a record is rejected, if it is a single record that fails.
    pub(crate) fn rejects(&self) -> Option<&'static str> {
        match self {
            Self::Columns { .. } => Some(NO_COLUMN),
            Self::Encode { .. } | Self::Value { .. } => Some(NO_FORM),
            _ => None,
        }
    }

    /// True if the destination is unreachable or full.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Kafka { .. } | Self::Registry { .. } => self.is_retryable(),
            Self::Write { source, .. } => is_of_full_disk(source),
            Self::Delta { source, .. } => is_of_full_disk(source),
            _ => false,
        }
    }

    /// True if the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            // The disk may be freed.
            Self::Write { .. } | Self::Delta { .. } => true,
            Self::Kafka { source, .. } => !refused(source),
            Self::Registry { source } => source.is_outage(),
            // A wrong path and an unencodable value stay what they are.
            Self::Open { .. }
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

/// True if an error comes of a disk that is full, which may be freed at any time.
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

/// True for what a broker will not take, however often it is asked.
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
