//! Calls over HTTP under the policies of their targets.
//!
//! Source: specification, service invocation 3.5 and 10.3; resiliency 5.

use std::fmt;

use outrigger_link::{CallError, Invocation, InvocationHead, ReplayBody, Reply};
use outrigger_resilience::{Class, Failure, Policy, PolicyError};
use outrigger_svc::BoxError;
use outrigger_telemetry::trace::TraceContext;

use super::outcome::hold;
use super::{Invoker, Target, TargetId};
use crate::attempt::{Kind, attempted};

/// An attempt that a policy takes for failed.
#[derive(Debug)]
pub(super) enum Unsuccessful {
    /// There was no answer.
    NoReply(CallError, Repeat),
    /// The app answered with an HTTP status outside 200 to 399.
    Status(Box<Reply>, Repeat),
    /// Such an answer broke off.
    Broken(BoxError),
}

/// Whether the request can be made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    Possible,
    Impossible,
}

// === impl Invoker ===

impl Invoker {
    /// The policies that apply to a target as it is written, if any do.
    pub(super) fn policy<'a>(&'a self, target: &'a Target<'_>) -> Option<Policy<'a>> {
        let endpoint = || self.endpoint_text(&target.id, &target.method);
        self.0.parts.policies.app(&target.id, endpoint)
    }

    /// What circuit breakers tell the methods of a target apart by.
    pub(crate) fn endpoint_text(&self, id: &str, method: &str) -> String {
        match TargetId::parse(id) {
            Ok(TargetId::Url(url)) => format!("{url}/{method}"),
            Ok(TargetId::App { app_id, .. }) => match self.0.external.base_url(app_id) {
                Some(base_url) => format!("{id}:{base_url}"),
                None => format!("{id}:{method}"),
            },
            Err(_) => format!("{id}:{method}"),
        }
    }

    /// Calls a method as often as the policy wants, and returns when an answer has begun.
    ///
    /// # Errors
    /// The failure of the last attempt, which may well be an answer.
    pub(super) async fn invoke_under(
        &self,
        policy: Policy<'_>,
        id: &str,
        call: Invocation,
        trace: &TraceContext,
    ) -> Result<Reply, PolicyError<Unsuccessful>> {
        let (head, body) = InvocationHead::split(call);
        let repeat = if head.is_streaming() {
            Repeat::Impossible
        } else {
            Repeat::Possible
        };
        let body = if repeat == Repeat::Possible && policy.has_retries() {
            ReplayBody::keeping_later(body)
        } else {
            ReplayBody::once(body)
        };
        let attempt = |_| {
            let call = head.clone().with_body(body.replay());
            self.attempt(id, call, repeat, trace)
        };
        let (mut reply, pending) = policy.begin(attempt).await?;
        if reply.status.is_switching() {
            // A conversation is no part of the attempt that opened it.
            pending.succeed();
        } else {
            reply.body = attempted(reply.body, pending, Kind::Http);
        }
        Ok(reply)
    }

    async fn attempt(
        &self,
        id: &str,
        call: Invocation,
        repeat: Repeat,
        trace: &TraceContext,
    ) -> Result<Reply, Unsuccessful> {
        let is_upgrade = call.upgrade;
        let reply = self.invoke(id, call, trace).await;
        let mut reply = reply.map_err(|error| Unsuccessful::NoReply(error, repeat))?;
        let is_opened = reply.status.is_switching() && is_upgrade;
        if is_opened || !reply.status.is_http() || (200..400).contains(&reply.status.code) {
            return Ok(reply);
        }
        if repeat == Repeat::Possible {
            let (held, _) = hold(std::mem::take(&mut reply.body))
                .await
                .map_err(Unsuccessful::Broken)?;
            reply.body = held;
        }
        Err(Unsuccessful::Status(Box::new(reply), repeat))
    }
}

// === impl Unsuccessful ===

impl Failure for Unsuccessful {
    fn class(&self) -> Class {
        match self {
            Self::NoReply(_, Repeat::Impossible) | Self::Status(_, Repeat::Impossible) => Class::Permanent,
            Self::NoReply(..) | Self::Broken(_) => Class::Plain,
            Self::Status(reply, _) => Class::Code(reply.status.code),
        }
    }
}

impl fmt::Display for Unsuccessful {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoReply(error, _) => error.fmt(f),
            Self::Status(reply, _) => write!(f, "received non-successful status code: {}", reply.status.code),
            Self::Broken(error) => error.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use outrigger_telemetry::metrics::Metrics;

    use super::super::EndpointSettings;
    use super::super::testing::invoker;

    #[tokio::test]
    async fn breakers_tell_targets_apart_as_specified() {
        let endpoint = EndpointSettings {
            name: "outside".to_owned(),
            base_url: "http://127.0.0.1:1/base".to_owned(),
            ..EndpointSettings::default()
        };
        let invoker = invoker(None, &[], &[endpoint], &Metrics::disabled());
        let table = [
            ("app", "app:a/b"),
            ("app.other", "app.other:a/b"),
            ("outside", "outside:http://127.0.0.1:1/base"),
            ("http://127.0.0.1:2", "http://127.0.0.1:2/a/b"),
            ("no.such.id", "no.such.id:a/b"),
        ];
        for (id, expected) in table {
            assert_eq!(invoker.endpoint_text(id, "a/b"), expected);
        }
    }
}
