//! Ticks, batches and positions.

use num_complex::Complex32;
use schemas::CsiLayout;

use super::*;
use crate::{Counter, DeviceFrame, DeviceTime, Poll};

fn layout(n_subcarriers: i16) -> CsiLayout {
    let subcarriers = (0..n_subcarriers).collect();
    CsiLayout { n_rx: 1, n_tx: 1, subcarriers, ..Default::default() }
}

fn collector() -> Collector {
    Collector::new(LinkNames::default(), SourceKind::Replay, &SourceContext::detached("test"))
}

fn push(collector: &mut Collector, transmitter: &str, n_subcarriers: i16, captured_at_ms: i64) {
    let values = vec![Complex32::default(); usize::try_from(n_subcarriers).expect("small")];
    collector.push(&DeviceFrame {
        receiver: None,
        transmitter: Some(transmitter),
        layout: &layout(n_subcarriers).into(),
        time: DeviceTime::Ns(captured_at_ms * 1_000_000),
        counter: Counter::None,
        rssi_dbm: 0.0,
        noise_dbm: 0.0,
        agc_db: 0.0,
        scale: 1.0,
        values: &values,
    });
}

/// Tick, transmitter, number of subcarriers and number of frames of each batch.
fn shape(poll: &Poll) -> Vec<(Tick, &str, usize, usize)> {
    let shape = poll.records.iter().map(|(tick, record)| {
        let Record::Csi(batch) = record else { panic!("only frames were pushed") };
        let layout = &batch.layout;
        (*tick, batch.link.transmitter.as_str(), layout.subcarriers.len(), batch.len())
    });
    shape.collect()
}

#[test]
fn a_batch_has_one_tick_one_link_and_one_layout() {
    let mut collector = collector();
    for (transmitter, n_subcarriers, captured_at_ms) in
        [("a", 1, 0), ("b", 1, 1), ("a", 1, 2), ("a", 2, 3), ("a", 1, 4), ("b", 1, 9), ("b", 1, 10)]
    {
        push(&mut collector, transmitter, n_subcarriers, captured_at_ms);
    }
    assert_eq!(collector.len(), 7);
    let expected =
        [(0, "a", 1, 2), (0, "b", 1, 2), (0, "a", 2, 1), (0, "a", 1, 1), (10, "b", 1, 1)];
    assert_eq!(shape(&collector.take()), expected[..4], "the last tick is not over");
    assert_eq!(shape(&collector.drain()), expected[4..]);
    assert!(collector.is_empty());
}

/// 20 frames of 16 KiB in one tick: eight fill a batch.
#[test]
fn a_full_batch_leaves_before_its_tick_is_over_wherever_polls_are() {
    let batches = |frames_per_poll: usize| {
        let mut collector = collector();
        let mut records = Vec::new();
        for nth in 0..20 {
            push(&mut collector, "a", 2048, nth % 10);
            if (nth as usize + 1).is_multiple_of(frames_per_poll) {
                records.extend(collector.take().records);
            }
        }
        let n_left = records.len();
        records.extend(collector.drain().records);
        (n_left, records)
    };
    let (n_left, one_by_one) = batches(1);
    assert_eq!(n_left, 2, "two are full");
    let shape = one_by_one.iter().map(|(tick, record)| match record {
        Record::Csi(batch) => (*tick, batch.n_before, batch.len()),
        other => panic!("{other:?}"),
    });
    assert_eq!(shape.collect::<Vec<_>>(), [(0, 0, 8), (0, 8, 8), (0, 16, 4)]);
    for frames_per_poll in [3, 8, 20, 100] {
        assert_eq!(batches(frames_per_poll).1, one_by_one, "polls of {frames_per_poll}");
    }
}

/// A link whose layout changes: a batch of the first layout does not continue behind a full one of the second.
#[test]
fn batches_are_the_same_wherever_polls_are_when_layouts_change() {
    let layouts = [vec![64; 5], vec![2048; 8], vec![64; 3], vec![2048; 2]].concat();
    let batches = |frames_per_poll: usize| {
        let mut collector = collector();
        let mut records = Vec::new();
        for (nth, n_subcarriers) in layouts.iter().enumerate() {
            push(&mut collector, "a", *n_subcarriers, 1);
            if (nth + 1).is_multiple_of(frames_per_poll) {
                records.extend(collector.take().records);
            }
        }
        records.extend(collector.drain().records);
        records
    };
    let whole = batches(100);
    assert_eq!(whole.len(), 4);
    for frames_per_poll in [1, 2, 5, 13] {
        assert_eq!(batches(frames_per_poll), whole, "polls of {frames_per_poll}");
    }
}

