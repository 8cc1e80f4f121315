//! Whether an instance takes calls.

use std::time::Duration;

use tokio::time::Instant;

/// The standing of one instance.
#[derive(Debug, Default)]
pub(super) struct Health {
    state: State,
    /// Failures in a row.
    failures: u32,
    /// Ejections in a row.
    ejections: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Good,
    /// Takes no calls before this moment.
    Ejected(Instant),
    /// One call finds out.
    Probed,
}

/// Failed answers in a row that eject an instance. One that cannot be reached is ejected at once.
const FAILURES: u32 = 3;

/// Pause after the first ejection; each further one in a row doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// A pause is at least this many times as long as the call waited that failed.
const WAIT_FACTOR: u32 = 4;

/// Longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Pauses differ by up to this share, so that the probes of many callers do not meet.
const JITTER: f64 = 0.2;

// === impl Health ===

impl Health {
    pub(super) fn is_good(&self) -> bool {
        self.state == State::Good
    }

    /// Notes an answer; whether it ended an ejection.
    pub(super) fn succeed(&mut self) -> bool {
        let returned = !self.is_good();
        *self = Self::default();
        returned
    }

    /// Notes a failure that took `latency` to show; the pause, if the instance is ejected by it. `jitter` is from 0
    /// to 1.
    ///
    /// A hung instance costs each call that it is probed by a long wait, so the pause grows with the wait.
    pub(super) fn fail(
        &mut self,
        now: Instant,
        is_unreachable: bool,
        latency: Duration,
        jitter: f64,
    ) -> Option<Duration> {
        self.failures = self.failures.saturating_add(1);
        let ejects = match self.state {
            State::Good => is_unreachable || self.failures >= FAILURES,
            // Calls that were open when it was ejected break one after the other: that is one failure.
            State::Ejected(_) => false,
            State::Probed => true,
        };
        if !ejects {
            return None;
        }
        let doubled = FIRST_PAUSE.saturating_mul(1_u32.checked_shl(self.ejections).unwrap_or(u32::MAX));
        self.ejections = self.ejections.saturating_add(1);
        let pause = doubled
            .max(latency.saturating_mul(WAIT_FACTOR))
            .min(LONGEST_PAUSE)
            .mul_f64(1.0 - JITTER + 2.0 * JITTER * jitter);
        self.state = State::Ejected(now + pause);
        Some(pause)
    }

    /// Notes a call that said nothing; if it was the probe, another one follows soon.
    pub(super) fn undecided(&mut self, now: Instant) {
        if self.state == State::Probed {
            self.state = State::Ejected(now + FIRST_PAUSE);
        }
    }

    /// Ends an ejection, though nothing speaks for the instance.
    pub(super) fn pardon(&mut self) {
        self.state = State::Good;
    }

    /// Starts the probe if it is time; the caller's call is the probe.
    pub(super) fn begin_probe(&mut self, now: Instant) -> bool {
        match self.state {
            State::Ejected(until) if until <= now => {
                self.state = State::Probed;
                true
            }
            _ => false,
        }
    }
}
