//! Subscriptions of webhooks.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode, Uri};
use engine::ItemKind;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::App;
use crate::config::items;
use crate::error::{Problem, RequestError};
use crate::paging::List;
use crate::parameters::{JsonBody, Segment};

const KIND: ItemKind = ItemKind::Webhook;
const MAX_HEADERS: usize = 20;
const MAX_ATTEMPTS: u32 = 20;
/// Length of a secret: shorter ones can be guessed.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 16..=256;
/// The types of events that a webhook can subscribe to.
const EVENTS: [&str; 16] = [
    "person.detected",
    "person.lost",
    "person.entered_zone",
    "person.left_zone",
    "person.fall_detected",
    "person.activity_detected",
    "system.started",
    "system.stopped",
    "router.connected",
    "router.disconnected",
    "alert.high_occupancy",
    "alert.restricted_zone_breach",
    "alert.system_error",
    "alert.performance_degraded",
    "analytics.report_generated",
    "analytics.threshold_exceeded",
];

/// A subscription: which events are sent where.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Subscription {
    /// Where events are sent: a URL with `https`, or `http`.
    url: String,
    /// The types of the events, such as `person.fall_detected`.
    events: Vec<String>,
    /// The secret that signs each request; absent for unsigned requests.
    #[serde(default)]
    secret: Option<String>,
    /// Additional headers of each request.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// When sending is tried again.
    #[serde(default)]
    retry_policy: RetryPolicy,
    /// False to send nothing; true by default.
    #[serde(default = "yes")]
    active: bool,
}

/// When sending is tried again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RetryPolicy {
    /// Number of attempts, from 1 to 20; 3 by default.
    max_attempts: u32,
    /// The status codes after which sending is tried again.
    retry_on_status: Vec<u16>,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { max_attempts: 3, retry_on_status: vec![500, 502, 503, 504] }
    }
}

/// A subscription with its name. Its secret and the values of its headers are not shown.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StoredWebhook {
    /// The name.
    name: String,
    /// Where events are sent.
    url: String,
    /// The types of the events.
    events: Vec<String>,
    /// True if requests are signed.
    has_secret: bool,
    /// The names of the additional headers.
    headers: Vec<String>,
    /// When sending is tried again.
    retry_policy: RetryPolicy,
    /// False if nothing is sent.
    active: bool,
}

fn yes() -> bool {
    true
}

impl StoredWebhook {
    fn new(name: String, subscription: Subscription) -> Self {
        let Subscription { url, events, secret, headers, retry_policy, active } = subscription;
        let (has_secret, headers) = (secret.is_some(), headers.into_keys().collect());
        Self { name, url, events, has_secret, headers, retry_policy, active }
    }
}

/// Returns the subscriptions, by name.
#[utoipa::path(
    get,
    path = "/api/v1/config/webhooks",
    responses((status = 200, description = "The subscriptions.", body = [StoredWebhook])),
)]
pub(crate) async fn webhooks(State(app): State<App>) -> Result<List<StoredWebhook>, RequestError> {
    let webhooks = items::all(&app, KIND).await?.into_iter();
    Ok(List::all(webhooks.map(|(name, subscription)| StoredWebhook::new(name, subscription))))
}

/// Returns a subscription.
#[utoipa::path(
    get,
    path = "/api/v1/config/webhooks/{name}",
    params(("name" = String, Path, description = "The subscription.")),
    responses(
        (status = 200, description = "The subscription.", body = StoredWebhook),
        (status = 404, description = "There is no such subscription.", body = Problem),
    ),
)]
pub(crate) async fn webhook(
    State(app): State<App>,
    Segment(name): Segment,
) -> Result<Json<StoredWebhook>, RequestError> {
    let subscription = items::get(&app, KIND, &name).await?;
    Ok(Json(StoredWebhook::new(name, subscription)))
}

/// Adds or replaces a subscription. Subscriptions are kept; this version sends nothing yet.
#[utoipa::path(
    put,
    path = "/api/v1/config/webhooks/{name}",
    params(("name" = String, Path, description = "The subscription.")),
    request_body = Subscription,
    responses(
        (status = 200, description = "The stored subscription.", body = StoredWebhook),
        (status = 400, description = "The subscription is invalid.", body = Problem),
        (status = 409, description = "There are too many subscriptions.", body = Problem),
    ),
)]
pub(crate) async fn set_webhook(
    State(app): State<App>,
    Segment(name): Segment,
    JsonBody(subscription): JsonBody<Subscription>,
) -> Result<Json<StoredWebhook>, RequestError> {
    if let Some(mistake) = subscription.mistake() {
        return Err(items::refuse(mistake));
    }
    items::set(&app, KIND, &name, &subscription).await?;
    Ok(Json(StoredWebhook::new(name, subscription)))
}

/// Removes a subscription.
#[utoipa::path(
    delete,
    path = "/api/v1/config/webhooks/{name}",
    params(("name" = String, Path, description = "The subscription.")),
    responses(
        (status = 204, description = "The subscription is removed."),
        (status = 404, description = "There is no such subscription.", body = Problem),
    ),
)]
pub(crate) async fn remove_webhook(
    State(app): State<App>,
    Segment(name): Segment,
) -> Result<StatusCode, RequestError> {
    items::remove(&app, KIND, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl Subscription {
    /// Returns the error in the subscription; none if it is valid.
    fn mistake(&self) -> Option<String> {
        if !is_url(&self.url) {
            return Some("`url` must be a URL with https or http, without a user".to_owned());
        }
        let unknown = self.events.iter().find(|event| !EVENTS.contains(&event.as_str()));
        if let Some(event) = unknown {
            return Some(format!(
                "there is no event {event:?}, expected one of {}",
                EVENTS.join(", ")
            ));
        }
        if self.events.is_empty() {
            return Some("`events` must have at least one event".to_owned());
        }
        if self.secret.as_ref().is_some_and(|secret| !SECRET_BYTES.contains(&secret.len())) {
            return Some("`secret` must have 16 to 256 bytes".to_owned());
        }
        if !(1..=MAX_ATTEMPTS).contains(&self.retry_policy.max_attempts) {
            return Some(format!("`max_attempts` must be from 1 to {MAX_ATTEMPTS}"));
        }
        if self.headers.len() > MAX_HEADERS {
            return Some(format!("there are more than {MAX_HEADERS} headers"));
        }
        let is_header = |(name, value): (&String, &String)| {
            name.parse::<HeaderName>().is_ok() && HeaderValue::from_str(value).is_ok()
        };
        let wrong = self.headers.iter().find(|header| !is_header(*header));
        wrong.map(|(name, _)| format!("{name:?} is no header, or its value is none"))
    }
}

fn is_url(text: &str) -> bool {
    let Ok(url) = text.parse::<Uri>() else { return false };
    let authority = url.authority().filter(|authority| !authority.as_str().contains('@'));
    let has_scheme = matches!(url.scheme_str(), Some("http" | "https"));
    has_scheme && authority.is_some_and(|authority| !authority.host().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_those_of_servers() {
        for url in ["https://a.example/hook?x=1", "http://127.0.0.1:8080"] {
            assert!(is_url(url), "{url}");
        }
        for url in ["", "/hook", "ftp://a.example", "https://user:secret@a.example", "file:///etc"]
        {
            assert!(!is_url(url), "{url}");
        }
    }
}
