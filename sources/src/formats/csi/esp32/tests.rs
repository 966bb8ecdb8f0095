//! Lines of every variant, whole and broken.

use proptest::prelude::*;

use super::*;
use crate::Step;
use crate::formats::csi::CsiFormat;
use crate::formats::csi::testing::{batches, collector, steps};

const HERNANDEZ_LINE: &str = "CSI_DATA,AP,3C:71:BF:6D:2A:78,-73,11,1,0,1,1,1,1,0,0,0,-93,0,1,1,\
    80272146,0,47,0,0,80.2,4,[1 -2 3 4 ]";
const V1_LINE: &str = "CSI_DATA,17,94:d9:b3:80:8c:81,-30,11,1,6,1,0,1,0,1,0,0,-93,0,13,2,2751923,\
    0,67,0,4,1,\"[1,-2,3,4]\"";
const V2_LINE: &str = "CSI_DATA,9,94:d9:b3:80:8c:81,-30,11,-93,252,24,6,2751923,67,0,4,1,\
    \"[1,-2,3,4]\"";
const RADAR_COLUMNS: &str = "CSI_DATA,9,100,0,none,94:d9:b3:80:8c:81,-30,11,1,6,0,1,1,1,0,0,0,-93,0,6,0,\
    2751923,0,67,0,24,4,4,1";

/// A line as a board would print it.
pub(crate) fn sample() -> Vec<u8> {
    format!("{V1_LINE}\n").into_bytes()
}

#[test]
fn reads_every_variant() {
    let radar_list = format!("{RADAR_COLUMNS},\"[1,-2,3,4]\"");
    let radar_base64 = format!("{RADAR_COLUMNS},Af4DBA==\r\n");
    let v2_without_gain = V2_LINE.replace(",252,24,", ",");
    let radar_without_gain = radar_base64.replace(",24,4,", ",");
    for (name, line, captured_at_us, sequence, centre_mhz, (agc_db, gain_db)) in [
        ("hernandez", HERNANDEZ_LINE, 80_272_146, 0, 2412, (0.0, 0.0)),
        ("v1", V1_LINE, 2_751_923, 17, 2472, (0.0, 0.0)),
        ("v2", V2_LINE, 2_751_923, 9, 2437, (24.0, 23.0)),
        ("radar", radar_list.as_str(), 2_751_923, 9, 2437, (24.0, 25.0)),
        ("v2 without gain", v2_without_gain.as_str(), 2_751_923, 9, 2437, (0.0, 0.0)),
        ("radar without gain", radar_without_gain.as_str(), 2_751_923, 9, 2437, (0.0, 0.0)),
        ("radar in base64", radar_base64.as_str(), 2_751_923, 9, 2437, (24.0, 25.0)),
    ] {
        let batches = batches(CsiFormat::Esp32, line.as_bytes());
        let frame = batches[0].frame(0);
        assert_eq!(frame.captured_at_ns, captured_at_us * 1000, "{name}");
        assert_eq!((frame.sequence, frame.agc_db), (sequence, agc_db), "{name}");
        assert!((frame.scale.log10() * -20.0 - gain_db).abs() < 1e-4_f32, "{name}");
        assert_eq!((frame.noise_dbm, batches[0].layout.centre_mhz), (-93.0, centre_mhz), "{name}");
        let values = [Complex32::new(-2.0, 1.0), Complex32::new(4.0, 3.0)];
        assert_eq!(batches[0].values(0), values, "{name}: the imaginary part comes first");
    }
}

/// Boards print 32-bit numbers as signed, and bytes as unsigned.
#[test]
fn signs_are_undone() {
    let v1 = V1_LINE.replace(",17,", ",-2,").replace("2751923", "-1000");
    let v2 = V2_LINE.replace(",9,", ",-2,").replace("2751923", "-1000").replace("-93", "163");
    for line in [v1, v2] {
        let batches = batches(CsiFormat::Esp32, line.as_bytes());
        let frame = batches[0].frame(0);
        assert_eq!(frame.captured_at_ns, ((1 << 32) - 1000) * 1000, "{line}");
        assert_eq!((frame.sequence, frame.rssi_dbm), (u32::MAX - 1, -30.0), "{line}");
        assert!((frame.noise_dbm + 93.0).abs() < f32::EPSILON, "{line}");
    }
}

#[test]
fn counts_what_is_wrong() {
    let odd = HERNANDEZ_LINE.replace("[1 -2 3 4 ]", "[1 -2 3 ]");
    let glued = format!("CSI_DATA,AP,3C:71{HERNANDEZ_LINE}");
    let endless = HERNANDEZ_LINE.replace("[1 -2 3 4 ]", &format!("[{}]", "1 ".repeat(70_000)));
    let no_base64 = format!("{RADAR_COLUMNS},A*");
    let odd_base64 = format!("{RADAR_COLUMNS},Af4D");
    for (name, line, expected) in [
        ("boot message", "I (560) wifi: mode : sta", Some(DecodeError::Header)),
        ("empty line", "\r\n", None),
        ("header", "type,role,mac,rssi,len,CSI_DATA", None),
        ("longer header", "type,role,mac,rssi,len,CSI_DATA,real_time", None),
        ("two records glued", glued.as_str(), None),
        ("odd", odd.as_str(), Some(DecodeError::OddValues)),
        ("endless", endless.as_str(), Some(DecodeError::Length)),
        ("no list", "CSI_DATA,AP,3C:71:BF", Some(DecodeError::NoValues)),
        ("cut list", &HERNANDEZ_LINE[..HERNANDEZ_LINE.len() - 1], Some(DecodeError::Truncated)),
        ("few columns", "CSI_DATA,1,2,[1 2]", Some(DecodeError::Columns)),
        ("letters", "CSI_DATA,1,2,[1 x]", Some(DecodeError::Number)),
        ("huge", "CSI_DATA,1,2,[99999999999 1]", Some(DecodeError::Number)),
        ("lone minus", "CSI_DATA,1,2,[- 1]", Some(DecodeError::Number)),
        ("no base64", no_base64.as_str(), Some(DecodeError::Number)),
        ("odd base64", odd_base64.as_str(), Some(DecodeError::OddValues)),
    ] {
        let expected = match expected {
            None => Step::Used(line.len()),
            Some(error) => Step::Bad(line.len(), error),
        };
        assert_eq!(
            steps(CsiFormat::Esp32, line.as_bytes(), &mut collector()),
            [expected],
            "{name}"
        );
    }
}

#[test]
fn whole_records_may_be_glued() {
    let line = format!("{V1_LINE}{HERNANDEZ_LINE}\n");
    let expected = [Step::Used(V1_LINE.len()), Step::Used(HERNANDEZ_LINE.len() + 1)];
    assert_eq!(steps(CsiFormat::Esp32, line.as_bytes(), &mut collector()), expected);
}

#[test]
fn waits_for_the_end_of_a_line() {
    let step = collector().decode(&mut *CsiFormat::Esp32.decoder(), b"CSI_DATA,1,2", false);
    assert_eq!(step, Step::NeedsMore);
}

proptest! {
    /// Any input decodes without a panic, and the reported lengths are within the input.
    #[test]
    fn survives_garbage(line in "(CSI_DATA,)?[0-9a-f,\\[\\] -]{0,80}\n?") {
        steps(CsiFormat::Esp32, line.as_bytes(), &mut collector());
    }
}
