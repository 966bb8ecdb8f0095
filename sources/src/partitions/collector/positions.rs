//! Positions of a partition: recorded when its clock leaves a granule, and restored from there.

use schemas::Tick;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::partitions::collector::{Collector, LeftGranule};
use crate::partitions::device_presence::DevicePresence;
use crate::partitions::position::{self, Position};
use crate::{PartitionPosition, SourceContext, SourceError};

impl Collector {
    /// The place to read on from in a partition, after a restart; what waited there waits again.
    ///
    /// # Errors
    ///
    /// [`SourceError::Position`] if the notes are not this source's.
    pub fn restore<P: DeserializeOwned>(
        &mut self,
        context: &SourceContext<'_>,
        partition: &str,
    ) -> Result<Option<P>, SourceError> {
        let Some(position) = context.position(partition) else { return Ok(None) };
        let Position { tick, place, waiting, open, devices, presence: known } =
            Position::decode(position).map_err(|source| SourceError::Position {
                name: context.name.to_owned(),
                source,
            })?;
        self.ticks.restore(tick, open, &waiting);
        self.records = waiting;
        self.devices.restore(devices);
        if let Some(presence) = &mut self.presence {
            presence.restore(known);
        }
        Ok(place)
    }

    /// Notes the place that the latest record was read from, if it took the clock out of a granule.
    /// To be called after each record. Gives the end of that granule.
    ///
    /// # Panics
    ///
    /// If the place holds something that postcard cannot write, such as a sequence of unknown length.
    pub fn record_position(&mut self, place: &impl Serialize) -> Option<Tick> {
        let left = self.left.take();
        let marked = left.map(|left| {
            let tick = left.end;
            let position = Some(self.position_at(left, place));
            self.positions.push(PartitionPosition {
                partition: self.partition().to_owned(),
                tick,
                position,
            });
            tick
        });
        self.commit();
        marked
    }

    /// Notes that the partition is no more, if the clock has left a granule and nothing waits. Gives the end
    /// of that granule.
    pub(crate) fn leave(&mut self) -> Option<Tick> {
        let LeftGranule { end: tick, .. } = self.left.take_if(|left| left.waiting.is_empty())?;
        self.positions.push(PartitionPosition {
            partition: self.partition().to_owned(),
            tick,
            position: None,
        });
        Some(tick)
    }

    /// The position of the partition, when nothing was read since it was restored.
    pub(crate) fn position(&self, place: &impl Serialize) -> Vec<u8> {
        let (end, waiting) = (self.clock(), self.records.clone());
        let open = self.ticks.open_since(end);
        self.position_at(LeftGranule { end, waiting, open }, place)
    }

    fn position_at(&self, left: LeftGranule, place: &impl Serialize) -> Vec<u8> {
        let LeftGranule { end: tick, waiting, open } = left;
        position::encode(&Position {
            tick,
            place: Some(place),
            waiting,
            open,
            devices: self.devices.before_latest(),
            presence: self.presence.as_ref().map(DevicePresence::before_latest).unwrap_or_default(),
        })
    }

    /// Commits the state of devices: the latest frames are before the next position.
    pub(crate) fn commit(&mut self) {
        self.devices.commit();
        if let Some(presence) = &mut self.presence {
            presence.commit();
        }
    }

    pub(super) fn advance(&mut self, clock: Tick) {
        let end = self.ticks.granule_end(self.clock());
        if clock >= end && self.left.is_none() {
            let waiting = self.records.iter().filter(|(tick, _)| *tick >= end).cloned();
            let mut waiting: Vec<_> = waiting.collect();
            waiting.extend(self.rows.iter().flat_map(|rows| rows.since(end)));
            waiting.sort_by_key(|(tick, _)| *tick);
            self.left = Some(LeftGranule { end, waiting, open: self.ticks.open_since(end) });
        }
        self.ticks.advance(clock);
    }
}
