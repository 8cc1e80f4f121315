//! What an instance has in its hands: the request, the answer, its output.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, StatusCode, Uri, Version, request};
use outrigger_svc::Request;
use tokio::time::Instant;
use wasmi::{StoreLimits, StoreLimitsBuilder};

/// The settings of a component.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Bytes for the module.
    pub(crate) guest_config: Arc<str>,
    /// Whether clocks and random numbers are the same in each run.
    pub(crate) is_confined: bool,
    /// How the component's log lines name it.
    pub(crate) log_name: Arc<str>,
}

/// The state of one instance, beside its memory.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) settings: Settings,
    pub(crate) features: Features,
    pub(crate) limits: StoreLimits,
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) version: Version,
    pub(crate) source: Option<SocketAddr>,
    pub(crate) request_headers: HeaderMap,
    pub(crate) status: StatusCode,
    pub(crate) response_headers: HeaderMap,
    /// What the module has written in place of the request's body, and of the answer's.
    pub(crate) written: [Option<BytesMut>; 2],
    /// The part of a body that the module waits for.
    pub(crate) wanted: Option<Wanted>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    clock: Clock,
    random: fastrand::Rng,
}

/// What a module may switch on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Features(u32);

/// A place in the module's memory for the next part of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) address: usize,
    pub(crate) limit: usize,
}

#[derive(Debug)]
enum Clock {
    Real(Instant),
    /// Each look at it is a millisecond later.
    Made(u64),
}

/// Most bytes of a module's memory.
const MOST_MEMORY: usize = 256 << 20;
/// Most bytes of output that are kept of one request.
const MOST_OUTPUT: usize = 64 << 10;
/// Where the made clock begins: 2022-01-01T00:00:00Z.
const MADE_BEGINNING: Duration = Duration::from_secs(1_640_995_200);

// === impl Features ===

impl Features {
    /// The request's body can be read and still be there for the next handler.
    pub(crate) const BUFFER_REQUEST: Self = Self(1);
    /// The answer can be read and changed.
    pub(crate) const BUFFER_RESPONSE: Self = Self(2);
    /// All that there are; trailers are not among them.
    const ALL: Self = Self(3);

    /// Switches more on, as far as they exist; the result are all that are on.
    pub(crate) fn enable(&mut self, more: u32) -> u32 {
        self.0 |= more & Self::ALL.0;
        self.0
    }

    pub(crate) const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

// === impl Host ===

impl Host {
    pub(crate) fn new(settings: Settings) -> Self {
        let clock = if settings.is_confined {
            Clock::Made(0)
        } else {
            Clock::Real(Instant::now())
        };
        Self {
            settings,
            features: Features::default(),
            limits: StoreLimitsBuilder::new().memory_size(MOST_MEMORY).build(),
            method: Method::GET,
            uri: Uri::default(),
            version: Version::HTTP_11,
            source: None,
            request_headers: HeaderMap::new(),
            status: StatusCode::OK,
            response_headers: HeaderMap::new(),
            written: [None, None],
            wanted: None,
            stdout: Vec::new(),
            stderr: Vec::new(),
            clock,
            random: fastrand::Rng::with_seed(42),
        }
    }

    /// A request comes.
    pub(crate) fn begin(&mut self, head: &request::Parts, source: Option<SocketAddr>) -> Features {
        self.method.clone_from(&head.method);
        self.uri.clone_from(&head.uri);
        self.request_headers.clone_from(&head.headers);
        (self.version, self.source) = (head.version, source);
        (self.status, self.response_headers) = (StatusCode::OK, HeaderMap::new());
        self.written = [None, None];
        self.features
    }

    /// The request goes on as the module has left it; the result is its new body, if it has one.
    pub(crate) fn end_request(&mut self, request: &mut Request) -> Option<Bytes> {
        request.method_mut().clone_from(&self.method);
        request.uri_mut().clone_from(&self.uri);
        *request.headers_mut() = std::mem::take(&mut self.request_headers);
        self.written[0].take().map(BytesMut::freeze)
    }

    /// An answer comes.
    pub(crate) fn begin_response(&mut self, status: StatusCode, headers: HeaderMap) -> Features {
        (self.status, self.response_headers) = (status, headers);
        self.written[1] = None;
        self.features
    }

    /// The answer goes on as the module has left it.
    pub(crate) fn end_response(&mut self) -> (StatusCode, HeaderMap, Option<Bytes>) {
        (
            self.status,
            std::mem::take(&mut self.response_headers),
            self.written[1].take().map(BytesMut::freeze),
        )
    }

    /// The headers of a kind: 0 the request's, 1 the answer's; there are no trailers.
    pub(crate) fn headers(&mut self, kind: i32) -> Option<&mut HeaderMap> {
        match kind {
            0 => Some(&mut self.request_headers),
            1 => Some(&mut self.response_headers),
            _ => None,
        }
    }

    /// Keeps output of the module, up to a limit.
    pub(crate) fn print(&mut self, descriptor: i32, bytes: &[u8]) {
        let output = if descriptor == 1 {
            &mut self.stdout
        } else {
            &mut self.stderr
        };
        let room = MOST_OUTPUT.saturating_sub(output.len()).min(bytes.len());
        output.extend_from_slice(bytes.get(..room).unwrap_or_default());
    }

    /// The time since 1970.
    pub(crate) fn wall_time(&mut self) -> Duration {
        match &mut self.clock {
            Clock::Real(_) => SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap_or_default(),
            Clock::Made(looks) => {
                *looks += 1;
                MADE_BEGINNING + Duration::from_millis(*looks)
            }
        }
    }

    /// The time since the instance was made.
    pub(crate) fn elapsed(&mut self) -> Duration {
        match &mut self.clock {
            Clock::Real(began) => began.elapsed(),
            Clock::Made(looks) => {
                *looks += 1;
                Duration::from_millis(*looks)
            }
        }
    }

    /// Random bytes, or bytes that only look so.
    pub(crate) fn random(&mut self, bytes: &mut [u8]) -> bool {
        if self.settings.is_confined {
            self.random.fill(bytes);
            true
        } else {
            aws_lc_rs::rand::fill(bytes).is_ok()
        }
    }
}
