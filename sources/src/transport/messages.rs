//! Messages of whole records, each with an offset: what Kafka and journals give.

use std::collections::VecDeque;

use schemas::{SourceKind, Tick};
use serde::{Deserialize, Serialize};

use crate::registry::Registry;
use crate::transport::{Clock, Ingress};
use crate::{Decoder, DecoderMemory, Intake, Poll, SourceError, Step};

/// Where to read on.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Place {
    /// Of the message.
    offset: u64,
    /// Bytes of that message that are done with.
    n_decoded: usize,
    memory: DecoderMemory,
}

/// Decodes the messages of one partition.
pub(super) struct Messages {
    pub(super) intake: Intake,
    decoder: Box<dyn Decoder>,
    registry: Option<Registry>,
    place: Place,
    /// The offset to read on from at the end of each granule.
    marked: VecDeque<(Tick, u64)>,
}

impl Messages {
    /// Goes on where an earlier run was; gives the offset if there was one. With `routers`, it tells which
    /// devices are there.
    pub(super) fn open(
        ingress: &Ingress<'_>,
        kind: SourceKind,
        partition: &str,
        routers: bool,
    ) -> Result<(Self, Option<u64>), SourceError> {
        let starts_at = ingress.context.starts_at;
        let mut intake = ingress.intake(kind, partition, Clock::Arrival);
        if routers {
            intake = intake.with_routers(ingress.context, ingress.idle_timeout_ms);
        }
        let place: Option<Place> = intake.restore(ingress.context, partition)?;
        let mut decoder = (ingress.decoder)();
        decoder.recall(place.unwrap_or_default().memory);
        let offset = place.map(|place| place.offset);
        let marked = offset.map(|offset| (starts_at, offset)).into_iter().collect();
        let registry = ingress.registry.map(Registry::new);
        let place = place.unwrap_or_default();
        Ok((Self { intake, decoder, registry, place, marked }, offset))
    }

    /// Of the next message.
    pub(super) fn offset(&self) -> u64 {
        self.place.offset
    }

    /// Decodes what of a message is not done with; the one behind it is at `next`.
    pub(super) fn decode(
        &mut self,
        offset: u64,
        next: u64,
        message: &[u8],
    ) -> Result<(), SourceError> {
        if offset != self.place.offset {
            self.place = Place { offset, n_decoded: 0, ..self.place };
        }
        if self.place.n_decoded == 0 {
            // Each message stands for itself, whoever sent the one before.
            self.decoder.recall(DecoderMemory::default());
        }
        while let Some(bytes) = message.get(self.place.n_decoded..).filter(|it| !it.is_empty()) {
            let place = self.here();
            self.place.n_decoded += match self.decoder.decode(bytes, true, &mut self.intake) {
                Step::Used(used) => used,
                Step::Bad(used, error) => {
                    self.intake.drop_record(error.reason(), offset);
                    used
                }
                Step::NeedsMore => bytes.len(),
                Step::NeedsSchema(number) => self.learn(number, offset, bytes.len())?,
            };
            self.mark_at(place);
        }
        self.place = Place { offset: next, n_decoded: 0, ..self.place };
        Ok(())
    }

    /// Tells the decoder a schema. Gives the bytes of the message that are done with: none, unless the
    /// schema cannot be used.
    fn learn(&mut self, number: u32, offset: u64, n_bytes: usize) -> Result<usize, SourceError> {
        let schema = self.registry.as_ref().map(|registry| registry.schema(number)).transpose()?;
        let learnt = self.decoder.learn(number, schema.as_deref().unwrap_or_default());
        Ok(learnt.map_or_else(
            |error| {
                self.intake.drop_record(error.reason(), offset);
                n_bytes
            },
            |()| 0,
        ))
    }

    /// Tells of devices that have fallen silent by a time.
    pub(super) fn tell_silences(&mut self, now_ns: i64) {
        while self.intake.tell_silence(now_ns) {
            self.mark();
        }
    }

    /// Notes where to read on, if the clock has left a granule.
    pub(super) fn mark(&mut self) {
        self.mark_at(self.here());
    }

    /// The offset from which on messages are needed, if all before a tick is done with.
    pub(super) fn needed(&mut self, tick: Tick) -> Option<u64> {
        while self.marked.get(1).is_some_and(|(marked, _)| *marked <= tick) {
            self.marked.pop_front();
        }
        self.marked.front().filter(|(marked, _)| *marked <= tick).map(|(_, offset)| *offset)
    }

    /// Takes out everything, when no more messages come.
    pub(super) fn finish(&mut self) -> Poll {
        self.intake.finish(&self.here())
    }

    fn here(&self) -> Place {
        Place { memory: self.decoder.memory(), ..self.place }
    }

    fn mark_at(&mut self, place: Place) {
        if let Some(tick) = self.intake.mark(&place) {
            self.marked.push_back((tick, place.offset));
        }
    }
}
