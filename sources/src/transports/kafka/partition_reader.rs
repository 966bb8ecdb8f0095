//! Reads one partition of a topic.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use schemas::{SourceKind, Tick};

use crate::arrival_clock::ArrivalClock;
use crate::partitions::ingress::Ingress;
use crate::partitions::messages::{Decoding, Messages};
use crate::partitions::silent::{Due, Silent};
use crate::transports::kafka::KafkaTopic;
use crate::{Poll, Silence, SourceError};

/// How long to wait for a message before saying that none came.
const PATIENCE: Duration = Duration::from_millis(20);
/// Messages taken in one poll at most.
const MESSAGES_PER_POLL: usize = 1024;
/// How long brokers may take to say where a partition ends, or what others there are.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// How soon to ask them again where it ends.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// What the client tells beside messages.
#[derive(Default)]
pub(super) struct Events {
    /// True from when no broker can be reached until one answers.
    away: AtomicBool,
}

impl ClientContext for Events {
    fn error(&self, error: KafkaError, reason: &str) {
        if is_outage(&error) {
            self.away.store(true, Ordering::Relaxed);
        }
        // The end of a partition comes with its messages.
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::PartitionEOF) {
            tracing::warn!(%error, reason, "kafka");
        }
    }
}

impl ConsumerContext for Events {}

/// Reads one partition.
pub(super) struct PartitionReader {
    topic: KafkaTopic,
    partition: i32,
    consumer: BaseConsumer<Events>,
    messages: Messages,
    silent: Silent,
    end: Option<End>,
    /// Where the client saw the end.
    seen_end: Option<u64>,
    /// True once the client has seen anything.
    heard: bool,
    clock: ArrivalClock,
    /// The offset of a message that is in `payload` and not decoded yet.
    taken: Option<u64>,
    payload: Vec<u8>,
}

/// Where a partition ended when the brokers were asked.
#[derive(Clone, Copy)]
struct End {
    offset: u64,
    asked_at: Instant,
}

impl PartitionReader {
    /// Goes on where an earlier run was.
    pub(super) fn open(
        topic: &KafkaTopic,
        partition: i32,
        ingress: &Ingress<'_>,
    ) -> Result<Self, SourceError> {
        let name = partition.to_string();
        let (messages, offset) = Messages::open(ingress, SourceKind::Live, &name, false)?;
        let silent = Silent::open(ingress, &name)?;
        // At zero nothing was read yet, and the first message that is there may be another one.
        let offset = offset.filter(|offset| *offset > 0);
        let from = offset.map_or(Offset::Beginning, |offset| Offset::Offset(offset.cast_signed()));
        Self::assign(topic, partition, from, messages, silent)
    }

    /// Begins with a partition that the topic has got meanwhile, where the clock of this one stands, and
    /// behind all that sinks hold. That is durable first, as a silence up to then: a replay begins there too.
    pub(super) fn beside(&self, partition: i32, begins_at: Tick) -> Result<Self, SourceError> {
        let name = partition.to_string();
        let (messages, silent) = (self.messages.beside(&name, 0), self.silent.beside(&name));
        let from = Offset::Beginning;
        let mut reader = Self::assign(&self.topic, partition, from, messages, silent)?;
        let silence = Silence { offset: 0, clock: reader.clock().max(begins_at) };
        reader.silent.begin(silence, &mut reader.messages)?;
        Ok(reader)
    }

    fn assign(
        topic: &KafkaTopic,
        partition: i32,
        from: Offset,
        messages: Messages,
        silent: Silent,
    ) -> Result<Self, SourceError> {
        let assign = || {
            let consumer: BaseConsumer<_> = topic.client().create_with_context(Events::default())?;
            let mut partitions = TopicPartitionList::new();
            partitions.add_partition_offset(&topic.topic, partition, from)?;
            consumer.assign(&partitions)?;
            Ok(consumer)
        };
        let consumer = assign().map_err(|source| topic.failed(source))?;
        // What was read before has come in by now, whatever the host's clock says.
        let read_ms = i64::try_from(messages.intake.clock()).unwrap_or(i64::MAX);
        Ok(Self {
            topic: topic.clone(),
            partition,
            consumer,
            messages,
            silent,
            end: None,
            seen_end: None,
            heard: false,
            clock: ArrivalClock::after(read_ms.saturating_mul(1_000_000)),
            taken: None,
            payload: Vec::new(),
        })
    }

    pub(super) fn clock(&self) -> Tick {
        self.messages.intake.clock()
    }

