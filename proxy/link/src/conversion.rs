//! From HTTP headers and gRPC metadata to the internal map, and back.
//!
//! The letter case of a name tells where it came from: HTTP names are in MIME canonical form, gRPC names in
//! lower case, and several rules look at exactly that. Source: specification, service invocation 7.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{HOST, TRAILER, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue};
use outrigger_kit::header::write_canonical;
use outrigger_telemetry::trace::TraceContext;

use crate::Metadata;
use crate::status::LENIENT;

/// Headers that HTTP reserves: an app that speaks gRPC sees them with `dapr-` in front.
///
/// Source: specification, service invocation 7.4.
pub const PERMANENT_HEADERS: [&str; 28] = [
    "Accept",
    "Accept-Charset",
    "Accept-Language",
    "Accept-Ranges",
    "Cache-Control",
    "Connection",
    "Content-Length",
    "Content-Type",
    "Cookie",
    "Date",
    "Expect",
    "From",
    "Host",
    "If-Match",
    "If-Modified-Since",
    "If-None-Match",
    "If-Schedule-Tag-Match",
    "If-Unmodified-Since",
    "Keep-Alive",
    "Max-Forwards",
    "Origin",
    "Pragma",
    "Proxy-Connection",
    "Referer",
    "Transfer-Encoding",
    "Upgrade",
    "Via",
    "Warning",
];

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const GRPC_TRACE: HeaderName = HeaderName::from_static("grpc-trace-bin");

/// Longest `tracestate` that is passed on, in characters.
const MAX_STATE: usize = 512;

// === impl Metadata ===

impl Metadata {
    /// The headers of an HTTP request in MIME canonical form, all values as they are.
    ///
    /// `Host` and what belongs to the framing of the message are not headers here.
    #[must_use]
    pub fn from_http(headers: &HeaderMap) -> Self {
        let mut metadata = with_room(headers);
        for (name, value) in headers {
            if name != HOST && name != TRANSFER_ENCODING && name != TRAILER {
                metadata.push_canonical(name, value.as_bytes());
            }
        }
        metadata
    }

    /// The headers of an app's HTTP response: those of [`Self::from_http`] without `Content-Length`, the
    /// hop-by-hop headers and the headers that `Connection` lists.
    #[must_use]
    pub fn from_http_response(headers: &HeaderMap) -> Self {
        let listed = headers.get_all(http::header::CONNECTION);
        let listed = Tokens::of(listed.iter().map(HeaderValue::as_bytes));
        let mut metadata = with_room(headers);
        for (name, value) in headers {
            let text = name.as_str();
            if text != "content-length" && text != "host" && !is_hop_by_hop(text) && !listed.contain(text) {
                metadata.push_canonical(name, value.as_bytes());
            }
        }
        metadata
    }

    /// gRPC metadata in lower case with `authority` as `:authority`; binary values as padded base64.
    ///
    /// Transport headers are left out but for `user-agent`, `content-type` and `grpc-accept-encoding`.
    #[must_use]
    pub fn from_grpc(headers: &HeaderMap, authority: Option<&str>) -> Self {
        let mut metadata = with_room(headers);
        if let Some(authority) = authority {
            metadata.push_unique(b":authority", authority.as_bytes());
        }
        for (name, value) in headers {
            let name = name.as_str();
            let binary = name.ends_with("-bin");
            match name {
                "te"
                | "grpc-timeout"
                | "grpc-encoding"
                | "grpc-message-type"
                | "grpc-message"
                | "grpc-status"
                | "grpc-status-details-bin" => {}
                _ if binary => {
                    if let Ok(bytes) = LENIENT.decode(value) {
                        metadata.push_unique(name.as_bytes(), STANDARD.encode(bytes).as_bytes());
                    }
                }
                _ => metadata.push_unique(name.as_bytes(), value.as_bytes()),
            }
        }
        metadata
    }

