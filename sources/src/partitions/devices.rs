//! What devices tell, and what has to be remembered of them to understand it: clocks wrap, counters
//! wrap, and some count nothing at all.

mod counters;

use schemas::CsiFrame;
use serde::{Deserialize, Serialize};

use crate::partitions::aligned::{AlignedClock, JITTER_NS};
use crate::partitions::devices::counters::Counters;
use crate::{Counter, DeviceFrame, DeviceTime};

/// Microseconds after which a clock of 32 bits begins again: 71.6 minutes.
const WRAP_US: i64 = 1 << 32;

/// One of the devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Device {
    last_us: Option<u32>,
    wraps: i64,
    n_frames: u32,
    counters: Counters,
    aligned: Option<AlignedClock>,
}

impl Device {
    /// Nanoseconds on a clock of 32 bits since its first period began; jumps stay what they are. A clock
    /// that has wrapped for longer than there are nanoseconds stands still.
    fn unwrap_ns(&mut self, now_us: u32) -> i64 {
        // A step back of more than half the range is a wrap; a smaller one is a clock that jumped.
        if self.last_us.is_some_and(|last_us| last_us > now_us && last_us - now_us > u32::MAX / 2) {
            self.wraps = self.wraps.saturating_add(1);
        }
        self.last_us = Some(now_us);
        self.wraps.saturating_mul(WRAP_US).saturating_add(now_us.into()).saturating_mul(1000)
    }

    /// The number of a frame, and how many were skipped before it.
    fn count(&mut self, counter: Counter) -> (u32, u32) {
        let nth = self.n_frames;
        self.n_frames = nth.wrapping_add(1);
        self.counters.count(counter).unwrap_or((nth, 0))
    }
}

/// Devices that are remembered: many phones have a new name every quarter of an hour.
const MOST_DEVICES: usize = 1024;

/// What a device's place held before the latest frames.
#[derive(Clone, Debug)]
enum Before {
    Nothing,
    Same(Device),
    /// One that was forgotten for it.
    Other(String, String, Device),
}

/// The devices of a partition: those that are heard often, if there are many.
#[derive(Clone, Debug, Default)]
pub(crate) struct Devices {
    /// Receiver and, where that one counts, transmitter.
    names: Vec<(String, String)>,
    states: Vec<Device>,
    /// True if their clocks are to be kept steady.
    align: bool,
    /// The devices of the latest frames, and what was there before.
    changed: Vec<(usize, Before)>,
    /// The device of the frame before this one: often it is the same.
    last: usize,
    /// True if that one was known by who sent, too.
    by_transmitter: bool,
}

/// The saved state of devices.
pub(crate) type KeptDevices = Vec<(String, String, Device)>;

impl Devices {
    /// Keeps their clocks steady.
    pub(crate) fn align(&mut self) {
        self.align = true;
    }

    /// None yet, of another partition.
    pub(crate) fn for_partition(&self) -> Self {
        Self { align: self.align, ..Self::default() }
    }

    /// Where the clock is of the device that is the furthest behind, if their clocks are kept steady and by
    /// the time of arrival. A device that has not been heard for as long as a network may delay its frames
    /// counts no more.
    pub(crate) fn slowest_ns(&self, arrived_at_ns: Option<i64>) -> Option<i64> {
        let least_ns = arrived_at_ns.filter(|_| self.align)?.saturating_sub(JITTER_NS);
        let clocks = self.states.iter().filter_map(|device| Some(device.aligned?.now_ns()));
        Some(clocks.filter(|now_ns| *now_ns >= least_ns).min().unwrap_or(least_ns))
    }

    /// The scalars of a frame of a link, by the device's clock unless that says nothing. The link may be
    /// the `same` as that of the frame before.
    pub(crate) fn read(
        &mut self,
        (receiver, transmitter): (&str, &str),
        same: bool,
        frame: &DeviceFrame<'_>,
        arrived_at_ns: Option<i64>,
    ) -> CsiFrame {
        let by_transmitter = matches!(frame.counter, Counter::OfTransmitter { .. });
        let counting = if by_transmitter { transmitter } else { "" };
        let align = self.align;
        let same = same && self.by_transmitter == by_transmitter;
        self.by_transmitter = by_transmitter;
        let device = self.device(receiver, counting, same);
        let (sequence, n_missed) = device.count(frame.counter);
        let device_ns = match frame.time {
            DeviceTime::Unknown => None,
            DeviceTime::WrappingUs(now_us) => Some(device.unwrap_ns(now_us)),
            DeviceTime::Ns(now_ns) => Some(now_ns),
        };
        let captured_at_ns = device_ns.or(arrived_at_ns).unwrap_or_default();
        let captured_at_ns = match &mut device.aligned {
            _ if !align => captured_at_ns,
            Some(clock) => clock.step(captured_at_ns, n_missed.saturating_add(1), arrived_at_ns),
            first => {
                *first = Some(AlignedClock::new(captured_at_ns, arrived_at_ns));
                arrived_at_ns.unwrap_or(captured_at_ns)
            }
        };
        let DeviceFrame { rssi_dbm, noise_dbm, agc_db, scale, .. } = *frame;
        CsiFrame { captured_at_ns, sequence, rssi_dbm, noise_dbm, agc_db, scale, n_missed }
    }

