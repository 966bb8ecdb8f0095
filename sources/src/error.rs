//! Errors of sources.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::path::PathBuf;

use rdkafka::error::KafkaError;
use registry::RegistryError;
use rumqttc::v5::ConnectionError;

/// A failure of a source. `Display` describes this error alone; `source()` returns its cause.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// A file could not be opened or read.
    #[error("could not read {path:?}")]
    Read {
        /// The path as the pipeline has it.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The source could not listen on an address.
    #[error("could not listen on udp {address}")]
    Bind {
        /// The address as the pipeline has it.
        address: SocketAddr,
        /// The operating system's error.
        source: io::Error,
    },
    /// The network stopped delivering data.
    #[error("could not receive on udp {address}")]
    Receive {
        /// The address as the pipeline has it.
        address: SocketAddr,
        /// The operating system's error.
        source: io::Error,
    },
    /// A topic could not be read.
    #[error("could not read topic {topic:?} of kafka at {brokers}")]
    Kafka {
        /// The brokers as the pipeline has them.
        brokers: String,
        /// The topic.
        topic: String,
        /// The client's error.
        source: Box<KafkaError>,
    },
    /// A broker was unreachable, or refused the connection.
    #[error("could not connect to mqtt at {broker}")]
    Mqtt {
        /// Host and port.
        broker: String,
        /// The client's error.
        source: Box<ConnectionError>,
    },
    /// The sender or broker is unreachable for now.
    #[error("could not reach the {peer}")]
    Away {
        /// The name of the peer.
        peer: String,
    },
    /// A broker refused a subscription.
    #[error("mqtt at {broker} refuses the subscription to {topic:?}: {reason}")]
    Subscription {
        /// Host and port.
        broker: String,
        /// The topic filter.
        topic: String,
        /// The broker's reason code.
        reason: String,
    },
    /// The source could not listen on a network interface.
    #[error(
        "could not listen to the network interface {name:?}: the process needs the capability CAP_NET_RAW"
    )]
    Interface {
        /// The interface.
        name: String,
        /// The operating system's error.
        source: io::Error,
    },
    /// A serial port could not be opened.
    #[error("could not open the serial port {path:?}")]
    Serial {
        /// The port.
        path: PathBuf,
        /// The cause.
        source: serialport::Error,
    },
    /// A decision about a partition could not be stored or read.
    #[error("could not store or read the decisions about {name:?}")]
    Decision {
        /// The source's name.
        name: String,
        /// True if the store is unreachable, and may be back at any time.
        is_outage: bool,
        /// The store's error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The journal of a push source could not be written or read.
    #[error("could not use the journal in {folder:?}")]
    Journal {
        /// The journal's folder.
        folder: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// A schema registry does not answer.
    #[error("could not read schema {number} of a message")]
    Registry {
        /// The schema's number.
        number: u32,
        /// The failure.
        source: RegistryError,
    },
    /// A replayable transport needs no recording.
    #[error("{name:?} cannot be recorded: only sources with a journal can")]
    NothingToRecord {
        /// The source's name.
        name: String,
    },
    /// The saved position of an earlier run is not one of this source.
    #[error("cannot use the saved position of {name:?}")]
    Position {
        /// The source's name.
        name: String,
        /// The cause.
        source: postcard::Error,
    },
    /// A file ends before the saved position.
    #[error("cannot continue in {path:?} at byte {offset}: the file is shorter")]
    Shorter {
        /// The path as the pipeline has it.
        path: PathBuf,
        /// The offset to continue at, in bytes.
        offset: u64,
    },
    /// `ffmpeg` could not be started.
    #[error("could not start ffmpeg, which decodes the video of {name:?}")]
    Ffmpeg {
        /// The source's name.
        name: String,
        /// The operating system's error.
        source: io::Error,
    },
    /// A scene file is not valid.
    #[error("cannot use scene {path:?}: {reason}")]
    Scene {
        /// The path as the pipeline has it.
        path: PathBuf,
        /// The cause.
        reason: String,
    },
}

impl SourceError {
    /// True if an external system is unavailable and may be back. The caller then repeats the same call.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Registry { .. } | Self::Away { .. } => true,
            Self::Decision { is_outage, .. } => *is_outage,
            Self::Journal { source, .. } => {
                matches!(source.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
            }
            _ => false,
        }
    }
}
