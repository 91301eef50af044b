//! Sends spans to an OpenTelemetry collector, by OTLP over HTTP.

use std::pin::Pin;
use std::time::Duration;

use axum::http::{Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::{Bytes, HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tokio::runtime::Handle;
use tracing::Subscriber;
use tracing_opentelemetry::OpenTelemetryLayer;

use super::outbound::Outbound;
use crate::traces::TraceSettings;

/// Where traces are sent below the address that is set, as OTLP says.
const PATH: &str = "/v1/traces";

/// How long a collector may take; meanwhile spans wait in a queue that drops what is too much.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest answer of a collector that is read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// How long the last spans may take when the server stops.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// What sends spans, until it is told to stop.
#[derive(Debug)]
pub(crate) struct Traces(SdkTracerProvider);

impl Traces {
    /// What sends spans, and the layer of the log that hands them over.
    ///
    /// # Errors
    /// When TLS is needed and the machine has no trusted certificates, or a setting of the library is refused.
    pub(crate) fn start<S>(
        settings: &TraceSettings,
    ) -> Result<(Self, OpenTelemetryLayer<S, SdkTracer>), String>
    where
        S: Subscriber + for<'span> tracing_subscriber::registry::LookupSpan<'span>,
    {
        let TraceSettings { collector, headers, service } = settings;
        let outbound = if collector.is_https() { Outbound::tls()? } else { Outbound::plain() };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Sender { outbound, runtime: Handle::current() })
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{collector}{PATH}"))
            .with_timeout(EXPORT_TIMEOUT)
            .with_headers(headers.all().clone())
            .build()
            .map_err(|error| format!("OTEL_EXPORTER_OTLP_ENDPOINT: {error}"))?;
        let resource = Resource::builder().with_service_name(service.clone()).build();
        let provider =
            SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
        let layer = tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("palveron-meter"))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false);
        Ok((Self(provider), layer))
    }

    /// Sends what was not sent yet, within a few seconds.
    pub(crate) async fn stop(self) {
        // It waits for what runs on this runtime, so that it must not hold one of its threads.
        let stopped = tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(FLUSH_TIMEOUT)).await;
        if let Ok(Err(error)) = stopped {
            tracing::warn!(error = %error, "the last spans were not sent");
        }
    }
}

/// Sends what the exporter's thread hands over, on the server's runtime and by its client.
#[derive(Debug)]
struct Sender {
    outbound: Outbound,
    runtime: Handle,
}

impl HttpClient for Sender {
    fn send_bytes<'client, 'sent>(
        &'client self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'sent>>
    where
        'client: 'sent,
        Self: 'sent,
    {
        let outbound = self.outbound.clone();
        let sent = self.runtime.spawn(async move {
            let exchange = async {
                let (head, body) = outbound.send(request.map(Full::new)).await?.into_parts();
                let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await?.to_bytes();
                Ok::<_, HttpError>(Response::from_parts(head, body))
            };
            tokio::time::timeout(EXPORT_TIMEOUT, exchange).await?
        });
        Box::pin(async move { sent.await? })
    }
}
