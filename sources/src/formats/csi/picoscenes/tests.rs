//! Frames of every radio and version.

use super::*;
use crate::Step;
use crate::formats::csi::CsiFormat;
use crate::formats::csi::testing::{batches, collector, steps};

fn segment(name: &str, version: u16, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![u8::try_from(name.len() + 1).expect("short")];
    bytes.extend(name.as_bytes());
    bytes.push(0);
    bytes.extend(version.to_le_bytes());
    bytes.extend(body);
    [u32::try_from(bytes.len()).expect("short").to_le_bytes().as_slice(), &bytes].concat()
}

/// A frame of 40 dB over noise at -90 dBm, with sequence number 5 of its transmitter.
fn frame(segments: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = MAGIC.to_le_bytes().to_vec();
    bytes.extend([1, 0, u8::try_from(segments.len()).expect("few")]);
    bytes.extend(segments.concat());
    bytes.extend([0x88, 0, 0, 0, 9, 9, 9, 9, 9, 9, 0, 0x16, 0xEA, 0x12, 0x34, 0x56]);
    bytes.extend([8, 8, 8, 8, 8, 8, 0x50, 0]);
    [u32::try_from(bytes.len()).expect("short").to_le_bytes().as_slice(), &bytes].concat()
}

/// The radio's header of a frame, by version, with the radio's clock at 7 and the host's at 8.
fn basic(version: u16) -> Vec<u8> {
    let n_before = match version {
        1 => 21,
        2 => 23,
        3 => 26,
        4 => 35,
        _ => 37,
    };
    let rssi = if version <= 2 { 40 } else { -50 };
    let mut body = vec![0; n_before];
    body[2] = 7;
    if version >= 4 {
        body[10] = 8;
    }
    match version {
        6 => body.extend([-90.0_f32, -50.0].map(f32::to_le_bytes).as_flattened()),
        _ => body.extend([-90_i8, rssi].map(i8::cast_unsigned)),
    }
    body.extend([0; 3]);
    segment("RxSBasic", version, &body)
}

fn csi(
    version: u16,
    device: u16,
    format: u8,
    tones: (u16, u16),
    antennas: (u8, u8),
    data: &[u8],
) -> Vec<u8> {
    let mut body = device.to_le_bytes().to_vec();
    if version >= 4 {
        body.push(67);
    }
    let (bandwidth_mhz, n_tones) = tones;
    body.push(format);
    body.extend(bandwidth_mhz.to_le_bytes());
    body.extend(5_210_000_000_u64.to_le_bytes());
    body.extend([0; 12]);
    body.extend(n_tones.to_le_bytes());
    body.extend([antennas.1, antennas.0, 0]);
    if version >= 3 {
        body.extend([1, 0]);
    }
    body.push(0b00_00_10);
    if version >= 2 {
        body.extend([0, 0]);
    }
    body.extend(u32::try_from(data.len()).expect("short").to_le_bytes());
    body.extend(data);
    segment("CSI", version, &body)
}

/// A frame as it would be recorded.
pub(crate) fn sample() -> Vec<u8> {
    frame(&[basic(3), csi(4, 0x2000, 1, (20, 56), (2, 1), &[1, 0, 2, 0].repeat(112))])
}

#[test]
fn reads_every_radio_and_version() {
    let doubles = [1.0_f64.to_le_bytes(), (-2.0_f64).to_le_bytes()].concat();
    let matrix = |version: &[u8], dimension: &[u8]| {
        let indices: Vec<u8> = (-26..26_i16).flat_map(i16::to_le_bytes).collect();
        [&indices, version, dimension, b"CD\x40C", &doubles.repeat(52)].concat()
    };
    let [one, two] = [
        matrix(b"BBv1\x01", &52_u32.to_le_bytes()),
        matrix(b"BBv2\x02", &[52_u64.to_le_bytes(), 1_u64.to_le_bytes()].concat()),
    ];
    let words = |n_values: usize| [1, 0, 0xFE, 0xFF].repeat(n_values);
    let minus_one = Complex32::new(-1.0, -1.0);
    let value = Complex32::new(1.0, -2.0);
    for (name, segments, shape, antennas, expected) in [
        (
            "5300",
            vec![basic(1), csi(2, INTEL_5300, 1, (20, 30), (2, 1), &[0xFF; 252])],
            (2, 2, 30),
            vec![2, 0],
            minus_one,
        ),
        (
            "9300",
            vec![basic(1), csi(1, QCA_9300, 1, (20, 56), (3, 1), &[0xFF; 420])],
            (3, 1, 56),
            vec![0, 1, 2],
            minus_one,
        ),
        (
            "ax200",
            vec![basic(3), csi(4, 0x2000, 1, (20, 56), (2, 1), &words(112))],
            (2, 1, 56),
            vec![0, 1],
            value,
        ),
        (
            "ax210",
            vec![basic(3), csi(3, 0x2100, 3, (160, 2020), (1, 1), &words(2020))],
            (1, 1, 1992),
            vec![0],
            value,
        ),
        (
            "usrp",
            vec![basic(2), csi(2, 0x1234, 0, (20, 52), (1, 1), &one)],
            (1, 1, 52),
            vec![0],
            value,
        ),
        (
            "virtual",
            vec![basic(2), csi(2, 0x1000, 0, (20, 52), (1, 1), &two)],
            (1, 1, 52),
            vec![0],
            value,
        ),
    ] {
        let batches = batches(CsiFormat::Picoscenes, &frame(&segments));
        let [batch] = &batches[..] else { panic!("{name}: one batch") };
        let layout = &batch.layout;
        let found = (layout.n_rx, layout.n_tx, layout.subcarriers.len());
        assert_eq!(found, shape, "{name}");
        assert_eq!((&layout.rx_antennas, layout.centre_mhz), (&antennas, 5210), "{name}");
        assert_eq!((batch.rssi_dbm[0], batch.noise_dbm[0]), (-50.0, -90.0), "{name}");
        assert_eq!((batch.sequence[0], batch.link.transmitter.as_str()), (5, "00:16:ea:12:34:56"));
        assert!(batch.iq.iter().all(|value| *value == expected), "{name}");
    }
}

