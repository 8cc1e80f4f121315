//! Flow rules at work: how many requests may pass now, and what happens to the others.

use super::rules::FlowRule;
use super::system::Machine;
use super::window::Window;

/// One flow rule with what it remembers.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) rule: FlowRule,
    /// What the resource that counts has let in.
    window: Window,
    warm_up: Option<WarmUp>,
    /// When the last request that had to wait is let in, in milliseconds.
    last: f64,
}

/// What a rule says of a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Verdict {
    /// It may pass, after so many milliseconds.
    Pass(f64),
    /// It is too much.
    Refuse,
}

/// A reserve of tokens that is full while nothing is asked for. The fuller it is, the less is let in.
#[derive(Debug)]
struct WarmUp {
    threshold: f64,
    cold_factor: f64,
    warning: f64,
    most: f64,
    slope: f64,
    stored: f64,
    filled: u64,
    /// Requests that passed in the second that runs, and in the one before.
    second: (u64, u64, u64),
}

/// The interval that is meant if a rule gives none.
const INTERVAL: u32 = 1000;
const BUCKET: u32 = 500;

// === impl Flow ===

impl Flow {
    pub(super) fn new(rule: FlowRule) -> Self {
        let interval = rule.interval();
        let buckets = if interval.is_multiple_of(BUCKET) && interval <= 10_000 {
            interval / BUCKET
        } else {
            1
        };
        let warm_up = (rule.token_calculate_strategy == 1).then(|| WarmUp::new(&rule));
        Self {
            window: Window::new(interval.into(), buckets.into()),
            warm_up,
            rule,
            last: 0.0,
        }
    }

    /// The resource whose requests count.
    pub(super) fn counted(&self) -> &str {
        if self.rule.relation_strategy == 1 {
            &self.rule.ref_resource
        } else {
            &self.rule.resource
        }
    }

    /// Judges one request; `now` in milliseconds.
    pub(super) fn judge(&mut self, now: u64, machine: &Machine) -> Verdict {
        let threshold = match (&mut self.warm_up, self.rule.token_calculate_strategy) {
            (Some(warm_up), _) => warm_up.allowed(now),
            (None, 2) => self.rule.by_memory(machine.memory(now)),
            _ => self.rule.threshold,
        };
        if self.rule.control_behavior == 1 {
            return self.queue(now, threshold);
        }
        let passed = self.window.sum(now).passed as f64;
        if passed + 1.0 > threshold {
            Verdict::Refuse
        } else {
            Verdict::Pass(0.0)
        }
    }

    /// A request of the resource that counts was let in.
    pub(super) fn passed(&mut self, now: u64) {
        self.window.at(now).passed += 1;
        if let Some(warm_up) = &mut self.warm_up {
            warm_up.roll(now / 1000);
            warm_up.second.1 += 1;
        }
    }

    /// Lets requests in at even distances; those for which there is no place in time are too much.
    fn queue(&mut self, now: u64, threshold: f64) -> Verdict {
        if threshold < 1.0 {
            return Verdict::Refuse;
        }
        let distance = f64::from(self.rule.interval()) / threshold;
        let (now, expected) = (now as f64, self.last + distance);
        if expected <= now {
            self.last = now;
            return Verdict::Pass(0.0);
        }
        if expected - now > f64::from(self.rule.max_queueing_time_ms) {
            return Verdict::Refuse;
        }
        self.last = expected;
        Verdict::Pass(expected - now)
    }
}

// === impl FlowRule ===

impl FlowRule {
    fn interval(&self) -> u32 {
        if self.stat_interval_in_ms == 0 {
            INTERVAL
        } else {
            self.stat_interval_in_ms
        }
    }

    /// The threshold at so many bytes of memory in use: between the water marks it falls evenly.
    fn by_memory(&self, used: i64) -> f64 {
        let (low, high) = (self.mem_low_water_mark_bytes, self.mem_high_water_mark_bytes);
        let (most, least) = (
            self.low_mem_usage_threshold as f64,
            self.high_mem_usage_threshold as f64,
        );
        if used <= low {
            most
        } else if used >= high {
            least
        } else {
            most - (most - least) * (used - low) as f64 / (high - low) as f64
        }
    }
}

// === impl WarmUp ===

impl WarmUp {
    fn new(rule: &FlowRule) -> Self {
        let cold_factor = if rule.warm_up_cold_factor > 1 {
            f64::from(rule.warm_up_cold_factor)
        } else {
            3.0
        };
        let (period, threshold) = (f64::from(rule.warm_up_period_sec), rule.threshold);
        let warning = (period * threshold / (cold_factor - 1.0)).floor();
        let most = warning + (2.0 * period * threshold / (1.0 + cold_factor)).floor();
        Self {
            threshold,
            cold_factor,
            warning,
            most,
            slope: (cold_factor - 1.0) / threshold / (most - warning),
            stored: 0.0,
            filled: 0,
            second: (0, 0, 0),
        }
    }

