//! Configuration that changes while a pipeline runs.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Query, State};
use engine::{Configuration, ZoneConfig};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::error::{Problem, RequestError};

/// A zone on the site plan.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Zone {
    /// The zone's name.
    name: String,
    /// The operator that follows it.
    operator: String,
    #[serde(flatten)]
    shape: Shape,
}

/// The area of a zone.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Shape {
    /// Corners of a polygon on the plan, in metres; three or more.
    coordinates: Vec<[f32; 2]>,
    /// The site it is in; absent for every site.
    site: Option<String>,
}

impl From<ZoneConfig> for Shape {
    fn from(ZoneConfig { coordinates, site }: ZoneConfig) -> Self {
        Self { coordinates, site }
    }
}

impl From<Shape> for ZoneConfig {
    fn from(Shape { coordinates, site }: Shape) -> Self {
        Self { coordinates, site }
    }
}

/// Whose zone it is.
#[derive(Debug, Deserialize, IntoParams)]
pub(crate) struct Owner {
    /// The operator; not needed if only one has zones.
    operator: Option<String>,
}

/// A change that is kept.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Kept {
    /// The event time from which on it is so, in milliseconds since the Unix epoch.
    takes_effect_at_ms: u64,
}

/// The zones of the pipeline.
#[utoipa::path(
    get,
    path = "/api/v1/config/zones",
    responses(
        (status = 200, description = "The zones.", body = [Zone]),
        (status = 421, description = "Another process of the run knows them.", body = Problem),
    ),
)]
pub(crate) async fn zones(State(app): State<App>) -> Result<Json<Vec<Zone>>, RequestError> {
    let operators = configuration(&app)?.zones().into_iter();
    let zones = operators.flat_map(|(operator, zones)| {
        let zones = zones.into_iter();
        zones.map(move |(name, zone)| Zone { name, operator: operator.clone(), shape: zone.into() })
    });
    Ok(Json(zones.collect()))
}

/// Sets a zone while the pipeline runs, and keeps it: it stands, whatever the pipeline file says, until
/// it is set again or taken away.
#[utoipa::path(
    put,
    path = "/api/v1/config/zones/{name}",
    params(("name" = String, Path, description = "The zone."), Owner),
    request_body = Shape,
    responses(
        (status = 200, description = "It is kept.", body = Kept),
        (status = 400, description = "That is no zone.", body = Problem),
        (status = 404, description = "There is no such operator.", body = Problem),
        (status = 421, description = "Another process of the run takes changes.", body = Problem),
        (status = 503, description = "The run is ending and accepts no changes.", body = Problem),
    ),
)]
pub(crate) async fn set_zone(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(owner): Query<Owner>,
    shape: Result<Json<Shape>, JsonRejection>,
) -> Result<Json<Kept>, RequestError> {
    let Json(shape) = shape.map_err(|error| RequestError::BadRequest(error.body_text()))?;
    change(&app, owner, name, Some(shape.into())).await
}

/// Takes a zone away while the pipeline runs; it stays away, whatever the pipeline file says.
#[utoipa::path(
    delete,
    path = "/api/v1/config/zones/{name}",
    params(("name" = String, Path, description = "The zone."), Owner),
    responses(
        (status = 200, description = "It is gone.", body = Kept),
        (status = 404, description = "There is no such zone.", body = Problem),
        (status = 421, description = "Another process of the run takes changes.", body = Problem),
        (status = 503, description = "The run is ending and accepts no changes.", body = Problem),
    ),
)]
pub(crate) async fn remove_zone(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(owner): Query<Owner>,
) -> Result<Json<Kept>, RequestError> {
    change(&app, owner, name, None).await
}

async fn change(
    app: &App,
    owner: Owner,
    name: String,
    zone: Option<ZoneConfig>,
) -> Result<Json<Kept>, RequestError> {
    let configuration = configuration(app)?;
    let operator = owner.operator.map_or_else(|| only_operator(&configuration), Ok)?;
    let change = move || configuration.set_zone(&operator, &name, zone);
    // It is kept even if the client goes away meanwhile.
    let kept = tokio::task::spawn_blocking(change).await;
    let takes_effect_at_ms = kept.map_err(|_| RequestError::Interrupted)??;
    Ok(Json(Kept { takes_effect_at_ms }))
}

fn configuration(app: &App) -> Result<Arc<Configuration>, RequestError> {
    app.shared.configuration.clone().ok_or(RequestError::Elsewhere)
}

/// The operator that is meant when there is only one.
fn only_operator(configuration: &Configuration) -> Result<String, RequestError> {
    let mut operators = configuration.zones().into_keys();
    match (operators.next(), operators.next()) {
        (Some(operator), None) => Ok(operator),
        (None, _) => Err(RequestError::NotFound("the pipeline has no operator with zones")),
        _ => Err(RequestError::BadRequest("which operator? several have zones".to_owned())),
    }
}
