//! The caller's end of a link.

mod call;
mod forward;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

pub(crate) use self::forward::Opened;
use outrigger_svc::Connection;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::framing::Driver;
use crate::transport::{Client, Failure, connect_h2};
use crate::{CallError, Framing, LinkSettings, Status};

/// One connection to a peer, which carries many calls at once.
///
/// The connection is driven by a task of its own, which ends when the link is dropped and its calls are over.
#[derive(Debug)]
pub struct Link {
    client: Client,
    settings: Arc<LinkSettings>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    is_closed: AtomicBool,
    calls: AtomicUsize,
    /// Milliseconds from `opened` to the end of the last call.
    last_used: AtomicUsize,
    opened: Instant,
}

/// Counts one call on a link, until it is dropped.
#[derive(Debug)]
pub(crate) struct Checkout(Arc<Shared>);

/// Ends a task when it is dropped.
#[derive(Debug)]
pub(crate) struct AbortOnDrop(AbortHandle);

/// A call that failed on one link.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) error: CallError,
    /// Whether the peer is known not to have looked at the call.
    pub(crate) unprocessed: bool,
}

// === impl Link ===

impl Link {
    /// Starts a link on an open connection, TLS included, to the peer that answers to `authority`.
    ///
    /// # Errors
    /// Unavailable if the peer does not speak HTTP/2.
    pub async fn connect<IO: Connection>(
        io: IO,
        authority: Arc<str>,
        settings: Arc<LinkSettings>,
    ) -> Result<Self, Status> {
        let shared = Arc::new(Shared {
            is_closed: AtomicBool::new(false),
            calls: AtomicUsize::new(0),
            last_used: AtomicUsize::new(0),
            opened: Instant::now(),
        });
        let client = match settings.framing {
            Framing::H2 => {
                let connected = connect_h2(io, authority, &settings).await;
                let (client, drive) = connected.map_err(|failure| failure.status)?;
                let closing = Arc::clone(&shared);
                tokio::spawn(async move {
                    drive.await;
                    closing.is_closed.store(true, Ordering::Relaxed);
                });
                client
            }
            Framing::Own => {
                let (client, driver) = Driver::client(io, authority, &settings);
                tokio::spawn(driver);
                client
            }
        };
        Ok(Self {
            client,
            settings,
            shared,
        })
    }

    /// Whether calls can still be made.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.client.is_open() && !self.shared.is_closed.load(Ordering::Relaxed)
    }

    /// Number of calls that the link carries now.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.shared.calls.load(Ordering::Relaxed)
    }

    /// Time since the last call ended; zero while there are calls.
    #[must_use]
    pub fn idle(&self) -> Duration {
        if self.calls() > 0 {
            return Duration::ZERO;
        }
        let last = Duration::from_millis(self.shared.last_used.load(Ordering::Relaxed) as u64);
        self.shared.opened.elapsed().saturating_sub(last)
    }

    pub(crate) fn checkout(&self) -> Checkout {
        self.shared.calls.fetch_add(1, Ordering::Relaxed);
        Checkout(Arc::clone(&self.shared))
    }
}

// === impl Checkout ===

impl Drop for Checkout {
    fn drop(&mut self) {
        if self.0.calls.fetch_sub(1, Ordering::Relaxed) == 1 {
            let millis = self.0.opened.elapsed().as_millis();
            self.0
                .last_used
                .store(usize::try_from(millis).unwrap_or(usize::MAX), Ordering::Relaxed);
        }
    }
}

// === impl AbortOnDrop ===

impl AbortOnDrop {
    pub(crate) fn spawn(work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(work).abort_handle())
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

// === impl Attempt ===

impl From<Failure> for Attempt {
    fn from(failure: Failure) -> Self {
        Self {
            error: failure.status.into(),
            unprocessed: failure.unprocessed,
        }
    }
}

impl<E: Into<CallError>> From<E> for Attempt {
    fn from(error: E) -> Self {
        Self {
            error: error.into(),
            unprocessed: false,
        }
    }
}
