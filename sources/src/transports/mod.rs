//! Transports: where bytes come from, whatever format they are in.

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

/// Records in one batch of a recording that is read at full speed.
const RECORDS_PER_POLL: usize = 512;

/// The transport of bytes.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// A capture file. A file of the same name with `stp` behind it tells when its frames came in, as
    /// seconds and microseconds of 32 bits each.
    File(PathBuf),
    /// A capture file that something else still writes to. What is read is kept in a journal until it is
    /// done with, with the time that it was read. A file that takes its place is read from its beginning.
    Follow(PathBuf),
    /// Datagrams of whole records, sent to this address. They are kept in a journal until they are
    /// done with, so that a restart loses none of them.
    Udp(SocketAddr),
    /// Datagrams that come in over a network interface, whoever they are sent to; Fresnel needs
    /// `CAP_NET_RAW` then. They are kept in a journal until they are done with.
    Interface(NetworkInterface),
    /// Devices connect to this address and send records. They are kept in a journal until they are done
    /// with.
    Tcp(SocketAddr),
    /// A serial port. Records are kept in a journal until they are done with.
    Serial(SerialLine),
    /// A folder that `fresnel record` has filled.
    Journal(PathBuf),
    /// Messages of whole records.
    Kafka(KafkaTopic),
    /// Messages of whole records from a broker of MQTT 5, which keeps them until they are in a
    /// checkpoint; so does a journal.
    Mqtt(MqttTopic),
}

impl Transport {
    /// True if bytes come without telling where a record ends.
    pub(crate) fn is_stream(&self) -> bool {
        matches!(self, Self::File(_) | Self::Follow(_) | Self::Tcp(_) | Self::Serial(_))
    }

    /// True if it is known who sent what comes.
    pub(crate) fn tells_senders(&self) -> bool {
        !matches!(self, Self::File(_) | Self::Serial(_) | Self::Kafka(_) | Self::Mqtt(_))
    }

    /// What the position is like, of a source of some content.
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

    /// Records the messages of a push transport in a folder.
    pub(crate) fn recorder(
        &self,
        name: &str,
        folder: &Path,
        decoder: Box<dyn Decoder>,
    ) -> Result<Option<Box<dyn Receiver>>, SourceError> {
        let (id, directory) = (client_id("record", name), Path::new(""));
        // There are no checkpoints to wait for.
        let reception = Reception { id, directory, most_waiting: 0, decoder };
        let filling = self.fill(folder, 0, reception)?;
        Ok(filling.map(|(filling, _)| Box::new(filling) as Box<dyn Receiver>))
    }

    /// What fills the journal in a folder, and what reads it, behind the offset that earlier runs have
    /// read; none for what can be asked again.
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

/// Fills the journal in a folder from what `open` opens.
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
    /// The client id.
    id: String,
    /// The folder that relative paths are relative to.
    directory: &'a Path,
    /// Messages of a broker that wait for a checkpoint at most.
    most_waiting: usize,
    /// Finds the ends of records in a stream of bytes.
    decoder: Box<dyn Decoder>,
}

/// The client id of a source.
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
