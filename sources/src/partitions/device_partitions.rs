//! The devices of a journal. Each device is a partition of its source, with its own clock and position,
//! from its first message until it is idle.
//!
//! A quarantined device keeps its position, and its messages stay in the journal. When it is read again, the
//! reader starts at that position, and the other devices skip messages until they reach their own.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::iter;
use std::net::IpAddr;

use schemas::{SourceKind, Tick};

use crate::partitions::ingress::Ingress;
use crate::partitions::partition_decoder::PartitionDecoder;
use crate::partitions::position::{self, UNKNOWN_DEVICES};
use crate::{PartitionPosition, Poll, SourceContext, SourceError};

/// Maximum number of devices that are partitions at one time. Others share the partition of unknown
/// senders.
const MOST_DEVICES: usize = 1024;

/// The partitions of a journal.
pub(crate) struct DevicePartitions {
    /// The partition of unknown senders.
    pub(crate) rest: PartitionDecoder,
    devices: BTreeMap<IpAddr, Device>,
    quarantined: BTreeMap<IpAddr, QuarantinedDevice>,
    /// True if new devices are quarantined.
    quarantines_unknown: bool,
}

/// A device that sends messages.
struct Device {
    messages: PartitionDecoder,
    /// The tick at which the partition ended, if it did. The device stays here until no checkpoint contains
    /// it.
    gone: Option<Tick>,
}

/// A device that is quarantined.
struct QuarantinedDevice {
    /// Messages of the device from this offset on are not read.
    offset: u64,
    position: Vec<u8>,
}

impl DevicePartitions {
    /// Continues at the positions of an earlier run; otherwise at `start`. With `presence`, partitions
    /// report when devices connect and disconnect.
    pub(crate) fn open(
        ingress: &Ingress<'_>,
        kind: SourceKind,
        start: u64,
        presence: bool,
    ) -> Result<Self, SourceError> {
        let context = ingress.context;
        let open = |name: &str| PartitionDecoder::open(ingress, kind, name, presence);
        let (mut rest, _) = open("")?;
        rest.skip_to(start);
        let (mut devices, mut quarantined) = (BTreeMap::new(), BTreeMap::new());
        for address in known(context) {
            let name = address.to_string();
            let messages = match context.position(&name) {
                Some(_) => open(&name)?.0,
                None => rest.for_partition(&name, rest.offset()),
            };
            if context.is_quarantined(&name) {
                quarantined.insert(address, QuarantinedDevice::at(&messages));
            } else {
                devices.insert(address, Device { messages, gone: None });
            }
        }
        let quarantines_unknown = context.is_quarantined(UNKNOWN_DEVICES);
        Ok(Self { rest, devices, quarantined, quarantines_unknown })
    }

    /// The lowest offset at which a partition continues.
    pub(crate) fn offset(&self) -> u64 {
        self.partitions().map(PartitionDecoder::offset).min().unwrap_or_default()
    }

    /// The clock of the slowest partition.
    pub(crate) fn slowest_clock(&self) -> Tick {
        self.clocks().min().unwrap_or_default()
    }

    /// The latest clock of all partitions.
    pub(crate) fn furthest_clock(&self) -> Tick {
        self.clocks().max().unwrap_or_default()
    }

    /// Returns the partition that a message belongs to. None if it is quarantined, or has read the message.
    pub(crate) fn of(
        &mut self,
        sender: Option<IpAddr>,
        offset: u64,
    ) -> Option<&mut PartitionDecoder> {
        let is_new = offset >= self.rest.offset();
        let Some(address) = sender else { return Some(&mut self.rest).filter(|_| is_new) };
        if self.quarantined.contains_key(&address) {
            return None;
        }
        let has_room = self.devices.len() + self.quarantined.len() < MOST_DEVICES;
        let messages = match self.devices.entry(address) {
            Entry::Occupied(device) => device.into_mut().back(&self.rest, offset),
            Entry::Vacant(_) if !is_new => return None,
            Entry::Vacant(_) if !has_room => &mut self.rest,
            Entry::Vacant(place) => {
                let messages = self.rest.for_partition(&address.to_string(), offset);
                if self.quarantines_unknown {
                    self.quarantined.insert(address, QuarantinedDevice::at(&messages));
                    return None;
                }
                &mut place.insert(Device { messages, gone: None }).messages
            }
        };
        (offset >= messages.offset()).then_some(messages)
    }

