//! Spans by OTLP over gRPC or HTTP, through the exporter of `opentelemetry-otlp`.
//!
//! That exporter also reads headers from the environment; which of them count was decided when the settings
//! were made, so both transports set exactly the headers of the settings.

use std::borrow::Cow;
use std::fmt;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, Request, Response};
use opentelemetry::trace::{SpanContext, SpanId, SpanKind as Kind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{
    ExporterBuildError, SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks};
use tokio::runtime::Handle;
use tonic::metadata::MetadataMap;

use crate::export::http::Poster;
use crate::export::{ExportError, Network, OtlpSettings, SCOPE, SetupError, otlp};
use crate::trace::record::{SpanKind, SpanRecord};
use crate::trace::settings::TraceSettings;

/// Sends batches to an OTLP receiver.
pub(in crate::trace) struct Otlp {
    exporter: SpanExporter,
    scope: InstrumentationScope,
    address: String,
}

/// The HTTP client that the exporter sends with.
#[derive(Debug)]
struct Client(Poster);

// === impl Otlp ===

impl Otlp {
    pub(super) fn new(
        receiver: &OtlpSettings,
        settings: &TraceSettings,
        control: &Handle,
        network: &Network,
    ) -> Result<Self, SetupError> {
        let headers = otlp::header_map(&receiver.headers)?;
        let timeout = receiver.timeout.unwrap_or(otlp::DEFAULT_TIMEOUT);
        let mut exporter = match receiver.protocol.as_str() {
            "grpc" => {
                // The exporter may spawn where it is made.
                let _control = control.enter();
                grpc(receiver, headers, timeout, control, network)?
            }
            "http" => http(receiver, headers, timeout, network)?,
            other => return Err(SetupError::Protocol(other.to_owned())),
        };
        exporter.set_resource(&resource(settings));
        let scope = InstrumentationScope::builder(SCOPE).build();
        Ok(Self {
            exporter,
            scope,
            address: receiver.endpoint.clone(),
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.address
    }

    pub(super) async fn export(&self, batch: &[Arc<SpanRecord>]) -> Result<(), ExportError> {
        let spans = batch.iter().map(|span| self.span_data(span)).collect();
        Ok(self.exporter.export(spans).await?)
    }

    fn span_data(&self, span: &SpanRecord) -> SpanData {
        let state = span
            .state
            .as_deref()
            .and_then(|list| TraceState::from_str(list).ok())
            .unwrap_or_default();
        let attribute = |(name, value): &(Cow<'static, str>, String)| {
            KeyValue::new(name.clone().into_owned(), value.clone())
        };
        SpanData {
            span_context: SpanContext::new(
                TraceId::from_bytes(span.trace_id),
                SpanId::from_bytes(span.span_id),
                TraceFlags::new(span.flags),
                false,
                state,
            ),
            parent_span_id: SpanId::from_bytes(span.parent_id),
            parent_span_is_remote: span.parent_id != [0; 8],
            span_kind: match span.kind {
                SpanKind::Server => Kind::Server,
                SpanKind::Client => Kind::Client,
                SpanKind::Producer => Kind::Producer,
                SpanKind::Internal => Kind::Internal,
            },
            name: span.name.clone().into(),
            start_time: span.start,
            end_time: span.end,
            attributes: span.attributes.iter().map(attribute).collect(),
            dropped_attributes_count: span.dropped_attributes,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: span.failure.clone().map_or(Status::Unset, Status::error),
            instrumentation_scope: self.scope.clone(),
        }
    }
}

impl fmt::Debug for Otlp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Otlp")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

// === impl Client ===

impl HttpClient for Client {
    // Written out, because the trait is declared through a macro that this workspace does not use.
    fn send_bytes<'client, 'future>(
        &'client self,
        mut request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'future>>
    where
        'client: 'future,
        Self: 'future,
    {
        let kept = [CONTENT_TYPE, CONTENT_ENCODING];
        let headers = std::mem::take(request.headers_mut());
        request.headers_mut().extend(
            kept.iter()
                .filter_map(|name| Some((name.clone(), headers.get(name)?.clone()))),
        );
        Box::pin(async move { Ok(self.0.post(request).await?) })
    }
}

fn grpc(
    receiver: &OtlpSettings,
    headers: HeaderMap,
    timeout: Duration,
    control: &Handle,
    network: &Network,
) -> Result<SpanExporter, SetupError> {
    let metadata = MetadataMap::from_headers(headers);
    SpanExporter::builder()
        .with_tonic()
        .with_channel(otlp::channel(receiver, timeout, control, network)?)
        .with_timeout(timeout)
        .with_interceptor(move |mut request: tonic::Request<()>| {
            *request.metadata_mut() = metadata.clone();
            Ok(request)
        })
        .build()
        .map_err(|error| refused(&error))
}

fn http(
    receiver: &OtlpSettings,
    headers: HeaderMap,
    timeout: Duration,
    network: &Network,
) -> Result<SpanExporter, SetupError> {
    SpanExporter::builder()
        .with_http()
        .with_protocol(opentelemetry_otlp::Protocol::HttpBinary)
        .with_endpoint(otlp::address(receiver, "/v1/traces")?.to_string())
        .with_timeout(timeout)
        .with_http_client(Client(otlp::poster(receiver, headers, network)?))
        .build()
        .map_err(|error| refused(&error))
}

fn resource(settings: &TraceSettings) -> Resource {
    let pairs = settings.resource.pairs();
    Resource::builder_empty()
        .with_attributes(pairs.map(|(name, value)| KeyValue::new(name.to_owned(), value.to_owned())))
        .build()
}

fn refused(error: &ExporterBuildError) -> SetupError {
    SetupError::Otlp(error.to_string())
}
