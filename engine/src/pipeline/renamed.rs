//! Settings that had another name: durations were numbers, with the unit in the name.

use std::time::Duration;

use humantime::format_duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

const SECOND: f64 = 1.0;
const MILLISECOND: f64 = 1e-3;

/// The old name of a setting, the length of its unit in seconds, and the new name.
const RENAMED: [(&str, f64, &str); 13] = [
    ("calibration_s", SECOND, "calibration"),
    ("commit_interval_ms", MILLISECOND, "commit_interval"),
    ("duration_s", SECOND, "duration"),
    ("every_s", SECOND, "every"),
    ("falling_s", SECOND, "max_fall"),
    ("gap_s", SECOND, "gap"),
    ("idle_timeout_ms", MILLISECOND, "idle_timeout"),
    ("length_s", SECOND, "length"),
    ("max_age_s", SECOND, "max_age"),
    ("max_ahead_ms", MILLISECOND, "max_ahead"),
    ("max_delay_ms", MILLISECOND, "max_delay"),
    ("report_every_s", SECOND, "report_every"),
    ("window_s", SECOND, "window"),
];

/// Replaces old names of settings by the new ones, also in nested tables. Tables and texts keep their names:
/// they are names that the user has chosen, of zones and of columns.
pub(super) fn rename_settings(table: &mut DeTable<'_>) {
    for (old, unit_s, new) in RENAMED {
        let is_number = |value: &Spanned<DeValue<'_>>| number(value.get_ref()).is_some();
        if !table.get(old).is_some_and(is_number) || table.contains_key(new) {
            continue;
        }
        if let Some((key, value)) = table.remove_entry(old) {
            let length = number(value.get_ref()).and_then(|number| as_text(number * unit_s));
            let renamed =
                length.map(|text| Spanned::new(value.span(), DeValue::String(text.into())));
            table.insert(Spanned::new(key.span(), new.into()), renamed.unwrap_or(value));
        }
    }
    for (_, value) in table.iter_mut() {
        if let DeValue::Table(nested) = value.get_mut() {
            rename_settings(nested);
        }
    }
}

fn number(value: &DeValue<'_>) -> Option<f64> {
    match value {
        DeValue::Integer(integer) => {
            let integer = i64::from_str_radix(integer.as_str(), integer.radix());
            integer.ok().map(|integer| integer as f64)
        }
        DeValue::Float(float) => float.as_str().parse().ok(),
        _ => None,
    }
}

/// Returns a length in seconds as a text; none if it is negative or not finite.
fn as_text(length_s: f64) -> Option<String> {
    let length = Duration::try_from_secs_f64(length_s).ok()?;
    Some(format_duration(length).to_string())
}
