//! Trying again.

use std::fmt::Display;
use std::thread;
use std::time::Duration;

/// How often, and how far apart, a call is tried before the run fails.
const TRIES: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// Makes a call again while it may succeed, with growing pauses.
pub(super) fn retry<T, E: Display>(
    name: &str,
    is_retryable: impl Fn(&E) -> bool,
    mut call: impl FnMut() -> Result<T, E>,
) -> Result<T, E> {
    let mut pause = FIRST_PAUSE;
    for _ in 1..TRIES {
        match call() {
            Err(error) if is_retryable(&error) => {
                tracing::warn!(component = name, %error, "trying again");
                thread::sleep(pause);
                pause *= 2;
            }
            result => return result,
        }
    }
    call()
}