/// With a delay, all frames of a link and tick are sorted, however many there are.
#[test]
fn with_a_delay_a_batch_has_no_limit() {
    let mut collector = collector().with_max_delay(TimeSpan::from_ms(20));
    for nth in 0..20 {
        push(&mut collector, "a", 2048, (nth * 7) % 10);
        assert!(collector.take().records.is_empty(), "the tick is open");
    }
    let poll = collector.drain();
    assert_eq!(shape(&poll), [(0, "a", 2048, 20)]);
    let Record::Csi(batch) = &poll.records[0].1 else { panic!("frames") };
    assert!(batch.captured_at_ns.is_sorted());
}

#[test]
fn late_frames_travel_at_the_clock() {
    let mut collector = collector();
    for captured_at_ms in [0, 30, 10, 40] {
        push(&mut collector, "a", 1, captured_at_ms);
    }
    let poll = collector.drain();
    assert_eq!(shape(&poll), [(0, "a", 1, 1), (30, "a", 1, 2), (40, "a", 1, 1)]);
    assert_eq!((poll.n_late, poll.clock), (1, 40));
}
#[test]
fn with_a_delay_nothing_is_late_before_it() {
    let mut collector = collector().with_max_delay(TimeSpan::from_ms(20));
    for captured_at_ms in [0, 30, 12, 11, 5, 60] {
        push(&mut collector, "a", 1, captured_at_ms);
    }
    let poll = collector.take();
    assert_eq!(shape(&poll), [(0, "a", 1, 1), (10, "a", 1, 3), (30, "a", 1, 1)]);
    let Record::Csi(batch) = &poll.records[1].1 else { panic!("only frames were pushed") };
    assert_eq!(batch.captured_at_ns, [5_000_000, 11_000_000, 12_000_000], "in order");
    assert_eq!((poll.n_late, poll.clock), (1, 40), "5 came when the clock was at 10");
    assert_eq!(shape(&collector.finish(&())), [(60, "a", 1, 1)]);
}

/// Frames that arrive later than frames of other devices are not late. A device that stops delays the
/// others for no longer than a network delays frames.
#[test]
fn each_device_has_a_clock_of_its_own() {
    let mut collector = collector().with_senders(true).with_clock(Clock::Aligned);
    let mut hear = |device: u8, arrived_at_ms: i64, device_ms: i64| {
        collector.set_arrival(arrived_at_ms * 1_000_000);
        collector.set_sender(Some([10, 0, 0, device].into()));
        push(&mut collector, "ap", 1, device_ms);
        let poll = collector.take();
        assert_eq!(poll.n_late, 0, "device {device} at {arrived_at_ms} ms");
        poll.clock
    };
    // All frames of the second device but the first arrive 40 ms later.
    hear(1, 1000, 0);
    hear(2, 1000, 700_000);
    for nth in 5..50 {
        hear(1, 1000 + nth * 10, nth * 10);
        let clock = hear(2, 1000 + nth * 10, 700_000 + (nth - 4) * 10);
        assert!(clock + 40 <= 1010 + nth as Tick * 10, "{clock}");
    }
    // The second device stops.
    for nth in 55..100 {
        let (clock, now) = (hear(1, 1000 + nth * 10, nth * 10), 1000 + nth as Tick * 10);
        assert!(clock + 200 >= now, "{clock} at {now}");
        assert!(nth < 80 || clock >= now, "{clock} at {now}: nobody holds it back");
    }
}

/// Reads records at random times at once, and again from each position: the ticks are the same.
#[test]
fn reading_on_from_a_mark_gives_the_same_records() {
    let mut seed = 7_u64;
    let times: Vec<i64> = (0..400)
        .map(|nth| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            nth * 13 + i64::try_from(seed >> 58).expect("six bits")
        })
        .collect();
    let clocks = [(Clock::Device, 1), (Clock::Aligned, 1), (Clock::Aligned, 3)];
    let cases = [0, 30].into_iter().flat_map(|it| clocks.map(|(clock, n)| (it, clock, n)));
    for (max_delay, clock, n_devices) in cases {
        let read = |context: &SourceContext<'_>| {
            let mut collector = Collector::new(LinkNames::default(), SourceKind::Replay, context)
                .with_max_delay(TimeSpan::from_ms(max_delay))
                .with_senders(true)
                .with_clock(clock);
            let from: usize = collector.restore(context, "").expect("its own").unwrap_or(0);
            let (mut records, mut positions) = (Vec::new(), Vec::new());
            for (captured_at_ms, nth) in times.iter().zip(0_usize..).skip(from) {
                let device = u8::try_from(nth % n_devices).expect("few");
                if n_devices > 1 {
                    let arrived_at_ms = 70 + 13 * i64::try_from(nth).expect("few");
                    collector.set_arrival(arrived_at_ms * 1_000_000);
                    collector.set_sender(Some([10, 0, 0, device].into()));
                }
                // Each device has its own clock.
                push(&mut collector, "a", 1, *captured_at_ms + i64::from(device) * 1_000_000);
                collector.record_position(&nth);
                let poll = collector.take();
                records.extend(poll.records);
                positions.extend(poll.positions);
            }
            let poll = collector.finish(&times.len());
            records.extend(poll.records);
            positions.extend(poll.positions);
            (frames(records), positions)
        };
        let context = SourceContext::detached("test");
        let (all, positions) = read(&context);
        assert!(positions.len() > 4, "{positions:?}");
        for PartitionPosition { tick, position, .. } in positions {
            let positions = [(Vec::new(), position.expect("it is there"))];
            let again = read(&SourceContext { positions: &positions, ..context });
            let expected: Vec<_> = all.iter().filter(|(at, _)| *at >= tick).copied().collect();
            let case = (max_delay, clock, n_devices);
            assert_eq!(again.0, expected, "from {tick} with {case:?}");
        }
    }
}

