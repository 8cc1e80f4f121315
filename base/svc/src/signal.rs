//! A signal that is given once and waited for by many.
//!
//! Connections wait for the stop of the program beside their work, so that each wake of theirs asks this signal, too.
//! Asking it reads one flag, which stays in every core's cache until the signal is given.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Given once, for good; clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Signal(Arc<Shared>);

/// Resolves once the signal is given. Dropping it is free of consequences.
#[derive(Debug)]
pub(crate) struct Given {
    shared: Arc<Shared>,
    /// How the task that waits is known to the signal; none before the first poll.
    waiting: Option<(u64, Waker)>,
}

#[derive(Debug, Default)]
struct Shared {
    is_given: AtomicBool,
    waiters: Mutex<Waiters>,
}

#[derive(Debug, Default)]
struct Waiters {
    wakers: HashMap<u64, Waker>,
    last: u64,
}

// === impl Signal ===

impl Signal {
    /// Gives the signal.
    pub(crate) fn give(&self) {
        let wakers = {
            let mut waiters = self.0.waiters();
            self.0.is_given.store(true, Ordering::Release);
            std::mem::take(&mut waiters.wakers)
        };
        for waker in wakers.into_values() {
            waker.wake();
        }
    }

    /// Whether the signal has been given.
    pub(crate) fn is_given(&self) -> bool {
        self.0.is_given.load(Ordering::Acquire)
    }

    /// Waits for the signal.
    pub(crate) fn given(&self) -> Given {
        Given {
            shared: Arc::clone(&self.0),
            waiting: None,
        }
    }
}

// === impl Given ===

impl Future for Given {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.shared.is_given.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        if let Some((_, waker)) = &self.waiting
            && waker.will_wake(cx.waker())
        {
            return Poll::Pending;
        }
        let waker = cx.waker().clone();
        let key = self.waiting.as_ref().map(|(key, _)| *key);
        let Some(key) = self.shared.enter(key, &waker) else {
            return Poll::Ready(());
        };
        self.waiting = Some((key, waker));
        Poll::Pending
    }
}

impl Drop for Given {
    fn drop(&mut self) {
        if let Some((key, _)) = &self.waiting {
            self.shared.waiters().wakers.remove(key);
        }
    }
}

// === impl Shared ===

impl Shared {
    /// Notes whom to wake, under the key it has or under a new one; none if the signal has been given meanwhile.
    fn enter(&self, key: Option<u64>, waker: &Waker) -> Option<u64> {
        let mut waiters = self.waiters();
        if self.is_given.load(Ordering::Acquire) {
            return None;
        }
        let key = key.unwrap_or_else(|| {
            waiters.last += 1;
            waiters.last
        });
        waiters.wakers.insert(key, waker.clone());
        Some(key)
    }

    fn waiters(&self) -> MutexGuard<'_, Waiters> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn poll(given: &mut Given, count: &Arc<Count>) -> Poll<()> {
        let waker = Waker::from(Arc::clone(count));
        Pin::new(given).poll(&mut Context::from_waker(&waker))
    }

    #[test]
    fn all_who_wait_are_woken_once() {
        let signal = Signal::default();
        let counts: [Arc<Count>; 3] = Default::default();
        let mut waiting: Vec<Given> = counts.iter().map(|_| signal.given()).collect();
        for _ in 0..2 {
            for (given, count) in waiting.iter_mut().zip(&counts) {
                assert!(poll(given, count).is_pending());
            }
        }
        signal.give();
        assert!(signal.is_given());
        for (given, count) in waiting.iter_mut().zip(&counts) {
            assert_eq!(count.0.load(Ordering::SeqCst), 1);
            assert!(poll(given, count).is_ready());
        }
        assert!(
            poll(&mut signal.given(), &counts[0]).is_ready(),
            "late comers do not wait"
        );
    }

    #[test]
    fn the_task_that_polled_last_is_woken() {
        let signal = Signal::default();
        let (first, last) = (Arc::new(Count::default()), Arc::new(Count::default()));
        let mut given = signal.given();
        assert!(poll(&mut given, &first).is_pending());
        assert!(poll(&mut given, &last).is_pending());
        signal.give();
        assert_eq!(
            (first.0.load(Ordering::SeqCst), last.0.load(Ordering::SeqCst)),
            (0, 1)
        );
    }

    #[test]
    fn who_has_gone_is_forgotten() {
        let signal = Signal::default();
        let count = Arc::new(Count::default());
        let mut given = signal.given();
        assert!(poll(&mut given, &count).is_pending());
        drop(given);
        assert!(signal.0.waiters().wakers.is_empty());
        signal.give();
        assert_eq!(count.0.load(Ordering::SeqCst), 0);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_signal_given_while_somebody_begins_to_wait_is_not_missed() {
        for _ in 0..500 {
            let signal = Signal::default();
            let waits = tokio::spawn(signal.given());
            signal.give();
            waits.await.unwrap();
        }
    }
}
