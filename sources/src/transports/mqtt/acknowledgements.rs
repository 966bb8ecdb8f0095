//! Acknowledgements: a broker redelivers messages until they are acknowledged.
//!
//! A message is acknowledged when it is in every checkpoint that is kept. Until then the broker sends it
//! again after each loss of the connection. Packet numbers are reused, and messages may be equal. So a
//! message is identified by its number, its topic and its content, and only as long as the broker can refer
//! to it.

use std::collections::{HashMap, HashSet, VecDeque};

use rumqttc::v5::mqttbytes::v5::{Publish, PublishProperties};
use schemas::stable_hash_bytes;

/// Maximum number of known messages. It is below the number of packet numbers, so a message is removed
/// before a broker that counts on reuses its number. It is above the number of messages that may wait.
const MOST_KEPT: usize = u16::MAX as usize / 4 * 3;
/// Bits of a packet number.
const PACKET_BITS: u32 = u16::BITS;

/// A message in the journal.
#[derive(Clone, Copy, Debug)]
struct Kept {
    offset: u64,
    identity: u64,
    /// True if it was acknowledged over an earlier connection.
    acknowledged: bool,
}

/// Returns the identity of a message in the journal: its packet number, and a hash of its topic and of the
/// content that is the same in a redelivery.
pub(super) fn identity(message: &Publish) -> u64 {
    let PublishProperties {
        response_topic, correlation_data, user_properties, content_type, ..
    } = message.properties.clone().unwrap_or_default();
    let about =
        format!("{response_topic:?}{correlation_data:?}{user_properties:?}{content_type:?}");
    let parts = [&message.topic[..], &message.payload[..], about.as_bytes()];
    let hashes = parts.map(|part| stable_hash_bytes(part).to_le_bytes());
    let hash = stable_hash_bytes(hashes.as_flattened());
    hash << PACKET_BITS | u64::from(message.pkid)
}

/// The packet number in an identity.
fn packet_of(identity: u64) -> u16 {
    (identity & u64::from(u16::MAX)) as u16
}

/// The messages of a session that are in the journal.
#[derive(Debug)]
pub(super) struct Acknowledgements {
    /// The newest message of each packet number.
    kept: HashMap<u16, Kept>,
    /// Offsets and packet numbers of known messages, oldest first.
    order: VecDeque<(u64, u16)>,
    /// The latest packets that were acknowledged over this connection.
    acknowledged: VecDeque<(u64, u16)>,
    /// True until the broker has redelivered all messages without an acknowledgement.
    resuming: bool,
    /// Offsets and packet numbers of messages without an acknowledgement, in the order in which the broker
    /// sent them.
    waiting: VecDeque<(u64, u16)>,
    /// Maximum number of messages without an acknowledgement, since the broker stops sending if there are
    /// too many. Beyond it, the oldest is acknowledged as soon as the journal is durable.
    most_waiting: usize,
}

impl Acknowledgements {
    pub(super) fn new(most_waiting: usize) -> Self {
        Self {
            kept: HashMap::new(),
            order: VecDeque::new(),
            acknowledged: VecDeque::new(),
            resuming: false,
            waiting: VecDeque::new(),
            most_waiting,
        }
    }

    /// Records a message that the journal has at an offset.
    pub(super) fn keep(&mut self, offset: u64, identity: u64) {
        let packet = packet_of(identity);
        if packet == 0 {
            return;
        }
        self.kept.insert(packet, Kept { offset, identity, acknowledged: false });
        self.order.push_back((offset, packet));
        if self.order.len() > MOST_KEPT
            && let Some((offset, packet)) = self.order.pop_front()
        {
            // Its number may have been reused since.
            if self.kept.get(&packet).is_some_and(|kept| kept.offset == offset) {
                self.kept.remove(&packet);
            }
        }
    }

    /// Begins a connection. If the session is `resumed`, the broker redelivers messages without an
    /// acknowledgement. Otherwise the broker has no state.
    pub(super) fn connected(&mut self, resumed: bool) {
        self.waiting.clear();
        self.resuming = resumed;
        for (offset, packet) in self.acknowledged.drain(..) {
            if let Some(kept) = self.kept.get_mut(&packet).filter(|kept| kept.offset == offset) {
                kept.acknowledged = true;
            }
        }
        if !resumed {
            self.kept.clear();
            self.order.clear();
        }
    }

    /// True if the journal already has a message.
    pub(super) fn has(&mut self, message: &Publish) -> bool {
        if !message.dup {
            self.resumed();
            return false;
        }
        self.kept.get(&message.pkid).is_some_and(|kept| kept.identity == identity(message))
    }

    /// Ends the redelivery, when the broker sends a new message. The broker has received the
    /// acknowledgements of messages that were acknowledged over an earlier connection and not redelivered.
    fn resumed(&mut self) {
        if std::mem::take(&mut self.resuming) {
            let waiting: HashSet<_> = self.waiting.iter().map(|(offset, _)| *offset).collect();
            self.kept.retain(|_, kept| !kept.acknowledged || waiting.contains(&kept.offset));
        }
    }

