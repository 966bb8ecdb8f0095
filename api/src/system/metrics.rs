//! The metrics of the pipeline and of the API.

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use engine::{MetricKind, Metrics};
use queries::Workers;

use crate::app::App;
use crate::metrics::RequestMetrics;
use crate::server::Connections;

/// Returns all counters in the Prometheus text format.
#[utoipa::path(
    get,
    path = "/metrics",
    responses((status = 200, description = "The counters.", body = String)),
)]
pub(crate) async fn metrics(State(app): State<App>) -> impl IntoResponse {
    let mut metrics = Metrics::default();
    app.shared.counters.write(&mut metrics);
    let workers = [&*app.workers, &*app.resources];
    write_metrics(&app.server.connections, &app.requests, workers, &mut metrics);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics.to_string())
}

/// Returns the descriptions of the metrics of the API, without values.
pub fn metrics_of_api() -> Metrics {
    let (connections, requests) = (Connections::new(1), RequestMetrics::default());
    let mut metrics = Metrics::default();
    let workers = Workers::default();
    write_metrics(&connections, &requests, [&workers; 2], &mut metrics);
    metrics
}

fn write_metrics(
    connections: &Connections,
    requests: &RequestMetrics,
    [of_clients, of_resources]: [&Workers; 2],
    metrics: &mut Metrics,
) {
    connections.write(metrics);
    requests.write(connections.n_websockets(), metrics);
    let kinds = [("sql", of_clients.counts()), ("resource", of_resources.counts())];
    let queries = kinds.into_iter().flat_map(|(kind, (n_running, n_waiting))| {
        let states = [("running", n_running), ("waiting", n_waiting)];
        states.map(|(state, n)| (format!("kind=\"{kind}\",state=\"{state}\""), n as f64))
    });
    metrics.add(("fresnel_sql_queries", MetricKind::Gauge, "Queries that run or wait."), queries);
}
