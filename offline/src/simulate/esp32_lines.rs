//! Frames as lines of ESP32 boards: one antenna, and integers of 8 bits.
//!
//! Source: Espressif, esp-csi, `csi_recv` (columns); ESP-IDF Programming Guide, "Wi-Fi Channel State Information"
//! (order of subcarriers).

use std::fmt::Write as _;
use std::io::{self, Write};

use num_complex::Complex32;
use schemas::CsiBatch;

/// The subcarriers of a buffer: from 0 up, then from the lowest.
const SUBCARRIERS: i16 = 32;
/// The mean amplitude in a buffer. The gain is not in the lines, as on boards that do not report it.
const MEAN_AMPLITUDE: f32 = 24.0;

/// Writes the lines of one receiver.
pub(super) struct LineWriter<W> {
    writer: W,
    line: String,
    n_lines: u64,
    /// The factor of all values; known with the first frame.
    scale: Option<f32>,
}

impl<W: Write> LineWriter<W> {
    pub(super) fn new(writer: W) -> Self {
        Self { writer, line: String::new(), n_lines: 0, scale: None }
    }

    /// Writes a frame of the first antenna. `address` is the sender's.
    pub(super) fn write(
        &mut self,
        batch: &CsiBatch,
        frame_idx: usize,
        address: &str,
    ) -> io::Result<()> {
        let subcarriers = &batch.layout.subcarriers;
        let values = &batch.values(frame_idx)[..subcarriers.len()];
        let scale = *self.scale.get_or_insert_with(|| scale_of(values));
        let frame = batch.frame(frame_idx);
        // The counter of microseconds has 32 bits.
        let at_us = frame.captured_at_ns / 1000 % (1 << 32);
        let rssi_dbm = frame.rssi_dbm.round();
        self.line.clear();
        // Writing to a string does not fail.
        let _ = write!(
            self.line,
            "CSI_DATA,{},{address},{rssi_dbm},11,0,0,0,0,1,0,0,0,0,-92,0,7,0,{at_us},0,67,0,128,0,\"[",
            self.n_lines
        );
        for (nth, subcarrier) in (0..SUBCARRIERS).chain(-SUBCARRIERS..0).enumerate() {
            let at = subcarriers.iter().position(|known| *known == subcarrier);
            let value = at.map_or(Complex32::ZERO, |at| values[at] * scale);
            // The casts saturate, as the receiver does.
            let (real, imaginary) = (value.re.round() as i8, value.im.round() as i8);
            let separator = if nth == 0 { "" } else { "," };
            let _ = write!(self.line, "{separator}{imaginary},{real}");
        }
        self.line.push_str("]\"\n");
        self.n_lines += 1;
        self.writer.write_all(self.line.as_bytes())
    }

    /// Flushes the buffer.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

fn scale_of(values: &[Complex32]) -> f32 {
    let mean = values.iter().map(|value| value.norm()).sum::<f32>() / values.len() as f32;
    if mean.is_normal() { MEAN_AMPLITUDE / mean } else { 1.0 }
}
