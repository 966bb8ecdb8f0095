//! The state of devices that is needed to read their frames: clocks wrap, counters wrap, and some devices
//! have no counter.

mod counters;

use schemas::CsiFrame;
use serde::{Deserialize, Serialize};

use crate::partitions::aligned::{AlignedClock, JITTER_NS};
use crate::partitions::devices::counters::Counters;
use crate::{Counter, DeviceFrame, DeviceTime};

/// Microseconds after which a 32-bit clock wraps: 71.6 minutes.
const WRAP_US: i64 = 1 << 32;

/// The state of one device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Device {
    last_us: Option<u32>,
    wraps: i64,
    n_frames: u32,
    counters: Counters,
    aligned: Option<AlignedClock>,
}

impl Device {
    /// Returns the nanoseconds since the first period of a 32-bit clock began. Jumps are not corrected. A
    /// clock that has wrapped beyond the range of nanoseconds stands still.
    fn unwrap_ns(&mut self, now_us: u32) -> i64 {
        // A step back of more than half the range is a wrap; a smaller step back is a jump.
        if self.last_us.is_some_and(|last_us| last_us > now_us && last_us - now_us > u32::MAX / 2) {
            self.wraps = self.wraps.saturating_add(1);
        }
        self.last_us = Some(now_us);
        self.wraps.saturating_mul(WRAP_US).saturating_add(now_us.into()).saturating_mul(1000)
    }

    /// Returns the number of a frame, and how many frames are missing before it.
    fn count(&mut self, counter: Counter) -> (u32, u32) {
        let nth = self.n_frames;
        self.n_frames = nth.wrapping_add(1);
        self.counters.count(counter).unwrap_or((nth, 0))
    }
}

/// Maximum number of devices: many phones have a new name every quarter of an hour.
const MOST_DEVICES: usize = 1024;

/// The content of a slot before the latest frames.
#[derive(Clone, Debug)]
enum Before {
    Nothing,
    Same(Device),
    /// Another device, which the current one replaced.
    Other(String, String, Device),
}

/// The devices of a partition. Beyond the limit, a new device replaces the one with the fewest frames.
#[derive(Clone, Debug, Default)]
pub(crate) struct Devices {
    /// The receiver, and the transmitter if frames have the transmitter's counter.
    names: Vec<(String, String)>,
    states: Vec<Device>,
    /// True if device clocks are aligned.
    align: bool,
    /// Slots of the latest frames, and their content before.
    changed: Vec<(usize, Before)>,
    /// The slot of the previous frame: the next frame is often of the same device.
    last: usize,
    /// True if the previous frame was identified by its transmitter, too.
    by_transmitter: bool,
}

/// The saved state of devices.
pub(crate) type KeptDevices = Vec<(String, String, Device)>;

impl Devices {
    /// Aligns the clocks of devices.
    pub(crate) fn align(&mut self) {
        self.align = true;
    }

    /// No devices so far, for another partition.
    pub(crate) fn for_partition(&self) -> Self {
        Self { align: self.align, ..Self::default() }
    }

    /// Returns the time of the slowest device clock, if clocks are aligned with the arrival time. A device
    /// does not count after the longest time by which a network may delay its frames.
    pub(crate) fn slowest_ns(&self, arrived_at_ns: Option<i64>) -> Option<i64> {
        let least_ns = arrived_at_ns.filter(|_| self.align)?.saturating_sub(JITTER_NS);
        let clocks = self.states.iter().filter_map(|device| Some(device.aligned?.now_ns()));
        Some(clocks.filter(|now_ns| *now_ns >= least_ns).min().unwrap_or(least_ns))
    }

    /// Returns the scalars of a frame of a link. Their time is the device's, or the arrival time if the
    /// device has none. `same` may be true if the previous frame has the same link.
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

    /// Adds a device, and returns its index.
    fn add(&mut self, names: (String, String)) -> usize {
        let idx = self.states.len();
        self.names.push(names);
        self.states.push(Device::default());
        self.changed.push((idx, Before::Nothing));
        idx
    }

    /// Replaces the device with the fewest frames, and returns its index.
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

    /// Returns the devices as of the last commit.
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

    /// Restores the devices of a saved position.
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
        // Starts just before the last period that fits in nanoseconds.
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
        // Two new devices and a known one, in one commit.
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
            // Two frames in one commit.
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
