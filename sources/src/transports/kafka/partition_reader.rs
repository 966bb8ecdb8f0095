//! Reads one partition of a topic.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::{ClientContext, Offset, Timestamp, TopicPartitionList};
use schemas::{SourceKind, Tick};

use crate::arrival_clock::ArrivalClock;
use crate::partitions::idleness::{Due, Idleness};
use crate::partitions::ingress::Ingress;
use crate::partitions::partition_decoder::{Decoding, PartitionDecoder};
use crate::transports::kafka::KafkaTopic;
use crate::{Poll, SourceError};

/// Time-out of a poll for messages.
const PATIENCE: Duration = Duration::from_millis(20);
/// Maximum number of messages in one poll.
const MESSAGES_PER_POLL: usize = 1024;
/// Time-out of requests for the end of a partition, or for all partitions.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// The pause before the next request for the end of a partition.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// The client's events other than messages.
#[derive(Default)]
pub(super) struct Events {
    /// True from when no broker is reachable until one answers.
    away: AtomicBool,
    /// Failures that were logged since then.
    logged: Mutex<Vec<RDKafkaErrorCode>>,
}

impl ClientContext for Events {
    fn error(&self, error: KafkaError, reason: &str) {
        if is_outage(&error) {
            self.set_away(true);
        }
        // The client reports the end of a partition among its messages.
        let code = error.rdkafka_error_code();
        if code.is_some_and(|code| code != RDKafkaErrorCode::PartitionEOF && self.is_new(code)) {
            tracing::warn!("kafka: {reason}");
        }
    }

    /// The same failures again, in more words.
    fn log(&self, _level: RDKafkaLogLevel, _facility: &str, message: &str) {
        tracing::debug!("kafka: {message}");
    }
}

impl ConsumerContext for Events {}

impl Events {
    fn set_away(&self, away: bool) {
        self.away.store(away, Ordering::Relaxed);
        if !away {
            self.logged.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }

    fn is_new(&self, code: RDKafkaErrorCode) -> bool {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = !logged.contains(&code);
        if is_new {
            logged.push(code);
        }
        is_new
    }
}

/// Reads one partition.
pub(super) struct PartitionReader {
    topic: KafkaTopic,
    partition: i32,
    consumer: BaseConsumer<Events>,
    messages: PartitionDecoder,
    idleness: Idleness,
    end: Option<End>,
    /// The end, as the client reported it.
    seen_end: Option<u64>,
    /// True once the client has received a message or an end.
    heard: bool,
    clock: ArrivalClock,
    /// A message that is not decoded yet.
    taken: Option<Taken>,
    /// The payload of the latest message.
    payload: Vec<u8>,
}

/// A message from the client.
#[derive(Clone, Copy)]
struct Taken {
    offset: u64,
    arrived_at_ns: Option<i64>,
    /// True if the time is the producer's, and so may be any time.
    is_producers: bool,
}

/// The result of a poll of the client.
enum Given {
    Message(Taken),
    /// The brokers had no more messages.
    End,
    /// No message arrived within the time-out.
    Nothing,
    /// The brokers are unreachable.
    Outage,
}

/// The end of a partition, and the time of the request for it.
#[derive(Clone, Copy)]
struct End {
    offset: u64,
    asked_at: Instant,
}

impl PartitionReader {
    /// Continues at the position of an earlier run, or at the first available message.
    pub(super) fn open(
        topic: &KafkaTopic,
        partition: i32,
        ingress: &Ingress<'_>,
    ) -> Result<Self, SourceError> {
        let name = partition.to_string();
        let (messages, offset) = PartitionDecoder::open(ingress, SourceKind::Live, &name, false)?;
        let idleness = Idleness::new(ingress, &name);
        // At zero nothing was read yet, and the first available message may have a larger offset.
        let offset = offset.filter(|offset| *offset > 0);
        let from = offset.map_or(Offset::Beginning, |offset| Offset::Offset(offset.cast_signed()));
        Self::assign(topic, partition, from, messages, idleness)
    }

    /// Opens a partition that was added to the topic. It begins at this partition's clock, and after the
    /// last tick that sinks have committed. That is durable first, as if the partition had been idle up to
    /// then: a replay begins there, too.
    pub(super) fn for_partition(
        &self,
        partition: i32,
        begins_at: Tick,
    ) -> Result<Self, SourceError> {
        let name = partition.to_string();
        let (messages, idleness) =
            (self.messages.for_partition(&name, 0), self.idleness.for_partition(&name));
        let from = Offset::Beginning;
        let mut reader = Self::assign(&self.topic, partition, from, messages, idleness)?;
        let clock = reader.clock().max(begins_at);
        reader.idleness.begin(clock, &mut reader.messages)?;
        Ok(reader)
    }

