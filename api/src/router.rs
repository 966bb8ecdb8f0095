//! The routes and their OpenAPI document.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::http::{Extensions, HeaderMap, HeaderName, Method, StatusCode, Uri, Version, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use serde::Serialize;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, NotForContentType, Predicate};
use tower_layer::Layer as _;
use utoipa::OpenApi;
use utoipa::openapi::OpenApi as Document;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::caching::Answers;
use crate::client::see_through_proxies;
use crate::error::{RequestError, panicked};
use crate::openapi::{Index, complete};
use crate::origins::Origins;
use crate::sql::Uncompressed;
use crate::tap::STREAM_MEDIA_TYPE;
use crate::{
    analytics, auth, caching, config, docs, metrics, origins, page, pose, sql, stream, system, tap,
    version,
};

#[derive(OpenApi)]
#[openapi(info(
    title = "Fresnel",
    description = "People, zones and activities sensed by a running pipeline, and SQL over their history."
))]
struct Api;

fn routes() -> OpenApiRouter<App> {
    let reused = OpenApiRouter::new()
        .routes(routes!(analytics::heat_maps))
        .routes(routes!(analytics::activity))
        .layer(from_fn_with_state(Arc::<Answers>::default(), caching::reuse));
    OpenApiRouter::with_openapi(Api::openapi())
        .routes(routes!(pose::current::current))
        .routes(routes!(pose::history::history))
        .routes(routes!(pose::persons::persons))
        .routes(routes!(pose::persons::person))
        .routes(routes!(pose::zones::zones))
        .merge(reused)
        .routes(routes!(analytics::export))
        .routes(routes!(analytics::reports::reports, analytics::reports::make_report))
        .routes(routes!(analytics::reports::report, analytics::reports::remove_report))
        .routes(routes!(sql::query, sql::query_of_url))
        .routes(routes!(sql::cancel))
        .routes(routes!(sql::influx_query, sql::influx_query_of_url))
        .routes(routes!(system::health::live))
        .routes(routes!(system::health::ready))
        .routes(routes!(system::health::health))
        .routes(routes!(system::status::status))
        .routes(routes!(system::routers::routers))
        .routes(routes!(system::performance::performance))
        .routes(routes!(system::metrics::metrics))
        .routes(routes!(config::zones))
        .routes(routes!(config::zone, config::set_zone, config::remove_zone))
        .routes(routes!(config::calibrate))
        .routes(routes!(config::routers::routers))
        .routes(routes!(
            config::routers::router,
            config::routers::set_router,
            config::routers::remove_router
        ))
        .routes(routes!(config::alerts::alerts))
        .routes(routes!(
            config::alerts::alert,
            config::alerts::set_alert,
            config::alerts::remove_alert
        ))
        .routes(routes!(config::webhooks::webhooks))
        .routes(routes!(
            config::webhooks::webhook,
            config::webhooks::set_webhook,
            config::webhooks::remove_webhook
        ))
        .routes(routes!(config::templates::templates))
        .routes(routes!(
            config::templates::template,
            config::templates::set_template,
            config::templates::remove_template
        ))
        .routes(routes!(config::templates::render_template))
        .routes(routes!(stream::stream))
        .routes(routes!(tap::tap))
        .routes(routes!(auth::token::token))
        .routes(routes!(auth::token::refresh))
        .routes(routes!(auth::token::revoke))
        .routes(routes!(auth::session::begin, auth::session::end))
        .routes(routes!(auth::session::me))
}

/// Returns the OpenAPI document of the API.
pub fn openapi() -> Document {
    complete(routes().split_for_parts().1)
}

pub(crate) fn router(app: App) -> Router {
    let (router, document) = (routes().split_for_parts().0, openapi());
    let (index, document) = (encoded(&Index::of(&document)), encoded(&document));
    let config = app.shared.plan.api.as_ref();
    let trusted: Arc<[_]> = config.map(|api| &*api.trusted_proxies).unwrap_or_default().into();
    let origins = Origins::new(app.shared.plan.api.as_ref(), app.server.is_on_loopback);
    let origins = Arc::new(origins);
    let router = router
        .route("/api/v1", get(move || async move { index }))
        .route("/api/v1/openapi.json", get(move || async move { document }))
        .route("/", get(page::index))
        .route("/page.css", get(page::style))
        .route("/page.js", get(page::script))
        .route("/docs", get(docs::index))
        .route("/docs/", get(docs::index))
        .route("/docs/{*name}", get(docs::page))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(from_fn(version::represent))
        .layer(from_fn(caching::validate))
        .layer(from_fn_with_state(app.clone(), auth::gate))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(CompressionLayer::new().compress_when(is_complete()))
        .layer(origins.cors())
        .layer(from_fn_with_state(origins, origins::check))
        .layer(from_fn_with_state(trusted, see_through_proxies))
        .layer(from_fn_with_state(Arc::clone(&app.requests), metrics::count))
        .with_state(app);
    // The version chooses the route, so it is found before.
    Router::new().fallback_service(from_fn(version::negotiate).layer(router))
}

/// Returns a response that is always the same.
fn encoded(value: &impl Serialize) -> ([(HeaderName, &'static str); 1], Bytes) {
    // Both have only text as keys.
    let json = serde_json::to_vec(value).unwrap_or_default();
    ([(header::CONTENT_TYPE, "application/json")], json.into())
}

async fn no_such_path(uri: Uri) -> RequestError {
    RequestError::NoSuchPath(uri.path().to_owned())
}

async fn no_such_method(method: Method) -> RequestError {
    RequestError::NoSuchMethod(method)
}

/// Excludes streams, whose lines a compressor would delay, and long answers, which would keep it busy.
fn is_complete() -> impl Predicate {
    let is_short = |_: StatusCode, _: Version, _: &HeaderMap, extensions: &Extensions| {
        extensions.get::<Uncompressed>().is_none()
    };
    DefaultPredicate::new().and(NotForContentType::const_new(STREAM_MEDIA_TYPE)).and(is_short)
}
