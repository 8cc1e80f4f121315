//! Requests over HTTP: those to the sidecar, those to the app, and probes of the app's health.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::cache::{Cache, Key};
use super::cells::{Count, Distribution};
use super::family::Family;
use super::instrument::{Counter, Histogram, nanos};
use super::path::PathLabels;
use super::registry::{Buckets, Description, Fixed, Registry};

/// Requests that the sidecar's HTTP API has answered.
#[derive(Debug)]
pub struct HttpServer {
    enabled: bool,
    paths: PathLabels,
    latency: Arc<Family<Distribution>>,
    requests: Arc<Family<Count>>,
    /// None without increased cardinality.
    responses: Option<Arc<Family<Count>>>,
    request_bytes: Arc<Family<Distribution>>,
    response_bytes: Arc<Family<Distribution>>,
    known: Cache<HttpSeries>,
}

/// Requests that the sidecar has sent to the app.
#[derive(Debug)]
pub struct HttpClient {
    enabled: bool,
    paths: PathLabels,
    latency: Arc<Family<Distribution>>,
    completed: Arc<Family<Count>>,
    sent_bytes: Arc<Family<Distribution>>,
    received_bytes: Arc<Family<Distribution>>,
    known: Cache<HttpSeries>,
}

/// Probes of the app's health.
#[derive(Debug)]
pub struct HealthProbes {
    http_completed: Counter,
    http_latency: Histogram,
    grpc_completed: Counter,
    grpc_latency: Histogram,
}

/// The series of one verb, path and status; cheap to clone and to record on.
#[derive(Clone)]
pub struct HttpSeries(Option<Arc<Resolved>>);

/// Numbers of each family, and what is needed to record on them.
struct Resolved {
    latency: (Arc<Family<Distribution>>, Arc<Distribution>),
    requests: Arc<Count>,
    responses: Option<Arc<Count>>,
    request_bytes: (Arc<Family<Distribution>>, Arc<Distribution>),
    response_bytes: Arc<Distribution>,
}

const LABELS: &[&str] = &["method", "path", "status"];

// === impl HttpServer ===

impl HttpServer {
    pub(super) fn new(registry: &Registry, paths: PathLabels, increased_cardinality: bool) -> Self {
        let describe = |name, help, labels| Description {
            name,
            help,
            labels,
            fixed: Fixed::AppId,
        };
        let responses = describe(
            "http/server/response_count",
            "The number of HTTP responses",
            LABELS,
        );
        Self {
            enabled: registry.is_enabled(),
            paths,
            latency: registry.distribution(
                describe(
                    "http/server/latency",
                    "HTTP request end-to-end latency in server.",
                    LABELS,
                ),
                &Buckets::Latency,
            ),
            requests: registry.count(describe(
                "http/server/request_count",
                "Count of HTTP requests processed by the server.",
                LABELS,
            )),
            responses: increased_cardinality.then(|| registry.count(responses)),
            request_bytes: registry.distribution(
                describe(
                    "http/server/request_bytes",
                    "HTTP request body size if set as ContentLength (uncompressed) in server.",
                    &[],
                ),
                &Buckets::Size,
            ),
            response_bytes: registry.distribution(
                describe(
                    "http/server/response_bytes",
                    "HTTP response body size (uncompressed) in server.",
                    &[],
                ),
                &Buckets::Size,
            ),
            known: Cache::new(registry.limit()),
        }
    }

    /// Counts a request that has been answered. `path` is the request's; `request_bytes` is its declared
    /// length, 0 if there is none.
    pub fn record(
        &self,
        method: &str,
        path: &str,
        status: u16,
        request_bytes: u64,
        response_bytes: u64,
        elapsed: Duration,
    ) {
        self.with(method, path, status, |series| {
            series.record(request_bytes, response_bytes, elapsed)
        });
    }

    /// The series of a verb, path and status, for those who record on them again and again.
    #[must_use]
    pub fn series(&self, method: &str, path: &str, status: u16) -> HttpSeries {
        self.with(method, path, status, HttpSeries::clone)
    }

    fn with<R>(&self, method: &str, path: &str, status: u16, using: impl FnOnce(&HttpSeries) -> R) -> R {
        if !self.enabled {
            return using(&HttpSeries(None));
        }
        let verb = self.paths.verb(method);
        self.paths.server(path, |path| {
            let texts = [verb, path];
            let key = Key::with_number(&texts, status);
            self.known.with(key, || self.resolve(key), using)
        })
    }

    fn resolve(&self, key: Key<'_>) -> HttpSeries {
        HttpSeries(Some(Arc::new(Resolved {
            latency: (self.latency.clone(), self.latency.resolve(key)),
            requests: self.requests.resolve(key),
            responses: self.responses.as_ref().map(|family| family.resolve(key)),
            request_bytes: (
                self.request_bytes.clone(),
                self.request_bytes.resolve(Key::texts(&[])),
            ),
            response_bytes: self.response_bytes.resolve(Key::texts(&[])),
        })))
    }
}

// === impl HttpClient ===

