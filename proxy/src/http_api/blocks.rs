//! The building blocks of which this sidecar has no component, with the answers that say so.
//!
//! Where the reference looks at the body before it looks for the component, so does this.
//!
//! Source: specification, HTTP API 6 and the sheets of the blocks.

use std::fmt::Display;

use outrigger_error::Error;
use outrigger_kit::json::get_ignoring_case;
use outrigger_svc::{Request, Response};
use serde_json::{Map, Value};
use tonic::Code;

use super::query;
use super::reply::read;
use super::table::Operation;

/// Answers for building blocks without components.
#[derive(Clone, Debug)]
pub(crate) struct Unconfigured {
    /// App id, which some errors carry.
    pub(crate) app_id: String,
    /// Namespace, which some errors carry.
    pub(crate) namespace: String,
}

/// Why calls to the scheduler fail when no scheduler is configured.
const NO_SCHEDULER: &str = "scheduler clients are disabled";

// === impl Unconfigured ===

impl Unconfigured {
    /// Answers an operation; `values` are the decoded parameters of its path.
    ///
    /// # Errors
    /// Always: no block can succeed.
    pub(crate) async fn answer(
        &self,
        operation: Operation,
        values: Vec<String>,
        request: Request,
    ) -> Result<Response, Error> {
        use Operation as O;
        let mut values = values.into_iter();
        let first = values.next().unwrap_or_default();
        Err(match operation {
            O::GetState
            | O::SaveState
            | O::DeleteState
            | O::GetBulkState
            | O::ExecuteStateTransaction
            | O::QueryStateAlpha1 => Error::StateStoreNotConfigured {
                store: first,
                app_id: self.app_id.clone(),
            },
            O::GetSecret | O::GetBulkSecret => Error::SecretStoresNotConfigured,
            O::PublishEvent | O::BulkPublishEvent => Error::PubsubNotFound {
                pubsub: first,
                metadata: query::metadata(request.uri().query()),
            },
            O::InvokeBinding => return self.binding(first, request).await,
            O::GetConfiguration | O::SubscribeConfiguration | O::UnsubscribeConfiguration => {
                Error::ConfigurationStoresNotConfigured
            }
            O::TryLock => return self.try_lock(first, request).await,
            O::Unlock => {
                protojson(request).await?;
                Error::LockStoreNotConfigured
            }
            O::Encrypt | O::Decrypt => Error::CryptoNotConfigured,
            O::ScheduleJob => return self.schedule_job(request).await,
            O::GetJob | O::DeleteJob => self.job(operation, &first),
            O::ConverseAlpha1 | O::ConverseAlpha2 => {
                protojson(request).await?;
                Error::ConversationNotFound(first)
            }
            O::ExecuteActorStateTransaction
            | O::InvokeActor
            | O::GetActorState
            | O::RegisterActorReminder
            | O::RegisterActorTimer
            | O::UnregisterActorReminder
            | O::UnregisterActorTimer
            | O::GetActorReminder
            | O::GetWorkflow
            | O::StartWorkflow
            | O::RaiseEventWorkflow
            | O::PauseWorkflow
            | O::ResumeWorkflow
            | O::TerminateWorkflow
            | O::PurgeWorkflow => Error::ActorNoPlacement,
            O::SubtleGetKey
            | O::SubtleEncrypt
            | O::SubtleDecrypt
            | O::SubtleWrapKey
            | O::SubtleUnwrapKey
            | O::SubtleSign
            | O::SubtleVerify
            | O::InvokeService
            | O::GetMetadata
            | O::PutMetadata
            | O::Healthz
            | O::HealthzOutbound
            | O::Shutdown => Error::Unimplemented,
        })
    }

    async fn binding(&self, binding: String, request: Request) -> Result<Response, Error> {
        let body = read(request.into_body()).await.map_err(Error::MalformedBody)?;
        let value = first_json_value(&body).map_err(Error::MalformedBody)?;
        let members = members(&value, "http.outputBindingRequest").map_err(Error::MalformedBody)?;
        let operation = members.and_then(|members| get_ignoring_case(members, "operation"));
        let cause = match operation.and_then(Value::as_str).unwrap_or_default() {
            "" => "operation field is missing from request".to_owned(),
            _ => format!("couldn't find output binding {binding}"),
        };
        Err(Error::OutputBinding { binding, cause })
    }

    async fn try_lock(&self, store: String, request: Request) -> Result<Response, Error> {
        let body = protojson(request).await?;
        let expiry = member(&body, &["expiryInSeconds", "expiry_in_seconds"]);
        let seconds = match expiry {
            Some(Value::Number(number)) => number.as_f64().unwrap_or(0.0),
            Some(Value::String(text)) => text.parse().unwrap_or(0.0),
            _ => 0.0,
        };
        Err(if seconds > 0.0 {
            Error::LockStoreNotConfigured
        } else {
            Error::LockExpiry(store)
        })
    }

