//! Spans as Zipkin v2 JSON.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Request, Uri};
use serde::Serialize;

use crate::export::http::Poster;
use crate::export::network::Dialer;
use crate::export::{ExportError, Network, SCOPE, SetupError};
use crate::trace::hex::Hex;
use crate::trace::record::{SpanKind, SpanRecord};

/// Attributes that name the other end of a span, the most telling one first (OpenTelemetry, mapping to Zipkin).
const PEER_NAMES: [&str; 3] = ["peer.service", "server.address", "net.peer.name"];

/// Posts batches to a Zipkin collector.
#[derive(Debug)]
pub(in crate::trace) struct Zipkin {
    poster: Poster,
    address: Uri,
    service: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Span<'a> {
    trace_id: String,
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    name: &'a str,
    /// Microseconds since the epoch.
    timestamp: u64,
    /// Microseconds, at least 1.
    duration: u64,
    local_endpoint: Endpoint<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote_endpoint: Option<Endpoint<'a>>,
    tags: BTreeMap<&'a str, &'a str>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Endpoint<'a> {
    service_name: &'a str,
}

// === impl Zipkin ===

impl Zipkin {
    pub(super) fn new(address: &str, service: &str, network: &Network) -> Result<Self, SetupError> {
        let refuse = |reason: String| SetupError::Address {
            exporter: "zipkin",
            address: address.to_owned(),
            reason,
        };
        let uri: Uri = address
            .parse()
            .map_err(|error: http::uri::InvalidUri| refuse(error.to_string()))?;
        let dialer = match uri.scheme_str() {
            Some("http") => Dialer::plain(network),
            Some("https") => Dialer::secure(network, b"http/1.1")?,
            _ => return Err(refuse("the scheme is neither http nor https".to_owned())),
        };
        let poster = Poster::new(dialer, HeaderMap::new());
        Ok(Self {
            poster,
            address: uri,
            service: service.to_owned(),
        })
    }

    pub(super) async fn export(&self, batch: &[Arc<SpanRecord>]) -> Result<(), ExportError> {
        let spans: Vec<Span<'_>> = batch.iter().map(|span| Span::of(span, &self.service)).collect();
        let body = serde_json::to_vec(&spans).expect("spans are plain JSON");
        let mut request = Request::post(self.address.clone())
            .body(Bytes::from(body))
            .expect("the URL was parsed");
        request
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let status = self.poster.post(request).await?.status();
        if status.is_success() {
            Ok(())
        } else {
            Err(ExportError::Refused(status))
        }
    }
}

// === impl Span ===

impl<'a> Span<'a> {
    fn of(span: &'a SpanRecord, service: &'a str) -> Self {
        let mut tags: BTreeMap<&str, &str> = span
            .attributes
            .iter()
            .map(|(name, value)| (name.as_ref(), value.as_str()))
            .collect();
        let peer = PEER_NAMES.iter().find_map(|name| tags.get(name)).copied();
        let outgoing = matches!(span.kind, SpanKind::Client | SpanKind::Producer);
        tags.insert("otel.scope.name", SCOPE);
        if let Some(failure) = &span.failure {
            tags.insert("otel.status_code", "ERROR");
            tags.insert("error", if failure.is_empty() { "true" } else { failure });
        }
        let duration = span
            .end
            .duration_since(span.start)
            .unwrap_or_default()
            .as_micros();
        Self {
            trace_id: hex(&span.trace_id),
            id: hex(&span.span_id),
            parent_id: (span.parent_id != [0; 8]).then(|| hex(&span.parent_id)),
            kind: match span.kind {
                SpanKind::Server => Some("SERVER"),
                SpanKind::Client => Some("CLIENT"),
                SpanKind::Producer => Some("PRODUCER"),
                SpanKind::Internal => None,
            },
            name: &span.name,
            timestamp: micros(span.start),
            duration: u64::try_from(duration).unwrap_or(u64::MAX).max(1),
            local_endpoint: Endpoint {
                service_name: service,
            },
            remote_endpoint: peer
                .filter(|_| outgoing)
                .map(|service_name| Endpoint { service_name }),
            tags,
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    Hex(bytes).to_string()
}

fn micros(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
    u64::try_from(since).unwrap_or(u64::MAX)
}
