//! Errors of the store.

use identity::AccountError;

/// A failure of the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The database could not be opened.
    #[error("could not open the store {location:?}")]
    Open {
        /// The database, without a password.
        location: String,
        /// The database's error.
        source: sqlx::Error,
    },
    /// The database failed.
    #[error("could not reach the store")]
    Database(#[from] sqlx::Error),
    /// A newer run of the pipeline has begun.
    #[error("pipeline {pipeline:?} was taken over: a newer run than {generation} has begun")]
    Fenced {
        /// The pipeline.
        pipeline: String,
        /// The generation of this run.
        generation: i64,
    },
    /// Another run of the pipeline has begun or committed while this run opened its sources and sinks.
    #[error(
        "another run of pipeline {pipeline:?} has gone on while this one started; start it again"
    )]
    Moved {
        /// The pipeline.
        pipeline: String,
    },
    /// The pipeline has checkpoints, but not one of them is intact.
    #[error(
        "all checkpoints of pipeline {pipeline:?} are damaged; --fresh starts it anew, from the \
         beginning of its sources"
    )]
    Damaged {
        /// The pipeline.
        pipeline: String,
    },
    /// A stored configuration change cannot be decoded.
    #[error("the store's {item:?} of {operator:?} cannot be read; it may be a newer version's")]
    Configuration {
        /// The operator.
        operator: String,
        /// The name of the item, such as a zone.
        item: String,
        /// The decoder's error.
        source: serde_json::Error,
    },
    /// A stored account cannot be read.
    #[error("an account in the store cannot be read; it may be a newer version's")]
    Account {
        /// What is wrong with it.
        source: AccountError,
    },
}

impl StoreError {
    pub(super) fn open(location: &str, source: sqlx::Error) -> Self {
        Self::Open { location: without_password(location), source }
    }

    /// True if the same call may succeed later.
    pub(crate) fn is_retryable(&self) -> bool {
        matches!(self, Self::Database(_))
    }

    /// True if the database is unreachable, locked or full.
    pub(crate) fn is_outage(&self) -> bool {
        match self {
            Self::Database(sqlx::Error::Database(error)) => {
                error.code().is_some_and(|code| is_outage_code(&code))
            }
            Self::Database(error) => matches!(
                error,
                sqlx::Error::Io(_)
                    | sqlx::Error::Tls(_)
                    | sqlx::Error::PoolTimedOut
                    | sqlx::Error::WorkerCrashed
            ),
            _ => false,
        }
    }
}

/// True for codes of an outage. A SQLSTATE has five letters and digits, an extended result code of
/// `SQLite` at most four digits.
///
/// Source: `PostgreSQL` documentation, "Error Codes"; `SQLite` documentation, "Result Codes".
fn is_outage_code(code: &str) -> bool {
    /// Busy, locked, failed I/O, full, cannot be opened.
    const SQLITE: [u32; 5] = [5, 6, 10, 13, 14];
    /// Connection, resources, intervention by an operator, failure of the system.
    const CLASSES: [&str; 4] = ["08", "53", "57", "58"];
    /// A standby cannot write before it is promoted.
    const READ_ONLY: &str = "25006";
    match code.parse::<u32>() {
        Ok(code_of_sqlite) if code.len() < 5 => SQLITE.contains(&(code_of_sqlite & 0xff)),
        _ => code == READ_ONLY || CLASSES.iter().any(|class| code.starts_with(class)),
    }
}

/// Removes the password from a database's location.
fn without_password(location: &str) -> String {
    match (location.find("://"), location.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => {
            format!("{}://***{}", &location[..scheme], &location[at..])
        }
        _ => location.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outages_are_told_by_their_codes() {
        for (code, is_outage) in [
            ("5", true),
            ("517", true),
            ("13", true),
            ("778", true),
            ("1", false),
            ("2067", false),
            ("08006", true),
            ("53100", true),
            ("57P01", true),
            ("58030", true),
            ("25006", true),
            ("42P01", false),
            ("23505", false),
        ] {
            assert_eq!(is_outage_code(code), is_outage, "{code}");
        }
        let away = StoreError::Database(sqlx::Error::PoolTimedOut);
        assert!(away.is_outage() && away.is_retryable());
        let wrong = StoreError::Database(sqlx::Error::RowNotFound);
        assert!(!wrong.is_outage() && wrong.is_retryable());
    }
}
