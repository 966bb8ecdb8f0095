//! The position of a partition: its tick, its place in the source, and its pending records.
//!
//! A quarantined partition keeps its place while time advances. When it is read again, its records are
//! late.

use schemas::{Record, Tick};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::partitions::device_presence::PresentDevice;
use crate::partitions::devices::KeptDevices;
use crate::{SourceContext, SourceError};

/// The beginning of a position.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Stamp {
    /// Records from here on have no earlier tick.
    tick: Tick,
    /// True while the partition is quarantined.
    quarantined: bool,
}

/// A position, whose place is a type of the source.
#[derive(Debug)]
pub(crate) struct Position<P> {
    /// Records from here on have no earlier tick.
    pub(crate) tick: Tick,
    /// None if nothing was read before.
    pub(crate) place: Option<P>,
    pub(crate) waiting: Vec<(Tick, Record)>,
    /// Bytes of each open tick.
    pub(crate) open: Vec<(Tick, usize)>,
    pub(crate) devices: KeptDevices,
    pub(crate) presence: Vec<PresentDevice>,
}

/// The part after the stamp, unless nothing was read before.
type Rest<P> = (P, Vec<(Tick, Record)>, Vec<(Tick, usize)>, KeptDevices, Vec<PresentDevice>);

impl<P: DeserializeOwned> Position<P> {
    pub(crate) fn decode(bytes: &[u8]) -> postcard::Result<Self> {
        let (Stamp { tick, .. }, rest) = postcard::take_from_bytes(bytes)?;
        if rest.is_empty() {
            let (waiting, open, devices) = (Vec::new(), Vec::new(), KeptDevices::new());
            return Ok(Self { tick, place: None, waiting, open, devices, presence: Vec::new() });
        }
        let (place, waiting, open, devices, presence): Rest<P> = postcard::from_bytes(rest)?;
        // Pending records whose tick has passed in the meantime get the position's tick.
        let waiting = waiting.into_iter().map(|(at, record)| (at.max(tick), record)).collect();
        let open = open.into_iter().map(|(at, n_bytes)| (at.max(tick), n_bytes)).collect();
        Ok(Self { tick, place: Some(place), waiting, open, devices, presence })
    }
}

/// Returns the place to continue at in a partition, from the position that an earlier run saved.
///
/// # Errors
///
/// [`SourceError::Position`] if the saved position cannot be decoded.
pub(crate) fn place_of<P: DeserializeOwned>(
    context: &SourceContext<'_>,
    partition: &str,
) -> Result<Option<P>, SourceError> {
    let Some(position) = context.position(partition) else { return Ok(None) };
    let position = Position::decode(position)
        .map_err(|source| SourceError::Position { name: context.name.to_owned(), source })?;
    Ok(position.place)
}

/// Encodes a position.
///
/// # Panics
///
/// If the place contains a value that postcard cannot encode, such as a sequence of unknown length.
pub(crate) fn encode<P: Serialize>(position: &Position<P>) -> Vec<u8> {
    let Position { tick, place, waiting, open, devices, presence } = position;
    let stamp = Stamp { tick: *tick, quarantined: false };
    let Some(place) = place else { return stamped(stamp, &[]) };
    let position = (stamp, place, waiting, open, devices, presence);
    postcard::to_allocvec(&position).expect("places and records have only what postcard knows")
}

/// Returns the position of a partition that is read from its beginning, no earlier than a tick.
pub fn begin(tick: Tick) -> Vec<u8> {
    stamped(Stamp { tick, quarantined: false }, &[])
}

/// The partition name that quarantines all new devices.
pub const UNKNOWN_DEVICES: &str = "unknown";

/// True if `quarantine` contains a partition as `SOURCE/PARTITION`, or its whole source.
pub fn is_quarantined(quarantine: &[String], source: &str, partition: &str) -> bool {
    quarantine.iter().any(|name| match name.split_once('/') {
        Some(parts) => parts == (source, partition),
        None => name == source,
    })
}

/// Returns the position of a quarantined partition at a later tick. `position` is empty if nothing of the
/// partition was read before.
pub fn quarantine(position: &[u8], tick: Tick) -> Vec<u8> {
    let place = postcard::take_from_bytes::<Stamp>(position).map_or(&[][..], |(_, place)| place);
    stamped(Stamp { tick, quarantined: true }, place)
}

/// Returns the position of a quarantined partition that is read again from a tick on. None if it was not
/// quarantined.
pub fn release(position: &[u8], tick: Tick) -> Option<Vec<u8>> {
    let (stamp, place) = postcard::take_from_bytes::<Stamp>(position).ok()?;
    let released = Stamp { tick: tick.max(stamp.tick), quarantined: false };
    stamp.quarantined.then(|| stamped(released, place))
}

fn stamped(stamp: Stamp, place: &[u8]) -> Vec<u8> {
    let mut position =
        postcard::to_allocvec(&stamp).expect("a number and a flag are what postcard knows");
    position.extend_from_slice(place);
    position
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_or_one_of_its_partitions_is_named() {
        let quarantine = ["hall".to_owned(), "topic/3".to_owned()];
        assert!(
            is_quarantined(&quarantine, "hall", "") && is_quarantined(&quarantine, "hall", "7")
        );
        assert!(is_quarantined(&quarantine, "topic", "3"));
        assert!(
            !is_quarantined(&quarantine, "topic", "")
                && !is_quarantined(&quarantine, "topic", "33")
        );
    }

    #[test]
    fn a_place_stays_while_time_goes_on() {
        let position = encode(&Position {
            tick: 70,
            place: Some(5_u32),
            waiting: Vec::new(),
            open: Vec::new(),
            devices: KeptDevices::new(),
            presence: Vec::new(),
        });
        assert_eq!(release(&position, 900), None, "it was not quarantined");
        let quarantined = quarantine(&quarantine(&position, 200), 300);
        let released = release(&quarantined, 250).expect("it was quarantined");
        let position = Position::<u32>::decode(&released).expect("its own");
        assert_eq!((position.tick, position.place), (300, Some(5)));
        let released = release(&quarantine(&[], 200), 250).expect("it was quarantined");
        let position = Position::<u32>::decode(&released).expect("its own");
        assert_eq!((position.tick, position.place), (250, None), "nothing was read before");
        assert!(Position::<u32>::decode(&[0xFF; 12]).is_err());
    }
}
