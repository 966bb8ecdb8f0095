//! Decoders against reference results on real captures, bit for bit.

use std::collections::BTreeMap;
use std::fs;

use schemas::{CsiBatch, Record, SourceKind, TickLength};
use sources::{CsiFormat, Intake, LinkNames, SourceContext, Step};

use crate::support::{data, npy};

/// The frames of a capture, in their order, and what was dropped by reason.
fn decode(format: CsiFormat, bytes: &[u8]) -> (Vec<CsiBatch>, BTreeMap<&'static str, usize>) {
    // One tick for all, so that a batch is as long as its layout lasts.
    let tick_length = TickLength::from_ms(u64::MAX);
    let context = SourceContext { tick_length, ..SourceContext::detached("capture") };
    let intake = Intake::new(LinkNames::default(), SourceKind::Replay, &context);
    decode_into(intake, format, bytes)
}

fn decode_into(
    mut intake: Intake,
    format: CsiFormat,
    bytes: &[u8],
) -> (Vec<CsiBatch>, BTreeMap<&'static str, usize>) {
    let mut decoder = format.decoder();
    let (mut rest, mut dropped, mut batches) = (bytes, BTreeMap::new(), Vec::new());
    while !rest.is_empty() {
        let used = match decoder.decode(rest, true, &mut intake) {
            Step::Used(used) => used,
            Step::Bad(used, error) => {
                *dropped.entry(error.reason()).or_default() += 1;
                used
            }
            Step::NeedsMore | Step::NeedsSchema(_) => panic!("the bytes are complete"),
        };
        assert!(used > 0, "every step goes forward");
        rest = &rest[used..];
        // Frame by frame, to keep the order of frames of different layouts.
        batches.extend(intake.take().records.into_iter().map(|(_, record)| {
            let Record::Csi(batch) = record else { panic!("a capture holds csi") };
            batch
        }));
    }
    (batches, dropped)
}

/// Recordings in which the card's clock jumps back by seconds, while its frame counter goes on.
pub(crate) fn aligned_clocks_do_not_jump() {
    let (mut n_jumps, mut n_aligned) = (0, 0);
    for name in files("csi/intel5300", ".dat") {
        let bytes = fs::read(data::file(&format!("csi/intel5300/{name}"))).expect("the capture");
        let times = |intake: Intake| {
            let (batches, _) = decode_into(intake, CsiFormat::Intel5300, &bytes);
            batches.into_iter().flat_map(|batch| batch.captured_at_ns).collect::<Vec<_>>()
        };
        let context = SourceContext::detached("capture");
        let intake = || Intake::new(LinkNames::default(), SourceKind::Replay, &context);
        let (device, aligned) = (times(intake()), times(intake().aligned()));
        let steps =
            |times: &[i64]| times.windows(2).map(|pair| pair[1] - pair[0]).collect::<Vec<_>>();
        let (device, aligned) = (steps(&device), steps(&aligned));
        n_jumps += device.iter().filter(|step_ns| **step_ns < 0).count();
        assert!(aligned.iter().all(|step_ns| *step_ns >= 0), "{name}");
        // Where the clock goes on, it is believed.
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

pub(crate) fn intel5300_is_bit_for_bit_right() {
    let mut n_frames = 0;
    for name in files("csi/intel5300", ".dat") {
        let bytes = fs::read(data::file(&format!("csi/intel5300/{name}"))).expect("the capture");
        let truth = npy::read_gz(&data::file(&format!("csi-truth/intel5300__{name}.npy.gz")));
        let (batches, dropped) = decode(CsiFormat::Intel5300, &bytes);
        assert_eq!(batches.len(), truth.shape[0], "{name}: {dropped:?}");
        n_frames += batches.len();
        let [n_subcarriers, n_rx, n_tx] = [truth.shape[1], truth.shape[2], truth.shape[3]];
        for (batch, frame) in
            batches.iter().zip(truth.values.chunks(2 * n_subcarriers * n_rx * n_tx))
        {
            let layout = &batch.layout;
            let mut values = batch.values(0).iter();
            // The reference leaves a gap for an antenna that was not selected.
            let selected = |rx: &usize| {
                let mut row =
                    (0..n_subcarriers).map(|subcarrier| 2 * (subcarrier * n_rx + rx) * n_tx);
                row.any(|at| frame[at] != 0.0 || frame[at + 1] != 0.0)
            };
            for rx in (0..n_rx).filter(selected).take(usize::from(layout.n_rx)) {
                for tx in 0..usize::from(layout.n_tx) {
                    for subcarrier in 0..n_subcarriers {
                        let at = 2 * ((subcarrier * n_rx + rx) * n_tx + tx);
                        let value = values.next().expect("the frame is full");
                        let expected = [frame[at], frame[at + 1]];
                        assert_eq!([value.re, value.im].map(f64::from), expected, "{name}");
                    }
                }
            }
        }
    }
    assert_eq!(n_frames, 26 + 1377 + 1006 + 540 + 2998);
}

pub(crate) fn esp32_is_bit_for_bit_right() {
    for name in files("csi/esp32", ".csv") {
        let bytes = fs::read(data::file(&format!("csi/esp32/{name}"))).expect("the capture");
        let truth = npy::read_gz(&data::file(&format!("csi-truth/esp32__{name}.npy.gz")));
        let (batches, dropped) = decode(CsiFormat::Esp32, &bytes);
        let usual = batches.iter().filter(|batch| batch.layout.n_values() == truth.shape[1]);
        let values = usual.flat_map(|batch| batch.values(0)).flat_map(|value| [value.re, value.im]);
        let values: Vec<f64> = values.map(f64::from).collect();
        assert_eq!(values.len(), truth.values.len(), "{name}: {dropped:?}");
        assert!(values == truth.values, "{name}");
        let n_dropped: usize = dropped.values().sum();
        let odd = usize::from(name == "csikit_example_100hz_pitraffic.csv");
        let n_odd = dropped.get("odd number of values").copied().unwrap_or(0);
        assert_eq!((n_dropped, n_odd), (odd, odd), "{name}: {dropped:?}");
    }
}

pub(crate) fn truncated_captures_are_survived() {
    for (format, folder, ending) in
        [(CsiFormat::Intel5300, "csi/intel5300", ".dat"), (CsiFormat::Esp32, "csi/esp32", ".csv")]
    {
        let name = &files(folder, ending)[0];
        let bytes = fs::read(data::file(&format!("{folder}/{name}"))).expect("the capture");
        let whole = decode(format, &bytes).0.len();
        for n_bytes in (0..bytes.len().min(6000)).step_by(7) {
            let n_frames = decode(format, &bytes[..n_bytes]).0.len();
            assert!(n_frames <= whole);
            // And from the middle of a record on.
            decode(format, &bytes[bytes.len() - n_bytes..]);
        }
    }
}
