//! A frame in the terms of its format: with the clock and the counter of a device.

use std::sync::Arc;

use num_complex::Complex32;
use schemas::CsiLayout;
use serde::{Deserialize, Serialize};

/// A frame as a device reports it.
#[derive(Clone, Copy, Debug)]
pub struct DeviceFrame<'a> {
    /// The receiving device, if the frame contains it.
    pub receiver: Option<&'a str>,
    /// The sending device, if the frame contains it.
    pub transmitter: Option<&'a str>,
    /// The shape of `values`.
    pub layout: &'a Arc<CsiLayout>,
    /// The time of measurement.
    pub time: DeviceTime,
    /// The number of the frame.
    pub counter: Counter,
    /// Received signal strength in dBm, over all antennas; 0 if unknown.
    pub rssi_dbm: f32,
    /// Noise floor in dBm; 0 if unknown.
    pub noise_dbm: f32,
    /// Automatic gain in dB; 0 if unknown.
    pub agc_db: f32,
    /// The factor that converts the values to physical ones; 1 if unknown.
    pub scale: f32,
    /// `[n_rx, n_tx, n_subcarriers]`, with as many values as `layout` has.
    pub values: &'a [Complex32],
}

/// The time at which a device measured a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceTime {
    /// The frame has no time: the time of arrival applies.
    Unknown,
    /// Microseconds of a 32-bit clock, which wraps.
    WrappingUs(u32),
    /// Nanoseconds since any start.
    Ns(i64),
}

/// The number of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// The frame has no number: the source counts the frames.
    None,
    /// The receiver counts all frames that it receives, from any transmitter.
    OfReceiver {
        /// The number.
        count: u32,
        /// Bits of the counter.
        bits: u32,
    },
    /// The transmitter counts its frames; several frames may share a number.
    OfTransmitter {
        /// The transmitter's counter.
        space: SequenceSpace,
        /// The number.
        count: u32,
        /// Bits of the counter.
        bits: u32,
    },
}

/// The transmitter's counter that a frame's number belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SequenceSpace {
    /// The frame does not contain the counter: numbers close to each other belong to one counter.
    Unknown,
    /// The counter of all frames but quality-of-service data for one receiver.
    Baseline,
    /// The counter of quality-of-service data for a receiver.
    QosData {
        /// The receiver's address.
        receiver: [u8; 6],
        /// The traffic identifier.
        tid: u8,
    },
    /// No counter: the number of such a frame has no meaning.
    Unnumbered,
}
