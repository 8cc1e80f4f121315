//! How often a peer may send what moves nothing.

use std::time::Duration;

use tokio::time::Instant;

use super::frame::{Violation, reason};

/// An allowance that is used up event by event and refilled by time.
#[derive(Debug)]
pub(super) struct Budget {
    left: u32,
    most: u32,
    per_second: u32,
    refilled: Instant,
}

/// A server's patience with the pings of a client.
///
/// A ping that comes too early counts against the client unless this side sent something meanwhile, which
/// clients may answer with a ping. Source: specification, gRPC API 1.
#[derive(Debug)]
pub(super) struct PingPatience {
    min_interval: Duration,
    last: Option<Instant>,
    strikes: u32,
}

/// Early pings that are forgiven.
const FORGIVEN: u32 = 2;

// === impl Budget ===

impl Budget {
    pub(super) const fn new(most: u32, per_second: u32, now: Instant) -> Self {
        Self {
            left: most,
            most,
            per_second,
            refilled: now,
        }
    }

    /// Uses one event up; a violation if none is left.
    pub(super) fn spend(&mut self, now: Instant) -> Result<(), Violation> {
        if self.left == 0 {
            self.refill(now);
        }
        self.left = self
            .left
            .checked_sub(1)
            .ok_or(Violation(reason::ENHANCE_YOUR_CALM))?;
        Ok(())
    }

    fn refill(&mut self, now: Instant) {
        let earned = now.duration_since(self.refilled).as_millis() * u128::from(self.per_second) / 1000;
        if earned > 0 {
            self.refilled = now;
            self.left = u32::try_from(earned).unwrap_or(u32::MAX).min(self.most);
        }
    }
}

// === impl PingPatience ===

impl PingPatience {
    pub(super) const fn new(min_interval: Duration) -> Self {
        Self {
            min_interval,
            last: None,
            strikes: 0,
        }
    }

    /// Judges a ping; whether it is one too many. `has_sent` says whether this side sent headers or data since
    /// the last one.
    pub(super) fn is_exhausted_by(&mut self, now: Instant, has_sent: bool) -> bool {
        let is_early = self.last.is_some_and(|last| now < last + self.min_interval);
        self.last = Some(now);
        if has_sent {
            self.strikes = 0;
        } else if is_early {
            self.strikes += 1;
        }
        self.strikes > FORGIVEN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_allowance_is_refilled_by_time() {
        let mut budget = Budget::new(2, 1, Instant::now());
        assert!(budget.spend(Instant::now()).is_ok());
        assert!(budget.spend(Instant::now()).is_ok());
        assert!(budget.spend(Instant::now()).is_err());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(budget.spend(Instant::now()).is_ok());
        assert!(budget.spend(Instant::now()).is_err());
        tokio::time::advance(Duration::from_secs(100)).await;
        assert!(budget.spend(Instant::now()).is_ok());
        assert!(budget.spend(Instant::now()).is_ok());
        assert!(budget.spend(Instant::now()).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_third_early_ping_in_silence_is_too_many() {
        let mut patience = PingPatience::new(Duration::from_secs(8));
        let mut ping = |has_sent| patience.is_exhausted_by(Instant::now(), has_sent);
        assert_eq!(
            [ping(false), ping(false), ping(false), ping(false)],
            [false, false, false, true]
        );
        assert_eq!([ping(true), ping(false), ping(false)], [false; 3]);
        tokio::time::advance(Duration::from_secs(9)).await;
        assert!(!ping(false));
        tokio::time::advance(Duration::from_secs(9)).await;
        assert!(!ping(false));
        assert!(ping(false));
    }
}
