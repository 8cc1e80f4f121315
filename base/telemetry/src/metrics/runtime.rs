//! The runtime itself: components, identity, access control, actors.

use super::instrument::{Counter, Gauge};
use super::registry::{Description, Fixed, Registry};

/// Components, access control and actors of a sidecar.
#[derive(Debug)]
pub struct Runtime {
    component_loaded: Counter,
    component_initialised: Counter,
    component_state: Gauge,
    component_failed: Counter,
    app_policy_allowed: Counter,
    app_policy_blocked: Counter,
    global_policy_allowed: Counter,
    global_policy_blocked: Counter,
    workflow_allowed: Counter,
    workflow_denied: Counter,
    actor_rebalanced: Counter,
    actor_deactivated: Counter,
    actor_deactivation_failed: Counter,
    actor_pending_calls: Gauge,
    actor_timers: Gauge,
    actor_reminders_fired: Counter,
    actor_timers_fired: Counter,
    error_codes: Option<Counter>,
}

/// The own certificate.
#[derive(Debug)]
pub struct Mtls {
    obtained: Counter,
    failed: Counter,
    rotated: Counter,
    rotation_failed: Counter,
}

/// The other end of a call that an access policy decided on. The series bear its app id, not the own.
#[derive(Clone, Copy, Debug, Default)]
pub struct PolicyCaller<'a> {
    /// App id.
    pub app_id: &'a str,
    /// Trust domain of its identity.
    pub trust_domain: &'a str,
    /// Namespace of its identity.
    pub namespace: &'a str,
}

/// What an access policy says about a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The call goes on.
    Allowed,
    /// The call is refused.
    Denied,
}

/// How an operation ended, as the label `success` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Success {
    /// `true`
    Yes,
    /// `false`
    No,
}

// === impl Runtime ===

impl Runtime {
    pub(super) fn new(registry: &Registry, record_error_codes: bool) -> Self {
        let describe = |name, help, labels| Description {
            name,
            help,
            labels,
            fixed: Fixed::AppId,
        };
        let counter = |name, help, labels| registry.counter(describe(name, help, labels));
        let policy = |name, help| {
            let labels: &[&str] = &["app_id", "trustDomain", "namespace"];
            registry.counter(Description {
                name,
                help,
                labels,
                fixed: Fixed::Nothing,
            })
        };
        let actor: &[&str] = &["actor_type"];
        Self {
            component_loaded: counter(
                "runtime/component/loaded",
                "The number of components that have been loaded.",
                &[],
            ),
            component_initialised: counter(
                "runtime/component/init_total",
                "The number of initialized components.",
                &["component"],
            ),
            component_failed: counter(
                "runtime/component/init_fail_total",
                "The number of components that could not be created or initialized.",
                &["component", "reason", "componentName"],
            ),
            component_state: registry.gauge(describe(
                "runtime/component/state",
                "The state of a component: 1 for the one it is in.",
                &["component", "componentName", "state"],
            )),
            app_policy_allowed: policy(
                "runtime/acl/app_policy_action_allowed_total",
                "The number of requests allowed by the app action specified in the access control policy.",
            ),
            app_policy_blocked: policy(
                "runtime/acl/app_policy_action_blocked_total",
                "The number of requests blocked by the app action specified in the access control policy.",
            ),
            global_policy_allowed: policy(
                "runtime/acl/global_policy_action_allowed_total",
                "The number of requests allowed by the global action specified in the access control policy.",
            ),
            global_policy_blocked: policy(
                "runtime/acl/global_policy_action_blocked_total",
                "The number of requests blocked by the global action specified in the access control policy.",
            ),
            workflow_allowed: counter(
                "runtime/workflow/acl_action_allowed_total",
                "The number of workflow operations that an access policy allowed.",
                &["src_app_id", "operation", "type"],
            ),
            workflow_denied: counter(
                "runtime/workflow/acl_action_denied_total",
                "The number of workflow operations that an access policy denied.",
                &["src_app_id", "operation", "type"],
            ),
            actor_rebalanced: counter(
                "runtime/actor/rebalanced_total",
                "The number of actor rebalances.",
                actor,
            ),
            actor_deactivated: counter(
                "runtime/actor/deactivated_total",
                "The number of actors that have been deactivated.",
                actor,
            ),
            actor_deactivation_failed: counter(
                "runtime/actor/deactivated_failed_total",
                "The number of actor deactivations that have failed.",
                actor,
            ),
            actor_pending_calls: registry.gauge(describe(
                "runtime/actor/pending_actor_calls",
                "The number of actor calls that wait for the lock of their actor.",
                actor,
            )),
            actor_timers: registry.gauge(describe(
                "runtime/actor/timers",
                "The number of active actor timers.",
                actor,
            )),
            actor_reminders_fired: counter(
                "runtime/actor/reminders_fired_total",
                "The number of actor reminders that have fired.",
                &["actor_type", "success"],
            ),
            actor_timers_fired: counter(
                "runtime/actor/timers_fired_total",
                "The number of actor timers that have fired.",
                &["actor_type", "success"],
            ),
            error_codes: record_error_codes.then(|| {
                counter(
                    "error_code/total",
                    "The number of error answers, by error code.",
                    &["error_code", "category"],
                )
            }),
        }
    }

    /// Counts a component that has been loaded.
    pub fn component_loaded(&self) {
        self.component_loaded.increment(&[]);
    }

