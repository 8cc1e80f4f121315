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
        let Ok(name) = HeaderName::from_bytes(name) else {
            return;
        };
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
    let name = HeaderName::from_bytes(name).ok()?;
    let text = name.as_str();
    match text {
        "traceparent" | "tracestate" | "destination-app-id" | "content-type" | "content-length" => None,
        _ if text.ends_with("-bin") || is_hop_by_hop(text) || listed.contain(text) => None,
        _ if text.starts_with("grpc-") => HeaderName::try_from(format!("dapr-{text}")).ok(),
        _ => Some(name),
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
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    type Entries = &'static [(&'static str, &'static str)];

    const ZERO: &str = "00-00000000000000000000000000000000-0000000000000000-00";

    fn headers(entries: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = entries
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, value);
        }
        headers
    }

    fn metadata(entries: &[(&str, &str)]) -> Metadata {
        entries.iter().copied().collect()
    }

    fn list(metadata: &Metadata) -> Vec<(String, String)> {
        let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
        metadata
            .iter()
            .map(|(name, value)| (name.to_owned(), text(value)))
            .collect()
    }

    fn pairs(headers: &HeaderMap) -> Vec<(String, String)> {
        let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
        let mut pairs: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.to_string(), text(value)))
            .collect();
        pairs.sort();
        pairs
    }

    fn owned(entries: &[(&str, &str)]) -> Vec<(String, String)> {
        entries
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    /// Headers as an app sees them, without the zero trace that calls without a trace get.
    fn seen_by_http(entries: &[(&str, &str)]) -> Vec<(String, String)> {
        let mut seen = pairs(&metadata(entries).to_http_headers(&TraceContext::ZERO));
        seen.retain(|(name, value)| name != "traceparent" || value != ZERO);
        seen
    }

    fn seen_by_grpc(entries: &[(&str, &str)]) -> Vec<(String, String)> {
        let mut seen = pairs(&metadata(entries).to_grpc_metadata(&TraceContext::ZERO));
        seen.retain(|(name, _)| name != "traceparent" && name != "grpc-trace-bin");
        seen
    }

    #[test]
    fn http_requests_become_canonical() {
        let request = headers(&[
            ("host", "h"),
            ("x-request-id", "1"),
            ("x-request-id", "2"),
            ("dapr-foo", "3"),
            ("content-length", "4"),
            ("transfer-encoding", "chunked"),
            ("accept", "*/*"),
        ]);
        let expected = [
            ("X-Request-Id", "1"),
            ("X-Request-Id", "2"),
            ("Dapr-Foo", "3"),
            ("Content-Length", "4"),
            ("Accept", "*/*"),
        ];
        assert_eq!(list(&Metadata::from_http(&request)), owned(&expected));
    }

    #[test]
    fn http_responses_lose_what_belongs_to_the_hop() {
        let response = headers(&[
            ("date", "d"),
            ("content-type", "t"),
            ("content-length", "4"),
            ("connection", "keep-alive, X-Gone"),
            ("keep-alive", "5"),
            ("x-gone", "6"),
            ("proxy-authenticate", "7"),
            ("server", "s"),
        ]);
        let expected = [("Date", "d"), ("Content-Type", "t"), ("Server", "s")];
        assert_eq!(list(&Metadata::from_http_response(&response)), owned(&expected));
    }

    #[test]
    fn grpc_metadata_stays_in_lower_case() {
        let call = headers(&[
            ("content-type", "application/grpc+proto"),
            ("user-agent", "u"),
            ("te", "trailers"),
            ("grpc-timeout", "1S"),
            ("grpc-encoding", "gzip"),
            ("grpc-accept-encoding", "gzip"),
            ("x-id", "1"),
            ("x-id", "2"),
            ("data-bin", "AAE"),
            ("data-bin", "AAE="),
            ("broken-bin", "*"),
        ]);
        let expected = [
            (":authority", "localhost:50001"),
            ("content-type", "application/grpc+proto"),
            ("user-agent", "u"),
            ("grpc-accept-encoding", "gzip"),
            ("x-id", "1"),
            ("x-id", "2"),
            ("data-bin", "AAE="),
            ("data-bin", "AAE="),
        ];
        let read = Metadata::from_grpc(&call, Some("localhost:50001"));
        assert_eq!(list(&read), owned(&expected));
        assert!(read.is_grpc_origin());
    }

    #[test]
    fn http_apps_see_what_the_rules_let_through() {
        let cases: [(Entries, Entries); 8] = [
            (
                &[("X-Mine", "a"), ("X-Mine", "b"), ("x-mine", "c")],
                &[("x-mine", "a"), ("x-mine", "b"), ("x-mine", "c")],
            ),
            (
                &[
                    ("destination-app-id", "x"),
                    ("Content-Type", "t"),
                    ("Content-Length", "1"),
                    ("data-bin", "AA=="),
                ],
                &[],
            ),
            (&[("baggage", "a=1"), ("baggage", "b=2")], &[("baggage", "a=1")]),
            (
                &[
                    ("Connection", "X-Listed, close"),
                    ("X-Listed", "1"),
                    ("Te", "t"),
                    ("Upgrade", "u"),
                    ("Http2-Settings", "s"),
                ],
                &[],
            ),
            (
                &[
                    ("Proxy-Authorization", "p"),
                    ("Trailer", "t"),
                    ("Keep-Alive", "k"),
                    ("Proxy-Connection", "c"),
                ],
                &[],
            ),
            (
                &[
                    (":authority", "a"),
                    (":path", "p"),
                    (":method", "m"),
                    (":scheme", "s"),
                    (":other", "o"),
                ],
                &[
                    ("dapr-authority", "a"),
                    ("dapr-method", "m"),
                    ("dapr-path", "p"),
                    ("dapr-scheme", "s"),
                ],
            ),
            (
                &[("grpc-accept-encoding", "gzip")],
                &[("dapr-grpc-accept-encoding", "gzip")],
            ),
            (
                &[
                    ("User-Agent", "u"),
                    ("Authorization", "b"),
                    ("Cookie", "c"),
                    ("Accept-Language", "l"),
                ],
                &[
                    ("accept-language", "l"),
                    ("authorization", "b"),
                    ("cookie", "c"),
                    ("user-agent", "u"),
                ],
            ),
        ];
        for (entries, expected) in cases {
            assert_eq!(seen_by_http(entries), owned(expected), "{entries:?}");
        }
    }

    #[test]
    fn grpc_apps_see_permanent_headers_with_a_prefix() {
        let cases: [(Entries, Entries); 5] = [
            (
                &[
                    ("Accept", "*/*"),
                    ("Content-Type", "t"),
                    ("Date", "d"),
                    ("X-Mine", "v"),
                ],
                &[
                    ("dapr-accept", "*/*"),
                    ("dapr-content-type", "t"),
                    ("dapr-date", "d"),
                    ("x-mine", "v"),
                ],
            ),
            (
                &[
                    ("accept", "lower"),
                    ("content-type", "application/grpc"),
                    ("te", "t"),
                ],
                &[("accept", "lower")],
            ),
            (
                &[("User-Agent", "u"), ("grpc-timeout", "1S"), (":authority", "a")],
                &[],
            ),
            (
                &[
                    ("data-bin", "AAE="),
                    ("broken-bin", "*"),
                    ("destination-app-id", "x"),
                ],
                &[("data-bin", "AAE")],
            ),
            (
                &[("baggage", "a=1"), ("baggage", "b=2")],
                &[("baggage", "a=1"), ("baggage", "b=2")],
            ),
        ];
        for (entries, expected) in cases {
            assert_eq!(seen_by_grpc(entries), owned(expected), "{entries:?}");
        }
    }

    #[test]
    fn trailers_keep_their_names() {
        let trailers = metadata(&[("date", "d"), ("x-bin", "AAE="), ("grpc-status", "0")]);
        assert_eq!(
            pairs(&trailers.to_grpc_trailers()),
            owned(&[("date", "d"), ("x-bin", "AAE")])
        );
    }

    #[test]
    fn the_trace_of_the_caller_wins_over_the_current_span() {
        let given = TraceContext::from_traceparent(PARENT.as_bytes()).unwrap();
        let binary = STANDARD.encode(given.to_grpc_bin());
        let grpc = ("content-type", "application/grpc");
        let current = TraceContext {
            flags: 1,
            ..TraceContext::ZERO
        };
        let own = "00-00000000000000000000000000000000-0000000000000000-01";
        let cases: [(&[(&str, &str)], &str); 6] = [
            (&[], own),
            (&[("Traceparent", PARENT)], PARENT),
            (&[("Traceparent", "garbage")], "garbage"),
            (&[grpc, ("grpc-trace-bin", &binary)], PARENT),
            (&[grpc, ("grpc-trace-bin", "*")], own),
            (&[grpc, ("traceparent", PARENT)], own),
        ];
        for (entries, expected) in cases {
            let headers = metadata(entries).to_http_headers(&current);
            assert_eq!(headers[&TRACEPARENT], expected, "{entries:?}");
        }
        let cases: [(&[(&str, &str)], &str); 5] = [
            (&[], own),
            (&[("Traceparent", PARENT)], PARENT),
            (&[("Traceparent", "garbage")], own),
            (&[grpc, ("grpc-trace-bin", &binary)], PARENT),
            (&[grpc, ("grpc-trace-bin", "AQ==")], own),
        ];
        for (entries, expected) in cases {
            let headers = metadata(entries).to_grpc_metadata(&current);
            assert_eq!(headers[&TRACEPARENT], expected, "{entries:?}");
            let binary = LENIENT.decode(&headers[&GRPC_TRACE]).unwrap();
            assert_eq!(
                TraceContext::from_grpc_bin(&binary).unwrap().to_header(),
                expected
            );
        }
    }

    #[test]
    fn a_trace_state_travels_with_its_parent_unless_it_is_too_long() {
        let long = format!("a={}", "x".repeat(600));
        for (state, expected) in [("a=b", Some("a=b")), ("", None), (long.as_str(), None)] {
            let call = metadata(&[("Traceparent", PARENT), ("Tracestate", state)]);
            let seen = call.to_http_headers(&TraceContext::ZERO);
            assert_eq!(
                seen.get(&TRACESTATE).map(|value| value.to_str().unwrap()),
                expected
            );
            let seen = call.to_grpc_metadata(&TraceContext::ZERO);
            assert_eq!(
                seen.get(&TRACESTATE).map(|value| value.to_str().unwrap()),
                expected
            );
        }
    }
}
