//! Settings of routers: their names and places, and whether their frames are used.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use engine::{ItemKind, RouterSettings};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::App;
use crate::config::items;
use crate::error::{Problem, RequestError};
use crate::paging::List;
use crate::parameters::{JsonBody, Segment};

const KIND: ItemKind = ItemKind::Router;
/// The largest coordinate of a place.
const MAX_METRES: f32 = 10_000.0;

/// The settings of a router.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StoredRouter {
    /// The name of the device, as links have it.
    router_id: String,
    /// A name for people; null for none.
    name: Option<String>,
    /// Its place on the plan, in metres; null if it is unknown.
    position: Option<[f32; 2]>,
    /// False if its frames are dropped.
    enabled: bool,
}

/// New settings of a router.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewRouter {
    /// A name for people; absent for none.
    name: Option<String>,
    /// Its place on the plan, in metres; absent if it is unknown.
    position: Option<[f32; 2]>,
    /// False to drop its frames; true by default.
    #[serde(default = "yes")]
    enabled: bool,
}

fn yes() -> bool {
    true
}

impl StoredRouter {
    fn new(router_id: String, settings: RouterSettings) -> Self {
        let RouterSettings { name, position, enabled } = settings;
        Self { router_id, name, position, enabled }
    }
}

/// Returns the routers that have settings, by name. `/api/v1/system/routers` lists all that were heard.
#[utoipa::path(
    get,
    path = "/api/v1/config/routers",
    operation_id = "config_routers",
    responses((status = 200, description = "The settings.", body = [StoredRouter])),
)]
pub(crate) async fn routers(State(app): State<App>) -> Result<List<StoredRouter>, RequestError> {
    let routers = items::all(&app, KIND).await?.into_iter();
    Ok(List::all(routers.map(|(name, settings)| StoredRouter::new(name, settings))))
}

/// Returns the settings of a router.
#[utoipa::path(
    get,
    path = "/api/v1/config/routers/{name}",
    operation_id = "config_router",
    params(("name" = String, Path, description = "The name of the device, as links have it.")),
    responses(
        (status = 200, description = "The settings.", body = StoredRouter),
        (status = 404, description = "The router has no settings.", body = Problem),
    ),
)]
pub(crate) async fn router(
    State(app): State<App>,
    Segment(name): Segment,
) -> Result<Json<StoredRouter>, RequestError> {
    let settings = items::get(&app, KIND, &name).await?;
    Ok(Json(StoredRouter::new(name, settings)))
}

/// Replaces the settings of a router: its name, its place, and whether it is enabled. An absent field gets its default.
///
/// It need not have been heard yet. A change takes effect within a second, in all processes of the pipeline. A run that
/// resumes after a crash applies it also to the frames that it reads again.
#[utoipa::path(
    put,
    path = "/api/v1/config/routers/{name}",
    params(("name" = String, Path, description = "The name of the device, as links have it.")),
    request_body = NewRouter,
    responses(
        (status = 200, description = "The stored settings.", body = StoredRouter),
        (status = 400, description = "The settings are invalid.", body = Problem),
        (status = 409, description = "Too many routers have settings.", body = Problem),
    ),
)]
pub(crate) async fn set_router(
    State(app): State<App>,
    Segment(name): Segment,
    JsonBody(NewRouter { name: label, position, enabled }): JsonBody<NewRouter>,
) -> Result<Json<StoredRouter>, RequestError> {
    if label.as_ref().is_some_and(|label| label.trim().is_empty() || label.len() > 200) {
        return Err(items::refuse("`name` must have 1 to 200 bytes"));
    }
    if position.is_some_and(|position| position.iter().any(|metres| metres.abs() > MAX_METRES)) {
        return Err(items::refuse("`position` must be within 10 km"));
    }
    let settings = RouterSettings { name: label, position, enabled };
    items::set(&app, KIND, &name, &settings).await?;
    app.shared.routers.load(&app.shared.items).await;
    Ok(Json(StoredRouter::new(name, settings)))
}

/// Removes the settings of a router. The pipeline uses its frames again.
#[utoipa::path(
    delete,
    path = "/api/v1/config/routers/{name}",
    params(("name" = String, Path, description = "The name of the device, as links have it.")),
    responses(
        (status = 204, description = "The settings are removed."),
        (status = 404, description = "The router has no settings.", body = Problem),
    ),
)]
pub(crate) async fn remove_router(
    State(app): State<App>,
    Segment(name): Segment,
) -> Result<StatusCode, RequestError> {
    items::remove(&app, KIND, &name).await?;
    app.shared.routers.load(&app.shared.items).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Returns the settings of all routers, by name.
pub(crate) async fn settings(app: &App) -> Result<Vec<(String, RouterSettings)>, RequestError> {
    items::all(app, KIND).await
}
