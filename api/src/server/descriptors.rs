//! The limit of file descriptors of the process.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Linux's default limit.
const USUAL_LIMIT: u64 = 1024;

/// Raises the limit of open descriptors to the hard limit, and returns the limit that applies.
pub(crate) fn raise_limit() -> u64 {
    let usual = (USUAL_LIMIT, USUAL_LIMIT);
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or(usual);
    match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(_) => soft,
    }
}
