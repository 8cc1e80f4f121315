//! Circuit breakers: leave a target alone that keeps failing, and try it carefully later.
//!
//! ```text
//!           a failure after which the counts satisfy `trip`
//!   closed ─────────────────────────────────────────────────▶ open
//!     ▲                                                       │  ▲
//!     │ maxRequests successes in a row        `timeout` is over │  │ any failure
//!     └──────────────────────────── half-open ◀───────────────┘  │
//!                                       └───────────────────────┘
//! ```
//!
//! Source: specification, resiliency 6.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use outrigger_telemetry::metrics::BreakerState;
use tokio::time::Instant;

use crate::LOG;
use crate::trip::{Counts, Trip};

/// How breakers of one policy behave.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// Name of the policy.
    pub(crate) policy: String,
    /// Calls that are let through while half open.
    pub(crate) max_requests: u32,
    /// Time after which the counts of a closed breaker start anew; zero is never.
    pub(crate) interval: Duration,
    /// Time that the breaker stays open.
    pub(crate) timeout: Duration,
    /// What opens it.
    pub(crate) trip: Trip,
}

/// One breaker, shared by all concurrent calls of its target.
pub(crate) struct Breaker {
    name: String,
    rules: Arc<Rules>,
    now: Mutex<Current>,
}

/// A call that was let through.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    generation: u64,
    /// State just before the call.
    pub(crate) state: BreakerState,
}

/// A call that was not let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The breaker is open.
    Open,
    /// It is half open and all its tries are taken.
    TooManyRequests,
}

#[derive(Debug)]
struct Current {
    state: BreakerState,
    /// Grows with each change of state and each new interval; results of earlier ones do not count.
    generation: u64,
    counts: Counts,
    /// End of the interval, or of the open state.
    expiry: Option<Instant>,
}

// === impl Breaker ===

impl Breaker {
    /// A closed breaker; `name` is how log lines call it.
    pub(crate) fn new(name: String, rules: Arc<Rules>) -> Self {
        let mut current = Current {
            state: BreakerState::Closed,
            generation: 0,
            counts: Counts::default(),
            expiry: None,
        };
        current.begin(&rules, Instant::now());
        Self {
            name,
            rules,
            now: Mutex::new(current),
        }
    }

    /// The state now.
    pub(crate) fn state(&self) -> BreakerState {
        self.current().state
    }

    /// Lets a call through, or not; what is let through must be [settled](Self::settle).
    pub(crate) fn enter(&self) -> Result<Entry, Refusal> {
        let mut now = self.current();
        match now.state {
            BreakerState::Open => return Err(Refusal::Open),
            BreakerState::HalfOpen if now.counts.requests >= self.rules.max_requests => {
                return Err(Refusal::TooManyRequests);
            }
            _ => {}
        }
        now.counts.requests = now.counts.requests.saturating_add(1);
        Ok(Entry {
            generation: now.generation,
            state: now.state,
        })
    }

    /// Counts how a call went and returns the state after it.
    pub(crate) fn settle(&self, entry: Entry, is_success: bool) -> BreakerState {
        let mut now = self.current();
        if now.generation != entry.generation {
            return now.state;
        }
        let counts = &mut now.counts;
        if is_success {
            counts.total_successes = counts.total_successes.saturating_add(1);
            counts.consecutive_successes = counts.consecutive_successes.saturating_add(1);
            counts.consecutive_failures = 0;
        } else {
            counts.total_failures = counts.total_failures.saturating_add(1);
            counts.consecutive_failures = counts.consecutive_failures.saturating_add(1);
            counts.consecutive_successes = 0;
        }
        let counts = *counts;
        let next = match (now.state, is_success) {
            (BreakerState::HalfOpen, false) => BreakerState::Open,
            (BreakerState::HalfOpen, true) if counts.consecutive_successes >= self.rules.max_requests => {
                BreakerState::Closed
            }
            (BreakerState::Closed, false) if self.rules.trip.holds(&counts) => BreakerState::Open,
            (same, _) => same,
        };
        self.change(&mut now, next);
        now.state
    }

    /// The state with what the time alone has changed.
    fn current(&self) -> MutexGuard<'_, Current> {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if now.expiry.is_some_and(|expiry| expiry < Instant::now()) {
            match now.state {
                BreakerState::Open => self.change(&mut now, BreakerState::HalfOpen),
                _ => now.begin(&self.rules, Instant::now()),
            }
        }
        now
    }

    fn change(&self, now: &mut Current, next: BreakerState) {
        let last = now.state;
        if last == next {
            return;
        }
        now.state = next;
        now.begin(&self.rules, Instant::now());
        tracing::info!(
            target: LOG,
            "Circuit breaker \"{}\" changed state from {} to {}",
            self.name,
            last.label(),
            next.label()
        );
    }
}

