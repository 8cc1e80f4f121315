//! The status of a gRPC app as the body of an HTTP answer, in protobuf's JSON form.
//!
//! Source: specification, service invocation 3.5 step 3.

use std::collections::HashMap;

use bytes::Bytes;
use outrigger_api::{Any, rpc};
use outrigger_kit::json::to_go_vec;
use outrigger_link::ReplyStatus;
use prost::{DecodeError, Message, Name};
use serde_json::{Map, Value};

/// Why a status has no JSON form; the text is that of the reference's encoder.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StatusJsonError {
    /// The type of a detail is not known here.
    #[error("proto: google.protobuf.Any: unable to resolve \"{0}\": not found")]
    UnknownType(String),
    /// A detail is no message of its type.
    #[error("proto: google.protobuf.Any: unable to unmarshal \"{type_url}\": {source}")]
    Malformed {
        /// The type.
        type_url: String,
        /// What is wrong.
        source: DecodeError,
    },
    /// A detail is not even a packed message.
    #[error("proto: {0}")]
    Detail(DecodeError),
}

/// `{"code":5,"message":"...","details":[...]}`; zero members are left out.
///
/// # Errors
/// If a detail cannot be read; only the types of `google.rpc` are known.
pub(crate) fn status_json(status: &ReplyStatus) -> Result<Bytes, StatusJsonError> {
    let details: Result<Vec<_>, _> = status.details.iter().map(detail_json).collect();
    let members = Members::default()
        .number("code", status.code.into())
        .text("message", &status.message)
        .list("details", details?);
    Ok(to_go_vec(&members.0).into())
}

fn detail_json(encoded: &Bytes) -> Result<Value, StatusJsonError> {
    let any = Any::decode(encoded.clone()).map_err(StatusJsonError::Detail)?;
    let known: [fn(&Any) -> Known; 10] = [
        |any| read(any, error_info),
        |any| read(any, resource_info),
        |any| read(any, bad_request),
        |any| read(any, help),
        |any| read(any, retry_info),
        |any| read(any, debug_info),
        |any| read(any, quota_failure),
        |any| read(any, precondition_failure),
        |any| read(any, request_info),
        |any| read(any, localized_message),
    ];
    let found = known.iter().find_map(|read| read(&any));
    let members = found.ok_or_else(|| StatusJsonError::UnknownType(any.type_url.clone()))?;
    let members = members.map_err(|source| StatusJsonError::Malformed {
        type_url: any.type_url.clone(),
        source,
    })?;
    let mut all = Members::default().text("@type", &any.type_url);
    all.0.extend(members.0);
    Ok(Value::Object(all.0))
}

/// None if the message is of another type.
type Known = Option<Result<Members, DecodeError>>;

fn read<M: Name + Default>(any: &Any, members: fn(&M) -> Members) -> Known {
    any.unpack::<M>()
        .map(|message| message.map(|message| members(&message)))
        .transpose()
}

/// The members of a JSON object, those that are not zero.
#[derive(Default)]
struct Members(Map<String, Value>);

// === impl Members ===

impl Members {
    fn text(mut self, name: &str, text: &str) -> Self {
        if !text.is_empty() {
            self.0.insert(name.to_owned(), text.into());
        }
        self
    }

    fn number(mut self, name: &str, number: i64) -> Self {
        if number != 0 {
            self.0.insert(name.to_owned(), number.into());
        }
        self
    }

    fn list(mut self, name: &str, items: Vec<Value>) -> Self {
        if !items.is_empty() {
            self.0.insert(name.to_owned(), items.into());
        }
        self
    }

    fn map(mut self, name: &str, pairs: &HashMap<String, String>) -> Self {
        let mut pairs: Vec<_> = pairs
            .iter()
            .map(|(key, value)| (key.clone(), Value::from(value.as_str())))
            .collect();
        pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
        if !pairs.is_empty() {
            self.0
                .insert(name.to_owned(), Value::Object(pairs.into_iter().collect()));
        }
        self
    }

    fn all<T>(self, name: &str, items: &[T], members: fn(&T) -> Self) -> Self {
        self.list(
            name,
            items.iter().map(|item| Value::Object(members(item).0)).collect(),
        )
    }
}

fn error_info(info: &rpc::ErrorInfo) -> Members {
    Members::default()
        .text("reason", &info.reason)
        .text("domain", &info.domain)
        .map("metadata", &info.metadata)
}

fn resource_info(info: &rpc::ResourceInfo) -> Members {
    Members::default()
        .text("resourceType", &info.resource_type)
        .text("resourceName", &info.resource_name)
        .text("owner", &info.owner)
        .text("description", &info.description)
}

fn bad_request(request: &rpc::BadRequest) -> Members {
    Members::default().all("fieldViolations", &request.field_violations, |violation| {
        let members = Members::default()
            .text("field", &violation.field)
            .text("description", &violation.description)
            .text("reason", &violation.reason);
        let localized = violation.localized_message.as_ref().map(localized_message);
        members.object("localizedMessage", localized)
    })
}

