//! Tests on a stream that `ffmpeg` wrote, and on streams of a small writer.

use super::checksum::crc32;
use super::fault::{Fault, NutError};
use super::packets::{FILE_ID, INDEX_STARTCODE, MAIN_STARTCODE};
use super::test_writer::Writer;
use super::{Event, Frame, Header, NutDecoder, TimeBase};

/// Three pictures of 2x1 pixels at 0, 3134 and 6530 ticks of 1/90000 s.
///
/// Written by `FFmpeg` 5.1 with `-map_metadata -1 -fps_mode passthrough -enc_time_base -1`
/// `-vf scale=2:1 -pix_fmt rgb24 -f nut`.
const FROM_FFMPEG: &str = "6e75742f6d756c74696d6564696120636f6e7461696e6572004e4d7a561f5f04ad\
    48030181ff7f010185bf10c00006000000000001a00002010128010029002101012002018179c0000600000000\
    0001060300000104000001b602fffa02fffb02fffc02fffdc1f046a44e5311405bf2f9db180000045247421800\
    0e85bf100000000201020300515afdc54e49ab68b596ba78090000000000000000004e49ab68b596ba784f0100\
    00000307656e636f646572020d4c61766320726177766964656f0b446973706f736974696f6e02076465666175\
    6c740c725f6672616d655f72617465020b3237303030302f3930343108fa9af64e4be4adeeca45690600000000\
    0000030006747e7d747e7d03983e06747e7d747e7d03b30206747e7d747e7d4e58dd672f23e64e11b302010f03\
    000000000000001a5d004e0b";
const LIMIT: usize = 1 << 20;
const PIXELS: [u8; 6] = [0x74, 0x7E, 0x7D, 0x74, 0x7E, 0x7D];
const TIME_BASE: TimeBase = TimeBase { numerator: 1, denominator: 90_000 };

fn from_ffmpeg() -> Vec<u8> {
    let digits: Vec<_> = FROM_FFMPEG.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).unwrap()).collect()
}

/// Decodes chunks, one call after the other, up to the end or the first error.
fn decode<'a>(
    limit: usize,
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Event>, Result<(), NutError>) {
    let (mut decoder, mut events) = (NutDecoder::new(limit), Vec::new());
    for chunk in chunks {
        let mut rest = chunk;
        while !rest.is_empty() {
            match decoder.decode(rest) {
                Ok(progress) => {
                    rest = &rest[progress.n_used..];
                    events.extend(progress.event);
                }
                Err(error) => {
                    assert_eq!(decoder.decode(rest), Err(error), "the error stays");
                    return (events, decoder.finish());
                }
            }
        }
    }
    (events, decoder.finish())
}

fn frame(pts: i64, pixels: &[u8]) -> Event {
    Event::Frame(Frame { pts, pixels: pixels.to_vec() })
}

fn expected() -> Vec<Event> {
    let header = Header { width: 2, height: 1, time_base: TIME_BASE };
    let frames = [0, 3134, 6530].map(|pts| frame(pts, &PIXELS));
    [Event::Header(header)].into_iter().chain(frames).collect()
}

/// Returns the fault in the bytes of a writer.
fn fault(writer: &Writer) -> Option<Fault> {
    decode(LIMIT, [&*writer.0]).1.err().map(|error| error.fault)
}

/// Returns the fault in bytes that follow the file identifier.
fn after_file_id(write: impl Fn(&mut Writer)) -> Option<Fault> {
    let mut writer = Writer(FILE_ID.to_vec());
    write(&mut writer);
    fault(&writer)
}

/// Returns the fault in bytes that follow the headers of 2x1 pictures with 25 ticks a second.
fn after_headers(write: impl Fn(&mut Writer)) -> Option<Fault> {
    let mut writer = Writer::new(&[1, 25], 0, b"");
    write(&mut writer);
    fault(&writer)
}

