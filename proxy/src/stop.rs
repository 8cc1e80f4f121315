//! The wish to stop: who had it, and how everybody hears of it.

use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

/// Why a run of the sidecar ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopCause {
    /// SIGTERM or SIGINT.
    Signal,
    /// SIGHUP or a changed resource: the sidecar starts again in the same process.
    Restart,
    /// The shutdown API.
    Api,
    /// The shutdown API, which wants no graceful end.
    Forced,
    /// The run itself, which cannot go on.
    Failure,
}

/// Carries the wish to stop to every part of one run. Cheap to clone; the first cause stays.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    token: CancellationToken,
    cause: Arc<OnceLock<StopCause>>,
}

// === impl Stop ===

impl Stop {
    /// Nobody wants to stop yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks for the end of the run. Asking again changes nothing.
    pub fn request(&self, cause: StopCause) {
        self.cause.get_or_init(|| cause);
        self.token.cancel();
    }

    /// Resolves with the cause once somebody asks.
    pub async fn requested(&self) -> StopCause {
        self.token.cancelled().await;
        self.cause().unwrap_or(StopCause::Signal)
    }

    /// The cause, if somebody has asked.
    #[must_use]
    pub fn cause(&self) -> Option<StopCause> {
        self.cause.get().copied()
    }

    /// The token that is cancelled with the wish.
    #[must_use]
    pub fn token(&self) -> &CancellationToken {
        &self.token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_cause_stays() {
        let stop = Stop::new();
        assert_eq!(stop.cause(), None);
        stop.request(StopCause::Api);
        stop.clone().request(StopCause::Signal);
        assert_eq!(stop.requested().await, StopCause::Api);
    }
}
