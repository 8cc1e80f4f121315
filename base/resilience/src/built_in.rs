//! Retry policies of the sidecar itself.
//!
//! Source: specification, resiliency 2.

use std::time::Duration;

use outrigger_config::resources::{Matching, RetryPolicy};
use outrigger_kit::backoff::{Exponential, Policy};

/// A retry policy that exists without any resource; resources may replace all but one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuiltIn {
    /// Service invocation: 3 retries, a second apart.
    Service,
    /// Calls to actors by the management of workflows: 3 retries, a second apart.
    Actor,
    /// Reminders: exponential, but without a retry.
    ActorReminder,
    /// Actors that are not where they were: 5 retries, a second apart. Not to be replaced.
    ActorNotFound,
    /// What the app is asked at start: 3 retries, exponential up to a second, 10 seconds at most.
    Initialization,
}

// === impl BuiltIn ===

impl BuiltIn {
    pub(crate) const ALL: [Self; 5] = [
        Self::Service,
        Self::Actor,
        Self::ActorReminder,
        Self::ActorNotFound,
        Self::Initialization,
    ];

    const DEFAULTS: [RetryPolicy; 5] = [
        every_second(3),
        every_second(3),
        growing(60, 0, 15 * 60),
        every_second(5),
        growing(1, 3, 10),
    ];

    /// The name in resources and log lines.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Service => "DaprBuiltInServiceRetries",
            Self::Actor => "DaprBuiltInActorRetries",
            Self::ActorReminder => "DaprBuiltInActorReminderRetries",
            Self::ActorNotFound => "DaprBuiltInActorNotFoundRetries",
            Self::Initialization => "DaprBuiltInInitializationRetries",
        }
    }

    /// The policy that applies unless a resource replaces it.
    pub(crate) fn default_policy(self) -> &'static RetryPolicy {
        static DEFAULTS: [RetryPolicy; 5] = BuiltIn::DEFAULTS;
        &DEFAULTS[self as usize]
    }
}

const ANY_CODE: Matching = Matching {
    http: None,
    grpc: None,
};

const fn every_second(max_retries: u32) -> RetryPolicy {
    RetryPolicy {
        pauses: Policy::Constant {
            pause: Duration::from_secs(1),
            max_retries: Some(max_retries),
        },
        matching: ANY_CODE,
    }
}

/// Pauses that grow as those of resources do, up to `max_interval` seconds, within `max_elapsed` seconds.
const fn growing(max_interval: u64, max_retries: u32, max_elapsed: u64) -> RetryPolicy {
    let usual = Exponential::resiliency(Duration::from_secs(max_interval), Some(max_retries));
    RetryPolicy {
        pauses: Policy::Exponential(Exponential {
            max_elapsed: Some(Duration::from_secs(max_elapsed)),
            ..usual
        }),
        matching: ANY_CODE,
    }
}