#[test]
fn decodes_what_ffmpeg_writes() {
    let bytes = from_ffmpeg();
    assert_eq!(decode(LIMIT, [&*bytes]), (expected(), Ok(())));
    let mut decoder = NutDecoder::new(LIMIT);
    let mut rest = &*bytes;
    while !rest.is_empty() {
        rest = &rest[decoder.decode(rest).unwrap().n_used..];
    }
    assert!(decoder.has_index());
}

#[test]
fn does_not_depend_on_how_bytes_are_cut() {
    let bytes = from_ffmpeg();
    for at in 0..=bytes.len() {
        let (first, second) = bytes.split_at(at);
        assert_eq!(decode(LIMIT, [first, second]), (expected(), Ok(())), "cut at {at}");
    }
    for n_bytes in 1..9 {
        assert_eq!(decode(LIMIT, bytes.chunks(n_bytes)), (expected(), Ok(())), "{n_bytes}");
    }
}

#[test]
fn reports_a_stream_that_is_cut_short() {
    let bytes = from_ffmpeg();
    let ends: Vec<_> = (0..bytes.len())
        .filter(|&at| {
            let (events, end) = decode(LIMIT, [&bytes[..at]]);
            assert!(expected().starts_with(&events), "cut at {at}");
            assert!(end.is_ok() || end.unwrap_err().fault == Fault::Truncated);
            end.is_ok()
        })
        .collect();
    // The ends of the stream header, two information packets, the syncpoint and the frames.
    assert_eq!(ends, [139, 157, 245, 260, 269, 279, 289]);
}

#[test]
fn survives_each_changed_byte() {
    let bytes = from_ffmpeg();
    for at in 0..bytes.len() {
        for value in 0..=255 {
            let mut changed = bytes.clone();
            changed[at] = value;
            let (events, end) = decode(LIMIT, [&*changed]);
            assert!(events.len() <= 64, "{at} {value}");
            assert!(end.is_ok() || end.unwrap_err().offset <= bytes.len() as u64);
        }
    }
}

#[test]
fn survives_garbage() {
    let mut state = 1_u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as usize
    };
    let whole = from_ffmpeg();
    for _ in 0..20_000 {
        let n_good = random() % (whole.len() + 1);
        let mut bytes = whole[..n_good].to_vec();
        bytes.extend((0..random() % 200).map(|_| random().to_le_bytes()[0]));
        let whole_at_once = decode(LIMIT, [&*bytes]);
        assert_eq!(decode(LIMIT, bytes.chunks(1 + random() % 7)), whole_at_once);
    }
}

#[test]
fn reads_times() {
    for (name, time_bases, base, sync, coded, expected) in [
        ("whole", &[1, 25][..], 0, 0, 1000 + 128, 1000),
        ("low bits, later", &[1, 25], 0, 1000, 1030 % 128, 1030),
        ("low bits, earlier", &[1, 25], 0, 1000, 990 % 128, 990),
        ("syncpoint in another time base", &[1, 25, 1, 90_000], 1, 2 * 50, 5, 179_973),
    ] {
        let mut writer = Writer::new(time_bases, base, b"");
        writer.syncpoint(sync);
        writer.frame(coded, 6, 0, &PIXELS);
        let (events, end) = decode(LIMIT, [&*writer.0]);
        assert_eq!(end, Ok(()), "{name}");
        assert_eq!(events.last(), Some(&frame(expected, &PIXELS)), "{name}");
    }
}

#[test]
fn puts_elided_bytes_back() {
    let mut writer = Writer::new(&[1, 25], 0, &PIXELS[..4]);
    writer.frame(0, 6, 1, &PIXELS[4..]);
    writer.frame(1, 6, 0, &PIXELS);
    let (events, end) = decode(LIMIT, writer.0.chunks(1));
    assert_eq!((&events[1..], end), (&[frame(0, &PIXELS), frame(1, &PIXELS)][..], Ok(())));
}

