//! The matrices of software-defined radios in PicoScenes frames: indices of tones, then complex numbers
//! of double precision with a header of their own.

use num_complex::Complex32;

use crate::DecodeError;
use crate::formats::csi::bytes::{array, u32_le, u64_le};
use crate::formats::csi::picoscenes::segments::Csi;

const MAX_DIMENSIONS: usize = 4;
const VALUE_BYTES: usize = 16;

/// Reads `[n_rx, n_tx, n_tones]` values and the index of each tone.
pub(super) fn read(csi: &Csi<'_>, values: &mut Vec<Complex32>) -> Result<Vec<i16>, DecodeError> {
    let (indices, matrix) =
        csi.data.split_at_checked(2 * csi.n_tones).ok_or(DecodeError::Truncated)?;
    let (indices, _) = indices.as_chunks::<2>();
    let n_values = csi.n_tones * csi.n_tx * csi.n_rx;
    let data = body(matrix, n_values)?;
    let (numbers, _) = data.as_chunks::<VALUE_BYTES>();
    values.clear();
    // Tones vary fastest, then streams, then antennas: column-major order.
    values.extend(numbers.iter().map(|number| {
        let part = |at: usize| f64::from_le_bytes(array(number, at)) as f32;
        Complex32::new(part(0), part(8))
    }));
    Ok(indices.iter().map(|index| i16::from_le_bytes(*index)).collect())
}

/// Returns the bytes of a matrix of `n_values` complex values.
fn body(matrix: &[u8], n_values: usize) -> Result<&[u8], DecodeError> {
    let [b'B', b'B', b'v', version, n_dimensions] = array(matrix, 0) else {
        return Err(DecodeError::Header);
    };
    let n_dimensions = usize::from(n_dimensions);
    let dimension_bytes = if version == b'1' { 4 } else { 8 };
    let dimension = |nth: usize| match dimension_bytes {
        4 => u64::from(u32_le(matrix, 5 + 4 * nth)),
        _ => u64_le(matrix, 5 + 8 * nth),
    };
    let product = (0..n_dimensions.min(MAX_DIMENSIONS))
        .try_fold(1_u64, |product, nth| product.checked_mul(dimension(nth)));
    let tail = 5 + n_dimensions * dimension_bytes;
    // Complex, double, 64 bits, column-major.
    let [complex, element, bits, order] = array(matrix, tail);
    let known = complex == b'C' && element == b'D' && bits == 64 && order == b'C';
    if n_dimensions > MAX_DIMENSIONS || product != Some(n_values as u64) || !known {
        return Err(DecodeError::Header);
    }
    matrix
        .get(tail + 4..)
        .and_then(|it| it.get(..n_values * VALUE_BYTES))
        .ok_or(DecodeError::Truncated)
}
