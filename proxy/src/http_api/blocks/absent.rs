//! The answers of building blocks of which this sidecar has no component yet.
//!
//! Where the reference looks at the body before it looks for the component, so does this.

use outrigger_error::Error;
use outrigger_kit::json::get_ignoring_case;
use outrigger_svc::{Request, Response};
use serde_json::Value;
use tonic::Code;

use super::Blocks;
use super::body::{first_json_value, member, members, protojson};
use crate::http_api::reply::read;
use crate::http_api::table::Operation;

/// Why calls to the scheduler fail when no scheduler is configured.
const NO_SCHEDULER: &str = "scheduler clients are disabled";

// === impl Blocks ===

impl Blocks {
    pub(super) async fn binding(&self, binding: String, request: Request) -> Result<Response, Error> {
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

    pub(super) async fn schedule_job(&self, request: Request) -> Result<Response, Error> {
        let body = protojson(request).await?;
        let is_set = |names: &[&str]| member(&body, names).is_some_and(|value| !value.is_null());
        let is_text = |names: &[&str]| {
            member(&body, names)
                .and_then(Value::as_str)
                .is_some_and(|text| !text.is_empty())
        };
        let (app_id, namespace) = (self.app_id.to_string(), self.namespace.to_string());
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

    pub(super) fn job(&self, operation: Operation, name: &str) -> Error {
        let (app_id, namespace, cause) = (
            self.app_id.to_string(),
            self.namespace.to_string(),
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
