//! Captures made up for tests: the bytes that a device would have written.

use std::fmt::Write as _;

/// Frames in a capture.
pub(crate) const N_FRAMES: usize = 3000;
const FRAME_US: u32 = 10_000;

/// Numbers that look random and are always the same.
struct Numbers(u64);

impl Numbers {
    /// Returns a number from `-spread` to `spread`.
    fn next(&mut self, spread: i8) -> i8 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let range = 2 * i64::from(spread) + 1;
        let number = i64::try_from(self.0 >> 33).expect("31 bits") % range;
        i8::try_from(number - i64::from(spread)).expect("within the spread")
    }
}

/// Returns the spread of subcarrier values: small while it is quiet, large while a person moves.
fn spread(frame: usize) -> i8 {
    if (1500..2200).contains(&frame) { 12 } else { 2 }
}

/// Returns an Intel 5300 log: three antennas, 100 frames a second.
pub(crate) fn intel5300() -> Vec<u8> {
    let mut numbers = Numbers(1);
    let mut log = Vec::new();
    for frame in 0..N_FRAMES {
        let count = u32::try_from(frame).expect("few");
        let mut bits = Vec::new();
        for _ in 0..30 {
            bits.extend([false; 3]);
            for part in 0..6 {
                let base = if part % 2 == 0 { 40 } else { 5 };
                let value = base + numbers.next(spread(frame));
                bits.extend((0..8).map(|bit| value.cast_unsigned() >> bit & 1 == 1));
            }
        }
        let payload: Vec<u8> = bits
            .chunks(8)
            .map(|bits| bits.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit)))
            .collect();
        let mut body = vec![0xBB];
        body.extend((count * FRAME_US).to_le_bytes());
        body.extend(u16::try_from(frame % 65_536).expect("16 bits").to_le_bytes());
        body.extend([0, 0, 3, 1, 30, 31, 32, 160, 20, 0b10_01_00]);
        body.extend(u16::try_from(payload.len()).expect("short").to_le_bytes());
        body.extend([0x01, 0x01]);
        body.extend(payload);
        log.extend(u16::try_from(body.len()).expect("short").to_be_bytes());
        log.extend(body);
    }
    log
}

/// Returns lines of two boards with esp-csi, 100 frames a second in all.
pub(crate) fn esp32() -> Vec<u8> {
    esp32_lines(|_| 128)
}

/// Returns the same lines, in which every other frame of a board has twice as many values.
pub(crate) fn esp32_in_two_shapes() -> Vec<u8> {
    esp32_lines(|frame| if frame % 4 < 2 { 128 } else { 256 })
}

/// Returns lines of two boards; `n_numbers` returns the number of values of a frame.
fn esp32_lines(n_numbers: impl Fn(usize) -> usize) -> Vec<u8> {
    let mut numbers = Numbers(2);
    let mut lines = String::from("I (560) wifi: mode : sta\n");
    for frame in 0..N_FRAMES {
        let time_us = u32::try_from(frame).expect("few") * FRAME_US;
        let n_numbers = n_numbers(frame);
        let list: Vec<_> = (0..n_numbers)
            .map(|part| {
                let base = if part % 2 == 0 { 3 } else { 20 };
                (base + numbers.next(spread(frame))).to_string()
            })
            .collect();
        let board = frame % 2;
        writeln!(
            lines,
            "CSI_DATA,{frame},94:d9:b3:80:8c:8{board},-30,11,1,6,1,0,1,0,1,0,0,-93,0,13,0,{time_us},0,67,\
             0,{n_numbers},1,\"[{}]\"",
            list.join(",")
        )
        .expect("a string takes it");
    }
    lines.into_bytes()
}

/// Returns a line with a pose frame, at 25 frames a second; each person is a few hundred bytes.
pub(crate) fn pose(site: &str, nth: u64, frame_id: u64, n_persons: usize) -> String {
    let person = |nth: usize| {
        serde_json::json!({
            "id": format!("p{nth}"),
            "keypoints": [],
            "bounding_box": { "x": 0.0, "y": 0.0, "width": 0.2, "height": 0.6 },
            "confidence": 0.9,
            "position": { "x_m": 1.0, "y_m": 1.0 },
            "zone": null,
            "activity": null,
        })
    };
    let frame = serde_json::json!({
        "site": site,
        "source": "camera",
        "captured_at_ns": 1_700_000_000_000_000_000 + nth * 40_000_000,
        "frame_id": frame_id,
        "persons": (1..=n_persons).map(person).collect::<Vec<_>>(),
        "processing_time_ms": null,
        "source_kind": "live",
        "estimator": { "kind": "heuristic", "name": "x", "hash": null },
    });
    format!("{frame}\n")
}
