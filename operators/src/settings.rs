//! The interface between the settings of an operator and the engine.

use std::fmt::Display;
use std::ops::RangeInclusive;

use schemas::{RecordKind, TimeSpan};

/// The shortest interval of results: the shortest tick.
pub(crate) const SHORTEST: TimeSpan = TimeSpan::from_ms(1);
/// The longest duration of most settings.
pub(crate) const DAY: TimeSpan = TimeSpan::from_s(24 * 3600);

/// Output ports with the kind of their records. The name of the main port is empty.
pub(crate) type Outputs = &'static [(&'static str, RecordKind)];

/// The properties of an operator that follow from its settings.
pub(crate) trait Settings {
    /// Returns the kind of records of all inputs; None if the operator accepts any kind.
    fn input(&self) -> Option<RecordKind>;

    /// Returns the output ports.
    fn outputs(&self) -> Outputs;

    /// Returns the errors in the settings: the name of each setting, and the expected values.
    fn problems(&self) -> Vec<String> {
        Vec::new()
    }

    /// Returns the shape of the state, if the operator has any: a number that grows when the encoding
    /// changes, and the settings that the state depends on. State of another shape cannot be restored.
    fn state_shape(&self) -> Option<String> {
        None
    }
}

/// Returns an error if a value is less than `least`.
pub(crate) fn below<T: Copy + Display + PartialOrd>(
    setting: &str,
    value: T,
    least: T,
) -> Option<String> {
    let error = format!("{setting} must be at least {least}, not {value}");
    (value < least).then_some(error)
}

/// Returns an error if a number is not in its range, or is not a number.
pub(crate) fn outside<T: Copy + Display + PartialOrd>(
    setting: &str,
    value: T,
    range: &RangeInclusive<T>,
) -> Option<String> {
    let (least, most) = (range.start(), range.end());
    let error = || format!("{setting} must be from {least} to {most}, not {value}");
    (!range.contains(&value)).then(error)
}
