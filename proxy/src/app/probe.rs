//! The app's health: probes at an interval, counted against a threshold.
//!
//! Source: specification, the daprd process 7.

use std::time::Duration;

use outrigger_svc::BoxFuture;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::gate::Gate;

/// How the app is probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProbeSettings {
    /// Time between two probes; 5 s.
    pub(crate) interval: Duration,
    /// Time that a probe may take; 500 ms.
    pub(crate) timeout: Duration,
    /// Failures until the app counts as unhealthy; 3.
    pub(crate) threshold: u32,
}

/// Asks the app once.
pub(crate) trait Probe: Send + Sync + 'static {
    /// Ends with success if the app is healthy.
    ///
    /// # Errors
    /// Why it is not, as the log shows it.
    fn probe(&self, timeout: Duration) -> BoxFuture<'_, Result<(), ProbeFailure>>;

    /// Whether a failure counts although the app is unhealthy already.
    fn counts_every_failure(&self) -> bool {
        false
    }
}

/// Why a probe failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProbeFailure {
    /// No answer.
    #[error("Network error: {0}")]
    Network(String),
    /// An HTTP status other than 2xx.
    #[error("Health check failed with status code: {0}")]
    Status(u16),
    /// The gRPC call failed.
    #[error("Probe error: {0}")]
    Call(String),
}

/// The app's health as those see it who act on its changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AppStatus {
    /// Not yet probed with success.
    Unknown,
    /// Calls go through.
    Healthy,
    /// Calls are refused.
    Unhealthy,
}

/// Counts the outcomes of probes.
#[derive(Debug)]
struct Counter {
    threshold: u32,
    failures: u32,
}

const SCOPE: &str = "dapr.apphealth";

/// Probes until `stop`: closes and opens the gate, and tells of each change.
///
/// The app counts as unhealthy until the first success; that first state is no change. Probes never overlap.
pub(crate) async fn watch_health(
    probe: &dyn Probe,
    settings: ProbeSettings,
    gate: &Gate,
    status: &watch::Sender<AppStatus>,
    stop: &CancellationToken,
) {
    let mut counter = Counter {
        threshold: settings.threshold,
        failures: settings.threshold,
    };
    gate.set_healthy(false);
    let mut ticks = tokio::time::interval(settings.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let outcome = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            outcome = async {
                ticks.tick().await;
                probe.probe(settings.timeout).await
            } => outcome,
        };
        match outcome {
            Ok(()) => {
                if counter.succeed() {
                    tracing::info!(target: SCOPE, "App entered healthy status");
                    gate.set_healthy(true);
                    status.send_replace(AppStatus::Healthy);
                }
            }
            Err(reason) => {
                if let ProbeFailure::Call(error) = &reason {
                    tracing::error!(target: SCOPE, "App health probe could not complete with error: {error}");
                }
                if counter.fail(probe.counts_every_failure()) {
                    tracing::warn!(target: SCOPE, "App entered un-healthy status: {reason}");
                    gate.set_healthy(false);
                    status.send_replace(AppStatus::Unhealthy);
                }
            }
        }
    }
}

// === impl ProbeSettings ===

impl Default for ProbeSettings {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(5),
            timeout: Duration::from_millis(500),
            threshold: 3,
        }
    }
}

// === impl Counter ===

impl Counter {
    const fn is_healthy(&self) -> bool {
        self.failures < self.threshold
    }

    /// Records a success; returns whether the app has become healthy. A success of a healthy app changes
    /// nothing, so failures need not be consecutive.
    fn succeed(&mut self) -> bool {
        if self.is_healthy() {
            return false;
        }
        self.failures = 0;
        true
    }

    /// Records a failure; returns whether the app has become unhealthy.
    fn fail(&mut self, always: bool) -> bool {
        if !self.is_healthy() && !always {
            return false;
        }
        self.failures = self.failures.saturating_add(1);
        self.failures == self.threshold
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Mutex;

    use super::*;

    struct Script(Mutex<VecDeque<bool>>, CancellationToken);

    impl Probe for Script {
        fn probe(&self, _: Duration) -> BoxFuture<'_, Result<(), ProbeFailure>> {
            let next = self.0.lock().unwrap().pop_front();
            if next.is_none() {
                self.1.cancel();
            }
            let outcome = if next.unwrap_or_default() {
                Ok(())
            } else {
                Err(ProbeFailure::Status(503))
            };
            Box::pin(async move {
                // The last outcome is never recorded: the watch has been stopped.
                tokio::task::yield_now().await;
                outcome
            })
        }
    }

    async fn run(outcomes: &[bool]) -> (AppStatus, bool, Duration) {
        let stop = CancellationToken::new();
        let probe = Script(Mutex::new(outcomes.iter().copied().collect()), stop.clone());
        let (status, seen) = watch::channel(AppStatus::Unknown);
        let gate = Gate::new(None);
        let begun = tokio::time::Instant::now();
        watch_health(&probe, ProbeSettings::default(), &gate, &status, &stop).await;
        let last = *seen.borrow();
        (last, gate.is_healthy(), begun.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn the_app_is_unhealthy_until_the_first_success() {
        let (status, is_open, _) = run(&[]).await;
        assert_eq!((status, is_open), (AppStatus::Unknown, false));
        let (status, is_open, _) = run(&[false, false, false, false]).await;
        assert_eq!((status, is_open), (AppStatus::Unknown, false));
        let (status, is_open, elapsed) = run(&[false, true]).await;
        assert_eq!((status, is_open), (AppStatus::Healthy, true));
        assert_eq!(elapsed, Duration::from_secs(10));
    }

    #[tokio::test(start_paused = true)]
    async fn failures_up_to_the_threshold_make_it_unhealthy_even_with_successes_between() {
        let (status, is_open, _) = run(&[true, false, false, true]).await;
        assert_eq!((status, is_open), (AppStatus::Healthy, true));
        let (status, is_open, _) = run(&[true, false, false, true, false]).await;
        assert_eq!((status, is_open), (AppStatus::Unhealthy, false));
        let (status, is_open, _) = run(&[true, false, false, false, false, true]).await;
        assert_eq!((status, is_open), (AppStatus::Healthy, true));
    }

    #[test]
    fn reasons_are_worded_as_the_log_words_them() {
        assert_eq!(
            ProbeFailure::Network("EOF".to_owned()).to_string(),
            "Network error: EOF"
        );
        assert_eq!(
            ProbeFailure::Status(500).to_string(),
            "Health check failed with status code: 500"
        );
        assert_eq!(ProbeFailure::Call("x".to_owned()).to_string(), "Probe error: x");
    }
}
