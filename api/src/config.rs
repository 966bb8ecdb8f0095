//! What the pipeline was told.

use axum::Json;
use axum::extract::State;
use engine::OperatorConfig;
use serde::Serialize;
use utoipa::ToSchema;

use crate::router::App;

/// A zone on the site plan.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Zone {
    /// The zone's name.
    name: String,
    /// The operator that follows it.
    operator: String,
    /// The site it is in; absent for every site.
    site: Option<String>,
    /// Corners on the plan, in metres.
    coordinates: Vec<[f32; 2]>,
}

/// The zones of the pipeline.
#[utoipa::path(
    get,
    path = "/api/v1/config/zones",
    responses((status = 200, description = "The zones.", body = [Zone])),
)]
pub(crate) async fn zones(State(app): State<App>) -> Json<Vec<Zone>> {
    let mut zones = Vec::new();
    for operator in &app.shared.plan.operators {
        let OperatorConfig::Zones(config) = &operator.config else { continue };
        zones.extend(config.zones.iter().map(|(name, zone)| Zone {
            name: name.clone(),
            operator: operator.name.clone(),
            site: zone.site.clone(),
            coordinates: zone.coordinates.clone(),
        }));
    }
    Json(zones)
}
