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
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Uri};
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
use tonic::transport::Endpoint;

use super::http::Poster;
use super::network::Dialer;
use super::{ExportError, SCOPE};
use crate::trace::record::{SpanKind, SpanRecord};
use crate::trace::settings::{OtlpSettings, TraceError, TraceSettings};
use crate::trace::tracer::Network;

/// Limit of one export if the settings name none.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

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
    ) -> Result<Self, TraceError> {
        let headers = header_map(&receiver.headers)?;
        let timeout = receiver.timeout.unwrap_or(DEFAULT_TIMEOUT);
        let mut exporter = match receiver.protocol.as_str() {
            "grpc" => {
                // The channel spawns its worker where it is made.
                let _control = control.enter();
                grpc(receiver, headers, timeout, network)?
            }
            "http" => http(receiver, headers, timeout, network)?,
            other => return Err(TraceError::Protocol(other.to_owned())),
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
    network: &Network,
) -> Result<SpanExporter, TraceError> {
    let uri = address(receiver, "")?;
    let dialer = dialer(receiver, b"h2", network)?;
    let channel = Endpoint::from(uri)
        .timeout(timeout)
        .connect_with_connector_lazy(dialer);
    let metadata = MetadataMap::from_headers(headers);
    SpanExporter::builder()
        .with_tonic()
        .with_channel(channel)
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
) -> Result<SpanExporter, TraceError> {
    let uri = address(receiver, "/v1/traces")?;
    let dialer = dialer(receiver, b"http/1.1", network)?;
    SpanExporter::builder()
        .with_http()
        .with_protocol(opentelemetry_otlp::Protocol::HttpBinary)
        .with_endpoint(uri.to_string())
        .with_timeout(timeout)
        .with_http_client(Client(Poster::new(dialer, headers)))
        .build()
        .map_err(|error| refused(&error))
}

fn dialer(receiver: &OtlpSettings, protocol: &[u8], network: &Network) -> Result<Dialer, TraceError> {
    if receiver.secure {
        Dialer::secure(network, protocol)
    } else {
        Ok(Dialer::plain(network))
    }
}

fn address(receiver: &OtlpSettings, path: &str) -> Result<Uri, TraceError> {
    let scheme = if receiver.secure { "https" } else { "http" };
    let endpoint = receiver.endpoint.trim_end_matches('/');
    format!("{scheme}://{endpoint}{path}")
        .parse()
        .map_err(|error: http::uri::InvalidUri| TraceError::Address {
            exporter: "otel",
            address: receiver.endpoint.clone(),
            reason: error.to_string(),
        })
}

fn header_map(headers: &[(String, String)]) -> Result<HeaderMap, TraceError> {
    let mut map = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        let parsed = HeaderName::try_from(name)
            .ok()
            .zip(HeaderValue::try_from(value).ok());
        let (name, value) = parsed.ok_or_else(|| TraceError::Header(name.clone()))?;
        map.append(name, value);
    }
    Ok(map)
}

fn resource(settings: &TraceSettings) -> Resource {
    let named = [("service.name".to_owned(), settings.service_name.clone())];
    let all = settings
        .resource
        .iter()
        .filter(|(name, _)| name != "service.name")
        .cloned()
        .chain(named);
    Resource::builder_empty()
        .with_attributes(all.map(|(name, value)| KeyValue::new(name, value)))
        .build()
}

fn refused(error: &ExporterBuildError) -> TraceError {
    TraceError::Otlp(error.to_string())
}
