//! `middleware.http.opa`: a policy in Rego decides which requests pass.
//!
//! ```text
//! request ─▶ input ─▶ data.http.allow ─┬─ true, {allow: true, …}   ─▶ next handler
//!                                      ├─ false, {allow: false, …} ─▶ answer
//!                                      └─ anything else            ─▶ answer, x-dapr-opa-error
//! ```
//!
//! Source: specification, HTTP middleware 9.

mod input;
mod policy;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use outrigger_component::{Catalogue, HttpMiddleware, Init, Next, Properties, answer};
use outrigger_kit::header::canonical;
use outrigger_svc::{Body, BoxError, BoxFuture, Request, Response, collect_limited};
use serde_json::Value;

use self::input::input;
use self::policy::{Decision, Policy};

/// Lets requests pass that the policy allows.
#[derive(Debug)]
pub struct Opa {
    policy: Policy,
    log_name: Arc<str>,
    default_status: u16,
    /// Canonical names of the headers that the policy sees.
    headers: Vec<(HeaderName, String)>,
    reads_body: bool,
}

const ERROR: HeaderName = HeaderName::from_static("x-dapr-opa-error");
/// Most bytes of a body that a policy looks at.
const MAX_BODY: usize = 64 << 20;

/// Adds the type of this crate.
pub fn register(catalogue: &mut Catalogue) {
    catalogue
        .http_middleware
        .register("middleware.http.opa", Opa::make);
}

// === impl Opa ===

impl Opa {
    async fn make(init: Init) -> Result<Arc<dyn HttpMiddleware>, BoxError> {
        Ok(Arc::new(Self::new(&init.properties, Arc::clone(&init.log_name))?))
    }

    fn new(properties: &Properties, log_name: Arc<str>) -> Result<Self, BoxError> {
        let fields = properties.fields()?;
        let text = |name: &str| fields.text(name).unwrap_or_default();
        Ok(Self {
            default_status: default_status(text("defaultStatus"))?,
            headers: header_names(text("includedHeaders")),
            reads_body: fields.boolean("readBody").unwrap_or_default(),
            policy: Policy::compile(text("rego"))?,
            log_name,
        })
    }

    /// What the policy says; nothing if it cannot say, which is logged.
    fn decide(&self, request: &Request, body: &[u8]) -> Option<Decision> {
        let decision = self.policy.decide(input(request, &self.headers, body));
        decision
            .inspect_err(|reason| {
                tracing::warn!(
                    target: "dapr.contrib",
                    component = &*self.log_name,
                    "the policy could not decide: {reason}"
                );
            })
            .ok()
    }

    fn refuse(&self, status: Option<i64>, headers: &HeaderMap) -> Response {
        let status = status.map_or(self.default_status, |status| {
            u16::try_from(status).unwrap_or_default()
        });
        let mut response = answer(status);
        set(response.headers_mut(), headers);
        response
    }
}

impl HttpMiddleware for Opa {
    fn call<'a>(&'a self, mut request: Request, next: Next<'a>) -> BoxFuture<'a, Result<Response, BoxError>> {
        Box::pin(async move {
            let mut body = Bytes::new();
            if self.reads_body {
                body = collect_limited(std::mem::take(request.body_mut()), MAX_BODY).await?;
                *request.body_mut() = Body::from(body.clone());
            }
            match self.decide(&request, &body) {
                Some(Decision {
                    allow: true, headers, ..
                }) => {
                    set(request.headers_mut(), &headers);
                    next.run(request).await
                }
                Some(Decision { status, headers, .. }) => Ok(self.refuse(status, &headers)),
                None => {
                    let headers = HeaderMap::from_iter([(ERROR, HeaderValue::from_static("true"))]);
                    Ok(self.refuse(None, &headers))
                }
            }
        })
    }
}

fn set(headers: &mut HeaderMap, more: &HeaderMap) {
    for (name, value) in more {
        headers.insert(name.clone(), value.clone());
    }
}

/// A status from 100 to 599; 403 if none is given.
fn default_status(text: &str) -> Result<u16, BoxError> {
    if text.is_empty() {
        return Ok(StatusCode::FORBIDDEN.as_u16());
    }
    let number =
        outrigger_kit::number::atoi(text).map_err(|error| format!("invalid status value: {error}"))?;
    match u16::try_from(number) {
        Ok(status @ 100..=599) => Ok(status),
        _ => Err(format!("invalid status value {number} expected in range [100-599]").into()),
    }
}

fn header_names(list: &str) -> Vec<(HeaderName, String)> {
    let names = list.split(',').map(|name| name.replace(' ', ""));
    let names = names.filter_map(|name| {
        let canonical = canonical(&name).into_owned();
        Some((HeaderName::try_from(name).ok()?, canonical))
    });
    names.collect()
}

/// A JSON text, whatever the value is.
fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
