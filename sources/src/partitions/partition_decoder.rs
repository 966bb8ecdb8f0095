//! Decodes the messages of one partition of Kafka or a journal, each with an offset.

use std::collections::VecDeque;

use schemas::{SourceKind, Tick};
use serde::{Deserialize, Serialize};

use crate::Clock;
use crate::partitions::ingress::Ingress;
use crate::partitions::position::place_of;
use crate::registry::{Registry, Schema};
use crate::{
    Collector, DecodeError, Decoder, DecoderMemory, Poll, SourceContext, SourceError, Step,
};

/// The position to continue at.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Place {
    /// Of the message.
    offset: u64,
    /// Bytes of that message that are done with.
    n_decoded: usize,
    memory: DecoderMemory,
    /// When the device was heard the last time, if the partition is a device.
    heard_at_ns: Option<i64>,
}

/// The offset that the partition has come to that is the furthest, as an earlier run noted it.
///
/// # Errors
///
/// [`SourceError::Position`] if the notes are not this source's.
pub(crate) fn furthest_offset(context: &SourceContext<'_>) -> Result<u64, SourceError> {
    let mut furthest = 0;
    for (partition, _) in context.positions {
        let place: Option<Place> = place_of(context, &String::from_utf8_lossy(partition))?;
        furthest = furthest.max(place.map_or(0, |place| place.offset));
    }
    Ok(furthest)
}

/// Decodes the messages of all senders.
pub(crate) struct Decoding {
    decoder: Box<dyn Decoder>,
    registry: Option<Registry>,
}

impl Decoding {
    pub(crate) fn open(ingress: &Ingress<'_>) -> Self {
        Self { decoder: (ingress.decoder)(), registry: ingress.registry.map(Registry::new) }
    }
}

/// The messages of one partition.
pub(crate) struct PartitionDecoder {
    pub(crate) collector: Collector,
    /// A device that sends nothing for so long is idle.
    timeout_ns: i64,
    place: Place,
    /// The offset to read on from at the end of each granule.
    marked: VecDeque<(Tick, u64)>,
}

impl PartitionDecoder {
    /// Goes on where an earlier run was; gives the offset if there was one. With `presence`, it reports which
    /// devices are there.
    pub(crate) fn open(
        ingress: &Ingress<'_>,
        kind: SourceKind,
        partition: &str,
        presence: bool,
    ) -> Result<(Self, Option<u64>), SourceError> {
        let starts_at = ingress.context.starts_at;
        let mut collector = ingress.collector(kind, partition, Clock::Arrival);
        if presence {
            collector = collector.with_routers(ingress.context, ingress.idle_timeout_ms);
        }
        let place: Option<Place> = collector.restore(ingress.context, partition)?;
        let offset = place.map(|place| place.offset);
        let marked = offset.map(|offset| (starts_at, offset)).into_iter().collect();
        let timeout_ns = i64::from(ingress.idle_timeout_ms) * 1_000_000;
        Ok((Self { collector, timeout_ns, place: place.unwrap_or_default(), marked }, offset))
    }

    /// Those of another partition, from an offset on.
    pub(crate) fn for_partition(&self, partition: &str, offset: u64) -> Self {
        let place = Place { offset, ..Place::default() };
        let (collector, marked) = (self.collector.for_partition(partition), [(0, offset)].into());
        Self { collector, place, marked, ..*self }
    }

    /// Of the next message.
    pub(crate) fn offset(&self) -> u64 {
        self.place.offset
    }

    /// Begins again beside other messages, as if it had never been there.
    pub(crate) fn begin_again(&mut self, rest: &Self, offset: u64) {
        let mut marked = std::mem::take(&mut self.marked);
        *self = rest.for_partition(self.collector.partition(), offset);
        marked.push_back((self.collector.clock(), offset));
        self.marked = marked;
    }

    /// True if the device has not been heard for as long as one that is silent, by a time.
    pub(crate) fn is_silent(&self, now_ns: i64) -> bool {
        let heard_at_ns = self.place.heard_at_ns;
        heard_at_ns.is_some_and(|it| it.saturating_add(self.timeout_ns) <= now_ns)
    }

