//! Decoders against reference results on real captures, bit for bit.

use std::collections::BTreeMap;
use std::fs;

use schemas::{CsiBatch, Record, SourceKind, TickLength};
use sources::{Clock, Collector, CsiFormat, LinkNames, SourceContext, Step};

use crate::support::{data, lines, npy, process};

/// Returns the frames of a capture, in their order, and the number of dropped records by reason.
fn decode(format: CsiFormat, bytes: &[u8]) -> (Vec<CsiBatch>, BTreeMap<&'static str, usize>) {
    // All frames have the same tick, so that only a new layout begins a new batch.
    let tick_length = TickLength::from_ms(u64::MAX);
    let context = SourceContext { tick_length, ..SourceContext::detached("capture") };
    let collector = Collector::new(LinkNames::default(), SourceKind::Replay, &context);
    decode_into(collector, format, bytes)
}

fn decode_into(
    mut collector: Collector,
    format: CsiFormat,
    bytes: &[u8],
) -> (Vec<CsiBatch>, BTreeMap<&'static str, usize>) {
    let mut decoder = format.decoder();
    let (mut rest, mut dropped, mut batches) = (bytes, BTreeMap::new(), Vec::new());
    while !rest.is_empty() {
        let used = match collector.decode(&mut *decoder, rest, true) {
            Step::Used(used) => used,
            Step::Bad(used, error) => {
                *dropped.entry(error.reason()).or_default() += 1;
                used
            }
            Step::NeedsMore | Step::NeedsSchema(_) => panic!("the bytes are complete"),
        };
        assert!(used > 0, "every step goes forward");
        rest = &rest[used..];
        // Drained after each frame, to keep the order of frames of different layouts.
        batches.extend(collector.drain().records.into_iter().map(|(_, record)| {
            let Record::Csi(batch) = record else { panic!("a capture holds csi") };
            batch
        }));
    }
    (batches, dropped)
}

/// A pipeline that uses the arrival times of a capture's frames.
const BY_ARRIVAL: &str = r#"
name = "captures"

[sources.card]
type = "csi"
format = "intel5300"
transport = { file = "CAPTURE" }
clock = "arrival"

[sinks.lines]
type = "json_lines"
inputs = ["card"]
path = "out.jsonl"
"#;

/// A file of arrival times beside a capture sets the times of the capture's frames.
pub(crate) fn a_host_may_have_noted_the_times() {
    for name in files("csi/intel5300", ".datstp") {
        let directory = tempfile::tempdir().expect("room");
        let times = data::file(&format!("csi/intel5300/{name}"));
        let capture = times.with_extension("dat");
        let pipeline = BY_ARRIVAL.replace("CAPTURE", capture.to_str().expect("text"));
        fs::write(directory.path().join("captures.toml"), pipeline).expect("room");
        process::succeed(directory.path(), &["run", "captures.toml"]);
        let frames = lines::frames(&directory.path().join("out.jsonl"));
        let noted = fs::read(times).expect("the times");
        let (numbers, _) = noted.as_chunks::<4>();
        let noted = numbers.iter().map(|number| i64::from(u32::from_le_bytes(*number)));
        let noted: Vec<_> = noted.collect();
        let (noted, _) = noted.as_chunks::<2>();
        assert_eq!(frames.len(), noted.len(), "{name}");
        for ((_, found_ns), [seconds, us]) in frames.into_iter().zip(noted) {
            assert_eq!(found_ns, (seconds * 1_000_000 + us) * 1000, "{name}");
        }
    }
}

