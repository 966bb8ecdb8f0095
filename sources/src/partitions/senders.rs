//! Who sends what comes to a journal: each device is a partition within its source, with a clock and a
//! place of its own, from its first message on until it has been silent for a while.
//!
//! One that is left alone stays where it is, and what it sends stays in the journal. When it is read
//! again, the journal is read from there, and the others wait until that is where they are.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::iter;
use std::net::IpAddr;

use schemas::{SourceKind, Tick};

use crate::partitions::ingress::Ingress;
use crate::partitions::messages::Messages;
use crate::partitions::position::{self, UNKNOWN_DEVICES};
use crate::{Mark, Poll, SourceContext, SourceError};

/// Devices that are partitions at one time. Others share the one of what has no sender.
const MOST_DEVICES: usize = 1024;

/// The partitions of a journal.
pub(crate) struct Senders {
    /// What nobody is known to have sent.
    pub(crate) rest: Messages,
    devices: BTreeMap<IpAddr, Device>,
    held: BTreeMap<IpAddr, Held>,
    /// True if devices that are heard for the first time are left alone.
    holds_unknown: bool,
}

/// A device that sends.
struct Device {
    messages: Messages,
    /// From which tick on it is no partition any more. It is kept until no checkpoint has it.
    gone: Option<Tick>,
}

/// A device that is left alone.
struct Held {
    /// What it sent from here on is not read.
    offset: u64,
    position: Vec<u8>,
}

impl Senders {
    /// Goes on where an earlier run was; otherwise at `start`. With `routers`, they tell which devices are
    /// there.
    pub(crate) fn open(
        ingress: &Ingress<'_>,
        kind: SourceKind,
        start: u64,
        routers: bool,
    ) -> Result<Self, SourceError> {
        let context = ingress.context;
        let open = |name: &str| Messages::open(ingress, kind, name, routers);
        let (mut rest, _) = open("")?;
        rest.skip_to(start);
        let (mut devices, mut held) = (BTreeMap::new(), BTreeMap::new());
        for address in known(context) {
            let name = address.to_string();
            let messages = match context.position(&name) {
                Some(_) => open(&name)?.0,
                None => rest.beside(&name, rest.offset()),
            };
            if context.is_held(&name) {
                held.insert(address, Held::at(&messages));
            } else {
                devices.insert(address, Device { messages, gone: None });
            }
        }
        let holds_unknown = context.is_held(UNKNOWN_DEVICES);
        Ok(Self { rest, devices, held, holds_unknown })
    }

    /// Where to read on.
    pub(crate) fn offset(&self) -> u64 {
        self.partitions().map(Messages::offset).min().unwrap_or_default()
    }

    /// The clock of the partition that is the furthest behind.
    pub(crate) fn slowest_clock(&self) -> Tick {
        self.clocks().min().unwrap_or_default()
    }

    /// The clock of the partition that is the furthest.
    pub(crate) fn furthest_clock(&self) -> Tick {
        self.clocks().max().unwrap_or_default()
    }

    /// The partition that a message belongs to. None if it is left alone, or has read the message.
    pub(crate) fn of(&mut self, sender: Option<IpAddr>, offset: u64) -> Option<&mut Messages> {
        let is_new = offset >= self.rest.offset();
        let Some(address) = sender else { return Some(&mut self.rest).filter(|_| is_new) };
        if self.held.contains_key(&address) {
            return None;
        }
        let has_room = self.devices.len() + self.held.len() < MOST_DEVICES;
        let messages = match self.devices.entry(address) {
            Entry::Occupied(device) => device.into_mut().back(&self.rest, offset),
            Entry::Vacant(_) if !is_new => return None,
            Entry::Vacant(_) if !has_room => &mut self.rest,
            Entry::Vacant(place) => {
                let messages = self.rest.beside(&address.to_string(), offset);
                if self.holds_unknown {
                    self.held.insert(address, Held::at(&messages));
                    return None;
                }
                &mut place.insert(Device { messages, gone: None }).messages
            }
        };
        (offset >= messages.offset()).then_some(messages)
    }

    /// Each of the partitions there are.
    pub(crate) fn for_each(&mut self, mut change: impl FnMut(&mut Messages)) {
        let devices = self.devices.values_mut().filter(|device| device.gone.is_none());
        iter::once(&mut self.rest).chain(devices.map(|it| &mut it.messages)).for_each(&mut change);
    }

    /// Has partitions that were silent at a time leave, at the end of a granule; the others note where they
    /// are.
    pub(crate) fn mark(&mut self, now_ns: i64) {
        self.rest.mark();
        for device in self.devices.values_mut().filter(|device| device.gone.is_none()) {
            let silent = device.messages.is_silent(now_ns);
            device.gone = silent.then(|| device.messages.intake.leave()).flatten();
            device.messages.mark();
        }
    }

    /// Takes out what each of them has with `take`.
    pub(crate) fn poll(&mut self, mut take: impl FnMut(&mut Messages) -> Poll) -> Poll {
        let mut poll = take(&mut self.rest);
        let held = poll.marks.iter().flat_map(|mark| {
            self.held.iter().map(|(address, held)| Mark {
                partition: address.to_string(),
                tick: mark.tick,
                position: Some(position::hold(&held.position, mark.tick)),
            })
        });
        let held: Vec<_> = held.collect();
        poll.marks.extend(held);
        for device in self.devices.values_mut() {
            poll.join(match device.gone {
                Some(_) => device.messages.intake.take(),
                None => take(&mut device.messages),
            });
        }
        poll
    }

    /// The offset from which on messages are needed, if all before a tick is done with.
    pub(crate) fn needed(&mut self, tick: Tick) -> Option<u64> {
        self.devices.retain(|_, device| device.gone.is_none_or(|gone| gone > tick));
        let devices = self.devices.values_mut().map(|device| &mut device.messages);
        let all = iter::once(&mut self.rest).chain(devices).map(|messages| messages.needed(tick));
        let needed = all.min().flatten();
        needed.map(|needed| self.held.values().map(|held| held.offset).fold(needed, u64::min))
    }

    fn clocks(&self) -> impl Iterator<Item = Tick> {
        self.partitions().map(|messages| messages.intake.clock())
    }

    fn partitions(&self) -> impl Iterator<Item = &Messages> {
        let devices = self.devices.values().filter(|device| device.gone.is_none());
        iter::once(&self.rest).chain(devices.map(|device| &device.messages))
    }
}

impl Device {
    /// Its messages, from an offset on if it was gone.
    fn back(&mut self, rest: &Messages, offset: u64) -> &mut Messages {
        if self.gone.take().is_some() {
            self.messages.begin_again(rest, offset);
        }
        &mut self.messages
    }
}

impl Held {
    /// A device that is left alone where it is.
    fn at(messages: &Messages) -> Self {
        let (source, partition) = (messages.intake.source(), messages.intake.partition());
        tracing::error!(source, partition, "left alone");
        Self { offset: messages.offset(), position: messages.position() }
    }
}

/// Devices that were noted in an earlier run, or are named as left alone.
fn known(context: &SourceContext<'_>) -> BTreeSet<IpAddr> {
    let noted = context.positions.iter().filter_map(|(name, _)| str::from_utf8(name).ok());
    let named = context.hold.iter().filter_map(|name| name.split_once('/'));
    let named = named.filter(|(source, _)| *source == context.name).map(|(_, name)| name);
    noted.chain(named).filter_map(|name| name.parse().ok()).collect()
}
