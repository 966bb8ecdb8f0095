//! Trying again.

use std::error::Error;
use std::thread;
use std::time::Duration;

use sinks::SinkError;

use crate::StoreError;
use crate::run::control::Control;

/// How often a call is tried before the run fails.
const TRIES: u32 = 6;
/// How far apart tries are; the pause doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What may become of a call that failed.
pub(super) trait Hope: Error + 'static {
    /// True if the same call may succeed later.
    fn is_retryable(&self) -> bool;

    /// True if the other side is away, and to be waited for as long as the run goes on.
    fn is_outage(&self) -> bool {
        false
    }
}

impl Hope for SinkError {
    fn is_retryable(&self) -> bool {
        self.is_retryable()
    }

    fn is_outage(&self) -> bool {
        self.is_outage()
    }
}

impl Hope for StoreError {
    fn is_retryable(&self) -> bool {
        self.is_retryable()
    }
}

/// Makes a call again while it may succeed, with growing pauses.
pub(super) fn retry<T, E: Hope>(
    name: &str,
    control: &Control,
    mut call: impl FnMut() -> Result<T, E>,
) -> Result<T, E> {
    let (mut n_tries, mut pause) = (0, FIRST_PAUSE);
    loop {
        let error = match call() {
            Err(error) if error.is_retryable() => error,
            result => return result,
        };
        n_tries += u32::from(!error.is_outage() || control.stopping());
        if n_tries >= TRIES {
            return Err(error);
        }
        tracing::warn!(component = name, error = &error as &dyn Error, "trying again");
        thread::sleep(pause);
        pause = LONGEST_PAUSE.min(pause * 2);
    }
}