    fn device(&mut self, receiver: &str, counting: &str, same: bool) -> &mut Device {
        let is = |(rx, tx): &(String, String)| rx == receiver && tx == counting;
        let known = match self.names.get(self.last) {
            Some(names) if same || is(names) => Some(self.last),
            _ => self.names.iter().position(is),
        };
        let idx = known.unwrap_or_else(|| {
            let names = (receiver.to_owned(), counting.to_owned());
            if self.states.len() < MOST_DEVICES { self.add(names) } else { self.replace(names) }
        });
        if self.changed.iter().all(|(changed, _)| *changed != idx) {
            self.changed.push((idx, Before::Same(self.states[idx])));
        }
        self.last = idx;
        &mut self.states[idx]
    }

    /// Returns the index of a new device.
    fn add(&mut self, names: (String, String)) -> usize {
        let idx = self.states.len();
        self.names.push(names);
        self.states.push(Device::default());
        self.changed.push((idx, Before::Nothing));
        idx
    }

    /// Returns the index of a new device, in place of the one that was heard longest ago.
    fn replace(&mut self, names: (String, String)) -> usize {
        let least = self.states.iter().enumerate().min_by_key(|(_, device)| device.n_frames);
        let idx = least.map_or(0, |(idx, _)| idx);
        let (receiver, transmitter) = std::mem::replace(&mut self.names[idx], names);
        let device = std::mem::take(&mut self.states[idx]);
        match self.changed.iter_mut().find(|(changed, _)| *changed == idx) {
            Some((_, before)) => {
                if let Before::Same(device) = *before {
                    *before = Before::Other(receiver, transmitter, device);
                }
            }
            None => self.changed.push((idx, Before::Other(receiver, transmitter, device))),
        }
        idx
    }

    /// Commits the latest frames.
    pub(crate) fn commit(&mut self) {
        self.changed.clear();
    }

    /// The devices as they were before the latest frames, unless they are done with.
    pub(crate) fn before_latest(&self) -> KeptDevices {
        let kept = self.names.iter().zip(&self.states).enumerate();
        let kept = kept.filter_map(|(idx, ((receiver, transmitter), device))| {
            let before = self.changed.iter().find(|(changed, _)| *changed == idx);
            let (receiver, transmitter, device) = match before.map(|(_, before)| before) {
                None => (receiver, transmitter, device),
                Some(Before::Same(device)) => (receiver, transmitter, device),
                Some(Before::Other(receiver, transmitter, device)) => {
                    (receiver, transmitter, device)
                }
                Some(Before::Nothing) => return None,
            };
            Some((receiver.clone(), transmitter.clone(), *device))
        });
        kept.collect()
    }

