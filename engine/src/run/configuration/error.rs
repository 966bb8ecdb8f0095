//! The failure of a change.

use crate::run::configuration::Item;

/// The longest name of a zone or a link, in characters.
const MAX_NAME: usize = 200;

/// The failure of a change.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigurationError {
    /// The pipeline has no such operator.
    #[error("the pipeline has no `{kind}` operator {operator:?}")]
    NoSuchOperator {
        /// The type of the operator.
        kind: &'static str,
        /// The operator.
        operator: String,
    },
    /// The name cannot be stored.
    #[error("a name has 1 to {MAX_NAME} characters, and no control characters")]
    Name,
    /// The operator has no such zone.
    #[error("{operator:?} has no zone {name:?}")]
    NoSuchZone {
        /// The operator.
        operator: String,
        /// The zone.
        name: String,
    },
    /// The zone is not valid.
    #[error("zone {name:?}: {problem}")]
    Zone {
        /// The name of the zone.
        name: String,
        /// The cause.
        problem: &'static str,
    },
    /// The operator does not calibrate, because the pipeline file has its threshold.
    #[error("{operator:?} has a `threshold` in the pipeline file, so it does not calibrate links")]
    KnownThreshold {
        /// The operator.
        operator: String,
    },
    /// The sources of the operator have ended, or the run is ending.
    #[error(
        "no changes are accepted: the sources of the operator have ended, or the run is ending"
    )]
    Busy,
    /// The store failed and ended the run. The next run applies the change if it was stored.
    #[error("the change may be lost: the store failed")]
    Store,
}

impl ConfigurationError {
    /// # Errors
    ///
    /// [`ConfigurationError::Name`] if a zone or a link cannot have this name.
    pub(super) fn check_name(name: &str) -> Result<(), Self> {
        let is_short = (1..=MAX_NAME).contains(&name.chars().count());
        if is_short && !name.contains(char::is_control) { Ok(()) } else { Err(Self::Name) }
    }

    /// The pipeline has no operator of the type that the change is for.
    pub(super) fn no_operator(operator: &str, item: &Item) -> Self {
        let kind = match item {
            Item::Zone(..) => "zones",
            Item::Recalibration(_) => "motion",
        };
        Self::NoSuchOperator { kind, operator: operator.to_owned() }
    }
}