    fn assign(
        topic: &KafkaTopic,
        partition: i32,
        from: Offset,
        messages: PartitionDecoder,
        idleness: Idleness,
    ) -> Result<Self, SourceError> {
        let assign = || {
            let consumer: BaseConsumer<_> = topic.client().create_with_context(Events::default())?;
            let mut partitions = TopicPartitionList::new();
            partitions.add_partition_offset(&topic.topic, partition, from)?;
            consumer.assign(&partitions)?;
            Ok(consumer)
        };
        let consumer = assign().map_err(|source| topic.failed(source))?;
        // Messages that were read before have arrived by now, whatever the host's clock shows.
        let read_ms = i64::try_from(messages.collector.clock()).unwrap_or(i64::MAX);
        Ok(Self {
            topic: topic.clone(),
            partition,
            consumer,
            messages,
            idleness,
            end: None,
            seen_end: None,
            heard: false,
            clock: ArrivalClock::after(read_ms.saturating_mul(1_000_000)),
            taken: None,
            payload: Vec::new(),
        })
    }

    pub(super) fn clock(&self) -> Tick {
        self.messages.collector.clock()
    }

    pub(super) fn consumer(&self) -> &BaseConsumer<Events> {
        &self.consumer
    }

    /// Decodes the latest message from the client. After an outage, the next call repeats it.
    fn decode(&mut self, decoding: &mut Decoding) -> Result<(), SourceError> {
        let Some(taken) = self.taken else { return Ok(()) };
        let offset = taken.offset;
        let was_refused = self.idleness.heard(offset, &mut self.messages)?;
        if was_refused || self.refuses(&taken)? {
            self.messages.collector.drop_ahead_message(offset);
            self.messages.skip_to(offset + 1);
        } else {
            if let Some(arrived_at_ns) = taken.arrived_at_ns {
                self.messages.collector.set_arrival(arrived_at_ns);
            }
            self.messages.decode(decoding, offset, offset + 1, &self.payload)?;
        }
        self.taken = None;
        Ok(())
    }

    /// True if a producer wrote a time too far ahead of the host's clock. The decision is durable first,
    /// since the host's clock is different when the message is read again.
    fn refuses(&self, taken: &Taken) -> Result<bool, SourceError> {
        let arrived_at_ns = taken.arrived_at_ns.filter(|_| taken.is_producers);
        let collector = &self.messages.collector;
        let refuses = arrived_at_ns.is_some_and(|it| collector.refuses_arrival(it));
        if refuses {
            self.idleness.refuse(taken.offset, &self.messages)?;
        }
        Ok(refuses)
    }

    /// Advances the clock if no message has arrived for long enough, and the brokers confirm it. A client
    /// that has lost its brokers receives no messages either.
    fn follow_wall_clock(&mut self) -> Result<(), SourceError> {
        let Some(due) = self.idleness.due(&self.messages) else { return Ok(()) };
        let is_so = match due {
            Due::Idle { moved_at, .. } => self.at_end(moved_at),
            Due::Step(_) => true,
        };
        if is_so { self.idleness.keep(due, &mut self.messages) } else { Ok(()) }
    }

    /// True if the client reports that brokers are unreachable, and they do not answer a request.
    fn is_away(&self) -> bool {
        let events = self.consumer.context();
        if events.away.load(Ordering::Relaxed) {
            events.set_away(self.ask_end().is_none());
        }
        events.away.load(Ordering::Relaxed)
    }

    /// Returns the end of the partition, if brokers answer.
    fn ask_end(&self) -> Option<i64> {
        let (topic, partition) = (&self.topic.topic, self.partition);
        let positions = self.consumer.fetch_watermarks(topic, partition, ANSWER_TIMEOUT);
        positions.ok().map(|(_, end)| end)
    }

