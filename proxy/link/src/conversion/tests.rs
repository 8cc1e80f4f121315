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
