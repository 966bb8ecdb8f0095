//! Transports: where bytes come from, whatever format they are in.

mod file;
mod kafka;
mod udp;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::SystemTime;

use schemars::JsonSchema;
use schemas::SourceKind;
use serde::Deserialize;

use crate::pace::Paced;
use crate::transport::file::Capture;
use crate::transport::udp::Udp;
use crate::{Decoder, Intake, LinkNames, Partition, SourceContext, SourceError, Speed};

pub use crate::transport::kafka::KafkaTopic;

/// Records in one batch of a recording that is read at full speed.
const RECORDS_PER_POLL: usize = 512;

/// Where bytes come from.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// A capture file.
    File(PathBuf),
    /// Datagrams of whole records, sent to this address.
    Udp(SocketAddr),
    /// Messages of whole records.
    Kafka(KafkaTopic),
}

/// Which clock gives the capture times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    /// The device's own, which starts anywhere, jumps and wraps; wraps are undone.
    Device,
    /// The time at which the bytes came in; with Kafka, the time that the message carries.
    Arrival,
}

/// What is done with the bytes of a transport.
pub(crate) struct Ingress<'a> {
    pub(crate) context: &'a SourceContext<'a>,
    pub(crate) names: LinkNames,
    pub(crate) speed: Speed,
    pub(crate) clock: Option<Clock>,
    pub(crate) max_delay_ms: u32,
    /// Makes a decoder; each partition has its own.
    pub(crate) decoder: &'a dyn Fn() -> Box<dyn Decoder>,
}

impl Ingress<'_> {
    /// Where the records of a partition are collected.
    fn intake(&self, kind: SourceKind) -> Intake {
        let intake = Intake::new(self.names.clone(), kind, self.context);
        intake.with_max_delay_ms(self.max_delay_ms)
    }
}

impl Transport {
    /// What the position is like, of a source of some content.
    pub(crate) fn state_shape(&self, content: &str) -> String {
        match self {
            Self::File(path) => format!("file 1, {content} in {}", path.display()),
            Self::Udp(_) => "udp 1".to_owned(),
            Self::Kafka(topic) => format!("kafka 1, {content} in {}", topic.topic),
        }
    }

    /// Opens the file, binds the socket or asks for the topic.
    ///
    /// # Errors
    ///
    /// [`SourceError`] if that fails.
    pub(crate) fn open(&self, ingress: &Ingress<'_>) -> Result<Vec<Partition>, SourceError> {
        let source = match self {
            Self::File(path) => {
                let path = ingress.context.directory.join(path);
                match ingress.speed {
                    Speed::Full => Capture::open(path, ingress, RECORDS_PER_POLL)?.into(),
                    Speed::Factor(factor) => {
                        Paced::new(Capture::open(path, ingress, 1)?, factor).into()
                    }
                }
            }
            Self::Udp(address) => Udp::bind(*address, ingress)?.into(),
            Self::Kafka(topic) => return topic.open(ingress),
        };
        Ok(vec![source])
    }
}

/// Nanoseconds since the Unix epoch; clocks set before it count as the epoch.
pub(crate) fn unix_ns(now: SystemTime) -> i64 {
    let since_epoch = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX)
}