/// Tick and capture time of each frame, in order.
fn frames(records: Vec<(Tick, Record)>) -> Vec<(Tick, i64)> {
    let frames = records.into_iter().flat_map(|(tick, record)| {
        let Record::Csi(batch) = record else { panic!("only frames were pushed") };
        batch.captured_at_ns.into_iter().map(move |captured_at_ns| (tick, captured_at_ns))
    });
    let mut frames: Vec<_> = frames.collect();
    frames.sort_unstable();
    frames
}

/// A time far ahead of its arrival is an error, and the clock does not follow it. A time far behind is
/// late.
#[test]
fn the_clock_does_not_follow_a_time_far_ahead() {
    let mut collector = collector().with_max_ahead(TimeSpan::from_s(60));
    let now_ms = 1_767_225_600_000;
    collector.set_arrival(now_ms * 1_000_000);
    for captured_at_ms in [now_ms, now_ms + 60_000, now_ms + 60_001, i64::MAX / 1_000_000, 5] {
        push(&mut collector, "a", 1, captured_at_ms);
    }
    collector.drop_ahead(7);
    let poll = collector.drain();
    assert_eq!((poll.n_records, poll.n_late), (3, 1));
    let expected = Dropped { reason: TOO_FAR_AHEAD, n_records: 2, offset: 7 };
    assert_eq!(poll.dropped, [expected]);
    assert_eq!(poll.clock, now_ms.cast_unsigned() + 60_000);
}

/// Errors alone advance the clock, too, before they take too much memory.
#[test]
fn garbage_is_bounded() {
    let mut collector = collector();
    let n_dropped = 3 * 16 * 1024 * 1024 / ERROR_BYTES as u64;
    let mut n_left = 0;
    for nth in 0..n_dropped {
        collector.drop_record("garbage", nth);
        if nth % 10_000 == 0 {
            n_left +=
                collector.take().records.iter().map(|(_, record)| record.len()).sum::<usize>();
        }
    }
    assert!(n_left as u64 > n_dropped / 2, "{n_left} of {n_dropped} have left");
}

/// Large records with one capture time fill several ticks. A replay from any position assigns the same
/// ticks.
#[test]
fn a_full_tick_is_over_at_the_same_record_after_a_restart() {
    let granule = schemas::Granule::new(10, schemas::TickLength::from_ms(10));
    let context = SourceContext { granule, ..SourceContext::detached("test") };
    let record = |nth: usize| {
        let subject = format!("{nth}{}", "0".repeat(700_000));
        Record::Event(schemas::Event { subject, ..schemas::Event::default() })
    };
    let read = |context: &SourceContext<'_>| {
        let mut collector = Collector::new(LinkNames::default(), SourceKind::Replay, context);
        let from: usize = collector.restore(context, "").expect("its own").unwrap_or(0);
        let (mut ticks, mut positions) = (Vec::new(), Vec::new());
        for nth in from..150 {
            collector.push_record(5_000_000, record(nth));
            collector.record_position(&nth);
            let poll = collector.take();
            ticks.extend(poll.records.into_iter().map(|(tick, _)| tick));
            positions.extend(poll.positions);
        }
        ticks.extend(collector.finish(&150_usize).records.into_iter().map(|(tick, _)| tick));
        (ticks, positions)
    };
    let (all, positions) = read(&context);
    assert!(positions.len() > 3, "{} ticks were full", positions.len());
    for PartitionPosition { tick, position, .. } in positions {
        let positions = [(Vec::new(), position.expect("it is read on"))];
        let (again, _) = read(&SourceContext { positions: &positions, ..context });
        let expected: Vec<_> = all.iter().filter(|at| **at >= tick).copied().collect();
        assert_eq!(again, expected, "from {tick}");
    }
}