/// The card's clock jumps back by seconds, while its frame counter continues. Aligned times never decrease,
/// and few other steps change.
pub(crate) fn aligned_clocks_do_not_jump() {
    let (mut n_jumps, mut n_aligned) = (0, 0);
    for name in files("csi/intel5300", ".dat") {
        let bytes = fs::read(data::file(&format!("csi/intel5300/{name}"))).expect("the capture");
        let times = |collector: Collector| {
            let (batches, _) = decode_into(collector, CsiFormat::Intel5300, &bytes);
            batches.into_iter().flat_map(|batch| batch.captured_at_ns).collect::<Vec<_>>()
        };
        let context = SourceContext::detached("capture");
        let collector = || Collector::new(LinkNames::default(), SourceKind::Replay, &context);
        let (device, aligned) = (times(collector()), times(collector().with_clock(Clock::Aligned)));
        let steps =
            |times: &[i64]| times.windows(2).map(|pair| pair[1] - pair[0]).collect::<Vec<_>>();
        let (device, aligned) = (steps(&device), steps(&aligned));
        n_jumps += device.iter().filter(|step_ns| **step_ns < 0).count();
        assert!(aligned.iter().all(|step_ns| *step_ns >= 0), "{name}");
        // Aligned times keep the steps of the card's clock where it does not jump.
        let kept = device.iter().zip(&aligned).filter(|(device, aligned)| device == aligned);
        n_aligned += device.len() - kept.count();
    }
    assert!(n_jumps > 0, "none of the clocks jumps");
    assert!(n_aligned <= 20, "{n_aligned} steps were changed for {n_jumps} jumps");
}

fn files(folder: &str, ending: &str) -> Vec<String> {
    let files = fs::read_dir(data::file(folder)).expect("captures are there");
    let names = files.map(|file| file.expect("listed").file_name().to_string_lossy().into_owned());
    let mut names: Vec<_> = names.filter(|name| name.ends_with(ending)).collect();
    names.sort();
    names
}

/// Compares every frame that `wanted` selects with a reference of `[frame, tone, rx, tx]`, and returns the
/// number of frames. The reference has zeros where a frame is smaller and where an antenna was not selected.
fn compare(
    name: &str,
    batches: &[CsiBatch],
    truth: &str,
    scaled: bool,
    wanted: impl Fn(&CsiBatch) -> bool,
) -> usize {
    let truth = npy::read_gz(&data::file(&format!("csi-truth/{truth}.npy.gz")));
    let batches: Vec<_> = batches.iter().filter(|batch| wanted(batch)).collect();
    assert_eq!(batches.len(), truth.shape[0], "{name}");
    let shape = |axis: usize| truth.shape.get(axis).copied().unwrap_or(1);
    let (n_tones, n_rx, n_tx) = (shape(1), shape(2), shape(3));
    for (batch, frame) in batches.iter().zip(truth.values.chunks(2 * n_tones * n_rx * n_tx)) {
        let layout = &batch.layout;
        let at = |tone: usize, rx: usize, tx: usize| 2 * ((tone * n_rx + rx) * n_tx + tx);
        let selected = |rx: &usize| {
            (0..n_tones)
                .any(|tone| frame[at(tone, *rx, 0)] != 0.0 || frame[at(tone, *rx, 0) + 1] != 0.0)
        };
        let mut values = batch.values(0).iter();
        for rx in (0..n_rx).filter(selected).take(layout.n_rx.into()) {
            for tx in 0..usize::from(layout.n_tx) {
                for tone in 0..layout.subcarriers.len() {
                    let value = values.next().expect("the frame is full");
                    let at = at(tone, rx, tx);
                    let expected = [frame[at], frame[at + 1]];
                    if scaled {
                        let found =
                            [value.re, value.im].map(|part| f64::from(part * batch.scale[0]));
                        let close = found
                            .iter()
                            .zip(expected)
                            .all(|(a, b)| (a - b).abs() < 1e-5 * (1.0 + b.abs()));
                        assert!(close, "{name}: {found:?}, not {expected:?}");
                    } else {
                        let found = [value.re, value.im].map(f64::from);
                        // References have single precision.
                        assert_eq!(found, expected.map(|part| f64::from(part as f32)), "{name}");
                    }
                }
            }
        }
        assert!(values.all(|value| value.norm_sqr() == 0.0), "{name}: all is compared");
    }
    batches.len()
}

/// Returns the frames of a capture, which must be valid from its first byte to its last.
fn read(format: CsiFormat, folder: &str, name: &str) -> Vec<CsiBatch> {
    let bytes = fs::read(data::file(&format!("csi/{folder}/{name}"))).expect("the capture");
    let (batches, dropped) = decode(format, &bytes);
    assert!(dropped.is_empty(), "{name}: {dropped:?}");
    batches
}