    /// Records that the broker waits for the acknowledgement of a message in the journal.
    pub(super) fn wait(&mut self, packet: u16) {
        if let Some(kept) = self.kept.get(&packet) {
            self.waiting.push_back((kept.offset, packet));
        }
    }

    /// True if acknowledgements are due for messages that may not be durable in the journal.
    pub(super) fn need_sync(&self) -> bool {
        self.waiting.len() > self.most_waiting
    }

    /// The packet to acknowledge next, if everything before `done` is in checkpoints.
    pub(super) fn due(&self, done: u64) -> Option<u16> {
        let (offset, packet) = *self.waiting.front()?;
        (offset < done || self.need_sync()).then_some(packet)
    }

    /// Records that the next packet was acknowledged.
    pub(super) fn acknowledged(&mut self) {
        self.acknowledged.extend(self.waiting.pop_front());
        if self.acknowledged.len() > MOST_KEPT {
            self.acknowledged.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use rumqttc::v5::mqttbytes::QoS;

    use super::*;

    fn message(packet: u16, dup: bool, payload: &'static [u8]) -> Publish {
        let message = Publish::new("home", QoS::AtLeastOnce, payload, None);
        Publish { pkid: packet, dup, ..message }
    }

    fn keep(
        acknowledgements: &mut Acknowledgements,
        offset: u64,
        packet: u16,
        text: &'static [u8],
    ) {
        acknowledgements.keep(offset, identity(&message(packet, false, text)));
    }

    fn due(acknowledgements: &mut Acknowledgements, done: u64) -> Vec<u16> {
        let mut packets = Vec::new();
        while let Some(packet) = acknowledgements.due(done) {
            packets.push(packet);
            acknowledgements.acknowledged();
        }
        packets
    }

    #[test]
    fn a_message_is_due_when_it_is_in_checkpoints() {
        let mut acknowledgements = Acknowledgements::new(3);
        for (offset, packet) in [(0, 1), (10, 2), (20, 3)] {
            keep(&mut acknowledgements, offset, packet, b"message");
            acknowledgements.wait(packet);
        }
        assert!(due(&mut acknowledgements, 0).is_empty());
        assert_eq!(due(&mut acknowledgements, 20), [1, 2]);
        for (offset, packet) in [(30, 4), (40, 5), (50, 6)] {
            keep(&mut acknowledgements, offset, packet, b"message");
            acknowledgements.wait(packet);
        }
        assert!(acknowledgements.need_sync());
        assert_eq!(due(&mut acknowledgements, 20), [3], "one more than may wait");
    }

    #[test]
    fn what_is_sent_again_is_known() {
        let mut acknowledgements = Acknowledgements::new(10);
        keep(&mut acknowledgements, 0, 7, b"old");
        keep(&mut acknowledgements, 10, 7, b"new");
        keep(&mut acknowledgements, 20, 0, b"without a number");
        let elsewhere = Publish { topic: "garden".into(), ..message(7, true, b"new") };
        for (message, expected) in [
            (message(7, true, b"new"), true),
            (message(7, false, b"new"), false),
            (message(7, true, b"old"), false),
            (message(8, true, b"new"), false),
            (message(0, false, b"without a number"), false),
            (elsewhere, false),
        ] {
            assert_eq!(acknowledgements.has(&message), expected, "{message:?}");
        }
        acknowledgements.wait(7);
        acknowledgements.connected(true);
        assert!(due(&mut acknowledgements, 100).is_empty(), "it sends again what it waits for");
        acknowledgements.wait(7);
        assert_eq!(due(&mut acknowledgements, 100), [7]);
        acknowledgements.connected(false);
        assert!(!acknowledgements.has(&message(7, true, b"new")), "it knows of nothing");
    }

    #[test]
    fn a_number_that_is_used_again_is_another_message() {
        let mut acknowledgements = Acknowledgements::new(10);
        keep(&mut acknowledgements, 0, 1, b"on");
        acknowledgements.wait(1);
        assert_eq!(due(&mut acknowledgements, 100), [1]);
        // The acknowledgement may have been lost with the connection.
        acknowledgements.connected(true);
        assert!(acknowledgements.has(&message(1, true, b"on")));
        acknowledgements.connected(true);
        assert!(!acknowledgements.has(&message(2, false, b"off")), "all was sent again before");
        assert!(!acknowledgements.has(&message(1, true, b"on")), "it says the same as one before");
    }

    #[test]
    fn a_broker_that_counts_on_is_not_mistaken() {
        let mut acknowledgements = Acknowledgements::new(10);
        for nth in 0..u64::from(u16::MAX) {
            keep(&mut acknowledgements, nth, 1 + (nth % u64::from(u16::MAX)) as u16, b"on");
        }
        assert!(!acknowledgements.has(&message(1, true, b"on")), "too long ago");
        assert!(acknowledgements.has(&message(u16::MAX, true, b"on")));
        assert_eq!(acknowledgements.kept.len(), MOST_KEPT);
    }
}
