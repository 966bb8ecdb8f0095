//! Errors in the form of `PostgreSQL`.
//!
//! Source: `PostgreSQL` documentation, "`PostgreSQL` Error Codes".

use pgwire::error::{ErrorInfo, PgWireError};
use queries::QueryError;

use crate::error::RequestError;

impl From<RequestError> for PgWireError {
    fn from(error: RequestError) -> Self {
        let code = code(&error);
        failure(code, error.into_detail())
    }
}

/// Returns an error after which the connection goes on.
pub(super) fn failure(code: &str, message: String) -> PgWireError {
    PgWireError::UserError(Box::new(ErrorInfo::new("ERROR".to_owned(), code.to_owned(), message)))
}

/// Returns an error after which the connection ends.
pub(super) fn fatal(error: RequestError) -> PgWireError {
    let code = code(&error).to_owned();
    let error = ErrorInfo::new("FATAL".to_owned(), code, error.into_detail());
    PgWireError::UserError(Box::new(error))
}

fn code(error: &RequestError) -> &'static str {
    match error {
        RequestError::NoCredential | RequestError::Credential(_) | RequestError::WrongPassword => {
            "28P01"
        }
        RequestError::NoScope(_) => "42501",
        RequestError::TooManyAttempts(_)
        | RequestError::TooManyRequests(_)
        | RequestError::TooManySignIns => "53400",
        RequestError::Query(error) => code_of_query(error),
        _ => "XX000",
    }
}

fn code_of_query(error: &QueryError) -> &'static str {
    match error {
        QueryError::Refused(_) => "42501",
        QueryError::NoSuchTable { .. } => "42P01",
        QueryError::NoSuchColumn(_) => "42703",
        QueryError::Syntax(_) => "42601",
        QueryError::Failed(_) => "42000",
        QueryError::TimedOut(_) | QueryError::Cancelled => "57014",
        QueryError::TooManyRows(_) | QueryError::TooManyBytes(_) => "54000",
        QueryError::Exhausted(_) | QueryError::TooMuch => "53200",
        QueryError::Busy => "53300",
        QueryError::NoRoom => "53100",
        _ => "XX000",
    }
}
