//! Service invocation between sidecars.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::cache::{Cache, Key};
use super::cells::{Count, Distribution};
use super::family::Family;
use super::instrument::nanos;
use super::registry::{Buckets, Description, Fixed, Registry};

/// How a call is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One request, one answer.
    Unary,
    /// A stream in either direction.
    Streaming,
}

/// Calls to other apps and from them.
#[derive(Clone, Debug)]
pub struct Invocation(Arc<Families>);

/// The calling side's series of one target; cheap to clone and to record on.
#[derive(Clone)]
pub struct Target(Option<Arc<TargetSeries>>);

/// The called side's series of one caller; cheap to clone and to record on.
#[derive(Clone)]
pub struct Caller(Option<Arc<CallerSeries>>);

#[derive(Debug)]
struct Families {
    enabled: bool,
    request_sent: Arc<Family<Count>>,
    request_received: Arc<Family<Count>>,
    response_sent: Arc<Family<Count>>,
    response_received: Arc<Family<Count>>,
    response_latency: Arc<Family<Distribution>>,
    targets: Cache<Target>,
    callers: Cache<Caller>,
}

struct TargetSeries {
    app_id: Box<str>,
    families: Arc<Families>,
    sent: [OnceLock<Arc<Count>>; 2],
    /// By status.
    received: Cache<Received>,
}

/// What is recorded when an answer comes in.
#[derive(Default)]
struct Received {
    count: [OnceLock<Arc<Count>>; 2],
    latency: OnceLock<Arc<Distribution>>,
}

struct CallerSeries {
    app_id: Box<str>,
    families: Arc<Families>,
    received: OnceLock<Arc<Count>>,
    /// By status.
    sent: Cache<Arc<Count>>,
}

/// Most statuses of a target or caller that are remembered.
const STATUSES: usize = 64;

// === impl Kind ===

impl Kind {
    const fn label(self) -> &'static str {
        match self {
            Self::Unary => "unary",
            Self::Streaming => "streaming",
        }
    }
}

// === impl Invocation ===

impl Invocation {
    pub(super) fn new(registry: &Registry) -> Self {
        let describe = |name, help, labels| Description {
            name,
            help,
            labels,
            fixed: Fixed::AppId,
        };
        Self(Arc::new(Families {
            enabled: registry.is_enabled(),
            request_sent: registry.count(describe(
                "runtime/service_invocation/req_sent_total",
                "The number of requests sent via service invocation.",
                &["dst_app_id", "type"],
            )),
            request_received: registry.count(describe(
                "runtime/service_invocation/req_recv_total",
                "The number of requests received via service invocation.",
                &["src_app_id"],
            )),
            response_sent: registry.count(describe(
                "runtime/service_invocation/res_sent_total",
                "The number of responses sent via service invocation.",
                &["dst_app_id", "status"],
            )),
            response_received: registry.count(describe(
                "runtime/service_invocation/res_recv_total",
                "The number of responses received via service invocation.",
                &["src_app_id", "type", "status"],
            )),
            response_latency: registry.distribution(
                describe(
                    "runtime/service_invocation/res_recv_latency_ms",
                    "The latency of service invocation response.",
                    &["src_app_id", "status"],
                ),
                &Buckets::Latency,
            ),
            targets: Cache::new(registry.limit()),
            callers: Cache::new(registry.limit()),
        }))
    }

    /// The series of calls to an app.
    #[must_use]
    pub fn target(&self, app_id: &str) -> Target {
        self.with_target(app_id, Target::clone)
    }

    /// The series of calls from an app.
    #[must_use]
    pub fn caller(&self, app_id: &str) -> Caller {
        self.with_caller(app_id, Caller::clone)
    }

    /// Counts an attempt of a call to `target`.
    pub fn request_sent(&self, target: &str, kind: Kind) {
        self.with_target(target, |series| series.request_sent(kind));
    }

