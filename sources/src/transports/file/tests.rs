//! Captures become the same records however they are polled.

use std::fs;

use proptest::prelude::*;
use schemas::{Record, Tick, TimeSpan};

use super::*;
use crate::formats::csi::robustness::{Case, cases};
use crate::partitions::pace::Paced;
use crate::{CsiFormat, Dropped, LinkNames, PollState, SourceContext, Speed};

const LINE: &str = "CSI_DATA,9,94:d9:b3:80:8c:81,-30,11,-93,7,24,6,2751923,67,0,4,1,\"[1,-2]\"\n";

/// Returns one byte at a time, as a slow disk might.
struct ByteByByte<'a>(&'a [u8]);

impl Read for ByteByByte<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(&mut buffer[..1])
    }
}

fn read_all(text: &str) -> (Vec<Record>, Vec<Dropped>) {
    let reader = ByteByByte(text.as_bytes());
    let context = SourceContext::detached("test");
    let collector = Collector::new(LinkNames::default(), SourceKind::Replay, &context);
    let mut capture =
        Capture::new(PathBuf::from("test"), reader, CsiFormat::Esp32.decoder(), collector, 2);
    let (mut records, mut dropped) = (Vec::new(), Vec::new());
    loop {
        let poll = capture.poll().expect("memory can be read");
        records.extend(poll.records.into_iter().map(|(_, record)| record));
        dropped.extend(poll.dropped);
        if poll.state == PollState::End {
            return (records, dropped);
        }
    }
}

#[test]
fn every_line_is_a_frame_or_a_counted_drop() {
    let text = format!("{LINE}{LINE}CSI_DATA,broken\n{LINE}");
    let (records, dropped) = read_all(&text);
    let (mut n_frames, mut n_errors) = (0, 0);
    for record in &records {
        match record {
            Record::Csi(batch) => n_frames += batch.len(),
            Record::Rows(rows) if rows.stream == "test.errors" => n_errors += rows.len(),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((n_frames, n_errors), (3, 1));
    let offset = 2 * LINE.len() as u64;
    assert_eq!(dropped, [Dropped { reason: "no list of values", n_records: 1, offset }]);
}

/// Arrival times of frames in milliseconds, from a clock that advances and steps both ways.
fn steps() -> impl Strategy<Value = Vec<u32>> {
    let step = prop_oneof![8 => 0..25_i64, 1 => -3000..0_i64, 1 => 25..3000_i64];
    let times = |steps: Vec<i64>| {
        let mut now_ms = 20_000_i64;
        let times = steps.into_iter().map(|step| {
            now_ms = (now_ms + step).max(0);
            u32::try_from(now_ms).expect("it is small")
        });
        times.collect()
    };
    prop::collection::vec(step, 40).prop_map(times)
}

/// Writes a capture into a folder, with a file of the arrival times of its frames.
fn write(folder: &std::path::Path, case: &Case, times_ms: &[u32]) -> PathBuf {
    let path = folder.join("capture.dat");
    let capture = [case.header.clone(), case.record.repeat(times_ms.len())].concat();
    fs::write(&path, capture).expect("room");
    let entry = |at_ms: &u32| [at_ms / 1000, at_ms % 1000 * 1000].map(u32::to_le_bytes);
    let entries: Vec<_> = times_ms.iter().flat_map(entry).collect();
    fs::write(folder.join("capture.datstp"), entries.as_flattened()).expect("room");
    path
}

/// All records of a source, as bytes.
fn read_out(mut source: impl Source) -> Vec<u8> {
    let mut given: Vec<(Tick, Record)> = Vec::new();
    loop {
        let poll = source.poll().expect("it can be read");
        given.extend(poll.records);
        if poll.state == PollState::End {
            return postcard::to_allocvec(&given).expect("records have a form");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    /// Polls of one, seven or all records, at three speeds, return the same bytes.
    #[test]
    fn it_gives_the_same_however_it_is_polled(times_ms in steps(), delayed in any::<bool>()) {
        let folder = tempfile::tempdir().expect("room");
        for case in cases() {
            let path = write(folder.path(), &case, &times_ms);
            let context = SourceContext::detached("test");
            let ingress = Ingress {
                context: &context,
                names: LinkNames::default(),
                by_sender: false,
                schema: None,
                speed: Speed::Full,
                clock: Some(Clock::Arrival),
                max_delay: TimeSpan::from_ms(if delayed { 40 } else { 0 }),
                max_ahead: TimeSpan::from_s(60),
                calendar: false,
                idle_timeout: TimeSpan::from_s(1),
                registry: None,
                decoder: &|| case.format.decoder(),
            };
            let open = |per_poll| Capture::open(path.clone(), &ingress, per_poll).expect("a capture");
            let all = read_out(open(512));
            prop_assert!(all.len() > 1000, "{}", case.name);
            for per_poll in [1, 7] {
                prop_assert!(read_out(open(per_poll)) == all, "{} by {per_poll}", case.name);
            }
            for factor in [1e5, 1e7, 1e9] {
                prop_assert!(read_out(Paced::new(open(1), factor)) == all, "{}", case.name);
            }
        }
    }
}

/// A replaced file is read from its beginning, at ticks after those of the file before.
#[test]
fn a_replaced_file_is_read_from_its_beginning() {
    let folder = tempfile::tempdir().expect("room");
    let path = folder.path().join("lines.csv");
    let granule = schemas::Granule::new(10, schemas::TickLength::from_ms(10));
    let context = SourceContext { granule, ..SourceContext::detached("boards") };
    let line = |nth: u32| LINE.replace("2751923", &(nth * 100_000).to_string());
    let open = |context: &SourceContext<'_>| {
        let ingress = Ingress {
            context,
            names: LinkNames::default(),
            by_sender: false,
            schema: None,
            speed: Speed::Full,
            clock: None,
            max_delay: TimeSpan::ZERO,
            max_ahead: TimeSpan::from_s(60),
            calendar: false,
            idle_timeout: TimeSpan::from_s(1),
            registry: None,
            decoder: &|| CsiFormat::Esp32.decoder(),
        };
        Capture::open(path.clone(), &ingress, 512).expect("it is there")
    };
    fs::write(&path, (0..20).map(line).collect::<String>()).expect("room");
    let positions = open(&context).poll().expect("it can be read").positions;
    let mark = &positions[positions.len() / 2];
    let positions = [(Vec::new(), mark.position.clone().expect("it is read on"))];
    let later =
        SourceContext { positions: &positions, starts_at: mark.tick, begins_at: 9000, ..context };
    let ticks = |mut capture: Capture| {
        let mut ticks = Vec::new();
        loop {
            let poll = capture.poll().expect("it can be read");
            ticks.extend(poll.records.into_iter().map(|(tick, _)| tick));
            if poll.state == PollState::End {
                return ticks;
            }
        }
    };
    let same = open(&later);
    assert!(!same.begins_anew());
    let rest = ticks(same);
    assert!(rest.len() > 5 && rest.iter().all(|tick| (mark.tick..9000).contains(tick)));
    fs::write(&path, (7..30).map(line).collect::<String>()).expect("room");
    let other = open(&later);
    assert!(other.begins_anew());
    let ticks = ticks(other);
    assert_eq!((ticks.first(), ticks.last()), (Some(&9000), Some(&9000)), "late, but there");
}
