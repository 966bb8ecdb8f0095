//! MQTT 5: each message contains whole records. The receiver writes messages to the journal, and
//! acknowledges them when they are in every checkpoint that is kept.

mod acknowledgements;

use std::fmt;
use std::thread;
use std::time::Duration;

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnAck, Filter, Packet, Publish, RetainForwardRule, SubscribeReasonCode,
};
use rumqttc::v5::{Client, Connection, ConnectionError, Event, MqttOptions};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::SourceError;
use crate::journal::{Backlog, LONGEST_MESSAGE, Origin, Writer};
use crate::transports::mqtt::acknowledgements::{Acknowledgements, identity};
use crate::transports::push::PushTransport;

/// Time-out of a poll for messages.
const PATIENCE: Duration = Duration::from_millis(20);
/// Maximum number of messages in one call.
const MESSAGES_AT_ONCE: usize = 256;
/// Requests that wait to be sent: the acknowledgements of one call, and a subscription.
const REQUESTS: usize = 2 * MESSAGES_AT_ONCE;
/// The largest packet that a broker may send, in bytes. The broker drops larger ones without notice.
const LARGEST_PACKET: u32 = 256 * 1024 * 1024;
/// Messages that a broker may send before an acknowledgement: as many as there are packet numbers.
const RECEIVE_MAXIMUM: u16 = u16::MAX;
/// Maximum number of them that wait for a checkpoint, so that the broker never stops sending. Beyond it, a
/// message is acknowledged when it is durable in the journal.
pub(super) const MOST_WAITING: usize = RECEIVE_MAXIMUM as usize / 2;
/// Session expiry interval: the broker keeps the session for ever.
const SESSION_EXPIRY: u32 = u32::MAX;
/// The pause before the next connection attempt.
const CONNECT_AGAIN: Duration = Duration::from_millis(500);

/// An MQTT broker, and the topics to subscribe to.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MqttTopic {
    /// The broker's host.
    pub host: String,
    /// The broker's port; 1883 by default.
    #[serde(default = "default_port")]
    pub port: u16,
    /// Topic filter, such as "home/+/csi".
    pub topic: String,
    /// User name, if the broker requires one. It is only used together with `password`.
    pub username: Option<String>,
    /// Password. It is only used together with `username`.
    pub password: Option<String>,
}

fn default_port() -> u16 {
    1883
}

impl MqttTopic {
    fn options(&self, id: &str) -> MqttOptions {
        let mut options = MqttOptions::new(id, &self.host, self.port);
        options.set_clean_start(false).set_session_expiry_interval(Some(SESSION_EXPIRY));
        options.set_manual_acks(true).set_receive_maximum(Some(RECEIVE_MAXIMUM));
        options.set_max_packet_size(Some(LARGEST_PACKET)).set_outgoing_inflight_upper_limit(1);
        if let Some((username, password)) = self.username.as_ref().zip(self.password.as_ref()) {
            options.set_credentials(username, password);
        }
        options
    }

    /// The subscription: all messages. The broker sends retained messages only if the subscription is new.
    fn filter(&self) -> Filter {
        let retain_forward_rule = RetainForwardRule::OnNewSubscribe;
        Filter { retain_forward_rule, ..Filter::new(&self.topic, QoS::AtLeastOnce) }
    }
}

/// A session with a broker.
pub(super) struct Mqtt {
    topic: MqttTopic,
    client: Client,
    connection: Connection,
    acknowledgements: Acknowledgements,
}

impl Mqtt {
    /// Subscribes as client `id`, by which the broker identifies the session. At most `most_waiting`
    /// messages wait for a checkpoint.
    pub(super) fn connect(
        topic: &MqttTopic,
        id: &str,
        most_waiting: usize,
        journal: &mut Writer,
    ) -> Result<Self, SourceError> {
        let (client, connection) = Client::new(topic.options(id), REQUESTS);
        let mut acknowledgements = Acknowledgements::new(most_waiting);
        let kept = journal.for_each_kept(|offset, origin, _| {
            acknowledgements.keep(offset, origin.mark);
        });
        kept.map_err(|source| journal.failed(source))?;
        let mut mqtt = Self { topic: topic.clone(), client, connection, acknowledgements };
        loop {
            match mqtt.connection.recv() {
                Ok(Ok(event)) => {
                    let subscribed = is_subscribed(&event);
                    mqtt.hear(event, journal)?;
                    if subscribed {
                        return Ok(mqtt);
                    }
                }
                Ok(Err(source)) => return Err(mqtt.failed(source)),
                Err(_) => return Err(mqtt.failed(ConnectionError::RequestsDone)),
            }
        }
    }

