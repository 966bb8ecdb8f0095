//! Devices are partitions. Their records are the same however a journal is polled, and from whichever
//! position it is replayed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use num_complex::Complex32;
use schemas::{CsiLayout, Record, TickLength, TimeSpan};

use super::*;
use crate::Clock;
use crate::journal::{Backlog, Origin};
use crate::{
    Content, Counter, Decoded, Decoder, DecoderMemory, DeviceFrame, DeviceTime, LinkNames,
    PollState, SourceContext, Speed, Split, position,
};

static LAYOUT: LazyLock<Arc<CsiLayout>> = LazyLock::new(|| {
    let layout = CsiLayout { n_rx: 1, n_tx: 1, subcarriers: vec![1], ..CsiLayout::default() };
    Arc::new(layout)
});

/// Frames of eight bytes: the device's clock in microseconds, and its counter.
struct Frames;

impl Decoder for Frames {
    fn split(&self, _: &[u8], _: bool) -> Split {
        Split::NeedsMore
    }

    fn decode<'a>(&'a mut self, bytes: &'a [u8], _: bool) -> Decoded<'a> {
        let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four"));
        let frame = DeviceFrame {
            receiver: None,
            transmitter: None,
            layout: &LAYOUT,
            time: DeviceTime::WrappingUs(number(0)),
            counter: Counter::OfReceiver { count: number(4), bits: 32 },
            rssi_dbm: 0.0,
            noise_dbm: 0.0,
            agc_db: 0.0,
            scale: 1.0,
            values: const { &[Complex32::new(0.0, 0.0)] },
        };
        Decoded::Record(8, Content::Frame(frame))
    }

    fn memory(&self) -> DecoderMemory {
        DecoderMemory::default()
    }

    fn recall(&mut self, _: DecoderMemory) {}
}

/// Pseudo-random numbers.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % bound
    }
}

fn address(nth: u64) -> IpAddr {
    [10, 0, (nth / 250) as u8, (nth % 250) as u8 + 1].into()
}

/// A journal of messages, each with its arrival time in milliseconds, its sender and its frames.
fn journal(
    messages: impl IntoIterator<Item = (i64, Option<IpAddr>, Vec<[u32; 2]>)>,
) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("room");
    let (mut writer, _) = journal::open(folder.path(), 0).expect("a folder");
    for (arrived_at_ms, sender, frames) in messages {
        let bytes: Vec<u8> = frames.concat().into_iter().flat_map(u32::to_le_bytes).collect();
        writer.append_at(arrived_at_ms * 1_000_000, Origin { sender, ..Origin::default() }, &bytes);
        writer.write(0, Backlog::More).expect("room");
    }
    folder
}

/// Five devices, one of them with an unknown address; each is idle for a while. Their clocks begin
/// `apart_us` after each other.
fn five_devices(apart_us: u32) -> tempfile::TempDir {
    let (mut chance, mut counts, mut now_ms) = (Chance(7), [0; 5], 0);
    journal((0..900).map(|nth| {
        now_ms += chance.below(14);
        // The devices are idle in turn, each for 100 messages.
        let mut device = chance.below(5) as usize;
        if device == nth / 100 % 5 {
            device = (device + 1) % 5;
        }
        let frames = (0..=chance.below(3)).map(|_| {
            counts[device] += 1 + chance.below(10) as u32 / 9;
            let device_us =
                device as u32 * apart_us + now_ms as u32 * 1000 + chance.below(5000) as u32;
            [device_us, counts[device]]
        });
        let sender = (device > 0).then(|| address(device as u64));
        (now_ms.cast_signed(), sender, frames.collect())
    }))
}

/// The options of reading a journal.
#[derive(Clone, Copy, Debug)]
struct Case {
    clock: Option<Clock>,
    max_delay: TimeSpan,
}

impl Case {
    fn open(self, folder: &Path, per_poll: usize, context: &SourceContext<'_>) -> JournalSource {
        let ingress = Ingress {
            context,
            names: LinkNames::default(),
            by_sender: true,
            schema: None,
            speed: Speed::Full,
            clock: self.clock,
            max_delay: self.max_delay,
            max_ahead: TimeSpan::from_s(60),
            calendar: false,
            idle_timeout: TimeSpan::from_ms(300),
            registry: None,
            decoder: &|| Box::new(Frames),
        };
        JournalSource::recorded(folder.to_owned(), per_poll, &ingress).expect("a journal")
    }
}

