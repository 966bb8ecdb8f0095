//! Transports: read bytes of any format from files, networks, serial ports and brokers.

mod datagrams;
mod file;
mod fingerprint;
mod follow;
mod followed;
mod host_times;
mod interface;
mod kafka;
mod mqtt;
mod push;
mod serial;
mod tcp;
mod udp;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use crate::journal::{self, Reader, Writer};
use crate::partitions::ingress::Ingress;
use crate::partitions::journal_source::JournalSource;
use crate::partitions::pace::Paced;
use crate::partitions::partition_decoder::furthest_offset;
use crate::transports::file::Capture;
use crate::transports::follow::Follow;
use crate::transports::interface::Interface;
use crate::transports::mqtt::{MOST_WAITING, Mqtt};
use crate::transports::push::{JournalRecorder, PushTransport};
use crate::transports::serial::Serial;
use crate::transports::tcp::Tcp;
use crate::transports::udp::Udp;
use crate::{Decoder, Partition, Receiver, Source, SourceContext, SourceError, Speed};

pub use crate::transports::interface::NetworkInterface;
pub use crate::transports::kafka::KafkaTopic;
pub use crate::transports::mqtt::MqttTopic;
pub use crate::transports::serial::SerialLine;

/// Maximum number of records in one poll of a recording that is read at full speed.
const RECORDS_PER_POLL: usize = 512;

/// The transport of bytes.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// A capture file. A file of the same name followed by `stp` contains the arrival times of its frames,
    /// if it exists: seconds and microseconds of 32 bits each.
    File(PathBuf),
    /// A capture file that another process still writes to. A journal stores its records, with the time of
    /// reading, until they are in every checkpoint that is kept. A file that replaces it is read from its
    /// beginning.
    Follow(PathBuf),
    /// Datagrams of whole records, sent to this address. A journal stores them until they are in every
    /// checkpoint that is kept, so a restart loses none of them.
    Udp(SocketAddr),
    /// Datagrams that arrive over a network interface, whatever host they are addressed to. Fresnel then
    /// needs the capability `CAP_NET_RAW`. A journal stores them until they are in every checkpoint that is
    /// kept.
    Interface(NetworkInterface),
    /// A TCP address that devices connect to and send records. A journal stores the records until they are
    /// in every checkpoint that is kept.
    Tcp(SocketAddr),
    /// A serial port. A journal stores its records until they are in every checkpoint that is kept.
    Serial(SerialLine),
    /// A folder that `fresnel record` has written.
    Journal(PathBuf),
    /// Messages of whole records from a Kafka topic.
    Kafka(KafkaTopic),
    /// Messages of whole records from an MQTT 5 broker. The broker and a journal store them until they are
    /// in every checkpoint that is kept.
    Mqtt(MqttTopic),
}

impl fmt::Display for Transport {
    /// The origin of the bytes, for messages.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) | Self::Follow(path) => write!(formatter, "file {}", path.display()),
            Self::Udp(address) => write!(formatter, "UDP address {address}"),
            Self::Interface(interface) => write!(
                formatter,
                "UDP port {} of network interface {}",
                interface.port, interface.name
            ),
            Self::Tcp(address) => write!(formatter, "TCP address {address}"),
            Self::Serial(line) => write!(formatter, "serial port {}", line.path.display()),
            Self::Journal(folder) => write!(formatter, "recording {}", folder.display()),
            Self::Kafka(topic) => write!(formatter, "topic {} at {}", topic.topic, topic.brokers),
            Self::Mqtt(topic) => {
                write!(formatter, "topic {} at {}:{}", topic.topic, topic.host, topic.port)
            }
        }
    }
}

impl Transport {
    /// True if the transport does not preserve the bounds of records.
    pub(crate) fn is_stream(&self) -> bool {
        matches!(self, Self::File(_) | Self::Follow(_) | Self::Tcp(_) | Self::Serial(_))
    }

    /// True if the transport reports the senders of messages.
    pub(crate) fn tells_senders(&self) -> bool {
        !matches!(self, Self::File(_) | Self::Serial(_) | Self::Kafka(_) | Self::Mqtt(_))
    }

    /// Returns the shape of the position, for a source of this content.
    pub(crate) fn state_shape(&self, content: &str) -> String {
        match self {
            Self::File(path) => format!("file 6, {content} in {}", path.display()),
            Self::Follow(path) => format!("follow 3, {content} in {}", path.display()),
            Self::Udp(_) => format!("udp 7, {content}"),
            Self::Interface(interface) => format!("interface 3, {content} at {}", interface.name),
            Self::Tcp(_) => format!("tcp 3, {content}"),
            Self::Journal(folder) => format!("journal 6, {content} in {}", folder.display()),
            Self::Kafka(topic) => format!("kafka 6, {content} in {}", topic.topic),
            Self::Serial(line) => format!("serial 6, {content} at {}", line.path.display()),
            Self::Mqtt(topic) => format!("mqtt 6, {content} in {}", topic.topic),
        }
    }

