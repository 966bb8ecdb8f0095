//! The sequence numbers of received frames, and the transmitter's counters that they belong to.
//!
//! Source: IEEE 802.11-2020, 9.2.4.1 (frame control), 9.2.4.4 (sequence control), 9.2.4.5 (quality-of-service
//! control) and 10.3.2.14.2 (sequence number spaces).

use crate::formats::csi::bytes::{array, u16_le};
use crate::{Counter, SequenceSpace};

/// The header of a frame up to its sequence number.
pub(crate) const HEADER_BYTES: usize = 24;
const MANAGEMENT: u8 = 0;
const DATA: u8 = 2;
/// Flags of a frame between two distribution systems, which has one address more.
const BETWEEN_SYSTEMS: u8 = 3;
/// The group bit in the first byte of an address.
const GROUP: u8 = 1;

/// Returns the sequence number of a frame with a complete header.
pub(crate) fn counter(frame: &[u8]) -> Counter {
    let [control, flags] = array(frame, 0);
    let space = match space(control) {
        SequenceSpace::Unknown => qos_space(frame, flags),
        space => space,
    };
    numbered(space, u16_le(frame, 22))
}

/// Returns the sequence number in a header field: twelve bits above the fragment number.
pub(crate) fn numbered(space: SequenceSpace, sequence_control: u16) -> Counter {
    Counter::OfTransmitter { space, count: (sequence_control >> 4).into(), bits: 12 }
}

/// Returns the counter of a frame by its first byte.
pub(crate) fn space(control: u8) -> SequenceSpace {
    match (control >> 2 & 3, control >> 4) {
        (MANAGEMENT, _) | (DATA, 0..=7) => SequenceSpace::Baseline,
        // The counter depends on the receiver and the traffic identifier.
        (DATA, 8..=11) => SequenceSpace::Unknown,
        // Control frames have no number; quality-of-service frames without data have an arbitrary one.
        _ => SequenceSpace::Unnumbered,
    }
}

/// Returns the counter of quality-of-service data.
fn qos_space(frame: &[u8], flags: u8) -> SequenceSpace {
    let receiver: [u8; 6] = array(frame, 4);
    if receiver[0] & GROUP != 0 {
        return SequenceSpace::Baseline;
    }
    let between_systems = flags & BETWEEN_SYSTEMS == BETWEEN_SYSTEMS;
    let qos_at = if between_systems { HEADER_BYTES + 6 } else { HEADER_BYTES };
    let tid = frame.get(qos_at).map(|control| control & 0xF);
    tid.map_or(SequenceSpace::Unknown, |tid| SequenceSpace::QosData { receiver, tid })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_tell_their_counter() {
        use SequenceSpace::{Baseline, QosData, Unknown, Unnumbered};
        let receiver = [2, 2, 2, 2, 2, 2];
        let qos = |tid: u8| QosData { receiver, tid };
        for (name, control, flags, first, n_bytes, expected) in [
            ("beacon", 0x80, 0, 0xFF, 40, Baseline),
            ("action", 0xE0, 0, 2, 40, Baseline),
            ("data", 0x08, 1, 2, 40, Baseline),
            ("no data", 0x48, 1, 2, 24, Baseline),
            ("qos data", 0x88, 2, 2, 40, qos(5)),
            ("sent again", 0x88, 0x0A, 2, 40, qos(5)),
            ("qos data with four addresses", 0x88, 3, 2, 40, qos(6)),
            ("qos data to all", 0x88, 2, 0xFF, 40, Baseline),
            ("qos data that is cut off", 0x88, 2, 2, 24, Unknown),
            ("qos without data", 0xC8, 1, 2, 26, Unnumbered),
            ("block acknowledgement", 0x94, 0, 2, 28, Unnumbered),
            ("extension", 0x0C, 0, 2, 40, Unnumbered),
        ] {
            let mut frame = vec![0; n_bytes];
            (frame[0], frame[1]) = (control, flags);
            frame[4..10].copy_from_slice(&receiver);
            frame[4] = first;
            frame[22..24].copy_from_slice(&0x1234_u16.to_le_bytes());
            for (at, tid) in [(24, 0xF5), (30, 0xF6)] {
                if let Some(byte) = frame.get_mut(at) {
                    *byte = tid;
                }
            }
            let expected = Counter::OfTransmitter { space: expected, count: 0x123, bits: 12 };
            assert_eq!(counter(&frame), expected, "{name}");
        }
    }
}
