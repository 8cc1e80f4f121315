//! Stopping without loss: stop accepting, let calls finish, then the hard deadline.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio_util::task::TaskTracker;

use crate::signal::{Given, Signal};

/// The owner's side of a drain: starts it and waits for the work to end.
#[derive(Clone, Debug, Default)]
pub struct Drain {
    tracker: TaskTracker,
    stop: Signal,
    abort: Signal,
}

/// The worker's side of a drain: tells when to stop taking new work and when to give up.
#[derive(Clone, Debug)]
pub struct DrainSignal(Drain);

pin_project! {
    /// Work that ends at the signal at the latest. An `async` block would hold it twice.
    struct Abortable<F> {
        #[pin]
        work: F,
        abort: Given,
    }
}

// === impl Drain ===

impl Drain {
    /// A drain that has not started.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A handle for those whose work is to be waited for.
    #[must_use]
    pub fn signal(&self) -> DrainSignal {
        DrainSignal(self.clone())
    }

    /// Asks for no new work, waits for what is in flight, at most `grace`, then aborts the rest.
    ///
    /// `None` waits without limit. Returns whether everything finished in time.
    pub async fn run(&self, grace: Option<Duration>) -> bool {
        self.stop.give();
        self.tracker.close();
        let finished = match grace {
            Some(grace) => tokio::time::timeout(grace, self.tracker.wait()).await.is_ok(),
            None => {
                self.tracker.wait().await;
                true
            }
        };
        self.abort.give();
        finished
    }

    /// Number of tasks in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.tracker.len()
    }
}

// === impl DrainSignal ===

impl DrainSignal {
    /// Resolves when no new work is to be taken.
    pub async fn stopping(&self) {
        self.0.stop.given().await;
    }

    /// Resolves when work in flight is to be dropped.
    pub async fn aborting(&self) {
        self.0.abort.given().await;
    }

    /// Whether the drain has started.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.0.stop.is_given()
    }

    /// Counts `work` as in flight and drops it when the drain aborts.
    pub fn track<F>(&self, work: F) -> impl Future<Output = ()> + Send + 'static + use<F>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.0.tracker.track_future(Abortable {
            work,
            abort: self.0.abort.given(),
        })
    }
}

// === impl Abortable ===

impl<F: Future<Output = ()>> Future for Abortable<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if this.work.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        Pin::new(this.abort).poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn work_in_flight_is_waited_for() {
        let drain = Drain::new();
        let signal = drain.signal();
        let work = tokio::spawn(signal.track(tokio::time::sleep(Duration::from_secs(3))));
        assert!(drain.run(Some(Duration::from_secs(5))).await);
        work.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_overstays_the_grace_is_dropped() {
        let drain = Drain::new();
        let work = tokio::spawn(drain.signal().track(std::future::pending()));
        assert!(!drain.run(Some(Duration::from_secs(5))).await);
        work.await.unwrap();
        assert_eq!(drain.in_flight(), 0);
    }
}