pub(crate) fn intel5300_is_bit_for_bit_right() {
    let mut n_frames = 0;
    for name in files("csi/intel5300", ".dat") {
        let batches = read(CsiFormat::Intel5300, "intel5300", &name);
        n_frames += compare(&name, &batches, &format!("intel5300__{name}"), false, |_| true);
        let scaled = format!("intel5300__{name}.scaled");
        if data::file(&format!("csi-truth/{scaled}.npy.gz")).exists() {
            compare(&name, &batches, &scaled, true, |_| true);
        }
    }
    assert_eq!(n_frames, 26 + 1377 + 1006 + 540 + 2998);
}

pub(crate) fn atheros_is_bit_for_bit_right() {
    let name = "csiread_ath_csi_1.dat";
    let batches = read(CsiFormat::Atheros, "atheros", name);
    let truth = format!("atheros__{name}.official_order");
    assert_eq!(compare(name, &batches, &truth, false, |_| true), 401);
    assert_eq!(batches[0].captured_at_ns, [1_461_024_888_000]);
    assert_eq!(batches[400].captured_at_ns, [1_461_896_418_000]);
}

pub(crate) fn nexmon_is_bit_for_bit_right() {
    for (name, n_packets, first_us, rssi_dbm, streams) in [
        ("csikit_4339.pcap", 2850, 1_627_394_056_608_620, 0.0, 3),
        ("csikit_43455c0.pcap", 566, 1_600_957_690_355_509, -58.0, 1),
        ("csikit_4358.pcap", 4, 1_507_213_439_296_393, 0.0, 2),
        ("csikit_4366c0.pcap", 293, 1_525_572_014_747_919, 0.0, 1),
    ] {
        let batches = read(CsiFormat::Nexmon, "nexmon", name);
        assert_eq!(compare(name, &batches, &format!("nexmon__{name}"), false, |_| true), n_packets);
        assert_eq!(batches[0].captured_at_ns, [first_us * 1000], "{name}");
        assert_eq!(
            (batches[0].rssi_dbm[0], batches[0].layout.bandwidth_mhz),
            (rssi_dbm, 80),
            "{name}"
        );
        let mut found: Vec<_> = batches.iter().map(|batch| batch.layout.tx_streams[0]).collect();
        found.sort_unstable();
        found.dedup();
        assert_eq!(found.len(), streams, "{name}");
    }
}

pub(crate) fn picoscenes_is_bit_for_bit_right() {
    let mut n_frames = 0;
    for name in files("csi/picoscenes", ".csi") {
        let batches = read(CsiFormat::Picoscenes, "picoscenes", &name);
        let by_tones = |n_tones: usize| format!("picoscenes__{name}.tones{n_tones}");
        if data::file(&format!("csi-truth/{}.npy.gz", by_tones(52))).exists() {
            for n_tones in [52, 56] {
                let wanted = |batch: &CsiBatch| batch.layout.subcarriers.len() == n_tones;
                n_frames += compare(&name, &batches, &by_tones(n_tones), false, wanted);
            }
        } else {
            n_frames += compare(&name, &batches, &format!("picoscenes__{name}"), false, |_| true);
        }
    }
    assert_eq!(n_frames, 3654 + 885 + 433 + 3438 + 1348 + 112 + 383 + 1000 + 74);
}

pub(crate) fn feitcsi_is_bit_for_bit_right() {
    let mut n_frames = 0;
    for name in files("csi/feitcsi", ".csi") {
        let batches = read(CsiFormat::Feitcsi, "feitcsi", &name);
        n_frames += compare(&name, &batches, &format!("feitcsi__{name}"), false, |_| true);
        // File names contain format, bandwidth and channel.
        let bandwidth_mhz = batches[0].layout.bandwidth_mhz;
        assert!(name.contains(&format!("{bandwidth_mhz}_")), "{name}: {bandwidth_mhz} MHz");
    }
    assert_eq!(n_frames, 26 + 28 + 26 + 48 + 34 + 35 + 26 + 40);
}

