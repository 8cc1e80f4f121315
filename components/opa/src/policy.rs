//! A compiled policy, asked by many requests at once.

use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderName, HeaderValue};
use outrigger_svc::BoxError;
use regorus::utils::limits::ExecutionTimerConfig;
use regorus::{Engine, Value as RegoValue};
use serde_json::{Value, json};

use crate::text_of;

/// A policy. Each request has an engine for itself, taken from those that have nothing to do.
pub(crate) struct Policy {
    /// It was compiled once and is only copied.
    template: Engine,
    idle: Mutex<Vec<Engine>>,
}

/// What a policy says of a request.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Decision {
    pub(crate) allow: bool,
    /// Status of the refusal; none for the default one.
    pub(crate) status: Option<i64>,
    /// For the request that passes, or the answer that refuses it.
    pub(crate) headers: HeaderMap,
}

/// The rule that decides.
const RULE: &str = "data.http.allow";
/// Longest time for a decision: a policy that runs on must not stop a worker.
const LIMIT: Duration = Duration::from_secs(1);
/// How many steps pass between two looks at the clock.
const LOOK_EVERY: NonZeroU32 = NonZeroU32::new(1000).expect("1000 is not 0");
/// Engines that are kept for the next requests.
const MOST_IDLE: usize = 64;

// === impl Policy ===

impl Policy {
    /// Compiles a module, in the present syntax or the one before (v0).
    pub(crate) fn compile(rego: &str) -> Result<Self, BoxError> {
        let old = engine(rego, Syntax::Old);
        let template = old.or_else(|error| engine(rego, Syntax::Present).map_err(|_| error))?;
        Ok(Self {
            template,
            idle: Mutex::default(),
        })
    }

    /// Decides about an input.
    ///
    /// # Errors
    /// A policy that cannot be evaluated, or says something that is no decision.
    pub(crate) fn decide(&self, input: Value) -> Result<Decision, String> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut engine = idle.unwrap_or_else(|| self.template.clone());
        engine.set_input(RegoValue::from(input));
        let result = engine
            .eval_rule(RULE.to_owned())
            .map_err(|error| error.to_string())?;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MOST_IDLE {
            idle.push(engine);
        }
        drop(idle);
        if result == RegoValue::Undefined {
            return Err("the rule is undefined".to_owned());
        }
        let result = serde_json::to_value(&result).map_err(|error| error.to_string())?;
        decision(&result)
    }
}

impl std::fmt::Debug for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Policy").finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Syntax {
    Old,
    Present,
}

fn engine(rego: &str, syntax: Syntax) -> Result<Engine, BoxError> {
    let mut engine = Engine::new();
    engine.set_rego_v0(syntax == Syntax::Old);
    engine.set_execution_timer_config(ExecutionTimerConfig {
        limit: LIMIT,
        check_interval: LOOK_EVERY,
    });
    let added = engine.add_extension(
        "io.jwt.decode".to_owned(),
        1,
        Box::new(|arguments: Vec<RegoValue>| Ok(decode_token(&arguments))),
    );
    added.map_err(|error| error.to_string())?;
    let package = engine
        .add_policy("inline.rego".to_owned(), rego.to_owned())
        .map_err(|error| error.to_string())?;
    if package != "data.http" {
        tracing::warn!(
            target: "dapr.contrib",
            "the policy's package is {package}; the rule that decides is {RULE}"
        );
    }
    Ok(engine)
}

/// `io.jwt.decode`: header, payload and signature of a token, which is not verified.
fn decode_token(arguments: &[RegoValue]) -> RegoValue {
    let decoded = || {
        let token = arguments.first()?.as_string().ok()?;
        let [header, payload, signature] = token.split('.').collect::<Vec<_>>().try_into().ok()?;
        let part = |text: &str| URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok();
        let object = |text: &str| serde_json::from_slice::<Value>(&part(text)?).ok();
        let signature: String = part(signature)?
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Some(RegoValue::from(json!([
            object(header)?,
            object(payload)?,
            signature
        ])))
    };
    decoded().unwrap_or(RegoValue::Undefined)
}

/// Reads the value of the rule.
fn decision(result: &Value) -> Result<Decision, String> {
    let object = match result {
        Value::Bool(allow) => {
            return Ok(Decision {
                allow: *allow,
                ..Decision::default()
            });
        }
        Value::Object(object) => object,
        other => return Err(format!("{other} is no decision")),
    };
    let allow = match object.get("allow") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(allow)) => *allow,
        Some(other) => return Err(format!("allow is {other}")),
    };
    let status = match object.get("status_code") {
        None | Some(Value::Null) => None,
        // 0 is what nothing is.
        Some(status) => match status.as_f64() {
            Some(number) => Some(number as i64).filter(|number| *number != 0),
            None => return Err(format!("status_code is {status}")),
        },
    };
    let mut headers = HeaderMap::new();
    match object.get("additional_headers") {
        None | Some(Value::Null) => {}
        Some(Value::Object(more)) => {
            for (name, value) in more {
                let header = HeaderName::try_from(name)
                    .ok()
                    .zip(HeaderValue::try_from(text_of(value)).ok());
                let (name, value) = header.ok_or_else(|| format!("{name} is no header"))?;
                headers.insert(name, value);
            }
        }
        Some(other) => return Err(format!("additional_headers is {other}")),
    }
    Ok(Decision {
        allow,
        status,
        headers,
    })
}
