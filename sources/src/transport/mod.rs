//! Transports: where bytes come from, whatever format they are in.

mod file;
mod journaled;
mod kafka;
mod messages;
mod udp;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use arrow::datatypes::SchemaRef;
use schemars::JsonSchema;
use schemas::SourceKind;
use serde::Deserialize;

use crate::journal::{self, Reader};
use crate::pace::Paced;
use crate::rows::Table;
use crate::transport::file::Capture;
use crate::transport::journaled::Journaled;
use crate::transport::udp::Udp;
use crate::{
    Decoder, Intake, LinkNames, Partition, Receiver, Source, SourceContext, SourceError, Speed,
};

pub use crate::transport::kafka::KafkaTopic;

/// Records in one batch of a recording that is read at full speed.
const RECORDS_PER_POLL: usize = 512;

/// Where bytes come from.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// A capture file.
    File(PathBuf),
    /// Datagrams of whole records, sent to this address. They are kept in a journal until they are
    /// done with, so that a restart loses none of them.
    Udp(SocketAddr),
    /// A folder that `fresnel record` has filled.
    Journal(PathBuf),
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
    /// The columns of rows, where rows come.
    pub(crate) schema: Option<SchemaRef>,
    pub(crate) speed: Speed,
    pub(crate) clock: Option<Clock>,
    pub(crate) max_delay_ms: u32,
    /// Makes a decoder; each partition has its own.
    pub(crate) decoder: &'a dyn Fn() -> Box<dyn Decoder>,
}

impl Ingress<'_> {
    /// Where the records of a partition are collected.
    fn intake(&self, kind: SourceKind, partition: &str) -> Intake {
        let intake = Intake::new(self.names.clone(), kind, self.context);
        let intake = intake.of_partition(self.context, partition);
        let intake = intake.with_max_delay_ms(self.max_delay_ms);
        let Some(schema) = &self.schema else { return intake };
        intake.with_rows(Table {
            stream: self.context.name.to_owned(),
            partition: partition.to_owned(),
            schema: Arc::clone(schema),
        })
    }
}

impl Transport {
    /// What the position is like, of a source of some content.
    pub(crate) fn state_shape(&self, content: &str) -> String {
        match self {
            Self::File(path) => format!("file 1, {content} in {}", path.display()),
            Self::Udp(_) => format!("udp 2, {content}"),
            Self::Journal(folder) => format!("journal 1, {content} in {}", folder.display()),
            Self::Kafka(topic) => format!("kafka 1, {content} in {}", topic.topic),
        }
    }

    /// Opens the file, binds the socket or asks for the topic.
    ///
    /// # Errors
    ///
    /// [`SourceError`] if that fails.
    pub(crate) fn open(&self, ingress: &Ingress<'_>) -> Result<Vec<Partition>, SourceError> {
        let SourceContext { directory, journal, name, .. } = *ingress.context;
        match self {
            Self::File(path) => {
                let open = |at_once| Capture::open(directory.join(path), ingress, at_once);
                paced(ingress.speed, open)
            }
            Self::Journal(folder) => {
                let open = |at_once| Journaled::recorded(directory.join(folder), at_once, ingress);
                paced(ingress.speed, open)
            }
            Self::Kafka(topic) => topic.open(ingress),
            Self::Udp(address) => {
                let folder = journal.join(name);
                let (receiver, reader) = listen(*address, &folder)?;
                let source = Journaled::new(&folder, reader, ingress)?;
                Ok(vec![Partition { receiver: Some(receiver), ..source.into() }])
            }
        }
    }

    /// What takes in the messages of a transport that cannot be asked again, into a folder.
    pub(crate) fn receiver(&self, folder: &Path) -> Result<Option<Box<dyn Receiver>>, SourceError> {
        match self {
            Self::Udp(address) => Ok(Some(listen(*address, folder)?.0)),
            Self::File(_) | Self::Journal(_) | Self::Kafka(_) => Ok(None),
        }
    }
}

/// A socket that fills a journal, and what reads it.
fn listen(address: SocketAddr, folder: &Path) -> Result<(Box<dyn Receiver>, Reader), SourceError> {
    let failed = |source| SourceError::Journal { folder: folder.to_owned(), source };
    let (writer, reader) = journal::open(folder).map_err(failed)?;
    Ok((Box::new(Udp::bind(address, folder, writer)?), reader))
}

/// A recording at a speed; `open` is told how many records to give at once.
fn paced<S: Source + 'static>(
    speed: Speed,
    open: impl FnOnce(usize) -> Result<S, SourceError>,
) -> Result<Vec<Partition>, SourceError> {
    Ok(vec![match speed {
        Speed::Full => open(RECORDS_PER_POLL)?.into(),
        Speed::Factor(factor) => Paced::new(open(1)?, factor).into(),
    }])
}

/// Nanoseconds since the Unix epoch; clocks set before it count as the epoch.
pub(crate) fn unix_ns(now: SystemTime) -> i64 {
    let since_epoch = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX)
}