    /// Calls `change` for each partition that has not ended.
    pub(crate) fn for_each(&mut self, mut change: impl FnMut(&mut PartitionDecoder)) {
        let devices = self.devices.values_mut().filter(|device| device.gone.is_none());
        iter::once(&mut self.rest).chain(devices.map(|it| &mut it.messages)).for_each(&mut change);
    }

    /// Records positions. A partition that is idle by `now_ns` ends, if its clock has passed the end of a
    /// granule.
    pub(crate) fn record_position(&mut self, now_ns: i64) {
        self.rest.record_position();
        for device in self.devices.values_mut().filter(|device| device.gone.is_none()) {
            let silent = device.messages.is_silent(now_ns);
            device.gone = silent.then(|| device.messages.collector.leave()).flatten();
            device.messages.record_position();
        }
    }

    /// Polls each partition with `take`, and adds the positions of quarantined devices.
    pub(crate) fn poll(&mut self, mut take: impl FnMut(&mut PartitionDecoder) -> Poll) -> Poll {
        let mut poll = take(&mut self.rest);
        let quarantined = poll.positions.iter().flat_map(|mark| {
            self.quarantined.iter().map(|(address, quarantined)| PartitionPosition {
                partition: address.to_string(),
                tick: mark.tick,
                position: Some(position::quarantine(&quarantined.position, mark.tick)),
            })
        });
        let quarantined: Vec<_> = quarantined.collect();
        poll.positions.extend(quarantined);
        for device in self.devices.values_mut() {
            poll.join(match device.gone {
                Some(_) => device.messages.collector.take(),
                None => take(&mut device.messages),
            });
        }
        poll
    }

    /// Returns the first offset that is still needed, if checkpoints contain everything before `tick`.
    pub(crate) fn needed(&mut self, tick: Tick) -> Option<u64> {
        self.devices.retain(|_, device| device.gone.is_none_or(|gone| gone > tick));
        let devices = self.devices.values_mut().map(|device| &mut device.messages);
        let all = iter::once(&mut self.rest).chain(devices).map(|messages| messages.needed(tick));
        let needed = all.min().flatten();
        needed.map(|needed| {
            self.quarantined.values().map(|quarantined| quarantined.offset).fold(needed, u64::min)
        })
    }

    fn clocks(&self) -> impl Iterator<Item = Tick> {
        self.partitions().map(|messages| messages.collector.clock())
    }

    fn partitions(&self) -> impl Iterator<Item = &PartitionDecoder> {
        let devices = self.devices.values().filter(|device| device.gone.is_none());
        iter::once(&self.rest).chain(devices.map(|device| &device.messages))
    }
}

impl Device {
    /// Returns the device's partition. If it had ended, it begins again at `offset`.
    fn back(&mut self, rest: &PartitionDecoder, offset: u64) -> &mut PartitionDecoder {
        if self.gone.take().is_some() {
            self.messages.begin_again(rest, offset);
        }
        &mut self.messages
    }
}

impl QuarantinedDevice {
    /// Quarantines a device at its current position.
    fn at(messages: &PartitionDecoder) -> Self {
        let (source, partition) = (messages.collector.source(), messages.collector.partition());
        tracing::error!(source, partition, "quarantined");
        Self { offset: messages.offset(), position: messages.position() }
    }
}

/// Returns the devices that have a saved position or are named as quarantined.
fn known(context: &SourceContext<'_>) -> BTreeSet<IpAddr> {
    let noted = context.positions.iter().filter_map(|(name, _)| str::from_utf8(name).ok());
    let named = context.quarantine.iter().filter_map(|name| name.split_once('/'));
    let named = named.filter(|(source, _)| *source == context.name).map(|(_, name)| name);
    noted.chain(named).filter_map(|name| name.parse().ok()).collect()
}
