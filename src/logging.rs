//! Logs on standard error, and traces over OTLP if a collector is configured.
//!
//! Source: `OpenTelemetry` protocol 1.x over HTTP; environment variables as its specification defines them.

use std::io::IsTerminal;
use std::time::Duration;

use async_trait::async_trait;
use opentelemetry::trace::TracerProvider;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// The default filter. It silences the Delta kernel, which logs a missing table as an error.
const LOGGED: &str = "warn,buoyant_kernel=off";
/// Environment variables with the address of a collector. Traces are on if one of them is set.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];

/// Time-out of a collector's response.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Logs and traces of the process. Dropping it sends the remaining traces.
pub(crate) struct Logging(Option<SdkTracerProvider>);

impl Logging {
    /// Starts logs and traces. `FRESNEL_LOG` filters the logs, for example `debug` or `engine=trace`.
    pub(crate) fn start() -> Self {
        let filter =
            EnvFilter::try_from_env("FRESNEL_LOG").unwrap_or_else(|_| EnvFilter::new(LOGGED));
        let ansi = std::io::stderr().is_terminal();
        let logs = tracing_subscriber::fmt::layer().with_ansi(ansi).with_target(false);
        let logs = logs.with_writer(std::io::stderr);
        let collected = ENDPOINTS.iter().any(|endpoint| std::env::var_os(endpoint).is_some());
        let provider = collected.then(provider).flatten();
        let traces = provider.as_ref().map(|provider| {
            let spans = tracing_opentelemetry::layer().with_tracer(provider.tracer("fresnel"));
            spans.with_filter(Targets::new().with_target("engine", Level::INFO))
        });
        tracing_subscriber::registry().with(logs.with_filter(filter)).with(traces).init();
        Self(provider)
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        if let Some(error) = self.0.take().and_then(|provider| provider.shutdown().err()) {
            eprintln!("some traces were not sent: {error}");
        }
    }
}

/// Returns a provider that sends spans in batches on its own thread; none if it cannot be built.
fn provider() -> Option<SdkTracerProvider> {
    let exporter = SpanExporter::builder().with_http().with_http_client(Client::default());
    let exporter = match exporter.with_protocol(Protocol::HttpJson).build() {
        Ok(exporter) => exporter,
        Err(error) => {
            eprintln!("no traces are sent: {error}");
            return None;
        }
    };
    let resource = Resource::builder().with_service_name("fresnel").build();
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter);
    Some(provider.with_resource(resource).build())
}

/// The program's blocking HTTP client.
#[derive(Debug)]
struct Client(ureq::Agent);

impl Default for Client {
    fn default() -> Self {
        let config = ureq::Agent::config_builder().http_status_as_error(false);
        Self(config.timeout_global(Some(TIMEOUT)).build().into())
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let response = self.0.run(request.map(|body| body.to_vec()))?;
        let (parts, mut body) = response.into_parts();
        Ok(Response::from_parts(parts, body.read_to_vec()?.into()))
    }
}
