//! What a broker waits to be told of: messages that it sends again until they are acknowledged.
//!
//! A message is acknowledged when it is in every checkpoint that is kept. Until then the broker sends it
//! again after each loss of the connection, and it is known by its packet number and what it says.

use std::collections::{HashMap, VecDeque};

use rumqttc::v5::mqttbytes::v5::Publish;

/// A message that the journal has.
#[derive(Clone, Copy, Debug)]
struct Kept {
    offset: u64,
    checksum: u32,
}

/// Messages of a session that the journal has.
#[derive(Debug)]
pub(super) struct Acknowledgements {
    /// The newest of each packet number.
    kept: HashMap<u16, Kept>,
    /// Offsets and packet numbers that the broker waits for, in the order in which it sent them.
    waiting: VecDeque<(u64, u16)>,
    /// The broker stops sending when too many wait; so beyond these, it is told of the oldest as soon as
    /// the journal is durable.
    most_waiting: usize,
}

impl Acknowledgements {
    pub(super) fn new(most_waiting: usize) -> Self {
        Self { kept: HashMap::new(), waiting: VecDeque::new(), most_waiting }
    }

    /// Notes a message that the journal has at an offset.
    pub(super) fn keep(&mut self, offset: u64, packet: u16, message: &[u8]) {
        if packet != 0 {
            let checksum = crc32fast::hash(message);
            self.kept.insert(packet, Kept { offset, checksum });
        }
    }

    /// A connection has begun: the broker sends again what it waits for, or forgot all if the session is
    /// not `resumed`.
    pub(super) fn connected(&mut self, resumed: bool) {
        self.waiting.clear();
        if !resumed {
            self.kept.clear();
        }
    }

    /// True if the journal has a message already.
    pub(super) fn has(&self, message: &Publish) -> bool {
        let kept = self.kept.get(&message.pkid).filter(|_| message.dup);
        kept.is_some_and(|kept| kept.checksum == crc32fast::hash(&message.payload))
    }

    /// Notes that the broker waits for a message that the journal has.
    pub(super) fn wait(&mut self, packet: u16) {
        if let Some(kept) = self.kept.get(&packet) {
            self.waiting.push_back((kept.offset, packet));
        }
    }

    /// True if messages are due that the journal may not have made durable.
    pub(super) fn need_sync(&self) -> bool {
        self.waiting.len() > self.most_waiting
    }

    /// The packet that is to be acknowledged next, if everything before `done` is in checkpoints.
    pub(super) fn due(&self, done: u64) -> Option<u16> {
        let (offset, packet) = *self.waiting.front()?;
        (offset < done || self.need_sync()).then_some(packet)
    }

    /// Notes that the next one was acknowledged.
    pub(super) fn acknowledged(&mut self) {
        self.waiting.pop_front();
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
            acknowledgements.keep(offset, packet, b"message");
            acknowledgements.wait(packet);
        }
        assert!(due(&mut acknowledgements, 0).is_empty());
        assert_eq!(due(&mut acknowledgements, 20), [1, 2]);
        for (offset, packet) in [(30, 4), (40, 5), (50, 6)] {
            acknowledgements.keep(offset, packet, b"message");
            acknowledgements.wait(packet);
        }
        assert!(acknowledgements.need_sync());
        assert_eq!(due(&mut acknowledgements, 20), [3], "one more than may wait");
    }

    #[test]
    fn what_is_sent_again_is_known() {
        let mut acknowledgements = Acknowledgements::new(10);
        acknowledgements.keep(0, 7, b"old");
        acknowledgements.keep(10, 7, b"new");
        acknowledgements.keep(20, 0, b"without a number");
        for (message, expected) in [
            (message(7, true, b"new"), true),
            (message(7, false, b"new"), false),
            (message(7, true, b"old"), false),
            (message(8, true, b"new"), false),
            (message(0, false, b"without a number"), false),
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
}