/// Tick, device, and content: an event, or a frame with its time, its number and the missing frames before
/// it.
type Seen = (Tick, String, String);

/// The output of a journal.
#[derive(Default)]
struct Given {
    seen: Vec<Seen>,
    positions: Vec<(Tick, String, Option<Vec<u8>>)>,
}

impl Given {
    /// The position of each partition at a tick.
    fn positions(&self, at: Tick) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut positions = BTreeMap::new();
        for (tick, partition, position) in &self.positions {
            if *tick <= at {
                positions.insert(partition.clone().into_bytes(), position.clone());
            }
        }
        positions.into_iter().filter_map(|(name, position)| Some((name, position?))).collect()
    }

    fn ticks(&self) -> BTreeSet<Tick> {
        self.positions.iter().map(|(tick, ..)| *tick).collect()
    }
}

fn read(mut journaled: JournalSource) -> Given {
    read_on(&mut journaled)
}

/// Reads all records, and checks that the clock and the ticks never go back.
fn read_on(journaled: &mut JournalSource) -> Given {
    let (mut given, mut clock, mut ended) = (Given::default(), 0, false);
    while !ended {
        let poll = journaled.poll().expect("it can be read");
        assert!(poll.records.is_sorted_by_key(|(tick, _)| *tick));
        let first = poll.records.first().map(|(tick, _)| *tick);
        assert!(first.is_none_or(|first| first >= clock), "{first:?} behind {clock}");
        ended = poll.state == PollState::End;
        assert!(ended || poll.records.last().is_none_or(|(tick, _)| *tick <= poll.clock));
        assert!(
            poll.positions.iter().all(|mark| mark.tick >= clock),
            "{:?} behind {clock}",
            poll.positions
        );
        clock = poll.clock;
        given.seen.extend(poll.records.iter().flat_map(|(tick, record)| seen(*tick, record)));
        given
            .positions
            .extend(poll.positions.into_iter().map(|it| (it.tick, it.partition, it.position)));
    }
    given.seen.sort_unstable();
    given
}

fn seen(tick: Tick, record: &Record) -> Vec<Seen> {
    match record {
        Record::Csi(batch) => (0..batch.len())
            .map(|idx| {
                let (at_ns, sequence) = (batch.captured_at_ns[idx], batch.sequence[idx]);
                let frame = format!("{at_ns} {sequence} {}", batch.n_missed[idx]);
                (tick, batch.link.receiver.clone(), frame)
            })
            .collect(),
        Record::Event(event) => {
            vec![(
                tick,
                event.subject.clone(),
                format!("{:?} {}", event.event_type, event.occurred_at_ns),
            )]
        }
        other => panic!("frames and events, not {}", other.kind()),
    }
}

fn context() -> SourceContext<'static> {
    let granule = schemas::Granule::new(200, TickLength::from_ms(10));
    SourceContext { granule, ..SourceContext::detached("hall") }
}

fn cases() -> impl Iterator<Item = Case> {
    let clocks = [None, Some(Clock::Device), Some(Clock::Aligned)];
    clocks
        .into_iter()
        .flat_map(|clock| [0, 30].map(TimeSpan::from_ms).map(|max_delay| Case { clock, max_delay }))
}

/// The part of `seen` from a tick on.
fn since(tick: Tick, seen: &[Seen]) -> Vec<&Seen> {
    seen.iter().filter(|(at, ..)| *at >= tick).collect()
}