    /// What asks the brokers.
    pub(super) fn consumer(&self) -> &BaseConsumer<Events> {
        &self.consumer
    }

    /// Decodes the message that was taken; again, if there was an outage.
    fn decode(&mut self, decoding: &mut Decoding) -> Result<(), SourceError> {
        if let Some(offset) = self.taken {
            self.messages.decode(decoding, offset, offset + 1, &self.payload)?;
            self.taken = None;
        }
        Ok(())
    }

    /// Moves the clock if nothing has come for long enough, and the brokers say so too: a client that
    /// has lost them sees nothing either.
    fn keep_silence(&mut self) -> Result<(), SourceError> {
        let Some(due) = self.silent.due(&self.messages) else { return Ok(()) };
        let is_so = match due {
            Due::Idle { moved_at, .. } => self.at_end(moved_at),
            Due::Step(_) => true,
        };
        if is_so { self.silent.keep(due, &mut self.messages) } else { Ok(()) }
    }

    /// True if brokers cannot be reached, as far as the client knows; asks them if it says so.
    fn is_away(&self) -> bool {
        let away = &self.consumer.context().away;
        if away.load(Ordering::Relaxed) {
            away.store(self.ask_end().is_none(), Ordering::Relaxed);
        }
        away.load(Ordering::Relaxed)
    }

    /// Where the partition ends, if brokers answer.
    fn ask_end(&self) -> Option<i64> {
        let (topic, partition) = (&self.topic.topic, self.partition);
        let marks = self.consumer.fetch_watermarks(topic, partition, ANSWER_TIMEOUT);
        marks.ok().map(|(_, end)| end)
    }

    /// True if brokers had no message beyond those that were read when they were asked, which was not before
    /// a time. Behind these there may be markers of transactions: then the client must have seen the end, and
    /// it must be where it was when it was last asked for.
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
            self.silent.unknown();
            return false;
        };
        let before = self.end.replace(End { offset: end.unsigned_abs(), asked_at });
        let stays = before.is_some_and(|before| before.offset == end.unsigned_abs());
        end.unsigned_abs() <= offset || (stays && self.seen_end == Some(offset))
    }

    /// Takes what has come in since the last call.
    pub(super) fn poll(&mut self, decoding: &mut Decoding) -> Result<Poll, SourceError> {
        self.decode(decoding)?;
        self.messages.intake.set_written_at(self.clock.now_ns());
        for n_taken in 0..MESSAGES_PER_POLL {
            // The first message is waited for; the others are taken if they are there.
            let patience = if n_taken == 0 { PATIENCE } else { Duration::ZERO };
            let message = match self.consumer.poll(patience) {
                Some(Ok(message)) => message,
                Some(Err(KafkaError::PartitionEOF(_))) => {
                    (self.heard, self.seen_end) = (true, Some(self.messages.offset()));
                    self.silent.asked(&self.messages);
                    if self.topic.stop_at_end {
                        return Ok(self.messages.finish());
                    }
                    break;
                }
                Some(Err(error)) if is_outage(&error) => break,
                Some(Err(source)) => return Err(self.topic.failed(source)),
                None => {
                    // The client sees an end only if nothing comes for as long as a fetch lasts.
                    if self.heard {
                        self.silent.asked(&self.messages);
                    }
                    break;
                }
            };
            self.payload.clear();
            self.payload.extend_from_slice(message.payload().unwrap_or_default());
            let arrived_at_ms = message.timestamp().to_millis();
            let offset = message.offset().unsigned_abs();
            drop(message);
            self.heard = true;
            self.silent.heard(offset, &mut self.messages);
            if let Some(arrived_at_ms) = arrived_at_ms {
                let arrived_at_ns = arrived_at_ms.saturating_mul(1_000_000);
                // A producer may write any time into its messages.
                if self.messages.intake.refuses_arrival(arrived_at_ns) {
                    self.messages.intake.drop_ahead_message(offset);
                    self.messages.skip_to(offset + 1);
                    continue;
                }
                self.messages.intake.set_arrival(arrived_at_ns);
            }
            self.taken = Some(offset);
            self.decode(decoding)?;
        }
        if self.is_away() {
            let peer = format!("kafka brokers at {}", self.topic.brokers);
            return Err(SourceError::Away { peer });
        }
        self.keep_silence()?;
        Ok(self.messages.intake.take())
    }
}

/// True for what the client gets over by itself when a broker is back.
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
                // Not every broker knows at once what a topic has got.
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