impl HttpClient {
    pub(super) fn new(registry: &Registry, paths: PathLabels) -> Self {
        let describe = |name, help, labels| Description {
            name,
            help,
            labels,
            fixed: Fixed::AppId,
        };
        Self {
            enabled: registry.is_enabled(),
            paths,
            latency: registry.distribution(
                describe(
                    "http/client/roundtrip_latency",
                    "Time between first byte of request headers sent to last byte of response received, or terminal error",
                    LABELS,
                ),
                &Buckets::Latency,
            ),
            completed: registry.count(describe("http/client/completed_count", "Count of completed requests", LABELS)),
            sent_bytes: registry.distribution(
                describe(
                    "http/client/sent_bytes",
                    "Total bytes sent in request body (not including headers)",
                    LABELS,
                ),
                &Buckets::Size,
            ),
            received_bytes: registry.distribution(
                describe(
                    "http/client/received_bytes",
                    "Total bytes received in response bodies (not including headers but including error responses with bodies)",
                    &[],
                ),
                &Buckets::Size,
            ),
            known: Cache::new(registry.limit()),
        }
    }

    /// Counts a request to the app. `path` is the method as it was given; `status` is 500 if there was no
    /// answer.
    pub fn record(
        &self,
        method: &str,
        path: &str,
        status: u16,
        sent_bytes: u64,
        received_bytes: u64,
        elapsed: Duration,
    ) {
        self.with(method, path, status, |series| {
            series.record(sent_bytes, received_bytes, elapsed)
        });
    }

    /// The series of a verb, path and status, for those who record on them again and again.
    #[must_use]
    pub fn series(&self, method: &str, path: &str, status: u16) -> HttpSeries {
        self.with(method, path, status, HttpSeries::clone)
    }

    fn with<R>(&self, method: &str, path: &str, status: u16, using: impl FnOnce(&HttpSeries) -> R) -> R {
        if !self.enabled {
            return using(&HttpSeries(None));
        }
        let verb = self.paths.verb(method);
        self.paths.client(path, |path| {
            let texts = [verb, path];
            let key = Key::with_number(&texts, status);
            self.known.with(key, || self.resolve(verb, path, key), using)
        })
    }

    fn resolve(&self, verb: &str, path: &str, key: Key<'_>) -> HttpSeries {
        HttpSeries(Some(Arc::new(Resolved {
            latency: (self.latency.clone(), self.latency.resolve(key)),
            requests: self.completed.resolve(key),
            responses: None,
            // The status is not known when the bytes are sent: its label is there and empty.
            request_bytes: (
                self.sent_bytes.clone(),
                self.sent_bytes.resolve(Key::texts(&[verb, path, ""])),
            ),
            response_bytes: self.received_bytes.resolve(Key::texts(&[])),
        })))
    }
}

// === impl HttpSeries ===

impl HttpSeries {
    /// Counts one request. Latencies count in whole milliseconds.
    pub fn record(&self, request_bytes: u64, response_bytes: u64, elapsed: Duration) {
        let Some(series) = &self.0 else { return };
        let (latency, numbers) = &series.latency;
        numbers.observe_time(whole_millis(elapsed), &latency.shape);
        series.requests.add(1);
        if let Some(responses) = &series.responses {
            responses.add(1);
        }
        let (bytes, numbers) = &series.request_bytes;
        numbers.observe(request_bytes, &bytes.shape);
        // Both byte families of a side have the same bounds.
        series.response_bytes.observe(response_bytes, &bytes.shape);
    }
}

impl fmt::Debug for HttpSeries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HttpSeries").field(&self.0.is_some()).finish()
    }
}

// === impl HealthProbes ===

impl HealthProbes {
    pub(super) fn new(registry: &Registry) -> Self {
        let describe = |name, help, labels| Description {
            name,
            help,
            labels,
            fixed: Fixed::AppId,
        };
        let http: &[&str] = &["status"];
        let grpc: &[&str] = &["grpc_client_status"];
        Self {
            http_completed: registry.counter(describe(
                "http/healthprobes/completed_count",
                "Count of health probes of the app over HTTP that got an answer or failed.",
                http,
            )),
            http_latency: registry.histogram(
                describe(
                    "http/healthprobes/roundtrip_latency",
                    "Time of health probes of the app over HTTP, in milliseconds.",
                    http,
                ),
                &Buckets::Latency,
            ),
            grpc_completed: registry.counter(describe(
                "grpc.io/healthprobes/completed_count",
                "Count of health probes of the app over gRPC that got an answer or failed.",
                grpc,
            )),
            grpc_latency: registry.histogram(
                describe(
                    "grpc.io/healthprobes/roundtrip_latency",
                    "Time of health probes of the app over gRPC, in milliseconds.",
                    grpc,
                ),
                &Buckets::Latency,
            ),
        }
    }

    /// Counts a probe over HTTP.
    pub fn http(&self, status: u16, elapsed: Duration) {
        self.http_completed.increment_numbered(&[], status.into());
        let key = Key::with_number(&[], status);
        self.http_latency.0.record(key, |numbers, bounds| {
            numbers.observe_time(whole_millis(elapsed), bounds)
        });
    }

    /// Counts a probe over gRPC.
    pub fn grpc(&self, code: i32, elapsed: Duration) {
        let code = super::grpc::code_name(code);
        self.grpc_completed.increment(&[&*code]);
        self.grpc_latency.observe_latency(&[&*code], elapsed);
    }
}

/// Whole milliseconds of a latency, in the small unit of latency bounds.
fn whole_millis(elapsed: Duration) -> u64 {
    let nanos = nanos(elapsed);
    nanos - nanos % 1_000_000
}
