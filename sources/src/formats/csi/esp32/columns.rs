//! The columns of each variant of a line.

use crate::DecodeError;
use crate::formats::csi::esp32::buffer::Chips;

/// More columns than any variant has.
pub(super) const MAX_COLUMNS: usize = 32;
/// Columns of an esp-radar line, whose values may be in base64: without the gain, and with it.
pub(super) const ESP_RADAR_COLUMNS: [usize; 2] = [27, 29];

/// Columns of a variant, counted from `CSI_DATA`.
pub(super) struct Columns {
    pub(super) sequence: Option<usize>,
    pub(super) mac: usize,
    pub(super) rssi: usize,
    pub(super) noise: usize,
    /// Automatic gain, and gain of the Fourier transform.
    pub(super) gains: Option<(usize, usize)>,
    pub(super) bandwidth: Option<usize>,
    pub(super) channel: usize,
    pub(super) secondary: Option<usize>,
    pub(super) timestamp: usize,
    pub(super) chips: Chips,
}

const HERNANDEZ: Columns = Columns {
    sequence: None,
    mac: 2,
    rssi: 3,
    noise: 14,
    gains: None,
    bandwidth: Some(7),
    channel: 16,
    secondary: Some(17),
    timestamp: 18,
    chips: Chips::Legacy,
};
const ESP_CSI_V1: Columns = Columns { sequence: Some(1), ..HERNANDEZ };
const ESP_CSI_V2: Columns = Columns {
    sequence: Some(1),
    mac: 2,
    rssi: 3,
    noise: 5,
    gains: Some((7, 6)),
    bandwidth: None,
    channel: 8,
    secondary: None,
    timestamp: 9,
    chips: Chips::Recent,
};
/// For chips that do not report their gain.
const ESP_CSI_V2_WITHOUT_GAIN: Columns =
    Columns { gains: None, channel: 6, timestamp: 7, ..ESP_CSI_V2 };
const ESP_RADAR_WITHOUT_GAIN: Columns = Columns { gains: None, ..ESP_RADAR };
const ESP_RADAR: Columns = Columns {
    sequence: Some(1),
    mac: 5,
    rssi: 6,
    noise: 17,
    gains: Some((25, 26)),
    bandwidth: Some(10),
    channel: 19,
    secondary: Some(20),
    timestamp: 21,
    chips: Chips::Legacy,
};

impl Columns {
    /// Counts the columns of a line before its values.
    pub(super) fn count(columns: &[u8]) -> usize {
        1 + memchr::memchr_iter(b',', columns).count()
    }

    /// Splits a line into fields, which keep the blanks around them. Returns the variant with that number of
    /// fields.
    pub(super) fn read<'a>(
        columns: &'a str,
        fields: &mut [&'a str; MAX_COLUMNS],
    ) -> Result<&'static Self, DecodeError> {
        let mut n_columns = 0;
        let mut start = 0;
        // Fields are short, so a byte-by-byte search is the fastest.
        let ends = (0..columns.len()).filter(|at| columns.as_bytes()[*at] == b',');
        for end in ends.chain([columns.len()]) {
            let field = fields.get_mut(n_columns).ok_or(DecodeError::Columns)?;
            *field = &columns[start..end];
            (n_columns, start) = (n_columns + 1, end + 1);
        }
        match n_columns {
            12 => Ok(&ESP_CSI_V2_WITHOUT_GAIN),
            14 => Ok(&ESP_CSI_V2),
            24 => Ok(&ESP_CSI_V1),
            25 => Ok(&HERNANDEZ),
            27 => Ok(&ESP_RADAR_WITHOUT_GAIN),
            29 => Ok(&ESP_RADAR),
            _ => Err(DecodeError::Columns),
        }
    }
}
