//! Limits of requests by client: how many it has in an hour, and how many are left.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use engine::{ApiConfig, Auth};
use identity::DEFAULT_TIER;

use crate::auth::Access;
use crate::client::Client;
use crate::wall_clock::now_s;
use crate::windows::{Used, Windows};

/// The most clients whose requests are counted at once.
const MAX_CLIENTS: usize = 1 << 20;
const HOUR: Duration = Duration::from_hours(1);
/// The tier of addresses.
const DEFAULT: &str = "default";
/// The tier of streams that are opened.
const STREAMING: &str = "streaming";

pub(crate) const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
pub(crate) const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
pub(crate) const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// The requests and streams of all clients.
#[derive(Debug)]
pub(crate) struct RateLimits {
    limits: engine::RateLimits,
    requests: Windows,
    streams: Windows,
}

/// What a request has used of a limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UsedLimit {
    limit: u32,
    used: Used,
}

impl RateLimits {
    /// Takes the settings of the API; none where clients need no credentials, who are all one client.
    pub(crate) fn new(config: Option<&ApiConfig>) -> Option<Self> {
        let config = config.cloned().unwrap_or_default();
        let limits = config.rate_limits;
        let (requests, streams) =
            (Windows::new(HOUR, MAX_CLIENTS), Windows::new(HOUR, MAX_CLIENTS));
        (config.auth == Auth::Required).then_some(Self { limits, requests, streams })
    }

    /// Counts a request of a client to a route; none if the route has no limit.
    pub(crate) fn take(&self, client: &Client, access: Access) -> Option<UsedLimit> {
        let (windows, tier) = match access {
            Access::Probe | Access::SignIn => return None,
            Access::Stream(_) => (&self.streams, STREAMING),
            _ if client.is_address() => (&self.requests, DEFAULT),
            _ => (&self.requests, &*client.principal.tier),
        };
        // An unknown tier is the default one.
        let limit = self.limits.of(tier).or_else(|| self.limits.of(DEFAULT_TIER))?;
        Some(UsedLimit { limit, used: windows.take(&client.to_string(), limit) })
    }
}

impl UsedLimit {
    pub(crate) fn is_allowed(&self) -> bool {
        self.used.is_allowed
    }

    /// Returns the time until the client has requests again.
    pub(crate) fn until_reset(&self) -> Duration {
        self.used.until_reset
    }

    /// Adds the rate limit headers to a response.
    pub(crate) fn write(&self, response: &mut Response) {
        let reset_s = now_s() + self.used.until_reset.as_secs();
        let headers = [
            (LIMIT, self.limit.into()),
            (REMAINING, self.used.n_left.into()),
            (RESET, HeaderValue::from(reset_s)),
        ];
        response.headers_mut().extend(headers);
    }
}