    /// The headers of an HTTP request to an app, or of an HTTP response to a client.
    ///
    /// A call that brings no trace of its own gets that of the `current` span. The content type and length
    /// are not among them.
    #[must_use]
    pub fn to_http_headers(&self, current: &TraceContext) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(self.len() + 2);
        let connection = self
            .iter_bytes()
            .filter(|(name, _)| name.eq_ignore_ascii_case(b"connection"));
        let listed = Tokens::of(connection.map(|(_, value)| value));
        for (index, (name, _)) in self.iter_bytes().enumerate() {
            let Some(name) = http_name(name, &listed) else {
                continue;
            };
            if name.as_str() == "baggage" && headers.contains_key(&name) {
                continue;
            }
            if let Ok(value) = HeaderValue::from_maybe_shared(self.shared_value(index)) {
                headers.append(name, value);
            }
        }
        self.write_http_trace(current, &mut headers);
        headers
    }

    /// The metadata of a gRPC call to an app, or the header metadata of an answer to a gRPC client.
    ///
    /// A call that brings no trace of its own gets that of the `current` span.
    #[must_use]
    pub fn to_grpc_metadata(&self, current: &TraceContext) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(self.len() + 3);
        for (index, (name, _)) in self.iter_bytes().enumerate() {
            let text = std::str::from_utf8(name).unwrap_or_default();
            if PERMANENT_HEADERS.contains(&text) {
                self.append_prefixed(index, text, &mut headers);
            } else {
                self.append_grpc(index, &mut headers);
            }
        }
        let trace = self.trace().unwrap_or_else(|| current.clone());
        headers.insert(TRACEPARENT, trace.to_header());
        if let Some(state) = trace.state.as_deref().and_then(header_of_state) {
            headers.insert(TRACESTATE, state);
        }
        let binary = LENIENT.encode(trace.to_grpc_bin());
        headers.insert(
            GRPC_TRACE,
            HeaderValue::from_str(&binary).expect("base64 is a header value"),
        );
        headers
    }

    /// The trailer metadata of an answer to a gRPC client: no prefixes, no trace.
    #[must_use]
    pub fn to_grpc_trailers(&self) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(self.len());
        for index in 0..self.len() {
            self.append_grpc(index, &mut headers);
        }
        headers
    }

    fn push_canonical(&mut self, name: &HeaderName, value: &[u8]) {
        let name = name.as_str().as_bytes();
        self.push_written(|out| write_canonical(out, name), value);
    }

    fn append_prefixed(&self, index: usize, name: &str, headers: &mut HeaderMap) {
        let name = format!("dapr-{}", name.to_ascii_lowercase());
        let value = HeaderValue::from_maybe_shared(self.shared_value(index));
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), value) {
            headers.append(name, value);
        }
    }

    fn append_grpc(&self, index: usize, headers: &mut HeaderMap) {
        let (name, value) = self.entry(index);
        let name = added_name(name).map_or_else(|| HeaderName::from_bytes(name).ok(), Some);
        let Some(name) = name else { return };
        if is_reserved(name.as_str()) {
            return;
        }
        let value = if name.as_str().ends_with("-bin") {
            let Ok(bytes) = LENIENT.decode(value) else { return };
            HeaderValue::from_maybe_shared(bytes::Bytes::from(LENIENT.encode(bytes)))
        } else {
            HeaderValue::from_maybe_shared(self.shared_value(index))
        };
        if let Ok(value) = value {
            headers.append(name, value);
        }
    }

    /// The trace that travels in the map: the binary form of a gRPC caller, the text form of an HTTP caller.
    fn trace(&self) -> Option<TraceContext> {
        if self.is_grpc_origin() {
            let text = self.first_ignoring_case("grpc-trace-bin")?;
            return TraceContext::from_grpc_bin(&LENIENT.decode(text).ok()?);
        }
        let context = TraceContext::from_traceparent(self.first_ignoring_case("traceparent")?.as_bytes())?;
        Some(match self.first_ignoring_case("tracestate") {
            Some(state) => context.with_state(state),
            None => context,
        })
    }

    fn write_http_trace(&self, current: &TraceContext, headers: &mut HeaderMap) {
        let given = (!self.is_grpc_origin())
            .then(|| self.first_ignoring_case("traceparent"))
            .flatten();
        if let Some(parent) = given.and_then(|text| HeaderValue::from_str(text).ok()) {
            headers.insert(TRACEPARENT, parent);
            if let Some(state) = self.first_ignoring_case("tracestate").and_then(header_of_state) {
                headers.insert(TRACESTATE, state);
            }
            return;
        }
        let decoded = if self.is_grpc_origin() { self.trace() } else { None };
        let trace = decoded.as_ref().unwrap_or(current);
        headers.insert(TRACEPARENT, trace.to_header());
        if let Some(state) = trace.state.as_deref().and_then(header_of_state) {
            headers.insert(TRACESTATE, state);
        }
    }
}

