//! Decodes the messages of one partition of Kafka or a journal, each with an offset.

use std::collections::VecDeque;

use registry::{Registry, Schema};
use schemas::{SourceKind, Tick};
use serde::{Deserialize, Serialize};

use crate::Clock;
use crate::partitions::ingress::Ingress;
use crate::partitions::position::place_of;
use crate::{
    Collector, DecodeError, Decoder, DecoderMemory, Poll, SourceContext, SourceError, Step,
};

/// The position to continue at.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Place {
    /// The offset of the message.
    offset: u64,
    /// Bytes of that message that are decoded.
    n_decoded: usize,
    memory: DecoderMemory,
    /// The arrival time of the device's latest message, if the partition is a device.
    heard_at_ns: Option<i64>,
}

/// Returns the highest offset in the saved positions of all partitions.
///
/// # Errors
///
/// [`SourceError::Position`] if a saved position cannot be decoded.
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

/// Decodes the messages of one partition.
pub(crate) struct PartitionDecoder {
    pub(crate) collector: Collector,
    /// A device that sends nothing for this long is idle.
    timeout_ns: i64,
    place: Place,
    /// The offset to continue at for the end of each granule.
    marked: VecDeque<(Tick, u64)>,
}

impl PartitionDecoder {
    /// Continues at the position of an earlier run, and returns its offset if there was one. With
    /// `presence`, the partition reports when devices connect and disconnect.
    pub(crate) fn open(
        ingress: &Ingress<'_>,
        kind: SourceKind,
        partition: &str,
        presence: bool,
    ) -> Result<(Self, Option<u64>), SourceError> {
        let starts_at = ingress.context.starts_at;
        let mut collector = ingress.collector(kind, partition, Clock::Arrival);
        if presence {
            collector = collector.with_routers(ingress.context, ingress.idle_timeout);
        }
        let place: Option<Place> = collector.restore(ingress.context, partition)?;
        let offset = place.map(|place| place.offset);
        let marked = offset.map(|offset| (starts_at, offset)).into_iter().collect();
        let timeout_ns = ingress.idle_timeout.as_ns();
        Ok((Self { collector, timeout_ns, place: place.unwrap_or_default(), marked }, offset))
    }

    /// A decoder for another partition, from an offset on.
    pub(crate) fn for_partition(&self, partition: &str, offset: u64) -> Self {
        let place = Place { offset, ..Place::default() };
        let (collector, marked) = (self.collector.for_partition(partition), [(0, offset)].into());
        Self { collector, place, marked, ..*self }
    }

    /// The offset of the next message.
    pub(crate) fn offset(&self) -> u64 {
        self.place.offset
    }

    /// Discards the state, and begins again at an offset with the settings and the clock of `rest`.
    pub(crate) fn begin_again(&mut self, rest: &Self, offset: u64) {
        let mut marked = std::mem::take(&mut self.marked);
        *self = rest.for_partition(self.collector.partition(), offset);
        marked.push_back((self.collector.clock(), offset));
        self.marked = marked;
    }

    /// True if the device is idle by a time.
    pub(crate) fn is_silent(&self, now_ns: i64) -> bool {
        let heard_at_ns = self.place.heard_at_ns;
        heard_at_ns.is_some_and(|it| it.saturating_add(self.timeout_ns) <= now_ns)
    }

    /// Records the arrival time of a message, if the partition is a device.
    pub(crate) fn hear(&mut self, now_ns: i64) {
        self.place.heard_at_ns = Some(now_ns).filter(|_| !self.collector.partition().is_empty());
    }

    /// Skips to an offset, never back.
    pub(crate) fn skip_to(&mut self, offset: u64) {
        if offset > self.place.offset {
            self.place = Place { offset, n_decoded: 0, ..self.place };
        }
    }

    /// Returns the position of a partition that has read nothing yet.
    pub(crate) fn position(&self) -> Vec<u8> {
        self.collector.position(&self.place)
    }

    /// Decodes the part of a message that is not decoded yet. The next message is at `next`. After an
    /// outage, the caller can repeat the call with the same message.
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
        // Messages are independent, so the decoder has no memory of the one before.
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

    /// Loads a schema into the decoder. Returns the bytes of the message to skip: none, unless the schema
    /// cannot be used.
    fn learn(
        &mut self,
        Decoding { decoder, registry }: &mut Decoding,
        number: u32,
        offset: u64,
        n_bytes: usize,
    ) -> Result<usize, SourceError> {
        let schema = registry.as_ref().map(|registry| registry.schema(number)).transpose();
        let schema = schema.map_err(|source| SourceError::Registry { number, source })?;
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

    /// Reports devices that are idle by a time. If the partition's device is idle, its state is discarded,
    /// so that it does not apply when the device returns.
    pub(crate) fn tell_silences(&mut self, now_ns: i64) {
        while self.collector.tell_silence(now_ns) {
            self.record_position();
        }
        if self.is_silent(now_ns) {
            self.collector.forget_devices();
        }
    }

    /// Records the position, if the clock has passed the end of a granule.
    pub(crate) fn record_position(&mut self) {
        self.record_position_at(self.place);
    }

    /// Returns the first offset that is still needed, if checkpoints contain everything before `tick`.
    pub(crate) fn needed(&mut self, tick: Tick) -> Option<u64> {
        while self.marked.get(1).is_some_and(|(marked, _)| *marked <= tick) {
            self.marked.pop_front();
        }
        self.marked.front().filter(|(marked, _)| *marked <= tick).map(|(_, offset)| *offset)
    }

    /// Returns all records, when no more messages follow.
    pub(crate) fn finish(&mut self) -> Poll {
        self.collector.finish(&self.place)
    }

    fn record_position_at(&mut self, place: Place) {
        if let Some(tick) = self.collector.record_position(&place) {
            self.marked.push_back((tick, place.offset));
        }
    }
}