pub(crate) fn ruview_is_bit_for_bit_right() {
    let of_64 = |batch: &CsiBatch| batch.layout.n_values() == 64;
    for name in files("csi/ruview-adr018", "") {
        let batches = read(CsiFormat::Ruview, "ruview-adr018", &name);
        assert_eq!(batches.len(), 5309, "{name}");
        assert_eq!(compare(&name, &batches, "ruview-adr018__64sc", false, of_64), 4127, "{name}");
        let first_ns = batches[0].captured_at_ns[0];
        assert!((first_ns - 1_775_182_186_957_775_800).abs() < 1000, "{name}: {first_ns}");
        for (n_values, expected) in [(128, 1134), (192, 48)] {
            let n_frames = batches.iter().filter(|it| it.layout.n_values() == n_values).count();
            assert_eq!(n_frames, expected, "{name}");
        }
    }
}

/// An early version of the script that records datagrams writes the header before the values. The frames of
/// such a recording equal those of the captured datagrams.
pub(crate) fn an_early_recording_is_like_its_datagrams() {
    let recorded = read(CsiFormat::Ruview, "wild", "ruview_record-csi-udp.csi.jsonl");
    let datagrams = read(CsiFormat::Ruview, "ruview-adr018", "pretrain_adr018_udp5005.pcap");
    assert_eq!(recorded.len(), 300);
    let first_ns = recorded[0].captured_at_ns[0];
    assert_eq!(first_ns, 1_795_614_045_793_277_552, "the time in nanoseconds, not the text");
    for (recorded, mut expected) in recorded.into_iter().zip(datagrams) {
        expected.captured_at_ns.clone_from(&recorded.captured_at_ns);
        assert_eq!(recorded, expected);
    }
}

pub(crate) fn esp32_is_bit_for_bit_right() {
    for name in files("csi/esp32", ".csv") {
        let bytes = fs::read(data::file(&format!("csi/esp32/{name}"))).expect("the capture");
        let truth = npy::read_gz(&data::file(&format!("csi-truth/esp32__{name}.npy.gz")));
        let (batches, dropped) = decode(CsiFormat::Esp32, &bytes);
        let usual = |batch: &CsiBatch| batch.layout.n_values() == truth.shape[1];
        compare(&name, &batches, &format!("esp32__{name}"), false, usual);
        let n_dropped: usize = dropped.values().sum();
        let odd = usize::from(name == "csikit_example_100hz_pitraffic.csv");
        let n_odd = dropped.get("odd number of values").copied().unwrap_or(0);
        assert_eq!((n_dropped, n_odd), (odd, odd), "{name}: {dropped:?}");
    }
}

/// Returns the first capture of each format.
fn samples() -> Vec<(CsiFormat, Vec<u8>)> {
    let folders = [
        (CsiFormat::Intel5300, "csi/intel5300", ".dat"),
        (CsiFormat::Atheros, "csi/atheros", ".dat"),
        (CsiFormat::Nexmon, "csi/nexmon", ".pcap"),
        (CsiFormat::Esp32, "csi/esp32", ".csv"),
        (CsiFormat::Picoscenes, "csi/picoscenes", ".csi"),
        (CsiFormat::Feitcsi, "csi/feitcsi", ".csi"),
        (CsiFormat::Ruview, "csi/ruview-adr018", ".pcap"),
    ];
    let samples = folders.into_iter().map(|(format, folder, ending)| {
        let name = &files(folder, ending)[0];
        (format, fs::read(data::file(&format!("{folder}/{name}"))).expect("the capture"))
    });
    samples.collect()
}

pub(crate) fn truncated_captures_are_survived() {
    for (format, bytes) in samples() {
        let whole = decode(format, &bytes).0.len();
        for n_bytes in (0..bytes.len().min(6000)).step_by(7) {
            let n_frames = decode(format, &bytes[..n_bytes]).0.len();
            assert!(n_frames <= whole);
            // The decoder also survives a start in the middle of a record.
            decode(format, &bytes[bytes.len() - n_bytes..]);
        }
    }
}