fn help(help: &rpc::Help) -> Members {
    Members::default().all("links", &help.links, |link| {
        Members::default()
            .text("description", &link.description)
            .text("url", &link.url)
    })
}

fn retry_info(info: &rpc::RetryInfo) -> Members {
    let delay = info
        .retry_delay
        .as_ref()
        .map(|delay| duration(delay.seconds, delay.nanos));
    Members::default().text("retryDelay", &delay.unwrap_or_default())
}

fn debug_info(info: &rpc::DebugInfo) -> Members {
    let entries = info
        .stack_entries
        .iter()
        .map(|entry| Value::from(entry.as_str()))
        .collect();
    Members::default()
        .list("stackEntries", entries)
        .text("detail", &info.detail)
}

fn quota_failure(failure: &rpc::QuotaFailure) -> Members {
    Members::default().all("violations", &failure.violations, |violation| {
        Members::default()
            .text("subject", &violation.subject)
            .text("description", &violation.description)
            .text("apiService", &violation.api_service)
            .text("quotaMetric", &violation.quota_metric)
            .text("quotaId", &violation.quota_id)
            .map("quotaDimensions", &violation.quota_dimensions)
    })
}

fn precondition_failure(failure: &rpc::PreconditionFailure) -> Members {
    Members::default().all("violations", &failure.violations, |violation| {
        Members::default()
            .text("type", &violation.r#type)
            .text("subject", &violation.subject)
            .text("description", &violation.description)
    })
}

fn request_info(info: &rpc::RequestInfo) -> Members {
    Members::default()
        .text("requestId", &info.request_id)
        .text("servingData", &info.serving_data)
}

fn localized_message(message: &rpc::LocalizedMessage) -> Members {
    Members::default()
        .text("locale", &message.locale)
        .text("message", &message.message)
}

impl Members {
    fn object(mut self, name: &str, members: Option<Self>) -> Self {
        if let Some(members) = members {
            self.0.insert(name.to_owned(), Value::Object(members.0));
        }
        self
    }
}

/// A duration as protobuf's JSON writes it: seconds with as many digits as needed, in threes.
fn duration(seconds: i64, nanos: i32) -> String {
    let sign = if seconds < 0 || nanos < 0 { "-" } else { "" };
    let (seconds, nanos) = (seconds.unsigned_abs(), nanos.unsigned_abs());
    match nanos {
        0 => format!("{sign}{seconds}s"),
        _ if nanos.is_multiple_of(1_000_000) => format!("{sign}{seconds}.{:03}s", nanos / 1_000_000),
        _ if nanos.is_multiple_of(1_000) => format!("{sign}{seconds}.{:06}s", nanos / 1_000),
        _ => format!("{sign}{seconds}.{nanos:09}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(code: i32, message: &str, details: &[Any]) -> Result<String, String> {
        let details = details.iter().map(|any| any.encode_to_vec().into()).collect();
        let status = ReplyStatus {
            code,
            message: message.into(),
            details,
        };
        let bytes = status_json(&status).map_err(|error| error.to_string())?;
        Ok(String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[test]
    fn a_status_is_its_code_message_and_details() {
        let info = rpc::ErrorInfo {
            reason: "R".to_owned(),
            domain: "d".to_owned(),
            metadata: [("k".to_owned(), "v".to_owned())].into(),
        };
        let delay = rpc::RetryInfo {
            retry_delay: Some(prost_types::Duration {
                seconds: 1,
                nanos: 500_000_000,
            }),
        };
        let table = [
            (json(5, "no", &[]), Ok(r#"{"code":5,"message":"no"}"#)),
            (json(13, "", &[]), Ok(r#"{"code":13}"#)),
            (
                json(20, "x", &[Any::pack(&info), Any::pack(&delay)]),
                Ok(concat!(
                    r#"{"code":20,"message":"x","details":["#,
                    r#"{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"R","domain":"d","metadata":{"k":"v"}},"#,
                    r#"{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"1.500s"}]}"#,
                )),
            ),
            (
                json(
                    5,
                    "x",
                    &[Any {
                        type_url: "t/unknown.Type".to_owned(),
                        value: Bytes::new(),
                    }],
                ),
                Err(r#"proto: google.protobuf.Any: unable to resolve "t/unknown.Type": not found"#),
            ),
        ];
        for (found, expected) in table {
            assert_eq!(found, expected.map(str::to_owned).map_err(str::to_owned));
        }
    }

    #[test]
    fn durations_have_as_many_digits_as_they_need() {
        let table = [
            (3, 0, "3s"),
            (0, 5_000_000, "0.005s"),
            (0, 5_000, "0.000005s"),
            (-1, -5, "-1.000000005s"),
        ];
        for (seconds, nanos, expected) in table {
            assert_eq!(duration(seconds, nanos), expected);
        }
    }
}