impl fmt::Debug for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breaker")
            .field("name", &self.name)
            .field("policy", &self.rules.policy)
            .finish_non_exhaustive()
    }
}

// === impl Current ===

impl Current {
    /// Begins to count anew.
    fn begin(&mut self, rules: &Rules, now: Instant) {
        self.generation += 1;
        self.counts = Counts::default();
        self.expiry = match self.state {
            BreakerState::Closed if rules.interval.is_zero() => None,
            BreakerState::Closed => now.checked_add(rules.interval),
            BreakerState::Open => now.checked_add(rules.timeout),
            BreakerState::HalfOpen | BreakerState::Unknown => None,
        };
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn breaker(max_requests: u32, interval: u64, trip: &str) -> Breaker {
        let rules = Rules {
            policy: "p".to_owned(),
            max_requests,
            interval: Duration::from_secs(interval),
            timeout: Duration::from_secs(30),
            trip: Trip::compile(trip).unwrap(),
        };
        Breaker::new("b".to_owned(), Arc::new(rules))
    }

    fn call(breaker: &Breaker, is_success: bool) -> BreakerState {
        let entry = breaker.enter().unwrap();
        breaker.settle(entry, is_success)
    }

    #[tokio::test(start_paused = true)]
    async fn a_breaker_opens_after_failures_in_a_row_and_closes_after_a_success() {
        let breaker = breaker(1, 0, "consecutiveFailures >= 3");
        for is_success in [false, false, true, false, false] {
            assert_eq!(call(&breaker, is_success), BreakerState::Closed);
        }
        assert_eq!(call(&breaker, false), BreakerState::Open);
        assert_eq!(breaker.enter().unwrap_err(), Refusal::Open);
        advance(Duration::from_secs(30)).await;
        // Exactly at its end the time is not over.
        assert_eq!(breaker.state(), BreakerState::Open);
        advance(Duration::from_millis(1)).await;
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        assert_eq!(call(&breaker, true), BreakerState::Closed);
        assert_eq!(call(&breaker, false), BreakerState::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_while_half_open_opens_it_for_the_whole_time_again() {
        let breaker = breaker(2, 0, "consecutiveFailures > 0");
        assert_eq!(call(&breaker, false), BreakerState::Open);
        advance(Duration::from_secs(31)).await;
        assert_eq!(call(&breaker, true), BreakerState::HalfOpen);
        assert_eq!(call(&breaker, false), BreakerState::Open);
        advance(Duration::from_secs(30)).await;
        assert_eq!(breaker.enter().unwrap_err(), Refusal::Open);
    }

    #[tokio::test(start_paused = true)]
    async fn tries_while_half_open_are_limited_in_total() {
        let breaker = breaker(2, 0, "consecutiveFailures > 0");
        call(&breaker, false);
        advance(Duration::from_secs(31)).await;
        let (one, two) = (breaker.enter().unwrap(), breaker.enter().unwrap());
        assert_eq!(breaker.enter().unwrap_err(), Refusal::TooManyRequests);
        assert_eq!(breaker.settle(one, true), BreakerState::HalfOpen);
        // A finished try does not make room for another.
        assert_eq!(breaker.enter().unwrap_err(), Refusal::TooManyRequests);
        assert_eq!(breaker.settle(two, true), BreakerState::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn results_of_an_earlier_generation_do_not_count() {
        let breaker = breaker(1, 0, "consecutiveFailures > 0");
        let (slow, fast) = (breaker.enter().unwrap(), breaker.enter().unwrap());
        assert_eq!(breaker.settle(fast, false), BreakerState::Open);
        assert_eq!(breaker.settle(slow, true), BreakerState::Open);
        advance(Duration::from_secs(31)).await;
        let entry = breaker.enter().unwrap();
        assert_eq!(breaker.settle(slow, false), BreakerState::HalfOpen);
        assert_eq!(breaker.settle(entry, true), BreakerState::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn counts_start_anew_with_each_interval() {
        let breaker = breaker(1, 10, "totalFailures >= 2");
        assert_eq!(call(&breaker, false), BreakerState::Closed);
        advance(Duration::from_secs(11)).await;
        assert_eq!(call(&breaker, false), BreakerState::Closed);
        advance(Duration::from_secs(9)).await;
        assert_eq!(call(&breaker, false), BreakerState::Open);
    }

    #[tokio::test(start_paused = true)]
    async fn successes_do_not_trip() {
        let breaker = breaker(1, 0, "requests > 0");
        assert_eq!(call(&breaker, true), BreakerState::Closed);
        assert_eq!(call(&breaker, false), BreakerState::Open);
    }
}