/// The header names that `Connection` lists.
struct Tokens(Vec<String>);

// === impl Tokens ===

impl Tokens {
    fn of<'a>(values: impl Iterator<Item = &'a [u8]>) -> Self {
        let text = values.filter_map(|value| std::str::from_utf8(value).ok());
        let tokens = text
            .flat_map(|value| value.split(','))
            .map(|token| token.trim().to_ascii_lowercase());
        Self(tokens.collect())
    }

    fn contain(&self, name: &str) -> bool {
        self.0.iter().any(|token| token == name)
    }
}

fn with_room(headers: &HeaderMap) -> Metadata {
    // Room for the headers that a caller adds, too.
    Metadata::with_capacity(headers.len() + 8, 48 * (headers.len() + 8))
}

/// The name that an HTTP app sees; none if it does not see the entry.
fn http_name(name: &[u8], listed: &Tokens) -> Option<HeaderName> {
    if let Some(pseudo) = name.strip_prefix(b":") {
        return match pseudo {
            b"method" => Some(HeaderName::from_static("dapr-method")),
            b"scheme" => Some(HeaderName::from_static("dapr-scheme")),
            b"path" => Some(HeaderName::from_static("dapr-path")),
            b"authority" => Some(HeaderName::from_static("dapr-authority")),
            _ => None,
        };
    }
    if let Some(known) = added_name(name) {
        return (!listed.contain(known.as_str())).then_some(known);
    }
    let name = HeaderName::from_bytes(name).ok()?;
    let text = name.as_str();
    match text {
        "traceparent" | "tracestate" | "destination-app-id" | "content-type" | "content-length" => None,
        _ if text.ends_with("-bin") || is_hop_by_hop(text) || listed.contain(text) => None,
        _ if text.starts_with("grpc-") => HeaderName::try_from(format!("dapr-{text}")).ok(),
        _ => Some(name),
    }
}

/// Removes from an answer what concerns its connection only, and its length, which the next hop tells itself.
pub fn remove_transport_headers(headers: &mut HeaderMap) {
    let listed = headers.get_all(http::header::CONNECTION);
    let listed = Tokens::of(listed.iter().map(HeaderValue::as_bytes));
    let is_transport = |name: &str| name == "content-length" || is_hop_by_hop(name) || listed.contain(name);
    let names: Vec<_> = headers
        .keys()
        .filter(|name| is_transport(name.as_str()))
        .cloned()
        .collect();
    for name in names {
        headers.remove(name);
    }
}

/// The names that sidecars add to every call, made without allocating; none for others.
fn added_name(name: &[u8]) -> Option<HeaderName> {
    match name {
        b"dapr-caller-app-id" => Some(HeaderName::from_static("dapr-caller-app-id")),
        b"dapr-callee-app-id" => Some(HeaderName::from_static("dapr-callee-app-id")),
        b"dapr-caller-namespace" => Some(HeaderName::from_static("dapr-caller-namespace")),
        b"X-Forwarded-For" => Some(HeaderName::from_static("x-forwarded-for")),
        b"X-Forwarded-Host" => Some(HeaderName::from_static("x-forwarded-host")),
        _ => None,
    }
}

fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
            | "te"
            | "trailer"
            | "proxy-authorization"
            | "proxy-authenticate"
    )
}

/// Names that gRPC keeps to itself, or HTTP/2 forbids, or that are written apart.
fn is_reserved(name: &str) -> bool {
    matches!(
        name,
        "traceparent"
            | "tracestate"
            | "grpc-trace-bin"
            | "destination-app-id"
            | "content-type"
            | "user-agent"
            | "te"
            | "grpc-accept-encoding"
            | "grpc-encoding"
            | "grpc-message"
            | "grpc-message-type"
            | "grpc-status"
            | "grpc-status-details-bin"
            | "grpc-timeout"
            | "connection"
            | "keep-alive"
            | "proxy-connection"
            | "transfer-encoding"
            | "upgrade"
    )
}

fn header_of_state(state: &str) -> Option<HeaderValue> {
    let fits = !state.is_empty() && state.len() <= MAX_STATE;
    fits.then(|| HeaderValue::from_str(state).ok()).flatten()
}

#[cfg(test)]
mod tests;