    /// The devices as they were.
    pub(crate) fn restore(&mut self, kept: KeptDevices) {
        for (receiver, transmitter, device) in kept {
            self.names.push((receiver, transmitter));
            self.states.push(device);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// Reads a frame of a receiver.
    fn read(
        devices: &mut Devices,
        receiver: &str,
        time: DeviceTime,
        count: u32,
        arrived_at_ns: Option<i64>,
    ) -> CsiFrame {
        let frame = DeviceFrame {
            receiver: None,
            transmitter: None,
            layout: &Arc::default(),
            time,
            counter: Counter::OfReceiver { count, bits: 32 },
            rssi_dbm: 0.0,
            noise_dbm: 0.0,
            agc_db: 0.0,
            scale: 1.0,
            values: &[],
        };
        devices.read((receiver, "ap"), false, &frame, arrived_at_ns)
    }

    #[test]
    fn tells_wraps_from_jumps() {
        let mut device = Device::default();
        for (name, now_us, expected_us) in [
            ("start", 4_294_000_000, 4_294_000_000),
            ("jump back", 4_290_000_000, 4_290_000_000),
            ("wrap", 1_000, WRAP_US + 1_000),
            ("after the wrap", 2_000, WRAP_US + 2_000),
        ] {
            assert_eq!(device.unwrap_ns(now_us), expected_us * 1000, "{name}");
        }
    }

    #[test]
    fn forged_wraps_do_not_overflow() {
        // Restored just before the last period that nanoseconds reach.
        let mut device = Device { wraps: i64::MAX / 1000 / WRAP_US - 1, ..Device::default() };
        let mut latest_ns = 0;
        for nth in 0..100 {
            let now_ns = device.unwrap_ns(if nth % 2 == 0 { u32::MAX } else { 0 });
            assert!(now_ns >= latest_ns, "{now_ns} after {latest_ns}");
            latest_ns = now_ns;
        }
        assert_eq!(latest_ns, i64::MAX);
        device.wraps = i64::MAX;
        assert_eq!([u32::MAX, 0].map(|now_us| device.unwrap_ns(now_us)), [i64::MAX; 2]);
    }

    #[test]
    fn frames_without_a_number_are_counted() {
        let mut device = Device::default();
        let counters = [Counter::None, Counter::OfReceiver { count: 9, bits: 16 }, Counter::None];
        assert_eq!(counters.map(|counter| device.count(counter)), [(0, 0), (9, 0), (2, 0)]);
    }

    #[test]
    fn no_clock_makes_it_panic() {
        let times = [i64::MIN, i64::MAX, 0, -1, i64::MAX, i64::MIN].map(DeviceTime::Ns);
        let wrapping = [0, u32::MAX, 0].map(DeviceTime::WrappingUs);
        let times = [times.as_slice(), &wrapping].concat();
        for align in [false, true] {
            for arrived_at_ns in [None, Some(i64::MIN), Some(0), Some(i64::MAX)] {
                let mut devices = Devices { align, ..Devices::default() };
                for time in times.iter().chain(&times) {
                    read(&mut devices, "a", *time, 1, arrived_at_ns);
                    devices.slowest_ns(arrived_at_ns);
                }
            }
        }
    }

    #[test]
    fn those_that_are_heard_often_are_remembered() {
        let mut devices = Devices::default();
        let count = |devices: &mut Devices, name: &str, count: u32| {
            let device = devices.device(name, "", false);
            device.count(Counter::OfReceiver { count, bits: 32 }).1
        };
        for nth in 0..3 {
            assert_eq!(count(&mut devices, "often", nth), 0);
        }
        let rare: Vec<_> = (0..3 * MOST_DEVICES).map(|nth| format!("phone {nth}")).collect();
        for name in &rare[1..] {
            count(&mut devices, name, 7);
        }
        devices.commit();
        assert_eq!(devices.states.len(), MOST_DEVICES);
        let kept = devices.before_latest();
        // Two that are new and one that is known, at once.
        count(&mut devices, &rare[0], 7);
        count(&mut devices, "often", 5);
        count(&mut devices, &rare[1], 7);
        assert_eq!(devices.states.len(), MOST_DEVICES);
        assert_eq!(devices.before_latest(), kept);
        assert_eq!(count(&mut devices, "often", 9), 3, "it was not forgotten");
    }

    #[test]
    fn devices_before_the_latest_frame_are_kept() {
        let read = |devices: &mut Devices, receiver: &str, now_us: u32, count: u32| {
            read(devices, receiver, DeviceTime::WrappingUs(now_us), count, None)
        };
        for align in [false, true] {
            let mut devices = Devices { align, ..Devices::default() };
            read(&mut devices, "a", u32::MAX - 5, 1);
            read(&mut devices, "a", 4, 2);
            devices.commit();
            read(&mut devices, "b", 0, 1);
            assert_eq!(devices.before_latest().len(), 1, "the latest is the first of its device");
            devices.commit();
            // Two at once.
            read(&mut devices, "b", 10, 4);
            let expected = read(&mut devices, "a", 14, 5);
            let mut again = Devices { align, ..Devices::default() };
            again.restore(devices.before_latest());
            assert_eq!(read(&mut again, "b", 10, 4).n_missed, 2);
            assert_eq!(read(&mut again, "a", 14, 5), expected);
            assert_eq!((expected.n_missed, again.states), (2, devices.states));
        }
    }
}
