//! Circuit breakers: a resource that is too slow is not asked for a while.

use super::rules::BreakerRule;
use super::window::Window;

/// One circuit breaker. No errors are reported to it, so those that count errors stay closed.
#[derive(Debug)]
pub(super) struct Breaker {
    pub(super) rule: BreakerRule,
    window: Window,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    /// Nothing passes before this moment, in milliseconds.
    Open {
        until: u64,
    },
    /// A few requests are let in to see; so many have been quick enough.
    HalfOpen {
        quick: u64,
    },
}

// === impl Breaker ===

impl Breaker {
    pub(super) fn new(rule: BreakerRule) -> Self {
        let buckets = rule.stat_sliding_window_bucket_count.max(1);
        let fits = rule.stat_interval_ms.is_multiple_of(buckets);
        Self {
            window: Window::new(
                rule.stat_interval_ms.into(),
                if fits { buckets.into() } else { 1 },
            ),
            rule,
            state: State::Closed,
        }
    }

    /// Whether a request may pass; `now` in milliseconds.
    pub(super) fn permits(&mut self, now: u64) -> bool {
        match self.state {
            State::Closed => true,
            State::Open { until } if now >= until => {
                self.state = State::HalfOpen { quick: 0 };
                true
            }
            // As many are let in as must be quick.
            State::HalfOpen { .. } => self.rule.probe_num > 0,
            State::Open { .. } => false,
        }
    }

    /// A request that may pass here was refused elsewhere: the trial has not taken place.
    pub(super) fn give_back(&mut self, now: u64) {
        if self.state == (State::HalfOpen { quick: 0 }) {
            self.state = State::Open { until: now };
        }
    }

    /// A request has ended after so many milliseconds.
    pub(super) fn completed(&mut self, now: u64, time: u64) {
        let is_slow = time > self.rule.max_allowed_rt_ms;
        let counts = self.window.at(now);
        counts.completed += 1;
        counts.slow += u64::from(is_slow);
        match self.state {
            State::Open { .. } => {}
            State::HalfOpen { .. } if self.rule.strategy == 0 && is_slow => self.open(now),
            State::HalfOpen { quick } => {
                let quick = quick + 1;
                if self.rule.probe_num == 0 || quick >= self.rule.probe_num {
                    self.state = State::Closed;
                    self.window.clear();
                } else {
                    self.state = State::HalfOpen { quick };
                }
            }
            State::Closed => {
                let counts = self.window.sum(now);
                let share = counts.slow as f64 / counts.completed.max(1) as f64;
                let is_reached = share > self.rule.threshold || (share >= 1.0 && self.rule.threshold >= 1.0);
                let are_enough = counts.completed >= self.rule.min_request_amount;
                if self.rule.strategy == 0 && are_enough && is_reached {
                    self.open(now);
                }
            }
        }
    }

    fn open(&mut self, now: u64) {
        self.state = State::Open {
            until: now + u64::from(self.rule.retry_timeout_ms),
        };
        self.window.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker(probe_num: u64) -> Breaker {
        Breaker::new(BreakerRule {
            resource: "r".to_owned(),
            retry_timeout_ms: 3000,
            min_request_amount: 3,
            stat_interval_ms: 1000,
            max_allowed_rt_ms: 50,
            threshold: 0.5,
            probe_num,
            ..BreakerRule::default()
        })
    }

    fn complete(breaker: &mut Breaker, now: u64, times: &[u64]) {
        for time in times {
            breaker.completed(now, *time);
        }
    }

    #[test]
    fn too_many_slow_requests_open_it_for_a_while() {
        let mut breaker = breaker(0);
        complete(&mut breaker, 100, &[10, 60]);
        assert!(breaker.permits(100));
        complete(&mut breaker, 200, &[50, 60]);
        assert!(breaker.permits(200), "half of them is not too many");
        complete(&mut breaker, 300, &[51]);
        assert!(!breaker.permits(300));
        assert!(!breaker.permits(3299));
        // One request is let in to see.
        assert!(breaker.permits(3300));
        assert!(!breaker.permits(3301));
        complete(&mut breaker, 3400, &[60]);
        assert!(!breaker.permits(6399));
        assert!(breaker.permits(6400));
        complete(&mut breaker, 6450, &[10]);
        assert!(breaker.permits(6450) && breaker.permits(6450));
    }

    #[test]
    fn it_closes_after_as_many_quick_requests_as_asked_for() {
        let mut breaker = breaker(2);
        complete(&mut breaker, 0, &[60, 60, 60]);
        assert!(breaker.permits(3000));
        complete(&mut breaker, 3000, &[1]);
        assert!(breaker.permits(3001));
        complete(&mut breaker, 3001, &[1]);
        complete(&mut breaker, 3002, &[60, 60]);
        assert!(breaker.permits(3002));
    }

    #[test]
    fn a_trial_that_did_not_take_place_is_made_again() {
        let mut breaker = breaker(0);
        complete(&mut breaker, 0, &[60, 60, 60]);
        assert!(breaker.permits(3000));
        breaker.give_back(3000);
        assert!(breaker.permits(3000));
    }

    #[test]
    fn breakers_that_count_errors_stay_closed() {
        for strategy in [1, 2] {
            let mut breaker = breaker(0);
            breaker.rule.strategy = strategy;
            complete(&mut breaker, 0, &[999; 50]);
            assert!(breaker.permits(0));
        }
    }
}
