//! Syncpoints: the time from which the next frame counts.
//!
//! A syncpoint belongs to no stream, so its time may be in any time base of the file.

use super::TimeBase;
use super::fault::Fault;
use super::fields::{FieldError, Fields};

/// Reads the time of a syncpoint, `global_key_pts` in nut.txt, and converts it to ticks of `to`.
pub(super) fn read_global_key_pts(
    fields: &mut Fields<'_>,
    time_bases: &[TimeBase],
    to: TimeBase,
) -> Result<u64, FieldError> {
    let global_key_pts = fields.number()?;
    // The main header has at least one time base.
    let time_base_count = time_bases.len().max(1) as u64;
    let time_base_id = usize::try_from(global_key_pts % time_base_count).ok();
    let from = time_base_id.and_then(|time_base_id| time_bases.get(time_base_id));
    let from = *from.ok_or(Fault::TimeBase)?;
    Ok(convert(global_key_pts / time_base_count, from, to).ok_or(Fault::Time)?)
}

/// Converts a time to another time base, rounded down, `convert_ts` in nut.txt.
fn convert(ticks: u64, from: TimeBase, to: TimeBase) -> Option<u64> {
    let numerator = u128::from(from.numerator) * u128::from(to.denominator);
    let denominator = u128::from(from.denominator) * u128::from(to.numerator);
    u64::try_from(u128::from(ticks).checked_mul(numerator)?.checked_div(denominator)?).ok()
}