    /// Counts an answer of `target`: an HTTP status, or a gRPC code for gRPC apps.
    pub fn response_received(&self, target: &str, status: i32, kind: Kind) {
        self.with_target(target, |series| series.response_received(status, kind));
    }

    /// Counts how long the first message of an answer of `target` took.
    pub fn response_latency(&self, target: &str, status: i32, elapsed: Duration) {
        self.with_target(target, |series| series.response_latency(status, elapsed));
    }

    /// Counts a call of `caller`.
    pub fn request_received(&self, caller: &str) {
        self.with_caller(caller, Caller::request_received);
    }

    /// Counts an answer to `caller`.
    pub fn response_sent(&self, caller: &str, status: i32) {
        self.with_caller(caller, |series| series.response_sent(status));
    }

    fn with_target<R>(&self, app_id: &str, using: impl FnOnce(&Target) -> R) -> R {
        if !self.0.enabled {
            return using(&Target(None));
        }
        let make = || {
            Target(Some(Arc::new(TargetSeries {
                app_id: app_id.into(),
                families: self.0.clone(),
                sent: Default::default(),
                received: Cache::new(STATUSES),
            })))
        };
        self.0.targets.with(Key::texts(&[app_id]), make, using)
    }

    fn with_caller<R>(&self, app_id: &str, using: impl FnOnce(&Caller) -> R) -> R {
        if !self.0.enabled {
            return using(&Caller(None));
        }
        let make = || {
            Caller(Some(Arc::new(CallerSeries {
                app_id: app_id.into(),
                families: self.0.clone(),
                received: OnceLock::new(),
                sent: Cache::new(STATUSES),
            })))
        };
        self.0.callers.with(Key::texts(&[app_id]), make, using)
    }
}

// === impl Target ===

impl Target {
    /// Counts an attempt of a call.
    pub fn request_sent(&self, kind: Kind) {
        let Some(series) = &self.0 else { return };
        let resolve = || {
            series
                .families
                .request_sent
                .resolve(Key::texts(&[&series.app_id, kind.label()]))
        };
        series.sent[kind as usize].get_or_init(resolve).add(1);
    }

    /// Counts an answer: an HTTP status, or a gRPC code for gRPC apps.
    pub fn response_received(&self, status: i32, kind: Kind) {
        let Some(series) = &self.0 else { return };
        series
            .received
            .with(Key::with_number(&[], status), Received::default, |received| {
                let texts = [&*series.app_id, kind.label()];
                let resolve = || {
                    series
                        .families
                        .response_received
                        .resolve(Key::with_number(&texts, status))
                };
                received.count[kind as usize].get_or_init(resolve).add(1);
            });
    }

    /// Counts how long the first message of an answer took.
    pub fn response_latency(&self, status: i32, elapsed: Duration) {
        let Some(series) = &self.0 else { return };
        series
            .received
            .with(Key::with_number(&[], status), Received::default, |received| {
                let family = &series.families.response_latency;
                let resolve = || family.resolve(Key::with_number(&[&series.app_id], status));
                received
                    .latency
                    .get_or_init(resolve)
                    .observe_time(nanos(elapsed), &family.shape);
            });
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Target")
            .field(&self.0.as_ref().map(|series| &series.app_id))
            .finish()
    }
}

// === impl Caller ===

impl Caller {
    /// Counts a call.
    pub fn request_received(&self) {
        let Some(series) = &self.0 else { return };
        let resolve = || {
            series
                .families
                .request_received
                .resolve(Key::texts(&[&series.app_id]))
        };
        series.received.get_or_init(resolve).add(1);
    }

    /// Counts an answer.
    pub fn response_sent(&self, status: i32) {
        let Some(series) = &self.0 else { return };
        let resolve = || {
            series
                .families
                .response_sent
                .resolve(Key::with_number(&[&series.app_id], status))
        };
        series
            .sent
            .with(Key::with_number(&[], status), resolve, |count| count.add(1));
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Caller")
            .field(&self.0.as_ref().map(|series| &series.app_id))
            .finish()
    }
}