    /// How many requests may pass a second.
    fn allowed(&mut self, now: u64) -> f64 {
        self.fill(now / 1000);
        if self.stored < self.warning {
            return self.threshold;
        }
        let above = self.stored - self.warning;
        1.0 / (above * self.slope + 1.0 / self.threshold)
    }

    /// Fills the reserve once a second, and takes from it what has passed.
    fn fill(&mut self, second: u64) {
        self.roll(second);
        if self.filled != 0 && second <= self.filled {
            return;
        }
        let passed = self.second.2 as f64;
        let is_idle = passed < self.threshold.floor() / self.cold_factor;
        let seconds = if self.filled == 0 {
            f64::MAX
        } else {
            (second - self.filled) as f64
        };
        if self.stored < self.warning || is_idle {
            self.stored = (self.stored + seconds * self.threshold).min(self.most);
        }
        self.stored = (self.stored - passed).max(0.0);
        self.filled = second.max(1);
    }

    fn roll(&mut self, second: u64) {
        let (current, passed, _) = self.second;
        if current != second {
            let before = if current + 1 == second { passed } else { 0 };
            self.second = (second, 0, before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(threshold: f64) -> FlowRule {
        FlowRule {
            resource: "r".to_owned(),
            threshold,
            ..FlowRule::default()
        }
    }

    /// How many of `tries` requests at this moment pass at once.
    fn passing(flow: &mut Flow, now: u64, tries: usize) -> usize {
        let machine = Machine::default();
        let mut passed = 0;
        for _ in 0..tries {
            if flow.judge(now, &machine) == Verdict::Pass(0.0) {
                flow.passed(now);
                passed += 1;
            }
        }
        passed
    }

    #[test]
    fn what_is_over_the_threshold_is_refused_until_the_window_has_moved() {
        let mut flow = Flow::new(rule(3.0));
        assert_eq!(passing(&mut flow, 10_000, 5), 3);
        assert_eq!(passing(&mut flow, 10_600, 5), 0);
        assert_eq!(passing(&mut flow, 11_000, 5), 3);
        assert_eq!(passing(&mut Flow::new(rule(0.0)), 0, 1), 0);
    }

    #[test]
    fn an_interval_of_its_own_counts_over_that() {
        let mut flow = Flow::new(FlowRule {
            stat_interval_in_ms: 10_000,
            ..rule(2.0)
        });
        assert_eq!(passing(&mut flow, 10_000, 3), 2);
        assert_eq!(passing(&mut flow, 19_999, 1), 0);
        assert_eq!(passing(&mut flow, 20_000, 3), 2);
    }

    #[test]
    fn requests_that_may_wait_are_let_in_one_by_one() {
        let mut flow = Flow::new(FlowRule {
            control_behavior: 1,
            max_queueing_time_ms: 250,
            ..rule(10.0)
        });
        let verdicts: Vec<_> = (0..4).map(|_| flow.judge(5_000, &Machine::default())).collect();
        let expected = [
            Verdict::Pass(0.0),
            Verdict::Pass(100.0),
            Verdict::Pass(200.0),
            Verdict::Refuse,
        ];
        assert_eq!(verdicts, expected);
        assert_eq!(flow.judge(5_250, &Machine::default()), Verdict::Pass(50.0));
    }

    #[test]
    fn a_cold_resource_takes_a_part_at_first() {
        let mut flow = Flow::new(FlowRule {
            token_calculate_strategy: 1,
            warm_up_period_sec: 10,
            warm_up_cold_factor: 3,
            ..rule(30.0)
        });
        let mut seconds = (100..125).map(|second| passing(&mut flow, second * 1000, 100));
        assert_eq!(seconds.next(), Some(10));
        let later: Vec<_> = seconds.collect();
        assert!(later.is_sorted(), "{later:?}");
        assert_eq!(later.last(), Some(&30));
    }

    #[test]
    fn memory_in_use_lowers_the_threshold() {
        let rule = FlowRule {
            token_calculate_strategy: 2,
            low_mem_usage_threshold: 100,
            high_mem_usage_threshold: 20,
            mem_low_water_mark_bytes: 1000,
            mem_high_water_mark_bytes: 2000,
            ..rule(0.0)
        };
        for (used, expected) in [
            (0, 100.0),
            (1000, 100.0),
            (1500, 60.0),
            (2000, 20.0),
            (9000, 20.0),
        ] {
            assert_eq!(rule.by_memory(used), expected, "{used}");
        }
    }
}
