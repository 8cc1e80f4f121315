//! Access control: which caller may call which operation of the own app.
//!
//! ```text
//! Configuration ──compile, once──▶ Policies ─▶ caller (app id, namespace) ─▶ trie of operations
//!                                                        ▲                        ▲
//! TLS peer ─▶ Caller ────────────────────────────────────┘                        │
//! method ─▶ outrigger_kit::method::normalise ─▶ what is judged here ══ the same text ══▶ app
//! ```
//!
//! Only the callee judges, and only calls that come from other sidecars, and gRPC calls that an app passes
//! through to itself. Who calls is known from the certificate of the connection and from nothing else.
//! A decision allocates nothing unless a method has letters beyond ASCII.
//!
//! Source: specification, access control 1.

mod compile;
#[cfg(any(test, feature = "bench"))]
pub(crate) mod naive;
#[cfg(test)]
mod tests;
mod trie;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use outrigger_link::{Status, Verb, code};
use outrigger_telemetry::metrics::{Decision, Metrics, PolicyCaller};

pub(crate) use self::compile::AccessError;
use self::trie::{Case, Trie};

/// The access control of one run: compiled policies, or none, which allows everything and counts nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct AccessControl(Option<Arc<Policies>>);

/// A call that is to be judged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'a> {
    /// SPIFFE id of the TLS peer; none without mTLS.
    pub(crate) peer: Option<&'a str>,
    /// The normalised method, exactly as it goes on to the app.
    pub(crate) operation: &'a str,
    /// How the app is called.
    pub(crate) protocol: Protocol,
}

/// What rules are matched by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// An HTTP app is called: operations in any letter case, rules by verb. [`Verb::NONE`] if the call names none.
    Http(Verb),
    /// A gRPC app is called: operations in their letter case, rules for all verbs.
    Grpc,
}

/// Everything that the Configuration says about callers.
#[derive(Debug)]
struct Policies {
    /// Whether callers without a policy may call.
    default: bool,
    /// By app id, then by namespace.
    callers: HashMap<Box<str>, HashMap<Box<str>, Policy>>,
}

/// The rules for one caller.
#[derive(Debug)]
struct Policy {
    trust_domain: Box<str>,
    /// Whether operations without a rule may be called; none leaves it to the default of all.
    default: Option<bool>,
    operations: Trie,
}

/// Who calls, taken out of a SPIFFE id that TLS has verified.
#[derive(Clone, Copy, Debug)]
struct Caller<'a> {
    app_id: &'a str,
    trust_domain: &'a str,
    namespace: &'a str,
}

/// The outcome of a decision and whose default it rests on, which is what metrics tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Verdict {
    allowed: bool,
    scope: Scope,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    Global,
    App,
}

const ACL: &str = "dapr.acl";

// === impl AccessControl ===

impl AccessControl {
    /// Judges a call and counts the decision.
    ///
    /// # Errors
    /// PermissionDenied, with the text that callers know.
    pub(crate) fn permit(&self, subject: Subject<'_>, metrics: &Metrics) -> Result<(), Status> {
        let Some(policies) = &self.0 else { return Ok(()) };
        let caller = match subject.peer {
            Some(id) => Some(Caller::of(id).ok_or_else(|| malformed(id))?),
            None => None,
        };
        let verdict = policies.decide(caller, subject.operation, subject.protocol);
        verdict.count(caller, metrics);
        if verdict.allowed {
            return Ok(());
        }
        let denial = denial(subject);
        tracing::debug!(target: ACL, "{}", denial.message);
        Err(denial)
    }
}

// === impl Policies ===

impl Policies {
    fn decide(&self, caller: Option<Caller<'_>>, operation: &str, protocol: Protocol) -> Verdict {
        let global = Verdict {
            allowed: self.default,
            scope: Scope::Global,
        };
        let Some(policy) = caller.and_then(|caller| self.policy(caller)) else {
            return global;
        };
        let fallback = match policy.default {
            Some(allowed) => Verdict {
                allowed,
                scope: Scope::App,
            },
            None => global,
        };
        let (operation, case) = match protocol {
            Protocol::Grpc => (Cow::Borrowed(operation), Case::Kept),
            Protocol::Http(_) if operation.is_ascii() => (Cow::Borrowed(operation), Case::Folded),
            Protocol::Http(_) => (Cow::Owned(lower(operation)), Case::Kept),
        };
        let Some(rule) = policy.operations.find(&operation, case) else {
            return fallback;
        };
        let allowed = match protocol {
            Protocol::Grpc => rule.allows,
            // A call without a verb gets the default of its caller even where that is empty.
            Protocol::Http(Verb::NONE) => policy.default.unwrap_or(false),
            Protocol::Http(verb) if rule.verbs.contains(verb) => rule.allows,
            Protocol::Http(_) => fallback.allowed,
        };
        Verdict { allowed, ..fallback }
    }

    fn policy(&self, caller: Caller<'_>) -> Option<&Policy> {
        let policy = self.callers.get(caller.app_id)?.get(caller.namespace)?;
        (*policy.trust_domain == *caller.trust_domain).then_some(policy)
    }
}

// === impl Caller ===

impl<'a> Caller<'a> {
    /// The parts of `spiffe://<trust domain>/ns/<namespace>/<app id>`; segments behind the app id do not count.
    fn of(id: &'a str) -> Option<Self> {
        let mut segments = id.strip_prefix("spiffe://")?.split('/');
        let trust_domain = segments.next()?;
        let kind = segments.next()?;
        let namespace = segments.next()?;
        let app_id = segments.next()?;
        let is_workload = kind == "ns" && !namespace.is_empty() && !app_id.is_empty();
        is_workload.then_some(Self {
            app_id,
            trust_domain,
            namespace,
        })
    }
}

// === impl Verdict ===

impl Verdict {
    fn count(self, caller: Option<Caller<'_>>, metrics: &Metrics) {
        let labels = caller.map_or_else(PolicyCaller::default, |caller| PolicyCaller {
            app_id: caller.app_id,
            trust_domain: caller.trust_domain,
            namespace: caller.namespace,
        });
        let decision = match self.allowed {
            true => Decision::Allowed,
            false => Decision::Denied,
        };
        match self.scope {
            Scope::Global => metrics.runtime().global_policy(labels, decision),
            Scope::App => metrics.runtime().app_policy(labels, decision),
        }
    }
}

fn malformed(id: &str) -> Status {
    Status::new(code::PERMISSION_DENIED, format!("malformed SPIFFE ID: {id}"))
}

fn denial(subject: Subject<'_>) -> Status {
    let verb = match subject.protocol {
        Protocol::Http(verb) => verb,
        Protocol::Grpc => Verb::NONE,
    };
    let (id, operation) = (subject.peer.unwrap_or_default(), subject.operation);
    let text =
        format!("access control policy has denied access to id: {id} operation: {operation} verb: {verb}");
    Status::new(code::PERMISSION_DENIED, text)
}

/// A text in lower case, letter by letter as Go does it: no letter becomes two.
fn lower(text: &str) -> String {
    text.chars()
        .map(|letter| letter.to_lowercase().next().unwrap_or(letter))
        .collect()
}
