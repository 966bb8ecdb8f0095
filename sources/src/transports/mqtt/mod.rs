//! MQTT 5: each message holds whole records. What the broker sends goes to the journal, and is
//! acknowledged when it is in every checkpoint that is kept.

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
/// Messages taken in one go at most.
const MESSAGES_AT_ONCE: usize = 256;
/// Requests of ours that wait to be sent: acknowledgements of one go, and a subscription.
const REQUESTS: usize = 2 * MESSAGES_AT_ONCE;
/// The longest packet that a broker may send: it drops longer ones, and tells nobody.
const LARGEST_PACKET: u32 = 256 * 1024 * 1024;
/// Messages that a broker may send before we acknowledge one: as many as there are packet numbers.
const RECEIVE_MAXIMUM: u16 = u16::MAX;
/// How many of them wait for a checkpoint at most, so that the broker never stops sending. Beyond, the
/// journal has to do.
pub(super) const MOST_WAITING: usize = RECEIVE_MAXIMUM as usize / 2;
/// A broker keeps what it has for us for ever.
const SESSION_EXPIRY: u32 = u32::MAX;
/// The pause before another connection.
const CONNECT_AGAIN: Duration = Duration::from_millis(500);

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

    /// All messages, and of those that the broker retains, the ones that we have not seen.
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
    /// Subscribes as `id`, by which the broker knows what it has not sent yet. Of what it has sent,
    /// `most_waiting` messages wait for a checkpoint at most.
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
                // There is room: nothing else waits when a connection begins.
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

    /// Puts a message into the journal; of one that is too long, that it is lost.
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

    /// Acknowledges messages to the broker.
    fn acknowledge(&mut self, journal: &mut Writer) -> Result<(), SourceError> {
        if self.acknowledgements.need_sync() {
            journal.sync().map_err(|source| journal.failed(source))?;
        }
        let done = journal.done();
        while let Some(packet) = self.acknowledgements.due(done) {
            let message = Publish { pkid: packet, qos: QoS::AtLeastOnce, ..Publish::default() };
            if self.client.try_ack(&message).is_err() {
                // So many wait to be sent that the rest has to wait as well.
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

/// True if from here on the broker keeps all messages for us. Behind a session that it goes on with, it may
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
                // It connects again when it is asked again.
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