    /// Counts a component that has been initialised; `kind` is its type.
    pub fn component_initialised(&self, kind: &str) {
        self.component_initialised.increment(&[kind]);
    }

    /// Counts a component that failed; `reason` is `creation` or `init`.
    pub fn component_failed(&self, kind: &str, reason: &str, name: &str) {
        self.component_failed.increment(&[kind, reason, name]);
    }

    /// Shows whether a component is in this state, one of `starting`, `ready`, `degraded` and `failed`.
    pub fn component_state(&self, kind: &str, name: &str, state: &str, is_in_it: Success) {
        let value = match is_in_it {
            Success::Yes => 1.0,
            Success::No => 0.0,
        };
        self.component_state.set(&[kind, name, state], value);
    }

    /// Counts a call that the policy of its app decided on.
    pub fn app_policy(&self, caller: PolicyCaller<'_>, allowed: Decision) {
        let counter = allowed.choose(&self.app_policy_allowed, &self.app_policy_blocked);
        counter.increment(&caller.labels());
    }

    /// Counts a call that the default of all policies decided on.
    pub fn global_policy(&self, caller: PolicyCaller<'_>, allowed: Decision) {
        let counter = allowed.choose(&self.global_policy_allowed, &self.global_policy_blocked);
        counter.increment(&caller.labels());
    }

    /// Counts a workflow operation that a policy decided on.
    pub fn workflow_policy(&self, caller_app_id: &str, operation: &str, kind: &str, allowed: Decision) {
        let counter = allowed.choose(&self.workflow_allowed, &self.workflow_denied);
        counter.increment(&[caller_app_id, operation, kind]);
    }

    /// Counts a rebalance of an actor type.
    pub fn actor_rebalanced(&self, actor_type: &str) {
        self.actor_rebalanced.increment(&[actor_type]);
    }

    /// Counts a deactivation of an actor.
    pub fn actor_deactivated(&self, actor_type: &str) {
        self.actor_deactivated.increment(&[actor_type]);
    }

    /// Counts a deactivation that failed.
    pub fn actor_deactivation_failed(&self, actor_type: &str) {
        self.actor_deactivation_failed.increment(&[actor_type]);
    }

    /// Sets how many calls wait for the lock of an actor.
    pub fn actor_pending_calls(&self, actor_type: &str, count: usize) {
        self.actor_pending_calls.set(&[actor_type], count as f64);
    }

    /// Sets how many timers are active.
    pub fn actor_timers(&self, actor_type: &str, count: usize) {
        self.actor_timers.set(&[actor_type], count as f64);
    }

    /// Counts a reminder that fired.
    pub fn actor_reminder_fired(&self, actor_type: &str, success: Success) {
        self.actor_reminders_fired
            .increment(&[actor_type, success.label()]);
    }

    /// Counts a timer that fired.
    pub fn actor_timer_fired(&self, actor_type: &str, success: Success) {
        self.actor_timers_fired.increment(&[actor_type, success.label()]);
    }

    /// Counts an error answer, if error codes are recorded at all.
    pub fn error_code(&self, code: &str, category: &str) {
        if let Some(counter) = &self.error_codes {
            counter.increment(&[code, category]);
        }
    }
}

// === impl PolicyCaller ===

impl<'a> PolicyCaller<'a> {
    fn labels(self) -> [&'a str; 3] {
        [self.app_id, self.trust_domain, self.namespace]
    }
}

// === impl Decision ===

impl Decision {
    fn choose<T>(self, allowed: T, denied: T) -> T {
        match self {
            Self::Allowed => allowed,
            Self::Denied => denied,
        }
    }
}

// === impl Success ===

impl Success {
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Yes => "true",
            Self::No => "false",
        }
    }
}

impl From<bool> for Success {
    fn from(success: bool) -> Self {
        if success { Self::Yes } else { Self::No }
    }
}

// === impl Mtls ===

impl Mtls {
    pub(super) fn new(registry: &Registry) -> Self {
        let counter = |name, help, labels| {
            registry.counter(Description {
                name,
                help,
                labels,
                fixed: Fixed::AppId,
            })
        };
        Self {
            obtained: counter(
                "runtime/mtls/init_total",
                "The number of identities obtained at start.",
                &[],
            ),
            failed: counter(
                "runtime/mtls/init_fail_total",
                "The number of identities that could not be obtained at start.",
                &["reason"],
            ),
            rotated: counter(
                "runtime/mtls/workload_cert_rotated_total",
                "The number of times that the own certificate has been replaced.",
                &[],
            ),
            rotation_failed: counter(
                "runtime/mtls/workload_cert_rotated_fail_total",
                "The number of times that the own certificate could not be replaced.",
                &["reason"],
            ),
        }
    }

    /// Counts an identity obtained at start.
    pub fn obtained(&self) {
        self.obtained.increment(&[]);
    }

    /// Counts an identity that could not be obtained at start.
    pub fn failed(&self, reason: &str) {
        self.failed.increment(&[reason]);
    }

    /// Counts a replacement of the own certificate.
    pub fn rotated(&self) {
        self.rotated.increment(&[]);
    }

    /// Counts a replacement that failed: `sentry_conn`, `sentry_token`, `sign`, `invalid_ts`, `jwt_parse` or
    /// `jwt_aud`.
    pub fn rotation_failed(&self, reason: &str) {
        self.rotation_failed.increment(&[reason]);
    }
}
