//! Configuration that changes while a pipeline runs.

pub(crate) mod alerts;
mod items;
pub(crate) mod routers;
pub(crate) mod templates;
pub(crate) mod webhooks;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use engine::{Configuration, ConfigurationError, ZoneConfig};
use schemas::Tick;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::error::{Problem, RequestError};
use crate::paging::List;
use crate::parameters::{JsonBody, NoBody, Parameters, Segment};

/// A zone on the site plan.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Zone {
    /// The zone's name.
    name: String,
    /// The operator that the zone belongs to.
    operator: String,
    /// Corners of a polygon on the plan, in metres.
    coordinates: Vec<[f32; 2]>,
    /// The site of the zone; null for all sites.
    site: Option<String>,
}

/// The area of a zone.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Shape {
    /// Corners of a polygon on the plan, in metres; three or more.
    coordinates: Vec<[f32; 2]>,
    /// The site of the zone; absent for all sites.
    site: Option<String>,
}

impl From<Shape> for ZoneConfig {
    fn from(Shape { coordinates, site }: Shape) -> Self {
        Self { coordinates, site }
    }
}

/// The links to calibrate again.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Links {
    /// The `motion` operator; required only if there are several.
    operator: Option<String>,
    /// The link, `receiver/transmitter`, as reports name it; all links of the operator by default.
    link: Option<String>,
}

/// The operator of a zone.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Owner {
    /// The operator that the zone belongs to; required only if several operators have zones.
    operator: Option<String>,
}

/// A stored change.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Kept {
    /// The event time at which the change takes effect, in milliseconds since the Unix epoch.
    takes_effect_at_ms: u64,
}

/// Returns the zones of the pipeline, after all changes so far.
#[utoipa::path(
    get,
    path = "/api/v1/config/zones",
    operation_id = "config_zones",
    responses(
        (status = 200, description = "The zones.", body = [Zone]),
        (status = 421, description = "Another process of the run knows them.", body = Problem),
    ),
)]
pub(crate) async fn zones(State(app): State<App>) -> Result<List<Zone>, RequestError> {
    let operators = configuration(&app)?.zones().into_iter();
    let zones = operators.flat_map(|(operator, zones)| {
        let zones = zones.into_iter();
        zones.map(move |(name, ZoneConfig { coordinates, site })| Zone {
            name,
            operator: operator.clone(),
            coordinates,
            site,
        })
    });
    Ok(List::all(zones))
}

/// Returns a zone.
#[utoipa::path(
    get,
    path = "/api/v1/config/zones/{name}",
    operation_id = "config_zone",
    params(("name" = String, Path, description = "The zone."), Owner),
    responses(
        (status = 200, description = "The zone.", body = Zone),
        (status = 400, description = "Several operators have zones.", body = Problem),
        (status = 404, description = "There is no such zone.", body = Problem),
        (status = 421, description = "Another process of the run knows them.", body = Problem),
    ),
)]
pub(crate) async fn zone(
    State(app): State<App>,
    Segment(name): Segment,
    Parameters(owner): Parameters<Owner>,
) -> Result<Json<Zone>, RequestError> {
    let configuration = configuration(&app)?;
    let operator = operator_of(&configuration, owner)?;
    let zone = configuration.zones().remove(&operator).and_then(|mut zones| zones.remove(&name));
    let none = || RequestError::NotFound(format!("operator `{operator}` has no zone `{name}`"));
    let ZoneConfig { coordinates, site } = zone.ok_or_else(none)?;
    Ok(Json(Zone { name, operator, coordinates, site }))
}

/// Sets a zone while the pipeline runs.
///
/// The change is durable. It overrides the pipeline file until the zone is set again or removed.
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
    Segment(name): Segment,
    Parameters(owner): Parameters<Owner>,
    JsonBody(shape): JsonBody<Shape>,
) -> Result<Json<Kept>, RequestError> {
    change(&app, owner, name, Some(shape.into())).await
}

/// Removes a zone while the pipeline runs.
///
/// The change is durable. The zone stays removed even if the pipeline file defines it.
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
    Segment(name): Segment,
    Parameters(owner): Parameters<Owner>,
) -> Result<Json<Kept>, RequestError> {
    change(&app, owner, name, None).await
}

/// Calibrates links again, such as after a device was moved.
///
/// The request is durable. Motion on the links is unknown until their calibration ends.
#[utoipa::path(
    post,
    path = "/api/v1/config/calibrations",
    params(Links),
    responses(
        (status = 200, description = "The links are calibrated again.", body = Kept),
        (status = 400, description = "The request has a body, or a name that no link has.", body = Problem),
        (status = 404, description = "There is no such operator or link.", body = Problem),
        (status = 409, description = "The pipeline file has the threshold.", body = Problem),
        (status = 421, description = "Another process of the run takes changes.", body = Problem),
        (status = 503, description = "The run is ending and accepts no changes.", body = Problem),
    ),
)]
pub(crate) async fn calibrate(
    State(app): State<App>,
    Parameters(Links { operator, link }): Parameters<Links>,
    NoBody: NoBody,
) -> Result<Json<Kept>, RequestError> {
    let configuration = configuration(&app)?;
    if let (Some(link), Some(known)) = (&link, app.shared.hub.links()) {
        check_link(link, &known)?;
    }
    let operator = match operator {
        Some(operator) => operator,
        None => only("motion", configuration.motion_operators())?,
    };
    keep(move || configuration.calibrate(&operator, link)).await
}

async fn change(
    app: &App,
    owner: Owner,
    name: String,
    zone: Option<ZoneConfig>,
) -> Result<Json<Kept>, RequestError> {
    let configuration = configuration(app)?;
    let operator = operator_of(&configuration, owner)?;
    keep(move || configuration.set_zone(&operator, &name, zone)).await
}

/// Returns the operator of a zone.
fn operator_of(configuration: &Configuration, owner: Owner) -> Result<String, RequestError> {
    match owner.operator {
        Some(operator) => Ok(operator),
        None => only("zones", configuration.zones().into_keys()),
    }
}

/// # Errors
///
/// [`RequestError::NotFound`] if the link is not one of those that are known.
fn check_link(link: &str, known: &[String]) -> Result<(), RequestError> {
    if known.iter().any(|known| known == link) {
        return Ok(());
    }
    let known = known.join(", ");
    Err(RequestError::NotFound(format!("no link {link:?} was seen; there are: {known}")))
}

/// Makes a change, which is stored even if the client disconnects meanwhile.
async fn keep(
    change: impl FnOnce() -> Result<Tick, ConfigurationError> + Send + 'static,
) -> Result<Json<Kept>, RequestError> {
    let kept = tokio::task::spawn_blocking(change).await;
    let takes_effect_at_ms = kept.map_err(|_| RequestError::Interrupted)??;
    Ok(Json(Kept { takes_effect_at_ms }))
}

fn configuration(app: &App) -> Result<Arc<Configuration>, RequestError> {
    app.shared.configuration.clone().ok_or(RequestError::Elsewhere)
}

/// Returns the only operator of a type; an error if there is none or more than one.
fn only(kind: &str, operators: impl IntoIterator<Item = String>) -> Result<String, RequestError> {
    let mut operators = operators.into_iter();
    match (operators.next(), operators.next()) {
        (Some(operator), None) => Ok(operator),
        (None, _) => Err(RequestError::NotFound(format!("the pipeline has no `{kind}` operator"))),
        _ => Err(RequestError::BadRequest(format!(
            "the pipeline has several `{kind}` operators: name one with `operator`"
        ))),
    }
}