    /// True if brokers had no message after those that were read, in a request at `since` or later.
    /// Transaction markers may follow these. Then the client must have reported the end, and the end must
    /// be where it was in the request before.
    #[expect(clippy::disallowed_methods, reason = "sources read the clock")]
    fn at_end(&mut self, since: Instant) -> bool {
        let offset = self.messages.offset();
        if let Some(end) = self.end.filter(|end| end.asked_at >= since) {
            if end.offset <= offset {
                return true;
            }
            if end.asked_at.elapsed() < ASK_AGAIN {
                return false;
            }
        }
        let asked_at = Instant::now();
        let Some(end) = self.ask_end() else {
            self.idleness.unknown();
            return false;
        };
        let before = self.end.replace(End { offset: end.unsigned_abs(), asked_at });
        let stays = before.is_some_and(|before| before.offset == end.unsigned_abs());
        end.unsigned_abs() <= offset || (stays && self.seen_end == Some(offset))
    }

    /// Reads the messages that have arrived since the last call.
    pub(super) fn poll(&mut self, decoding: &mut Decoding) -> Result<Poll, SourceError> {
        self.messages.collector.set_written_at(self.clock.now_ns());
        self.decode(decoding)?;
        let mut n_taken = 0;
        while n_taken < MESSAGES_PER_POLL {
            // The reader waits only for the first message.
            match self.take(if n_taken == 0 { PATIENCE } else { Duration::ZERO })? {
                Given::Message(taken) => self.taken = Some(taken),
                Given::End if self.topic.stop_at_end => return Ok(self.messages.finish()),
                Given::End | Given::Nothing | Given::Outage => break,
            }
            self.decode(decoding)?;
            n_taken += 1;
        }
        if !self.is_away() {
            self.follow_wall_clock()?;
        } else if n_taken == 0 {
            // Records that were read before are emitted first.
            let peer = format!("kafka brokers at {}", self.topic.brokers);
            return Err(SourceError::Away { peer });
        }
        Ok(self.messages.collector.take())
    }

    /// Polls the client for a message, and updates the idle state of the partition.
    fn take(&mut self, patience: Duration) -> Result<Given, SourceError> {
        let given = self.ask_client(patience)?;
        match given {
            Given::Message(_) => {
                self.heard = true;
                // Brokers are reachable again, or only another broker is unreachable.
                self.consumer.context().set_away(false);
            }
            Given::End => {
                (self.heard, self.seen_end) = (true, Some(self.messages.offset()));
                self.idleness.asked(&self.messages);
            }
            // The client reports an end only if no message arrives during a whole fetch.
            Given::Nothing if self.heard => self.idleness.asked(&self.messages),
            Given::Nothing | Given::Outage => {}
        }
        Ok(given)
    }

    fn ask_client(&mut self, patience: Duration) -> Result<Given, SourceError> {
        let message = match self.consumer.poll(patience) {
            Some(Ok(message)) => message,
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok(Given::End),
            Some(Err(error)) if is_outage(&error) => return Ok(Given::Outage),
            Some(Err(source)) => return Err(self.topic.failed(source)),
            None => return Ok(Given::Nothing),
        };
        self.payload.clear();
        self.payload.extend_from_slice(message.payload().unwrap_or_default());
        let timestamp = message.timestamp();
        Ok(Given::Message(Taken {
            offset: message.offset().unsigned_abs(),
            arrived_at_ns: timestamp.to_millis().map(|it| it.saturating_mul(1_000_000)),
            is_producers: matches!(timestamp, Timestamp::CreateTime(_)),
        }))
    }

    /// Reports the partition's clock to the other partitions of the run.
    pub(super) fn publish_clock(&self) {
        self.idleness.publish(&self.messages);
    }
}

/// True for errors from which the client recovers by itself when a broker is back.
fn is_outage(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{
        AllBrokersDown, BrokerNotAvailable, BrokerTransportFailure, LeaderNotAvailable,
        NotLeaderForPartition, OperationTimedOut, RequestTimedOut, Resolve, UnknownPartition,
        UnknownTopicOrPartition,
    };
    let code = error.rdkafka_error_code();
    code.is_some_and(|code| {
        matches!(
            code,
            AllBrokersDown
                | BrokerNotAvailable
                | BrokerTransportFailure
                | LeaderNotAvailable
                | NotLeaderForPartition
                | OperationTimedOut
                | RequestTimedOut
                | Resolve
                // A new partition or topic is not known to every broker at once.
                | UnknownPartition
                | UnknownTopicOrPartition
        )
    })
}

impl fmt::Debug for PartitionReader {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.topic.topic, self.partition)
    }
}