    async fn schedule_job(&self, request: Request) -> Result<Response, Error> {
        let body = protojson(request).await?;
        let is_set = |names: &[&str]| member(&body, names).is_some_and(|value| !value.is_null());
        let is_text = |names: &[&str]| {
            member(&body, names)
                .and_then(Value::as_str)
                .is_some_and(|text| !text.is_empty())
        };
        let (app_id, namespace) = (self.app_id.clone(), self.namespace.clone());
        if is_text(&["name"]) {
            return Err(Error::JobNameInBody { app_id });
        }
        if !is_set(&["schedule"]) && !is_set(&["dueTime", "due_time"]) {
            return Err(Error::JobScheduleEmpty { app_id, namespace });
        }
        tracing::error!(target: "dapr.api", "Error scheduling job due to: {NO_SCHEDULER}");
        Err(Error::JobSchedule {
            app_id,
            namespace,
            grpc: Code::Internal,
            cause: NO_SCHEDULER.to_owned(),
        })
    }

    fn job(&self, operation: Operation, name: &str) -> Error {
        let (app_id, namespace, cause) = (
            self.app_id.clone(),
            self.namespace.clone(),
            NO_SCHEDULER.to_owned(),
        );
        if operation == Operation::GetJob {
            tracing::error!(target: "dapr.api", "Error getting job {name} due to: {NO_SCHEDULER}");
            Error::JobGet {
                app_id,
                namespace,
                cause,
            }
        } else {
            tracing::error!(target: "dapr.api", "Error deleting job: {name} due to: {NO_SCHEDULER}");
            Error::JobDelete {
                app_id,
                namespace,
                cause,
            }
        }
    }
}

/// The members of a protojson body; an empty body is an empty message.
async fn protojson(request: Request) -> Result<Map<String, Value>, Error> {
    let body = read(request.into_body()).await.map_err(Error::BodyRead)?;
    if body.is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_slice(&body) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err(Error::MalformedBody(
            "proto: syntax error (line 1:1): unexpected token".to_owned(),
        )),
        Err(error) => Err(Error::MalformedBody(format!(
            "proto: syntax error {}",
            position(&error)
        ))),
    }
}

fn member<'a>(members: &'a Map<String, Value>, names: &[&str]) -> Option<&'a Value> {
    names.iter().find_map(|name| members.get(*name))
}

fn position(error: &serde_json::Error) -> impl Display {
    format!("(line {}:{}): {error}", error.line(), error.column())
}

/// The first JSON value of a body, as Go's stream decoder takes it: what follows is ignored.
fn first_json_value(body: &[u8]) -> Result<Value, String> {
    let mut values = serde_json::Deserializer::from_slice(body).into_iter::<Value>();
    match values.next() {
        Some(Ok(value)) => Ok(value),
        Some(Err(error)) => Err(go_text(&error, body)),
        None => Err("EOF".to_owned()),
    }
}

fn members<'a>(value: &'a Value, go_type: &str) -> Result<Option<&'a Map<String, Value>>, String> {
    let kind = match value {
        Value::Object(members) => return Ok(Some(members)),
        Value::Null => return Ok(None),
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
    };
    Err(format!(
        "json: cannot unmarshal {kind} into Go value of type {go_type}"
    ))
}

