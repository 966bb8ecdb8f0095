//! Limits of attempts to sign in: a password cannot be found by trying.

use std::time::Duration;

use crate::client::ClientAddress;
use crate::error::RequestError;
use crate::windows::Windows;

/// Attempts from one address.
const OF_ADDRESS: [(u32, Duration); 2] =
    [(5, Duration::from_mins(1)), (20, Duration::from_hours(1))];
/// Attempts for one user from everywhere. More than those of an address, so that nobody can lock a user out
/// from one place.
const OF_USER: (u32, Duration) = (100, Duration::from_hours(1));

/// The most addresses, and the most users, whose attempts are counted at once.
const MAX_CLIENTS: usize = 1 << 16;

/// The attempts to sign in that have failed or have not ended.
#[derive(Debug)]
pub(crate) struct Attempts {
    of_address: [Windows; 2],
    of_user: Windows,
}

impl Default for Attempts {
    fn default() -> Self {
        let of_address = OF_ADDRESS.map(|(_, length)| Windows::new(length, MAX_CLIENTS));
        Self { of_address, of_user: Windows::new(OF_USER.1, MAX_CLIENTS) }
    }
}

impl Attempts {
    /// Counts an attempt.
    ///
    /// # Errors
    ///
    /// [`RequestError::TooManyAttempts`] if there were too many.
    pub(crate) fn begin(&self, address: ClientAddress, user: &str) -> Result<(), RequestError> {
        let address = address.to_string();
        let of_address = self.of_address.iter().zip(OF_ADDRESS);
        let of_address = of_address.map(|(windows, (limit, _))| (windows, &*address, limit));
        // An address that is refused does not count against the user.
        for (windows, client, limit) in of_address.chain([(&self.of_user, user, OF_USER.0)]) {
            let used = windows.take(client, limit);
            if !used.is_allowed {
                return Err(RequestError::TooManyAttempts(used.until_reset));
            }
        }
        Ok(())
    }

    /// Takes an attempt of somebody who knew the password back. Other attempts of the address stay: they may be
    /// for other users.
    pub(crate) fn succeeded(&self, address: ClientAddress, user: &str) {
        let address = address.to_string();
        self.of_address.iter().for_each(|windows| windows.give_back(&address));
        self.of_user.forget(user);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_few_attempts_and_a_user_more() {
        let attempts = Attempts::default();
        let address = |n: u8| ClientAddress([10, 0, 0, n].into());
        for _ in 0..5 {
            assert!(attempts.begin(address(1), "ann").is_ok());
        }
        assert!(attempts.begin(address(1), "bob").is_err());
        assert!(attempts.begin(address(2), "ann").is_ok());
        attempts.succeeded(address(2), "ann");
        assert!(attempts.begin(address(1), "ann").is_err(), "others do not vouch for an address");
        for _ in 0..500 {
            assert!(attempts.begin(address(1), "ann").is_err());
        }
        assert!(attempts.begin(address(2), "ann").is_ok(), "an address locks nobody out");
        let failed = (10..60).flat_map(|n| (0..2).map(move |_| n));
        let n_allowed = failed.filter(|n| attempts.begin(address(*n), "ann").is_ok()).count();
        assert_eq!(n_allowed, 99);
    }
}
