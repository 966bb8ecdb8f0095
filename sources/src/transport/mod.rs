//! Transports: where bytes come from, whatever format they are in.

mod file;
mod journaled;
mod kafka;
mod messages;
mod mqtt;
mod serial;
mod silent;
mod udp;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use arrow::datatypes::SchemaRef;
use schemars::JsonSchema;
use schemas::SourceKind;
use serde::Deserialize;

use crate::journal::{self, Reader, Writer};
use crate::pace::Paced;
use crate::rows::Table;
use crate::transport::file::Capture;
use crate::transport::journaled::Journaled;
use crate::transport::mqtt::{MOST_KEPT_WAITING, Mqtt};
use crate::transport::serial::Serial;
use crate::transport::udp::Udp;
use crate::{
    Decoder, Intake, LinkNames, Partition, Receiver, Source, SourceContext, SourceError, Speed,
};

pub use crate::transport::kafka::KafkaTopic;
pub use crate::transport::mqtt::MqttTopic;
pub use crate::transport::serial::SerialLine;

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
    /// A serial port, each line a record. They are kept in a journal until they are done with.
    Serial(SerialLine),
    /// A folder that `fresnel record` has filled.
    Journal(PathBuf),
    /// Messages of whole records.
    Kafka(KafkaTopic),
    /// Messages of whole records from a broker of MQTT 5, which keeps them until they are in a
    /// checkpoint; so does a journal.
    Mqtt(MqttTopic),
}

/// Which clock gives the capture times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    /// The device's own, which starts anywhere, jumps and wraps; wraps are undone.
    Device,
    /// The device's own, kept steady: jumps are told by the frame counter, and where the time of
    /// arrival is known the clock follows it.
    Aligned,
    /// The time at which the bytes came in; with Kafka, the time that the message carries.
    Arrival,
}

/// What `idle_timeout_ms` is unless it is set.
pub(crate) fn default_idle_timeout_ms() -> u32 {
    30_000
}

/// What is done with the bytes of a transport.
pub(crate) struct Ingress<'a> {
    pub(crate) context: &'a SourceContext<'a>,
    pub(crate) names: LinkNames,
    /// True if receivers are named by who sends, where frames do not tell.
    pub(crate) by_sender: bool,
    /// The columns of rows, where rows come.
    pub(crate) schema: Option<SchemaRef>,
    pub(crate) speed: Speed,
    pub(crate) clock: Option<Clock>,
    pub(crate) max_delay_ms: u32,
    pub(crate) idle_timeout_ms: u32,
    /// URL of the schema registry, where messages name schemas.
    pub(crate) registry: Option<&'a str>,
    /// Makes a decoder; each partition has its own.
    pub(crate) decoder: &'a dyn Fn() -> Box<dyn Decoder>,
}

impl Ingress<'_> {
    /// Where the records of a partition are collected, by a clock unless another was chosen.
    fn intake(&self, kind: SourceKind, partition: &str, clock: Clock) -> Intake {
        let intake = Intake::new(self.names.clone(), kind, self.context);
        let intake = intake.of_partition(self.context, partition);
        let intake = intake.with_max_delay_ms(self.max_delay_ms);
        let intake = intake.with_clock(self.clock.unwrap_or(clock)).with_senders(self.by_sender);
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
            Self::File(path) => format!("file 3, {content} in {}", path.display()),
            Self::Udp(_) => format!("udp 5, {content}"),
            Self::Journal(folder) => format!("journal 4, {content} in {}", folder.display()),
            Self::Kafka(topic) => format!("kafka 3, {content} in {}", topic.topic),
            Self::Serial(line) => format!("serial 4, {content} at {}", line.path.display()),
            Self::Mqtt(topic) => format!("mqtt 4, {content} in {}", topic.topic),
        }
    }

    /// Opens the file, binds the socket or asks for the topic.
    ///
    /// # Errors
    ///
    /// [`SourceError`] if that fails.
    pub(crate) fn open(&self, ingress: &Ingress<'_>) -> Result<Vec<Partition>, SourceError> {
        let SourceContext { directory, journal, site, name, .. } = *ingress.context;
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
                journaled(&folder, listen(*address, &folder)?, ingress)
            }
            Self::Serial(line) => {
                let folder = journal.join(name);
                journaled(&folder, attach(line, &folder)?, ingress)
            }
            Self::Mqtt(topic) => {
                let folder = journal.join(name);
                let id = client_id(site, name);
                journaled(&folder, subscribe(topic, &id, &folder, MOST_KEPT_WAITING)?, ingress)
            }
        }
    }

    /// What takes in the messages of a transport that cannot be asked again, into a folder.
    pub(crate) fn receiver(
        &self,
        name: &str,
        folder: &Path,
    ) -> Result<Option<Box<dyn Receiver>>, SourceError> {
        match self {
            Self::Udp(address) => Ok(Some(listen(*address, folder)?.0)),
            Self::Serial(line) => Ok(Some(attach(line, folder)?.0)),
            Self::Mqtt(topic) => {
                Ok(Some(subscribe(topic, &client_id("record", name), folder, 0)?.0))
            }
            Self::File(_) | Self::Journal(_) | Self::Kafka(_) => Ok(None),
        }
    }
}

/// What fills a journal, and what reads it.
type Journaling = (Box<dyn Receiver>, Reader);

fn listen(address: SocketAddr, folder: &Path) -> Result<Journaling, SourceError> {
    let (writer, reader) = open_journal(folder)?;
    Ok((Box::new(Udp::bind(address, folder, writer)?), reader))
}

fn attach(line: &SerialLine, folder: &Path) -> Result<Journaling, SourceError> {
    let (writer, reader) = open_journal(folder)?;
    Ok((Box::new(Serial::open(line, folder, writer)?), reader))
}

fn subscribe(
    topic: &MqttTopic,
    id: &str,
    folder: &Path,
    most_kept_waiting: usize,
) -> Result<Journaling, SourceError> {
    let (writer, reader) = open_journal(folder)?;
    Ok((Box::new(Mqtt::connect(topic, id, folder, writer, most_kept_waiting)?), reader))
}

fn open_journal(folder: &Path) -> Result<(Writer, Reader), SourceError> {
    let failed = |source| SourceError::Journal { folder: folder.to_owned(), source };
    journal::open(folder).map_err(failed)
}

/// The only partition of a source that reads a journal.
fn journaled(
    folder: &Path,
    (receiver, reader): Journaling,
    ingress: &Ingress<'_>,
) -> Result<Vec<Partition>, SourceError> {
    let source = Journaled::new(folder, reader, ingress)?;
    Ok(vec![Partition { receiver: Some(receiver), ..source.into() }])
}

/// How brokers know a source.
fn client_id(site: &str, name: &str) -> String {
    format!("fresnel-{site}-{name}")
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