    fn hear(&mut self, event: Event, journal: &mut Writer) -> Result<(), SourceError> {
        match event {
            Event::Incoming(Packet::SubAck(answer)) => {
                let granted = |code: &_| matches!(code, SubscribeReasonCode::Success(_));
                if let Some(reason) = answer.return_codes.into_iter().find(|code| !granted(code)) {
                    return Err(self.refused(reason));
                }
            }
            Event::Incoming(Packet::ConnAck(ConnAck { session_present, .. })) => {
                self.acknowledgements.connected(session_present);
                // The request queue has room: no other requests wait when a connection begins.
                let _ = self.client.try_subscribe_many([self.topic.filter()]);
            }
            Event::Incoming(Packet::Publish(message)) => self.keep(&message, journal),
            _ => {}
        }
        Ok(())
    }

    fn keep(&mut self, message: &Publish, journal: &mut Writer) {
        if !self.acknowledgements.has(message) {
            let origin = Origin { sender: None, mark: identity(message) };
            let offset = self.append(origin, &message.payload, journal);
            self.acknowledgements.keep(offset, origin.mark);
        }
        self.acknowledgements.wait(message.pkid);
    }

    /// Appends a message to the journal. A message that is too long is counted as lost, and its entry is
    /// empty.
    fn append(&self, origin: Origin, payload: &[u8], journal: &mut Writer) -> u64 {
        if payload.len() <= LONGEST_MESSAGE {
            return journal.append(origin, payload);
        }
        let (broker, n_bytes) = (self.broker(), payload.len());
        tracing::warn!(
            broker,
            n_bytes,
            most = LONGEST_MESSAGE,
            "a message is too long: it is lost"
        );
        journal.skip(1);
        journal.append(origin, &[])
    }

    /// Acknowledges messages that are in checkpoints, and those beyond the limit of waiting messages.
    fn acknowledge(&mut self, journal: &mut Writer) -> Result<(), SourceError> {
        if self.acknowledgements.need_sync() {
            journal.sync().map_err(|source| journal.failed(source))?;
        }
        let done = journal.done();
        while let Some(packet) = self.acknowledgements.due(done) {
            let message = Publish { pkid: packet, qos: QoS::AtLeastOnce, ..Publish::default() };
            if self.client.try_ack(&message).is_err() {
                // The request queue is full, so the other acknowledgements wait.
                break;
            }
            self.acknowledgements.acknowledged();
        }
        Ok(())
    }

    fn failed(&self, source: ConnectionError) -> SourceError {
        SourceError::Mqtt { broker: self.broker(), source: Box::new(source) }
    }

    fn refused(&self, reason: SubscribeReasonCode) -> SourceError {
        let (broker, topic) = (self.broker(), self.topic.topic.clone());
        SourceError::Subscription { broker, topic, reason: format!("{reason:?}") }
    }

    fn broker(&self) -> String {
        format!("{}:{}", self.topic.host, self.topic.port)
    }
}

/// True if the broker keeps all messages for the session from this event on. In a resumed session, it may
/// send any number of messages before it answers the subscription.
fn is_subscribed(event: &Event) -> bool {
    match event {
        Event::Incoming(Packet::ConnAck(answer)) => answer.session_present,
        Event::Incoming(Packet::SubAck(_)) => true,
        _ => false,
    }
}

impl PushTransport for Mqtt {
    fn peer(&self) -> String {
        format!("mqtt broker at {}", self.broker())
    }

    fn take(&mut self, journal: &mut Writer) -> Result<Backlog, SourceError> {
        self.acknowledge(journal)?;
        for nth in 0..MESSAGES_AT_ONCE {
            let patience = if nth == 0 { PATIENCE } else { Duration::ZERO };
            match self.connection.recv_timeout(patience) {
                Ok(Ok(event)) => self.hear(event, journal)?,
                // The client connects again in the next call.
                Ok(Err(error)) => {
                    tracing::debug!(%error, host = self.topic.host, "no mqtt broker");
                    thread::sleep(CONNECT_AGAIN);
                    return Ok(Backlog::Unreachable);
                }
                Err(_) => return Ok(Backlog::Empty),
            }
        }
        Ok(Backlog::More)
    }
}

impl fmt::Debug for Mqtt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Mqtt").field("topic", &self.topic.topic).finish_non_exhaustive()
    }
}
