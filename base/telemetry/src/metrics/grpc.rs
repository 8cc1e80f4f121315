//! Calls over gRPC: those to the sidecar, those to the app and to other sidecars.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::cache::{Cache, Key};
use super::cells::{Count, Distribution};
use super::family::Family;
use super::instrument::nanos;
use super::registry::{Buckets, Description, Fixed, Registry};

/// Calls of one direction.
///
/// Specification: observability, section 7.3.
#[derive(Debug)]
pub struct Grpc {
    enabled: bool,
    latency: Arc<Family<Distribution>>,
    completed: Arc<Family<Count>>,
    sent_bytes: Arc<Family<Distribution>>,
    received_bytes: Arc<Family<Distribution>>,
    known: Cache<Series>,
}

/// The series of one method and status.
#[derive(Debug)]
struct Series {
    latency: Arc<Distribution>,
    completed: Arc<Count>,
    /// Sent and received; made by the first call whose bytes are counted.
    bytes: OnceLock<(Arc<Distribution>, Arc<Distribution>)>,
}

/// Names and texts that differ between the directions.
struct Direction {
    latency: (&'static str, &'static str),
    completed: (&'static str, &'static str),
    sent_bytes: (&'static str, &'static str),
    received_bytes: (&'static str, &'static str),
    method: [&'static str; 1],
    method_and_status: [&'static str; 2],
}

const SERVER: Direction = Direction {
    latency: (
        "grpc.io/server/server_latency",
        "Time from a call's first byte to its last answer, in milliseconds.",
    ),
    completed: (
        "grpc.io/server/completed_rpcs",
        "Count of calls answered, by method and status.",
    ),
    sent_bytes: (
        "grpc.io/server/sent_bytes_per_rpc",
        "Bytes sent in the answer of a call, by method.",
    ),
    received_bytes: (
        "grpc.io/server/received_bytes_per_rpc",
        "Bytes received with a call, by method.",
    ),
    method: ["grpc_server_method"],
    method_and_status: ["grpc_server_method", "grpc_server_status"],
};

const CLIENT: Direction = Direction {
    latency: (
        "grpc.io/client/roundtrip_latency",
        "Time from a call's sending to its answer, in milliseconds.",
    ),
    completed: (
        "grpc.io/client/completed_rpcs",
        "Count of calls made, by method and status.",
    ),
    sent_bytes: (
        "grpc.io/client/sent_bytes_per_rpc",
        "Bytes sent with a call, by method.",
    ),
    received_bytes: (
        "grpc.io/client/received_bytes_per_rpc",
        "Bytes received in the answer of a call, by method.",
    ),
    method: ["grpc_client_method"],
    method_and_status: ["grpc_client_method", "grpc_client_status"],
};

// === impl Grpc ===

impl Grpc {
    pub(super) fn server(registry: &Registry) -> Self {
        Self::new(registry, &SERVER)
    }

    pub(super) fn client(registry: &Registry) -> Self {
        Self::new(registry, &CLIENT)
    }

    /// Counts a unary call. `method` is `/package.Service/Method`, `code` the status number.
    pub fn record(&self, method: &str, code: i32, sent_bytes: u64, received_bytes: u64, elapsed: Duration) {
        self.with(method, code, |series| {
            self.complete(series, elapsed);
            let (sent, received) = series.bytes.get_or_init(|| {
                let method = [method];
                let key = Key::texts(&method);
                (self.sent_bytes.resolve(key), self.received_bytes.resolve(key))
            });
            sent.observe(sent_bytes, &self.sent_bytes.shape);
            received.observe(received_bytes, &self.received_bytes.shape);
        });
    }

    /// Counts a stream that has ended; its bytes are not counted.
    pub fn record_stream(&self, method: &str, code: i32, elapsed: Duration) {
        self.with(method, code, |series| self.complete(series, elapsed));
    }

    fn new(registry: &Registry, direction: &'static Direction) -> Self {
        let describe = |(name, help), labels| Description {
            name,
            help,
            labels,
            fixed: Fixed::AppId,
        };
        let (method, both) = (&direction.method, &direction.method_and_status);
        Self {
            enabled: registry.is_enabled(),
            latency: registry.distribution(describe(direction.latency, both), &Buckets::Latency),
            completed: registry.count(describe(direction.completed, both)),
            sent_bytes: registry.distribution(describe(direction.sent_bytes, method), &Buckets::Size),
            received_bytes: registry.distribution(describe(direction.received_bytes, method), &Buckets::Size),
            known: Cache::new(registry.limit()),
        }
    }

    fn with(&self, method: &str, code: i32, record: impl FnOnce(&Series)) {
        if !self.enabled {
            return;
        }
        let make = || {
            let name = code_name(code);
            let key = [method, &*name];
            Series {
                latency: self.latency.resolve(Key::texts(&key)),
                completed: self.completed.resolve(Key::texts(&key)),
                bytes: OnceLock::new(),
            }
        };
        self.known.with(Key::with_number(&[method], code), make, record);
    }

    fn complete(&self, series: &Series, elapsed: Duration) {
        series.latency.observe_time(nanos(elapsed), &self.latency.shape);
        series.completed.add(1);
    }
}

/// The name of a status number, as labels show it: `NotFound`, or `Code(20)` for a number without a name.
#[must_use]
pub fn code_name(code: i32) -> Cow<'static, str> {
    const NAMES: [&str; 17] = [
        "OK",
        "Canceled",
        "Unknown",
        "InvalidArgument",
        "DeadlineExceeded",
        "NotFound",
        "AlreadyExists",
        "PermissionDenied",
        "ResourceExhausted",
        "FailedPrecondition",
        "Aborted",
        "OutOfRange",
        "Unimplemented",
        "Internal",
        "Unavailable",
        "DataLoss",
        "Unauthenticated",
    ];
    usize::try_from(code)
        .ok()
        .and_then(|place| NAMES.get(place))
        .map_or_else(
            || Cow::Owned(format!("Code({})", code.cast_unsigned())),
            |name| Cow::Borrowed(*name),
        )
}
