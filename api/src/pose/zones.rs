//! The current occupancy of each zone.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::State;
use engine::Configuration;
use schemas::{EstimatorKind, PoseFrame};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::error::{Problem, RequestError};
use crate::links::Links;
use crate::paging::List;
use crate::parameters::{Parameters, Share};

/// Filters of zones.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ZonesQuery {
    /// Only this zone.
    zone_id: Option<String>,
    /// Only people with at least this confidence, from 0 to 1; 0 by default.
    #[param(value_type = Option<f32>)]
    min_confidence: Option<Share>,
}

/// A zone with the people who are in it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ZoneNow {
    /// The zone.
    zone_id: String,
    /// The operator that the zone belongs to.
    operator: String,
    /// The site of the zone; null for all sites.
    site: Option<String>,
    /// Number of people in the newest frames.
    count: usize,
    /// Their ids.
    persons: Vec<String>,
    #[serde(rename = "_links")]
    links: Links,
}

/// Returns the zones of the pipeline with the people of the newest frames.
#[utoipa::path(
    get,
    path = "/api/v1/pose/zones",
    params(ZonesQuery),
    responses(
        (status = 200, description = "The zones.", body = [ZoneNow]),
        (status = 404, description = "There is no such zone.", body = Problem),
        (status = 421, description = "Another process of the run knows them.", body = Problem),
    ),
)]
pub(crate) async fn zones(
    State(app): State<App>,
    Parameters(query): Parameters<ZonesQuery>,
) -> Result<List<ZoneNow>, RequestError> {
    let configuration = app.shared.configuration.as_ref().ok_or(RequestError::Elsewhere)?;
    let mut frames = app.shared.hub.latest_poses();
    frames.retain(|frame| frame.estimator.kind != EstimatorKind::GroundTruth);
    let min_confidence = query.min_confidence.unwrap_or_default().0;
    let mut zones = zones_now(configuration, &frames, min_confidence);
    if let Some(zone_id) = query.zone_id {
        check_zone(&app, Some(&zone_id))?;
        zones.retain(|zone| zone.zone_id == zone_id);
    }
    Ok(List::all(zones))
}

/// Checks that the pipeline has a zone. Without a configuration the zones are not known.
pub(crate) fn check_zone(app: &App, zone_id: Option<&str>) -> Result<(), RequestError> {
    let Some((configuration, zone_id)) = app.shared.configuration.as_ref().zip(zone_id) else {
        return Ok(());
    };
    let zones = configuration.zones().into_values().flat_map(BTreeMap::into_keys);
    let zones: BTreeSet<_> = zones.collect();
    if zones.contains(zone_id) {
        return Ok(());
    }
    let zones = zones.into_iter().collect::<Vec<_>>().join(", ");
    Err(RequestError::NotFound(format!("there is no zone `{zone_id}`; there are: {zones}")))
}

fn zones_now(
    configuration: &Configuration,
    frames: &[PoseFrame],
    min_confidence: f32,
) -> Vec<ZoneNow> {
    let zones = configuration.zones().into_iter().flat_map(|(operator, zones)| {
        zones.into_iter().map(move |(name, zone)| (operator.clone(), name, zone))
    });
    let zones = zones.map(|(operator, zone_id, zone)| {
        let of_site =
            |frame: &&PoseFrame| zone.site.as_ref().is_none_or(|site| *site == frame.site);
        let people = frames.iter().filter(of_site).flat_map(|frame| &frame.persons);
        let here = people.filter(|person| {
            person.zone.as_ref() == Some(&zone_id) && person.confidence >= min_confidence
        });
        let mut persons: Vec<_> = here.map(|person| person.id.clone()).collect();
        // The frames before and after the operator of the zones have the same people.
        persons.sort();
        persons.dedup();
        let links = Links::default().and("self", &["/api/v1/config/zones", &zone_id], "");
        ZoneNow { operator, site: zone.site.clone(), count: persons.len(), persons, zone_id, links }
    });
    zones.collect()
}
