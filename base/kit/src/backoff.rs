//! Pauses between tries: constant and exponential.

use std::time::Duration;

/// How the pauses between the tries of one operation are chosen.
#[derive(Clone, Debug, PartialEq)]
pub enum Policy {
    /// The same pause each time.
    Constant {
        /// Length of each pause.
        pause: Duration,
        /// Number of pauses; `None` is without limit.
        max_retries: Option<u32>,
    },
    /// Growing pauses with jitter.
    Exponential(Exponential),
}

/// Pauses that grow by a factor up to a cap, each spread by a share of its length.
#[derive(Clone, Debug, PartialEq)]
pub struct Exponential {
    /// Length of the first pause before jitter.
    pub initial: Duration,
    /// What each pause is multiplied by.
    pub multiplier: f64,
    /// Share of a pause it may be longer or shorter by, 0 to 1.
    pub jitter: f64,
    /// Cap of a pause, before jitter.
    pub max_interval: Duration,
    /// No pause that would end later than this after the first try; `None` is without limit.
    pub max_elapsed: Option<Duration>,
    /// Number of pauses; `None` is without limit.
    pub max_retries: Option<u32>,
}

/// The pauses of one operation, in order.
#[derive(Clone, Debug)]
pub struct Pauses {
    policy: Policy,
    current: Duration,
    taken: u32,
    random: fastrand::Rng,
}

// === impl Policy ===

impl Policy {
    /// Starts the pauses of one operation.
    #[must_use]
    pub fn start(&self) -> Pauses {
        self.start_with(fastrand::Rng::new())
    }

    /// Starts the pauses of one operation with a given source of jitter, for repeatable tests.
    #[must_use]
    pub fn start_with(&self, random: fastrand::Rng) -> Pauses {
        let current = match self {
            Self::Constant { pause, .. } => *pause,
            Self::Exponential(growth) => growth.initial,
        };
        Pauses {
            policy: self.clone(),
            current,
            taken: 0,
            random,
        }
    }

    /// Number of pauses; `None` is without limit.
    #[must_use]
    pub const fn max_retries(&self) -> Option<u32> {
        match self {
            Self::Constant { max_retries, .. } => *max_retries,
            Self::Exponential(growth) => growth.max_retries,
        }
    }

    /// The same pauses with another limit to their number.
    #[must_use]
    pub fn with_max_retries(mut self, limit: Option<u32>) -> Self {
        match &mut self {
            Self::Constant { max_retries, .. } => *max_retries = limit,
            Self::Exponential(growth) => growth.max_retries = limit,
        }
        self
    }
}

// === impl Exponential ===

impl Exponential {
    /// Starts at 500 ms, grows by 1.5, spread by half, ends after 15 minutes (specification: resiliency 4).
    #[must_use]
    pub const fn resiliency(max_interval: Duration, max_retries: Option<u32>) -> Self {
        Self {
            initial: Duration::from_millis(500),
            multiplier: 1.5,
            jitter: 0.5,
            max_interval,
            max_elapsed: Some(Duration::from_secs(15 * 60)),
            max_retries,
        }
    }

    /// How gRPC clients reconnect: 1 s, growing by 1.6, spread by a fifth, at most 120 s, for ever.
    #[must_use]
    pub const fn grpc_reconnect() -> Self {
        Self {
            initial: Duration::from_secs(1),
            multiplier: 1.6,
            jitter: 0.2,
            max_interval: Duration::from_secs(120),
            max_elapsed: None,
            max_retries: None,
        }
    }
}

impl From<Exponential> for Policy {
    fn from(growth: Exponential) -> Self {
        Self::Exponential(growth)
    }
}

// === impl Pauses ===

impl Pauses {
    /// The next pause, if `elapsed` since the first try still allows one.
    pub fn next_pause(&mut self, elapsed: Duration) -> Option<Duration> {
        if self.policy.max_retries().is_some_and(|limit| self.taken >= limit) {
            return None;
        }
        self.taken = self.taken.saturating_add(1);
        let growth = match &self.policy {
            Policy::Constant { pause, .. } => return Some(*pause),
            Policy::Exponential(growth) => growth,
        };
        let spread = 1.0 + growth.jitter * (2.0 * self.random.f64() - 1.0);
        let pause = scale(self.current, spread);
        self.current = scale(self.current, growth.multiplier).min(growth.max_interval);
        match growth.max_elapsed {
            Some(limit) if elapsed.saturating_add(pause) > limit => None,
            _ => Some(pause),
        }
    }

    /// Number of pauses given out.
    #[must_use]
    pub const fn taken(&self) -> u32 {
        self.taken
    }

    /// Starts again from the first pause, after a success.
    pub fn reset(&mut self) {
        *self = self.policy.start_with(self.random.clone());
    }
}

fn scale(span: Duration, factor: f64) -> Duration {
    Duration::try_from_secs_f64(span.as_secs_f64() * factor).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn constant_pauses_end_after_their_number() {
        let mut pauses = Policy::Constant {
            pause: Duration::from_secs(1),
            max_retries: Some(3),
        }
        .start();
        for _ in 0..3 {
            assert_eq!(pauses.next_pause(Duration::ZERO), Some(Duration::from_secs(1)));
        }
        assert_eq!(pauses.next_pause(Duration::ZERO), None);
        pauses.reset();
        assert_eq!(pauses.next_pause(Duration::ZERO), Some(Duration::from_secs(1)));
    }

    #[test]
    fn growing_pauses_stay_within_their_spread() {
        let growth = Exponential::resiliency(Duration::from_secs(60), None);
        let mut pauses = Policy::from(growth).start();
        let mut expected = 0.5_f64;
        for _ in 0..20 {
            let pause = pauses.next_pause(Duration::ZERO).unwrap().as_secs_f64();
            assert!(
                (expected * 0.5 - 1e-6..=expected * 1.5 + 1e-6).contains(&pause),
                "{pause}"
            );
            expected = (expected * 1.5).min(60.0);
        }
    }

    #[test]
    fn growing_pauses_end_when_their_time_is_over() {
        let mut pauses = Policy::from(Exponential::resiliency(Duration::from_secs(60), None)).start();
        assert!(pauses.next_pause(Duration::from_secs(800)).is_some());
        assert_eq!(pauses.next_pause(Duration::from_secs(900)), None);
    }

    #[test]
    fn no_retries_means_no_pause() {
        let policy = Policy::from(Exponential::resiliency(Duration::from_secs(1), Some(0)));
        assert_eq!(policy.start().next_pause(Duration::ZERO), None);
    }

    proptest! {
        #[test]
        fn reconnect_pauses_are_capped(seed: u64, tries in 1_usize..200) {
            let mut pauses = Policy::from(Exponential::grpc_reconnect()).start_with(fastrand::Rng::with_seed(seed));
            for _ in 0..tries {
                let pause = pauses.next_pause(Duration::ZERO).unwrap();
                prop_assert!(pause <= Duration::from_secs(144));
                prop_assert!(pause >= Duration::from_millis(799));
            }
        }
    }
}
