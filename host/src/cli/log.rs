//! Where the program says what it does: lines on stderr, and spans to a collector when the
//! operator names one.

use anyhow::{Context, Result};
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::{Resource, propagation::TraceContextPropagator, trace::SdkTracerProvider};
use std::{io::IsTerminal, time::Duration};
use tracing_subscriber::{
    EnvFilter, Layer, filter::filter_fn, fmt, layer::SubscriberExt, util::SubscriberInitExt,
};
use url::Url;

/// How long the collector may take for one batch.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends what is left when it is dropped.
pub(super) struct Log(Option<SdkTracerProvider>);

/// `RUST_LOG` decides what is logged; JSON when nobody sits in front of it. Call it before
/// there are threads that wait for nothing.
pub(super) fn begin(quiet: bool, collector: Option<&Url>) -> Result<Log> {
    let default = if quiet { "warn" } else { "info" };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| default.into());
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = if std::io::stderr().is_terminal() { lines.boxed() } else { lines.json().boxed() };
    let provider = collector.map(spans).transpose()?;
    let spans = provider.as_ref().map(|provider| {
        let ours = filter_fn(|about| about.is_span() && about.target().starts_with("aiybiz"));
        let tracer = provider.tracer("aiybiz");
        tracing_opentelemetry::layer().with_tracer(tracer).with_filter(ours)
    });
    let log = tracing_subscriber::registry().with(lines.with_filter(filter)).with(spans);
    // An embedding program, a test say, may have set up logging already.
    let _ = log.try_init();
    Ok(Log(provider))
}

/// Spans go out in batches, from a thread of their own.
fn spans(collector: &Url) -> Result<SdkTracerProvider> {
    let mut address = collector.clone();
    let path = format!("{}/v1/traces", collector.path().trim_end_matches('/'));
    address.set_path(&path);
    let exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(address)
        .with_timeout(PATIENCE)
        .build()
        .context("otlpUrl")?;
    let about = Resource::builder()
        .with_service_name("aiybiz")
        .with_attribute(opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
    Ok(SdkTracerProvider::builder().with_resource(about).with_batch_exporter(exporter).build())
}

impl Drop for Log {
    fn drop(&mut self) {
        if let Some(provider) = self.0.take() {
            let _ = provider.shutdown();
        }
    }
}