#[test]
fn signal_strengths_are_where_each_version_has_them() {
    for version in 1..=7 {
        let bytes = basic(version);
        let (segment, _) = Segment::take(&bytes).expect("a segment");
        let found = Basic::parse(segment);
        let system_ns = if version >= 4 { 8 } else { 0 };
        assert_eq!((found.timestamp, found.system_ns), (7, system_ns), "version {version}");
        let levels = if version <= 6 { (-90.0, -50.0) } else { (0.0, 0.0) };
        assert_eq!((found.noise_dbm, found.rssi_dbm), levels, "version {version}");
        for n_bytes in 0..segment.body.len() {
            let Basic { noise_dbm, rssi_dbm, .. } =
                Basic::parse(Segment { body: &segment.body[..n_bytes], ..segment });
            assert!(noise_dbm.is_finite() && rssi_dbm.is_finite(), "{n_bytes} of {version}");
        }
    }
    let endless = [f32::NAN, f32::INFINITY].map(f32::to_le_bytes);
    let body = [&[0; 37], endless.as_flattened()].concat();
    let found = Basic::parse(Segment { name: b"RxSBasic", version: 6, body: &body });
    assert_eq!((found.noise_dbm, found.rssi_dbm), (0.0, 0.0), "no number is no level");
}

#[test]
fn tells_the_time_of_each_radio() {
    use DeviceTime::{Ns, Unknown, WrappingUs};
    for (name, device, clock_us, timestamp, system_ns, expected) in [
        ("microseconds", INTEL_5300, None, 7, 8, Ns(7000)),
        ("nanoseconds", 0x1234, None, 7, 8, Ns(7)),
        ("only the host", QCA_9300, None, 0, 8, Ns(8)),
        ("a clock of its own", 0x2000, Some(9), 7, 8, WrappingUs(9)),
        ("which stands still", 0x2000, Some(0), 7, 8, Ns(8)),
        ("without the host", 0x2100, Some(0), 7, 0, Ns(7000)),
        ("no clock", 0x2100, None, 0, 8, Ns(8)),
        ("nothing", 0x2100, Some(0), 0, 0, Unknown),
        ("backlog all calendars", INTEL_5300, None, u64::MAX, u64::MAX, Unknown),
        ("backlog nanoseconds", INTEL_5300, None, 1_u64 << 62, 0, Ns(i64::MAX)),
    ] {
        let basic = Basic { timestamp, system_ns, ..Basic::default() };
        assert_eq!(time(device, basic, clock_us), expected, "{name}");
    }
}

#[test]
fn subcarriers_may_be_beside_the_middle() {
    for (offset, tones, first, last) in [
        (0_i16, (20, 52), -26, 26),
        (-96, (20, 52), -122, -70),
        (32, (40, 114), -26, 90),
        (i16::MAX, (20, 52), i16::MAX - 26, i16::MAX),
    ] {
        let mut segment = csi(4, 0x2000, 0, tones, (1, 1), &[0; 4 * 114]);
        // After the length, name, version and body up to the selection of antennas.
        let offset_at = 4 + 1 + 4 + 2 + 34;
        segment[offset_at..offset_at + 2].copy_from_slice(&offset.to_le_bytes());
        let batches = batches(CsiFormat::Picoscenes, &frame(&[basic(4), segment]));
        let subcarriers = &batches[0].layout.subcarriers;
        assert_eq!((subcarriers[0], subcarriers.last()), (first, Some(&last)), "{offset}");
        assert_eq!(batches[0].captured_at_ns, [8], "by the host");
    }
}

#[test]
fn junk_tones_are_left_out() {
    let values = (0..2 * 498_i16).map(|tone| Complex32::new(tone.into(), 0.0)).collect();
    let mut picoscenes = Picoscenes { values, ..Picoscenes::default() };
    let body = csi(4, 0x2000, 2, (160, 498), (2, 1), &[]);
    let (segment, _) = Segment::take(&body).expect("a segment");
    let mut csi = Csi::parse(segment).expect("its body");
    picoscenes.leave_out_junk(&mut csi);
    assert_eq!((csi.n_tones, picoscenes.values.len()), (484, 2 * 484));
    let at = |idx: usize| picoscenes.values[idx].re;
    assert_eq!((at(241), at(242), at(484 + 242)), (241.0, 256.0, 498.0 + 256.0));
}

#[test]
fn goes_on_behind_damage() {
    let good = frame(&[basic(3), csi(4, 0x2000, 1, (20, 56), (1, 1), &[0; 224])]);
    let n_bytes = good.len();
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        [bytes, good.clone()].concat()
    };
    for (name, bytes, error) in [
        ("magic", with(4, 0), DecodeError::Header),
        ("length", with(2, 1), DecodeError::Truncated),
        ("segment", with(13, 1), DecodeError::Truncated),
        ("no such radio", with(69, 7), DecodeError::Chip),
    ] {
        let found = steps(CsiFormat::Picoscenes, &bytes, &mut collector());
        assert_eq!(found, [Step::Bad(n_bytes, error), Step::Used(n_bytes)], "{name}");
    }
    let nothing = frame(&[basic(3)]);
    let found = steps(CsiFormat::Picoscenes, &nothing, &mut collector());
    assert_eq!(found, [Step::Used(nothing.len())], "a frame without CSI is none");
}
