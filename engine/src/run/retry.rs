//! Retries of calls to sinks and the store, which share one classification of errors.

use std::error::Error;
use std::thread;
use std::time::Duration;

use sinks::SinkError;

use crate::StoreError;
use crate::run::control::Control;

/// Attempts before the run fails.
const TRIES: u32 = 6;
/// The first pause between attempts; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// An error whose call may be retried.
pub(super) trait Retryable: Error + 'static {
    /// True if the same call may succeed later.
    fn is_retryable(&self) -> bool;

    /// True if the other side is unreachable. The call is then retried until the run stops.
    fn is_outage(&self) -> bool;
}

impl Retryable for SinkError {
    fn is_retryable(&self) -> bool {
        self.is_retryable()
    }

    fn is_outage(&self) -> bool {
        self.is_outage()
    }
}

impl Retryable for StoreError {
    fn is_retryable(&self) -> bool {
        self.is_retryable()
    }

    fn is_outage(&self) -> bool {
        self.is_outage()
    }
}

/// An error of a call whose caller handles outages itself.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(super) struct OutageAware<E>(pub(super) E);

impl<E: Retryable> Retryable for OutageAware<E> {
    fn is_retryable(&self) -> bool {
        self.0.is_retryable() && !self.0.is_outage()
    }

    fn is_outage(&self) -> bool {
        false
    }
}

/// Retries a call with growing pauses, up to `TRIES` attempts; during an outage, until the run stops.
/// The run's health lists the component until the call succeeds.
pub(super) fn retry<T, E: Retryable>(
    name: &str,
    control: &Control,
    call: impl FnMut() -> Result<T, E>,
) -> Result<T, E> {
    retry_after(FIRST_PAUSE, name, control, call)
}

fn retry_after<T, E: Retryable>(
    mut pause: Duration,
    name: &str,
    control: &Control,
    mut call: impl FnMut() -> Result<T, E>,
) -> Result<T, E> {
    let (mut n_tries, mut has_failed) = (0, false);
    loop {
        let error = match call() {
            Err(error) if error.is_retryable() => error,
            result => {
                if has_failed && result.is_ok() {
                    control.health().recovered(name);
                }
                return result;
            }
        };
        has_failed = true;
        control.health().failed_once(name, &error, error.is_outage());
        n_tries += u32::from(!error.is_outage() || control.stopping());
        if n_tries >= TRIES {
            return Err(error);
        }
        thread::sleep(pause);
        pause = LONGEST_PAUSE.min(pause * 2);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use super::*;

    /// A failure of any class.
    #[derive(Debug, thiserror::Error)]
    #[error("away")]
    struct Failure {
        is_retryable: bool,
        is_outage: bool,
    }

    impl Retryable for Failure {
        fn is_retryable(&self) -> bool {
            self.is_retryable
        }

        fn is_outage(&self) -> bool {
            self.is_outage
        }
    }

    /// Retries a call that fails `n_failures` times. Returns the number of attempts, and whether the
    /// last one succeeded.
    fn tried(stopping: bool, n_failures: u32, is_retryable: bool, is_outage: bool) -> (u32, bool) {
        let control = Control::new(Arc::new(AtomicBool::new(stopping)), false);
        let mut n_calls = 0;
        let result = retry_after(Duration::ZERO, "store", &control, || {
            n_calls += 1;
            assert_eq!(control.health().retries().contains_key("store"), n_calls > 1);
            if n_calls > n_failures { Ok(()) } else { Err(Failure { is_retryable, is_outage }) }
        });
        assert!(result.is_err() || control.health().retries().is_empty());
        (n_calls, result.is_ok())
    }

    #[test]
    fn outages_are_waited_for() {
        assert_eq!(tried(false, TRIES + 1, true, true), (TRIES + 2, true));
        assert_eq!(tried(true, TRIES + 1, true, true), (TRIES, false), "not by a run that stops");
        assert_eq!(tried(false, 2, true, false), (3, true));
        assert_eq!(tried(false, TRIES + 1, true, false), (TRIES, false));
        assert_eq!(tried(false, 1, false, false), (1, false));
    }
}