#[test]
fn skips_packets_that_it_does_not_know() {
    let mut writer = Writer::new(&[1, 25], 0, b"");
    writer.packet(0x4E00_0000_0000_0001, &[7; 100]);
    writer.packet(INDEX_STARTCODE, &vec![7; 100_000]);
    writer.frame(0, 6, 0, &PIXELS);
    assert_eq!(decode(LIMIT, writer.0.chunks(1000)).0[1..], [frame(0, &PIXELS)]);
}

#[test]
fn names_faults_of_headers() {
    let huge = Fault::PictureSize { width: 65_535, height: 65_535 };
    let beyond = Fault::PictureSize { width: 1 << 62, height: 1 << 62 };
    let packet = |body: &[u8]| after_file_id(|writer| writer.packet(MAIN_STARTCODE, body));
    for (name, found, expected) in [
        ("text", fault(&Writer(b"RIFF".to_vec())), Fault::FileId),
        ("stream first", after_file_id(|writer| writer.stream(0, 2, 1)), Fault::HeaderMissing),
        ("other size", after_headers(|writer| writer.stream(0, 1, 2)), Fault::HeaderChanged),
        ("other base", after_headers(|writer| writer.main(&[1, 30], b"")), Fault::HeaderChanged),
        ("no such base", after_headers(|writer| writer.stream(1, 2, 1)), Fault::TimeBase),
        ("pixel flood", after_headers(|writer| writer.stream(0, 65_535, 65_535)), huge),
        ("overflow", after_headers(|writer| writer.stream(0, 1 << 62, 1 << 62)), beyond),
        ("zero time base", after_file_id(|writer| writer.main(&[0, 25], b"")), Fault::TimeBase),
        ("version", packet(&[4, 0]), Fault::Version(4)),
        ("two streams", packet(&[3, 2]), Fault::StreamCount(2)),
        ("short", packet(&[3]), Fault::HeaderLength),
        ("long", packet(&vec![3; 20_000]), Fault::HeaderLength),
    ] {
        assert_eq!(found, Some(expected), "{name}");
    }
}

#[test]
fn names_faults_of_frames() {
    let first = after_file_id(|writer| writer.frame(0, 6, 0, &PIXELS));
    let size = Fault::FrameSize { found: 5, expected: 6 };
    for (name, found, expected) in [
        ("frame first", first, Fault::HeaderMissing),
        ("size", after_headers(|writer| writer.frame(0, 5, 0, &PIXELS)), size),
        ("elision", after_headers(|writer| writer.frame(0, 6, 2, &PIXELS)), Fault::Field),
        ("code", after_headers(|writer| writer.0.push(0xFF)), Fault::Field),
        ("time", after_headers(|writer| writer.frame(127, 6, 0, &PIXELS)), Fault::Time),
    ] {
        assert_eq!(found, Some(expected), "{name}");
    }
}

#[test]
fn checks_checksums() {
    let mut bytes = from_ffmpeg();
    bytes[40] ^= 1;
    let error = NutError { offset: 25, fault: Fault::Checksum };
    assert_eq!(decode(LIMIT, [&*bytes]), (Vec::new(), Err(error)));
    assert_eq!(crc32(b"123456789"), 0x89A1_897F, "CRC-32/MPEG-2 without its initial value");
}

#[test]
fn has_a_limit_of_memory() {
    let (events, end) = decode(5, [&*from_ffmpeg()]);
    let fault = Fault::PictureSize { width: 2, height: 1 };
    assert_eq!((events, end), (Vec::new(), Err(NutError { offset: 106, fault })));
}

#[test]
fn converts_ticks_to_nanoseconds() {
    assert_eq!(TIME_BASE.nanoseconds(3134), Some(34_822_222));
    assert_eq!(TIME_BASE.nanoseconds(-1), Some(-11_112));
    let slow = TimeBase { numerator: (1 << 31) - 1, denominator: 1 };
    assert_eq!(slow.nanoseconds(i64::MAX), None);
}
