//! Times of the workflow engine.

use std::time::Duration;

use outrigger_kit::duration::{self, GoDuration};

use super::settings::span;
use crate::env::{self, Env};

/// Times of the workflow engine, for those who know it; none leaves the choice to the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkflowTimes {
    /// Time between checks for stuck workflows.
    pub janitor_period: Option<Duration>,
    /// Time between looks for idle workflow actors; 5 s.
    pub reaper_scan_interval: Duration,
    /// Idle time after which a workflow actor is let go.
    pub reaper_idle: Option<Duration>,
    /// Longest wait for the completions of one workflow turn to be gathered; 2 min.
    pub fold_wait: Duration,
}

// === impl WorkflowTimes ===

impl WorkflowTimes {
    pub(super) fn new(environment: &impl Env) -> Self {
        let known = |name: &str| {
            let given = environment.get_filled(name)?;
            let span = duration::parse_go(&given).ok().and_then(GoDuration::positive);
            if span.is_none() {
                tracing::warn!(target: "dapr.runtime", "Ignoring invalid duration \"{given}\" in {name}");
            }
            span
        };
        Self {
            janitor_period: known(env::DAPR_WORKFLOW_JANITOR_PERIOD),
            reaper_scan_interval: span(
                environment,
                env::DAPR_WORKFLOW_REAPER_SCAN_INTERVAL,
                Duration::from_secs(5),
            ),
            reaper_idle: known(env::DAPR_WORKFLOW_REAPER_IDLE_TTL),
            fold_wait: span(
                environment,
                env::DAPR_WORKFLOW_FOLD_WAIT_TIMEOUT,
                Duration::from_secs(120),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::EmptyEnv;

    #[test]
    fn times_come_from_the_environment_and_bad_ones_are_ignored() {
        let times = WorkflowTimes::new(&EmptyEnv);
        assert_eq!((times.janitor_period, times.reaper_idle), (None, None));
        assert_eq!(times.reaper_scan_interval, Duration::from_secs(5));
        assert_eq!(times.fold_wait, Duration::from_secs(120));
        let given = [
            ("DAPR_WORKFLOW_JANITOR_PERIOD", "1m"),
            ("DAPR_WORKFLOW_REAPER_SCAN_INTERVAL", "250ms"),
            ("DAPR_WORKFLOW_REAPER_IDLE_TTL", "-1s"),
            ("DAPR_WORKFLOW_FOLD_WAIT_TIMEOUT", "soon"),
        ];
        let times = WorkflowTimes::new(&given);
        assert_eq!(times.janitor_period, Some(Duration::from_secs(60)));
        assert_eq!(times.reaper_scan_interval, Duration::from_millis(250));
        assert_eq!(times.reaper_idle, None);
        assert_eq!(times.fold_wait, Duration::from_secs(120));
    }
}