/// A syntax error in the words of Go's decoder.
fn go_text(error: &serde_json::Error, body: &[u8]) -> String {
    if error.is_eof() {
        return "unexpected EOF".to_owned();
    }
    let line = body
        .split(|byte| *byte == b'\n')
        .nth(error.line().saturating_sub(1))
        .unwrap_or_default();
    let found = line
        .get(error.column().saturating_sub(1))
        .copied()
        .unwrap_or_default();
    format!(
        "invalid character '{}' looking for beginning of value",
        found.escape_ascii()
    )
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method};
    use outrigger_svc::{Body, collect_limited};

    use super::*;
    use crate::http_api::rescue::answer;

    async fn refused(operation: Operation, values: &[&str], uri: &str, body: &str) -> (u16, String) {
        let blocks = Unconfigured {
            app_id: "caller".to_owned(),
            namespace: "default".to_owned(),
        };
        let mut request = Request::new(Body::from(body.to_owned()));
        *request.method_mut() = Method::POST;
        *request.headers_mut() = HeaderMap::new();
        *request.uri_mut() = uri.parse().unwrap();
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        let response = answer(&blocks.answer(operation, values, request).await.unwrap_err());
        let status = response.status().as_u16();
        let body = collect_limited(response.into_body(), 10_000).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn each_block_says_that_it_has_no_component() {
        use Operation as O;
        let details = |reason: &str, metadata: &str| {
            format!(
                r#","details":[{{"@type":"type.googleapis.com/google.rpc.ErrorInfo","domain":"dapr.io","metadata":{metadata},"reason":"{reason}"}}]"#
            )
        };
        let table = [
            (
                O::GetState,
                "",
                500,
                "ERR_STATE_STORE_NOT_CONFIGURED",
                "state store x is not configured",
                details("DAPR_STATE_NOT_CONFIGURED", r#"{"appID":"caller"}"#),
            ),
            (
                O::GetSecret,
                "",
                500,
                "ERR_SECRET_STORES_NOT_CONFIGURED",
                "secret store is not configured",
                String::new(),
            ),
            (
                O::PublishEvent,
                "x",
                404,
                "ERR_PUBSUB_NOT_FOUND",
                "pubsub x is not found",
                details("DAPR_PUBSUB_NOT_FOUND", r#"{"k":"v"}"#),
            ),
            (
                O::InvokeBinding,
                r#"{"operation":"create","data":1}"#,
                500,
                "ERR_INVOKE_OUTPUT_BINDING",
                "error invoking output binding x: couldn't find output binding x",
                String::new(),
            ),
            (
                O::InvokeBinding,
                "{}",
                500,
                "ERR_INVOKE_OUTPUT_BINDING",
                "error invoking output binding x: operation field is missing from request",
                String::new(),
            ),
            (
                O::InvokeBinding,
                r#"{"oper"#,
                400,
                "ERR_MALFORMED_REQUEST",
                "failed deserializing HTTP body: unexpected EOF",
                String::new(),
            ),
            (
                O::InvokeBinding,
                "",
                400,
                "ERR_MALFORMED_REQUEST",
                "failed deserializing HTTP body: EOF",
                String::new(),
            ),
            (
                O::InvokeBinding,
                "no",
                400,
                "ERR_MALFORMED_REQUEST",
                "failed deserializing HTTP body: invalid character 'o' looking for beginning of value",
                String::new(),
            ),
            (
                O::TryLock,
                r#"{"resourceId":"a","lockOwner":"b","expiryInSeconds":3}"#,
                500,
                "ERR_LOCK_STORE_NOT_CONFIGURED",
                "lock store is not configured",
                String::new(),
            ),
            (
                O::TryLock,
                "{}",
                400,
                "ERR_MALFORMED_REQUEST",
                "ExpiryInSeconds is not positive in lock store x",
                String::new(),
            ),
            (
                O::Unlock,
                "",
                500,
                "ERR_LOCK_STORE_NOT_CONFIGURED",
                "lock store is not configured",
                String::new(),
            ),
            (
                O::GetConfiguration,
                "",
                500,
                "ERR_CONFIGURATION_STORE_NOT_CONFIGURED",
                "configuration stores not configured",
                String::new(),
            ),
            (
                O::InvokeActor,
                "",
                400,
                "ERR_ACTOR_NO_PLACEMENT",
                "placement service is not configured",
                String::new(),
            ),
            (
                O::GetWorkflow,
                "",
                400,
                "ERR_ACTOR_NO_PLACEMENT",
                "placement service is not configured",
                String::new(),
            ),
            (
                O::Encrypt,
                "x",
                500,
                "ERR_CRYPTO_PROVIDERS_NOT_CONFIGURED",
                "crypto providers not configured",
                String::new(),
            ),
            (
                O::SubtleSign,
                "",
                501,
                "ERR_API_UNIMPLEMENTED",
                "this API is currently not implemented",
                String::new(),
            ),
            (
                O::ConverseAlpha1,
                "{}",
                400,
                "ERR_CONVERSATION_NOT_FOUND",
                "failed finding conversation component x",
                String::new(),
            ),
            (
                O::GetJob,
                "",
                500,
                "DAPR_SCHEDULER_GET_JOB",
                "failed to get job due to: scheduler clients are disabled",
                details(
                    "DAPR_SCHEDULER_GET_JOB",
                    r#"{"appID":"caller","namespace":"default"}"#,
                ),
            ),
            (
                O::ScheduleJob,
                r#"{"name":"j"}"#,
                400,
                "DAPR_SCHEDULER_JOB_NAME",
                "Set the job name in the url only",
                details("DAPR_SCHEDULER_JOB_NAME", r#"{"appID":"caller"}"#),
            ),
            (
                O::ScheduleJob,
                "{}",
                400,
                "DAPR_SCHEDULER_SCHEDULE_EMPTY",
                "Schedule is empty",
                details(
                    "DAPR_SCHEDULER_SCHEDULE_EMPTY",
                    r#"{"appID":"caller","namespace":"default"}"#,
                ),
            ),
            (
                O::ScheduleJob,
                r#"{"schedule":"@daily"}"#,
                500,
                "DAPR_SCHEDULER_SCHEDULE_JOB",
                "failed to schedule job due to: scheduler clients are disabled",
                details(
                    "DAPR_SCHEDULER_SCHEDULE_JOB",
                    r#"{"appID":"caller","namespace":"default"}"#,
                ),
            ),
        ];
        for (operation, body, status, code, message, details) in table {
            let expected = format!(r#"{{"errorCode":"{code}","message":"{message}"{details}}}"#);
            let answer = refused(operation, &["x", "y"], "/?metadata.k=v", body).await;
            assert_eq!(answer, (status, expected), "{operation} {body}");
        }
    }
}