#[test]
fn it_gives_the_same_however_it_is_polled_and_from_wherever_it_is_read_on() {
    for case in cases() {
        let apart_us = if case.clock == Some(Clock::Device) { 0 } else { 1_000_000_000 };
        let (folder, context) = (five_devices(apart_us), context());
        let open = |per_poll: usize, starts_at: Tick, positions: &[(Vec<u8>, Vec<u8>)]| {
            let context = SourceContext { starts_at, positions, ..context };
            case.open(folder.path(), per_poll, &context)
        };
        let all = read(open(256, 0, &[]));
        assert!(all.seen.len() > 1000, "{case:?}: {}", all.seen.len());
        let partitions: BTreeSet<_> = all.positions.iter().map(|(_, name, _)| name).collect();
        assert_eq!(partitions.len(), 5, "{case:?}");
        for per_poll in [1, 7] {
            let mut journaled = open(per_poll, 0, &[]);
            let again = read_on(&mut journaled);
            assert!(again.seen == all.seen, "{case:?} by {per_poll}");
            for tick in again.ticks() {
                let behind = open(9, tick, &again.positions(tick));
                let needed = journaled.demux.needed(tick);
                assert!(needed.is_some_and(|it| it <= behind.reader.offset()), "{needed:?}");
                let rest = read(behind);
                let (found, expected) = (since(tick, &rest.seen), since(tick, &all.seen));
                let first = found.iter().zip(&expected).find(|(found, expected)| found != expected);
                assert!(found == expected, "{case:?} from {tick}: {first:?}");
            }
            let needed = journaled.demux.needed(Tick::MAX);
            assert!(needed.is_some_and(|it| it > journaled.reader.offset() / 2), "{needed:?}");
        }
    }
}

/// A quarantined device stays at its position while the others continue. Later, only its messages are read.
#[test]
fn a_device_that_is_left_alone_is_read_later() {
    let (name, quarantine) = (address(2).to_string(), [format!("hall/{}", address(2))]);
    for case in cases() {
        let apart_us = if case.clock == Some(Clock::Device) { 0 } else { 1_000_000_000 };
        let (folder, context) = (five_devices(apart_us), context());
        let all = read(case.open(folder.path(), 256, &context));
        // From the beginning, and from a tick at which the device is known.
        let (early, late) = (0, all.ticks().into_iter().nth(4).expect("there are more"));
        for from in [early, late] {
            let positions = all.positions(from);
            assert_eq!(from > 0, positions.iter().any(|(it, _)| *it == name.as_bytes()));
            let begun = SourceContext { starts_at: from, positions: &positions, ..context };
            let mut quarantined =
                case.open(folder.path(), 7, &SourceContext { quarantine: &quarantine, ..begun });
            let others = read_on(&mut quarantined);
            assert!(others.seen.iter().all(|(_, device, _)| *device != name));
            let needed = quarantined.demux.needed(Tick::MAX).expect("there are positions");
            assert!(needed < quarantined.reader.offset() / 2, "it stays in the journal");
            // Much later.
            let until = 100_000;
            let mut positions = others.positions(until);
            for (_, position) in &mut positions {
                if let Some(released) = position::release(position, until) {
                    *position = released;
                }
            }
            let later = SourceContext { starts_at: until, positions: &positions, ..context };
            let alone = read(case.open(folder.path(), 7, &later));
            let frames = |given: &Given, from: Tick| {
                let of_it =
                    given.seen.iter().filter(|(at, device, _)| *device == name && *at >= from);
                let mut frames: Vec<_> = of_it.map(|(.., what)| what.clone()).collect();
                frames.sort_unstable();
                frames
            };
            assert!(alone.seen.iter().all(|(tick, device, _)| *device == name && *tick >= until));
            assert!(frames(&alone, until) == frames(&all, from), "{case:?} from {from}");
        }
    }
}

/// Idle devices are not partitions any more. Beyond the limit of devices, no message is lost.
#[test]
fn devices_come_and_go() {
    const N_DEVICES: u64 = 3000;
    let one = |nth: u64, at_ms: u64| (at_ms.cast_signed(), Some(address(nth)), vec![[0, 7]]);
    let many = (0..N_DEVICES).map(|nth| one(nth, nth / 10));
    let few = (0..50).map(|nth| one(nth % 2, N_DEVICES / 10 + nth * 100));
    let folder = journal(many.chain(few));
    let case = Case { clock: None, max_delay: TimeSpan::ZERO };
    let given = read(case.open(folder.path(), 64, &context()));
    let frames: Vec<_> = given.seen.iter().filter(|(.., what)| what.ends_with(" 7 0")).collect();
    assert_eq!(frames.len() as u64, N_DEVICES + 50);
    let names: BTreeSet<_> = frames.into_iter().map(|(_, device, _)| device).collect();
    assert_eq!(names.len() as u64, N_DEVICES, "each has its name");
    let kept = |at: Tick| given.positions(at).len();
    assert!(kept(200) > 500 && kept(400) < 1100, "{} and {}", kept(200), kept(400));
    assert_eq!(kept(Tick::MAX), 3, "two devices, and what has no sender");
}
