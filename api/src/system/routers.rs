//! The routers: the devices whose CSI the sources read.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::State;
use chrono::{DateTime, Utc};
use engine::{Router, RouterSettings};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::config::routers::settings;
use crate::error::RequestError;
use crate::paging::List;
use crate::wall_clock::now;

/// A router that was not heard for this long is silent.
const SILENT_AFTER: Duration = Duration::from_secs(10);

/// A device that sends CSI.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RouterStatus {
    /// The name of the device, as links have it.
    router_id: String,
    /// The source that reads it.
    source: String,
    /// Its name for people; null for none.
    name: Option<String>,
    /// Its place on the plan, in metres; null if it is unknown.
    position: Option<[f32; 2]>,
    /// False if its frames are dropped.
    enabled: bool,
    /// The place that it observes.
    site: String,
    /// `active`; `silent` if it was not heard for ten seconds; `disabled` if its frames are dropped.
    status: &'static str,
    /// When its newest frame was read.
    last_seen: DateTime<Utc>,
    /// Frames of this run.
    frames: u64,
    /// Frames a second over the last second; 0 for a silent router, null in its first second.
    fps: Option<f64>,
}

/// Returns the routers that were heard in this run, by source and name.
#[utoipa::path(
    get,
    path = "/api/v1/system/routers",
    responses((status = 200, description = "The routers.", body = [RouterStatus])),
)]
pub(crate) async fn routers(State(app): State<App>) -> Result<List<RouterStatus>, RequestError> {
    let now = now();
    let settings: BTreeMap<_, _> = settings(&app).await?.into_iter().collect();
    let sources = app.shared.routers.snapshot().into_iter();
    Ok(List::all(sources.flat_map(|(source, routers)| {
        let routers = routers.into_iter();
        let status = |(name, router): (String, Router)| {
            let settings = settings.get(&name).cloned();
            RouterStatus::new(name, &source, router, settings, now)
        };
        routers.map(status).collect::<Vec<_>>()
    })))
}

impl RouterStatus {
    fn new(
        router_id: String,
        source: &str,
        router: Router,
        settings: Option<RouterSettings>,
        now: DateTime<Utc>,
    ) -> Self {
        let is_active = is_active(&router, now);
        let (name, position, enabled) = match settings {
            Some(RouterSettings { name, position, enabled }) => (name, position, enabled),
            None => (None, None, true),
        };
        Self {
            router_id,
            source: source.to_owned(),
            name,
            position,
            enabled,
            site: router.site,
            status: match (enabled, is_active) {
                (false, _) => "disabled",
                (true, true) => "active",
                (true, false) => "silent",
            },
            last_seen: router.heard_at.into(),
            frames: router.n_frames,
            fps: if is_active { router.frames_per_second } else { Some(0.0) },
        }
    }
}

/// Returns the number of routers that are active, and their frames a second.
pub(super) fn activity(app: &App) -> (usize, f64) {
    let now = now();
    let routers = app.shared.routers.snapshot().into_values().flatten();
    let active = routers.filter(|(_, router)| is_active(router, now));
    active.fold((0, 0.0), |(n, fps), (_, router)| {
        (n + 1, fps + router.frames_per_second.unwrap_or_default())
    })
}

fn is_active(router: &Router, now: DateTime<Utc>) -> bool {
    let silence = now.signed_duration_since(DateTime::<Utc>::from(router.heard_at));
    // A clock that was set back makes no router silent.
    silence.to_std().unwrap_or_default() < SILENT_AFTER
}
