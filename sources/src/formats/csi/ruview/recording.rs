//! Lines of recordings, from the server and from the script that records datagrams.
//!
//! Early versions of the script recorded all bytes after the eighth byte of a datagram as values, and the
//! number of subcarriers as a signal strength and a channel. So the rest of the header is before the values.
//! Lines with amplitudes only are not channel state, because they lack the phases.
//!
//! Source: RuView, `scripts/record-csi-udp.py`, at and before the version that reads 20 bytes of header.

use serde::Deserialize;
use serde_json::Value;

use crate::formats::csi::ruview::{Frame, MAX_ANTENNAS, bandwidth_mhz, iso_time};
use crate::{Counter, DecodeError, DeviceTime};

const NS_PER_S: f64 = 1e9;
/// The type of lines with CSI, if they have one.
const CSI: &str = "raw_csi";
/// Bytes of the header that early recordings have before the values.
const EARLY_HEADER_BYTES: usize = 12;

/// The used fields of a line. Fields that only some versions have accept any JSON value.
#[derive(Deserialize)]
pub(super) struct Line<'a> {
    #[serde(rename = "type")]
    content: Option<&'a str>,
    timestamp: Option<Value>,
    ts_ns: Option<Value>,
    node_id: Option<u8>,
    seq: Option<u32>,
    rssi: Option<f32>,
    noise_floor: Option<f32>,
    channel: Option<Value>,
    freq_mhz: Option<Value>,
    ppdu_type: Option<Value>,
    flags: Option<Value>,
    n_antennas: Option<Value>,
    iq_hex: Option<&'a str>,
}

/// Fields of lines without values.
#[derive(Deserialize)]
struct Amplitudes {
    subcarriers: Option<Value>,
    amplitudes: Option<Value>,
}

impl<'a> Line<'a> {
    /// Parses a line, and returns the digits of its values. None if it contains vital signs or features.
    pub(super) fn parse(text: &'a [u8]) -> Result<Option<(Self, &'a str)>, DecodeError> {
        let line: Self = serde_json::from_slice(text).map_err(|_| DecodeError::Json)?;
        if line.content.is_some_and(|content| content != CSI) {
            return Ok(None);
        }
        match line.iq_hex {
            Some(digits) => Ok(Some((line, digits))),
            None if has_amplitudes(text) => Err(DecodeError::NoPhases),
            None => Ok(None),
        }
    }

    /// Returns the frame and the bytes of its values.
    pub(super) fn frame<'b>(&self, bytes: &'b [u8]) -> Result<(Frame, &'b [u8]), DecodeError> {
        let (time, node) = (self.time()?, self.node_id.unwrap_or_default());
        if let Some((header, values)) = bytes.split_at_checked(EARLY_HEADER_BYTES)
            && let Some(shape) = self.shape_of_early(values)
        {
            return Ok((Frame { time, ..Frame::of_header(node, shape, header) }, values));
        }
        let n_antennas = number(self.n_antennas.as_ref()).unwrap_or(1) as usize;
        if !(1..=MAX_ANTENNAS).contains(&n_antennas) {
            return Err(DecodeError::Antennas);
        }
        let [ppdu_type, flags] =
            [&self.ppdu_type, &self.flags].map(|it| number(it.as_ref()).unwrap_or(0) as u8);
        let frame = Frame {
            node,
            n_antennas,
            bandwidth_mhz: bandwidth_mhz([ppdu_type, flags], bytes.len() / 2 / n_antennas),
            // Channels are below 65 GHz.
            centre_mhz: number(self.freq_mhz.as_ref()).unwrap_or(0) as u16,
            time,
            counter: self
                .seq
                .map_or(Counter::None, |count| Counter::OfReceiver { count, bits: 32 }),
            rssi_dbm: self.rssi.unwrap_or_default(),
            noise_dbm: self.noise_floor.unwrap_or_default(),
        };
        Ok((frame, bytes))
    }

    /// Returns the time of arrival, if the line contains it.
    fn time(&self) -> Result<DeviceTime, DecodeError> {
        let at_ns = match (self.ts_ns.as_ref().and_then(Value::as_i64), &self.timestamp) {
            (Some(at_ns), _) => Some(at_ns),
            (None, Some(Value::Number(seconds))) => {
                seconds.as_f64().map(|seconds| (seconds * NS_PER_S) as i64)
            }
            (None, Some(Value::String(text))) => iso_time::as_ns(text),
            (None, None) => return Ok(DeviceTime::Unknown),
            (None, Some(_)) => None,
        };
        at_ns.map(DeviceTime::Ns).ok_or(DecodeError::NoTime)
    }

    /// Returns the antennas and subcarriers of a frame that an early version recorded. None unless they match
    /// the length of `values`.
    fn shape_of_early(&self, values: &[u8]) -> Option<(usize, usize)> {
        let rssi = self.rssi.filter(|_| self.seq.is_none())?;
        let channel = u8::try_from(number(self.channel.as_ref())?).ok()?;
        let n_subcarriers = u16::from_le_bytes([(rssi as i8).cast_unsigned(), channel]);
        let n_subcarriers = usize::from(n_subcarriers);
        let n_antennas = values.len().checked_div(2 * n_subcarriers)?;
        let fits = 2 * n_subcarriers * n_antennas == values.len();
        (fits && (1..=MAX_ANTENNAS).contains(&n_antennas)).then_some((n_antennas, n_subcarriers))
    }
}

/// Returns a whole number; None for other values.
fn number(value: Option<&Value>) -> Option<u64> {
    value?.as_u64()
}

/// True if a line has a list of amplitudes.
fn has_amplitudes(text: &[u8]) -> bool {
    let lists: Result<Amplitudes, _> = serde_json::from_slice(text);
    lists.is_ok_and(|Amplitudes { subcarriers, amplitudes }| {
        let lists = [subcarriers, amplitudes].into_iter().flatten();
        lists.filter_map(|it| it.as_array().map(Vec::len)).any(|n_values| n_values > 0)
    })
}
