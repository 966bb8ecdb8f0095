//! A frame as its format has it: by the clock and the counter of a device.

use std::sync::Arc;

use num_complex::Complex32;
use schemas::CsiLayout;
use serde::{Deserialize, Serialize};

/// A frame as a device tells it.
#[derive(Clone, Copy, Debug)]
pub struct DeviceFrame<'a> {
    /// The device that measured, if the frame tells.
    pub receiver: Option<&'a str>,
    /// The device that sent, if the frame tells.
    pub transmitter: Option<&'a str>,
    /// The shape of `values`.
    pub layout: &'a Arc<CsiLayout>,
    /// When it was measured.
    pub time: DeviceTime,
    /// Which frame it is.
    pub counter: Counter,
    /// Received signal strength in dBm, over all antennas; 0 if the frame does not tell.
    pub rssi_dbm: f32,
    /// Noise floor in dBm; 0 if the frame does not tell.
    pub noise_dbm: f32,
    /// Automatic gain in dB; 0 if the frame does not tell.
    pub agc_db: f32,
    /// The factor that makes the values physical; 1 if the frame does not tell.
    pub scale: f32,
    /// `[n_rx, n_tx, n_subcarriers]`, which must fill `layout`.
    pub values: &'a [Complex32],
}

/// When a frame was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceTime {
    /// The frame does not tell: when it came in.
    Unknown,
    /// By a clock of 32 bits.
    WrappingUs(u32),
    /// Nanoseconds since anything.
    Ns(i64),
}

/// Which frame it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// The frame does not tell; then it is counted here.
    None,
    /// The receiver counts what it receives from anyone.
    OfReceiver {
        /// The number.
        count: u32,
        /// Bits of the counter.
        bits: u32,
    },
    /// The transmitter counts what it sends; several frames may have one number.
    OfTransmitter {
        /// Which of its counters that is.
        space: SequenceSpace,
        /// The number.
        count: u32,
        /// Bits of the counter.
        bits: u32,
    },
}

/// Which of a transmitter's counters a frame is numbered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SequenceSpace {
    /// The frame does not tell: numbers that follow each other closely are those of one counter.
    Unknown,
    /// The counter of all frames but quality-of-service data for one receiver.
    Baseline,
    /// The counter of quality-of-service data for a receiver.
    QosData {
        /// Its address.
        receiver: [u8; 6],
        /// The traffic identifier.
        tid: u8,
    },
    /// None: the number of such a frame means nothing.
    Unnumbered,
}