    /// Hears the device, if the partition is one.
    pub(crate) fn hear(&mut self, now_ns: i64) {
        self.place.heard_at_ns = Some(now_ns).filter(|_| !self.collector.partition().is_empty());
    }

    /// Skips to an offset.
    pub(crate) fn skip_to(&mut self, offset: u64) {
        if offset > self.place.offset {
            self.place = Place { offset, n_decoded: 0, ..self.place };
        }
    }

    /// The position, when nothing was read yet.
    pub(crate) fn position(&self) -> Vec<u8> {
        self.collector.position(&self.place)
    }

    /// Decodes what of a message is not done with; the one behind it is at `next`. After an outage, it can
    /// be called again with the same message.
    ///
    /// # Errors
    ///
    /// [`SourceError::Registry`] if the schema registry cannot be reached.
    pub(crate) fn decode(
        &mut self,
        decoding: &mut Decoding,
        offset: u64,
        next: u64,
        message: &[u8],
    ) -> Result<(), SourceError> {
        if offset != self.place.offset {
            self.place = Place { offset, n_decoded: 0, ..self.place };
        }
        // Each message stands for itself, whoever sent the one before.
        let begun = self.place.n_decoded > 0;
        decoding.decoder.recall(if begun { self.place.memory } else { DecoderMemory::default() });
        while let Some(bytes) = message.get(self.place.n_decoded..).filter(|it| !it.is_empty()) {
            let place = self.place;
            self.place.n_decoded += match self.collector.decode(&mut *decoding.decoder, bytes, true)
            {
                Step::Used(used) => used,
                Step::Bad(used, error) => {
                    self.collector.drop_record(error.reason(), offset);
                    used
                }
                Step::NeedsMore => bytes.len(),
                Step::NeedsSchema(number) => self.learn(decoding, number, offset, bytes.len())?,
            };
            self.collector.drop_ahead(offset);
            self.place.memory = decoding.decoder.memory();
            self.record_position_at(place);
        }
        self.place = Place { offset: next, n_decoded: 0, ..self.place };
        Ok(())
    }

    /// Tells the decoder a schema. Gives the bytes of the message that are done with: none, unless the
    /// schema cannot be used.
    fn learn(
        &mut self,
        Decoding { decoder, registry }: &mut Decoding,
        number: u32,
        offset: u64,
        n_bytes: usize,
    ) -> Result<usize, SourceError> {
        let schema = registry.as_ref().map(|registry| registry.schema(number)).transpose()?;
        let learnt = match schema {
            Some(Schema::Known(schema)) => decoder.learn(number, &schema),
            Some(Schema::Unknown) | None => Err(DecodeError::UnknownSchema),
        };
        Ok(learnt.map_or_else(
            |error| {
                self.collector.drop_record(error.reason(), offset);
                n_bytes
            },
            |()| 0,
        ))
    }

    /// Tells of devices that have fallen silent by a time. What was known of them does not count when they
    /// are back.
    pub(crate) fn tell_silences(&mut self, now_ns: i64) {
        while self.collector.tell_silence(now_ns) {
            self.record_position();
        }
        if self.is_silent(now_ns) {
            self.collector.forget_devices();
        }
    }

    /// Notes where to read on, if the clock has left a granule.
    pub(crate) fn record_position(&mut self) {
        self.record_position_at(self.place);
    }

    /// The offset from which on messages are needed, if all before a tick is done with.
    pub(crate) fn needed(&mut self, tick: Tick) -> Option<u64> {
        while self.marked.get(1).is_some_and(|(marked, _)| *marked <= tick) {
            self.marked.pop_front();
        }
        self.marked.front().filter(|(marked, _)| *marked <= tick).map(|(_, offset)| *offset)
    }

    /// Takes out everything, when no more messages come.
    pub(crate) fn finish(&mut self) -> Poll {
        self.collector.finish(&self.place)
    }

    fn record_position_at(&mut self, place: Place) {
        if let Some(tick) = self.collector.record_position(&place) {
            self.marked.push_back((tick, place.offset));
        }
    }
}
