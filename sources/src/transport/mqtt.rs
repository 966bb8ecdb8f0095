//! MQTT: each message holds whole records. What the broker sends is acknowledged when the journal has
//! it, so that what was not comes again.

use std::fmt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use rumqttc::{Client, Connection, ConnectionError, Event, MqttOptions, Packet, Publish, QoS};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::journal::{Beyond, Writer};
use crate::transport::unix_ns;
use crate::{Receiver, SourceError};

/// How long to wait for a message before saying that none came.
const PATIENCE: Duration = Duration::from_millis(20);
/// Messages taken in one go at most.
const MESSAGES_AT_ONCE: usize = 256;
/// Requests of ours that wait to be sent: acknowledgements of one go, and a subscription.
const REQUESTS: usize = 2 * MESSAGES_AT_ONCE;
const LARGEST_MESSAGE: usize = 1024 * 1024;
/// How soon to connect again.
const CONNECT_AGAIN: Duration = Duration::from_millis(500);
/// Packets to read until the broker has said that we are subscribed; it may send messages before.
const FIRST_PACKETS: usize = 1000;

/// A broker, and what to subscribe to.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MqttTopic {
    /// The broker's host.
    pub host: String,
    /// Its port; 1883 by default.
    #[serde(default = "default_port")]
    pub port: u16,
    /// Topic filter, such as "home/+/csi".
    pub topic: String,
    /// Name and password, where the broker asks for them.
    pub username: Option<String>,
    /// Goes with the name.
    pub password: Option<String>,
}

fn default_port() -> u16 {
    1883
}

/// A session with a broker, and the journal that it fills.
pub(super) struct Mqtt {
    topic: MqttTopic,
    client: Client,
    connection: Connection,
    folder: PathBuf,
    journal: Writer,
    /// Written, but not acknowledged.
    taken: Vec<Publish>,
}

impl Mqtt {
    /// Subscribes as `id`, by which the broker knows what it has not sent yet.
    pub(super) fn connect(
        topic: &MqttTopic,
        id: &str,
        folder: &Path,
        journal: Writer,
    ) -> Result<Self, SourceError> {
        let mut options = MqttOptions::new(id, &topic.host, topic.port);
        options.set_clean_session(false).set_manual_acks(true);
        options.set_max_packet_size(LARGEST_MESSAGE, LARGEST_MESSAGE);
        if let Some((username, password)) = topic.username.as_ref().zip(topic.password.as_ref()) {
            options.set_credentials(username, password);
        }
        let (client, connection) = Client::new(options, REQUESTS);
        let (topic, folder) = (topic.clone(), folder.to_owned());
        let mut mqtt = Self { topic, client, connection, folder, journal, taken: Vec::new() };
        for _ in 0..FIRST_PACKETS {
            match mqtt.connection.recv() {
                Ok(Ok(event)) => {
                    let subscribed = matches!(event, Event::Incoming(Packet::SubAck(_)));
                    mqtt.take(event);
                    if subscribed {
                        return Ok(mqtt);
                    }
                }
                Ok(Err(source)) => return Err(mqtt.failed(source)),
                Err(_) => break,
            }
        }
        Err(mqtt.failed(ConnectionError::RequestsDone))
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Incoming(Packet::ConnAck(_)) => {
                // There is room: nothing else waits when a connection begins.
                let _ = self.client.try_subscribe(&self.topic.topic, QoS::AtLeastOnce);
            }
            Event::Incoming(Packet::Publish(message)) => {
                #[expect(clippy::disallowed_methods, reason = "sources read the clock")]
                self.journal.append(unix_ns(SystemTime::now()), None, &message.payload);
                self.taken.push(message);
            }
            _ => {}
        }
    }

    /// Takes the messages that are there; the first is waited for.
    fn take_all(&mut self) -> Beyond {
        for nth in 0..MESSAGES_AT_ONCE {
            let patience = if nth == 0 { PATIENCE } else { Duration::ZERO };
            match self.connection.recv_timeout(patience) {
                Ok(Ok(event)) => self.take(event),
                // It connects again when it is asked again.
                Ok(Err(error)) => {
                    tracing::warn!(%error, host = self.topic.host, "no mqtt broker");
                    thread::sleep(CONNECT_AGAIN);
                    return Beyond::Away;
                }
                Err(_) => return Beyond::Nothing,
            }
        }
        Beyond::More
    }

    fn failed(&self, source: ConnectionError) -> SourceError {
        let MqttTopic { host, port, .. } = &self.topic;
        SourceError::Mqtt { broker: format!("{host}:{port}"), source: Box::new(source) }
    }
}

impl Receiver for Mqtt {
    #[expect(clippy::disallowed_methods, reason = "sources read the clock")]
    fn receive(&mut self) -> Result<(), SourceError> {
        // Before the question whether more is there, so that all that came in by now is taken.
        let now_ns = unix_ns(SystemTime::now());
        let beyond = self.take_all();
        let mut keep = || {
            self.journal.write(now_ns, beyond)?;
            if self.taken.is_empty() { Ok(()) } else { self.journal.sync() }
        };
        keep().map_err(|source| SourceError::Journal { folder: self.folder.clone(), source })?;
        for message in self.taken.drain(..) {
            // What is not acknowledged because the connection is gone comes again.
            let _ = self.client.try_ack(&message);
        }
        Ok(())
    }
}

impl fmt::Debug for Mqtt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Mqtt").field("topic", &self.topic.topic).finish_non_exhaustive()
    }
}