    /// Opens the file, binds the socket or requests the topic.
    ///
    /// # Errors
    ///
    /// [`SourceError`] if the transport cannot be opened.
    pub(crate) fn open(&self, ingress: &Ingress<'_>) -> Result<Vec<Partition>, SourceError> {
        let SourceContext { directory, journal, site, name, .. } = *ingress.context;
        match self {
            Self::File(path) => {
                let open = |at_once| Capture::open(directory.join(path), ingress, at_once);
                paced(ingress.speed, open)
            }
            Self::Journal(folder) => {
                let open =
                    |at_once| JournalSource::recorded(directory.join(folder), at_once, ingress);
                paced(ingress.speed, open)
            }
            Self::Kafka(topic) => topic.open(ingress),
            _ => {
                let (id, decoder) = (client_id(site, name), (ingress.decoder)());
                let reception = Reception { id, directory, most_waiting: MOST_WAITING, decoder };
                let folder = journal.join(name);
                let read_up_to = furthest_offset(ingress.context)?;
                let Some((filling, reader)) = self.fill(&folder, read_up_to, reception)? else {
                    return Ok(Vec::new());
                };
                let source = JournalSource::new(&folder, reader, ingress)?;
                Ok(vec![Partition { receiver: Some(Box::new(filling)), ..source.into() }])
            }
        }
    }

    /// Returns a receiver that records a push transport in a folder; none for a replayable transport.
    pub(crate) fn recorder(
        &self,
        name: &str,
        folder: &Path,
        decoder: Box<dyn Decoder>,
    ) -> Result<Option<Box<dyn Receiver>>, SourceError> {
        let (id, directory) = (client_id("record", name), Path::new(""));
        // A recording has no checkpoints to wait for.
        let reception = Reception { id, directory, most_waiting: 0, decoder };
        let filling = self.fill(folder, 0, reception)?;
        Ok(filling.map(|(filling, _)| Box::new(filling) as Box<dyn Receiver>))
    }

    /// Opens the recorder and the reader of the journal in a folder. Entries begin at or after
    /// `read_up_to`, the offset that earlier runs have read. None for a replayable transport.
    fn fill(
        &self,
        folder: &Path,
        read_up_to: u64,
        reception: Reception<'_>,
    ) -> Result<Option<(JournalRecorder, Reader)>, SourceError> {
        let Reception { id, directory, most_waiting, decoder } = reception;
        let filled = match self {
            Self::File(_) | Self::Journal(_) | Self::Kafka(_) => return Ok(None),
            Self::Follow(path) => fill(folder, read_up_to, |journal| {
                Follow::open(directory.join(path), journal, decoder)
            }),
            Self::Udp(address) => fill(folder, read_up_to, |_| Udp::bind(*address)),
            Self::Interface(interface) => fill(folder, read_up_to, |_| Interface::open(interface)),
            Self::Tcp(address) => fill(folder, read_up_to, |_| Tcp::bind(*address, decoder)),
            Self::Serial(line) => fill(folder, read_up_to, |_| Serial::open(line, decoder)),
            Self::Mqtt(topic) => {
                fill(folder, read_up_to, |journal| Mqtt::connect(topic, &id, most_waiting, journal))
            }
        };
        filled.map(Some)
    }
}

/// Opens the journal in a folder, and with `open` the transport that fills it.
fn fill<I: PushTransport + 'static>(
    folder: &Path,
    read_up_to: u64,
    open: impl FnOnce(&mut Writer) -> Result<I, SourceError>,
) -> Result<(JournalRecorder, Reader), SourceError> {
    let failed = |source| SourceError::Journal { folder: folder.to_owned(), source };
    let (mut journal, reader) = journal::open(folder, read_up_to).map_err(failed)?;
    let inlet = Box::new(open(&mut journal)?);
    Ok((JournalRecorder::new(inlet, journal), reader))
}

/// The options of transports with a journal.
struct Reception<'a> {
    /// The client id at a broker.
    id: String,
    /// The folder that relative paths are relative to.
    directory: &'a Path,
    /// Maximum number of a broker's messages that wait for a checkpoint.
    most_waiting: usize,
    /// Finds the ends of records in a stream of bytes.
    decoder: Box<dyn Decoder>,
}

fn client_id(site: &str, name: &str) -> String {
    format!("fresnel-{site}-{name}")
}

/// Opens a recording at a speed. The argument of `open` is the maximum number of records in one poll.
fn paced<S: Source + 'static>(
    speed: Speed,
    open: impl FnOnce(usize) -> Result<S, SourceError>,
) -> Result<Vec<Partition>, SourceError> {
    Ok(vec![match speed {
        Speed::Full => open(RECORDS_PER_POLL)?.into(),
        Speed::Factor(factor) => Paced::new(open(1)?, factor).into(),
    }])
}
