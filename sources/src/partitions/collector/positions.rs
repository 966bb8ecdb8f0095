//! Records the position of a partition when its clock passes the end of a granule, and restores it.

use schemas::Tick;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::partitions::collector::{Collector, LeftGranule};
use crate::partitions::device_presence::DevicePresence;
use crate::partitions::position::{self, Position};
use crate::{PartitionPosition, SourceContext, SourceError};

impl Collector {
    /// Restores the saved position of a partition, and returns the place to continue at. Its pending
    /// records are pending again.
    ///
    /// # Errors
    ///
    /// [`SourceError::Position`] if the saved position cannot be decoded.
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

    /// Records `place`, from which the latest record was read, if that record ended a granule. Returns the
    /// end of that granule. The caller calls this after each record.
    ///
    /// # Panics
    ///
    /// If the place contains a value that postcard cannot encode, such as a sequence of unknown length.
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

    /// Records that the partition has ended, if the clock has passed the end of a granule and no records
    /// are pending. Returns the end of that granule.
    pub(crate) fn leave(&mut self) -> Option<Tick> {
        let LeftGranule { end: tick, .. } = self.left.take_if(|left| left.waiting.is_empty())?;
        self.positions.push(PartitionPosition {
            partition: self.partition().to_owned(),
            tick,
            position: None,
        });
        Some(tick)
    }

    /// Returns the position of a partition that has read nothing since it was restored.
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

    /// Commits the state of devices: the next position includes the latest frames.
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
