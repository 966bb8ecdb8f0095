//! The routes and their OpenAPI document.

use axum::routing::get;
use axum::{Json, Router};
use utoipa::OpenApi;
use utoipa::openapi::OpenApi as Document;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::{config, page, pose, sql, stream, system, tap};

#[derive(OpenApi)]
#[openapi(info(
    title = "Fresnel",
    description = "People, zones and activities sensed by a running pipeline, and SQL over their history."
))]
struct Api;

fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(Api::openapi())
        .routes(routes!(pose::current))
        .routes(routes!(pose::history))
        .routes(routes!(sql::query))
        .routes(routes!(system::health))
        .routes(routes!(system::status))
        .routes(routes!(system::performance))
        .routes(routes!(system::metrics))
        .routes(routes!(config::zones))
        .routes(routes!(config::set_zone, config::remove_zone))
        .routes(routes!(stream::stream))
        .routes(routes!(tap::tap))
}

/// The OpenAPI document.
pub fn openapi() -> Document {
    routes().split_for_parts().1
}

pub(crate) fn router(app: App) -> Router {
    let (router, document) = routes().split_for_parts();
    router
        .route("/api/v1/openapi.json", get(move || async move { Json(document) }))
        .route("/", get(page::index))
        .with_state(app)
}
