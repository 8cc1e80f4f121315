//! An error as the answer to a call: an HTTP response or a gRPC status.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Response, StatusCode};
use outrigger_api::rpc;
use outrigger_kit::json;
use prost::Message;
use serde::Serialize;

use crate::code;
use crate::detail::{Detail, Wire};
use crate::fault::Own;
use crate::{Error, Info};

/// The JSON body; member order is that of the wire.
#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "errorCode", skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    message: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    details: Vec<Detail>,
}

// === impl Error ===

impl Error {
    /// The message that clients on `wire` see.
    #[must_use]
    pub fn message(&self, wire: Wire) -> String {
        match (self, wire, self.own()) {
            (Self::StateKeyIllegal { .. }, Wire::Http, _) => self.embedded(),
            (_, Wire::Grpc, Some(own)) => own.message.clone(),
            _ => self.to_string(),
        }
    }

    /// What a state store has to tell clients of gRPC in place of this error.
    pub(crate) fn own(&self) -> Option<&Own> {
        match self {
            Self::StateGet { fault, .. }
            | Self::StateSave { fault, .. }
            | Self::StateDelete { fault, .. }
            | Self::StateBulkDelete { fault, .. }
            | Self::StateBulkGet(fault) => fault.own(),
            _ => None,
        }
    }

    /// How this error reads inside the message of another one: `api error: code = <name> desc = <message>`.
    #[must_use]
    pub fn embedded(&self) -> String {
        format!(
            "api error: code = {} desc = {self}",
            code::name(self.face().grpc as i32)
        )
    }

    /// The body of the HTTP answer (specification: HTTP API 6.1), without a newline at its end.
    #[must_use]
    pub fn http_body(&self) -> Bytes {
        let message = self.message(Wire::Http);
        if let Self::Text { .. } = self {
            return Bytes::from(message + "\n");
        }
        let body = Body {
            // The answer to the end of a subscription has a form of its own.
            code: (!matches!(self, Self::ConfigurationUnsubscribe { .. })).then_some(self.face().code),
            message: &message,
            details: self.details(Wire::Http),
        };
        Bytes::from(json::to_go_vec(&body))
    }

    /// Encoded `google.rpc.Status` for `grpc-status-details-bin`; empty if the error has no details.
    #[must_use]
    pub fn grpc_details(&self) -> Bytes {
        let details = self.details(Wire::Grpc);
        if details.is_empty() {
            return Bytes::new();
        }
        let status = rpc::Status {
            code: self.face().grpc as i32,
            message: self.message(Wire::Grpc),
            details: details.into_iter().map(Into::into).collect(),
        };
        Bytes::from(status.encode_to_vec())
    }

    /// Category label of the error-code metric (specification: observability 7.1).
    #[must_use]
    pub fn category(&self) -> &'static str {
        if matches!(self, Self::Component { .. }) {
            return "pluggable-component";
        }
        let face = self.face();
        match face.info {
            Info::Both("DAPR_STATE_ILLEGAL_KEY") => "state",
            _ => category_of(face.code),
        }
    }
}

impl From<&Error> for Response<Bytes> {
    fn from(error: &Error) -> Self {
        let body = error.http_body();
        let mut response = Self::new(body);
        *response.status_mut() =
            StatusCode::from_u16(error.face().http).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        if let Error::Text { .. } = error {
            headers.insert(
                CONTENT_TYPE,
                HeaderValue::from_static("text/plain; charset=utf-8"),
            );
            headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        } else {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        response
    }
}

impl From<&Error> for tonic::Status {
    fn from(error: &Error) -> Self {
        Self::with_details(error.face().grpc, error.message(Wire::Grpc), error.grpc_details())
    }
}

impl From<Error> for tonic::Status {
    fn from(error: Error) -> Self {
        Self::from(&error)
    }
}

fn category_of(code: &str) -> &'static str {
    /// Beginnings of codes, the most telling first.
    const CATEGORIES: [(&str, &str); 24] = [
        ("ERR_ACTOR_", "actor"),
        ("ERR_INSTANCE_ID_", "workflow"),
        ("ERR_WORKFLOW_", "workflow"),
        ("ERR_STATE_", "state"),
        ("ERR_NOT_SUPPORTED_STATE_OPERATION", "state"),
        ("ERR_CONFIGURATION_", "configuration"),
        ("ERR_CRYPTO", "crypto"),
        ("ERR_SECRET_", "secret"),
        ("ERR_PERMISSION_DENIED", "secret"),
        ("ERR_PUBSUB_", "pubsub"),
        ("ERR_TOPIC_NAME_EMPTY", "pubsub"),
        ("ERR_PUBLISH_OUTBOX", "pubsub"),
        ("ERR_CONVERSATION_", "conversation"),
        ("ERR_DIRECT_INVOKE", "service-invocation"),
        ("ERR_INVOKE_OUTPUT_BINDING", "binding"),
        ("ERR_LOCK_", "lock"),
        ("ERR_TRY_LOCK", "lock"),
        ("ERR_UNLOCK", "lock"),
        ("DAPR_SCHEDULER_", "job"),
        ("ERR_HEALTH_", "health"),
        ("ERR_OUTBOUND_HEALTH_NOT_READY", "health"),
        ("ERR_API_", "common"),
        ("ERR_MALFORMED_", "common"),
        ("ERROR", "common"),
    ];
    if code.contains("_WORKFLOW") {
        return "workflow";
    }
    let known = CATEGORIES
        .iter()
        .find(|(beginning, _)| code.starts_with(beginning));
    known.map_or("common", |(_, category)| category)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tonic::Code;

    use super::*;

    fn body(error: &Error) -> String {
        String::from_utf8(error.http_body().to_vec()).unwrap()
    }

    fn s(text: &str) -> String {
        text.to_owned()
    }

    #[test]
    fn a_simple_error_has_no_details_and_no_newline() {
        assert_eq!(
            body(&Error::NoTarget),
            r#"{"errorCode":"ERR_DIRECT_INVOKE","message":"failed getting app id either from the URL path or the header dapr-app-id"}"#
        );
    }

    #[test]
    fn rich_errors_are_those_that_the_reference_wrote() {
        let cases = [
            (
                Error::StateStoreNotFound {
                    store: s("nope"),
                    app_id: s("caller"),
                },
                r#"{"errorCode":"ERR_STATE_STORE_NOT_FOUND","message":"state store nope is not found","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","domain":"dapr.io","metadata":{"appID":"caller"},"reason":"DAPR_STATE_NOT_FOUND"}]}"#,
            ),
            (
                Error::StateKeyIllegal {
                    store: s("mem"),
                    key: s("a||b"),
                    field: s("a||b"),
                },
                r#"{"errorCode":"ERR_MALFORMED_REQUEST","message":"api error: code = InvalidArgument desc = input key/keyPrefix 'a||b' can't contain '||'","details":[{"@type":"type.googleapis.com/google.rpc.BadRequest","field_violations":[{"field":"a||b","description":"api error: code = InvalidArgument desc = input key/keyPrefix 'a||b' can't contain '||'"}]},{"@type":"type.googleapis.com/google.rpc.ResourceInfo","description":"","owner":"","resource_name":"mem","resource_type":"state"},{"@type":"type.googleapis.com/google.rpc.ErrorInfo","domain":"dapr.io","metadata":null,"reason":"DAPR_STATE_ILLEGAL_KEY"}]}"#,
            ),
            (
                Error::PubsubNotFound {
                    pubsub: s("nope"),
                    metadata: BTreeMap::new(),
                },
                r#"{"errorCode":"ERR_PUBSUB_NOT_FOUND","message":"pubsub nope is not found","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","domain":"dapr.io","metadata":{},"reason":"DAPR_PUBSUB_NOT_FOUND"}]}"#,
            ),
            (
                Error::JobGet {
                    app_id: s("caller"),
                    namespace: s("default"),
                    cause: s("scheduler clients are disabled"),
                },
                r#"{"errorCode":"DAPR_SCHEDULER_GET_JOB","message":"failed to get job due to: scheduler clients are disabled","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","domain":"dapr.io","metadata":{"appID":"caller","namespace":"default"},"reason":"DAPR_SCHEDULER_GET_JOB"}]}"#,
            ),
        ];
        for (error, expected) in cases {
            assert_eq!(body(&error), expected);
        }
    }

    #[test]
    fn html_characters_are_escaped_as_go_does() {
        let error = Error::Unclassified(s("a<b>&\u{2028}\"c\""));
        assert_eq!(
            body(&error),
            r#"{"errorCode":"ERROR","message":"a\u003cb\u003e\u0026\u2028\"c\""}"#
        );
    }

    #[test]
    fn an_answer_of_plain_text_says_so() {
        let error = Error::Text {
            http: StatusCode::UNAUTHORIZED,
            text: s("invalid api token"),
        };
        let response = Response::<Bytes>::from(&error);
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(response.headers()[CONTENT_TYPE], "text/plain; charset=utf-8");
        assert_eq!(response.headers()[X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert_eq!(response.body(), "invalid api token\n");
    }

    #[test]
    fn a_simple_error_on_grpc_has_no_details() {
        let status = tonic::Status::from(Error::SecretStoreNotFound(s("nope")));
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(status.message(), "failed finding secret store with key nope");
        assert_eq!(status.details(), b"");
    }

    #[test]
    fn details_on_grpc_end_with_the_error_info() {
        let status = tonic::Status::from(Error::StateTransactionsUnsupported { store: s("mem") });
        let decoded = rpc::Status::decode(status.details()).unwrap();
        assert_eq!(
            (decoded.code, decoded.message.as_str()),
            (12, "state store mem doesn't support transactions")
        );
        let kinds: Vec<_> = decoded
            .details
            .iter()
            .map(|detail| detail.type_url.as_str())
            .collect();
        assert_eq!(
            kinds,
            [
                "type.googleapis.com/google.rpc.Help",
                "type.googleapis.com/google.rpc.ResourceInfo",
                "type.googleapis.com/google.rpc.ErrorInfo"
            ]
        );
    }

    #[test]
    fn the_app_id_of_a_store_error_is_for_http_only() {
        let error = Error::StateStoreNotConfigured {
            store: s("mem"),
            app_id: s("app"),
        };
        let decoded = rpc::Status::decode(error.grpc_details()).unwrap();
        let info = decoded.details[0].unpack::<rpc::ErrorInfo>().unwrap().unwrap();
        assert_eq!(
            (info.reason.as_str(), info.domain.as_str()),
            ("DAPR_STATE_NOT_CONFIGURED", "dapr.io")
        );
        assert!(info.metadata.is_empty());
    }

    #[test]
    fn an_error_made_from_an_http_status_keeps_63_bytes_of_its_cause() {
        let error = Error::HttpStatus {
            status: 404,
            detail: "é".repeat(40),
        };
        let status = tonic::Status::from(&error);
        assert_eq!((status.code(), status.message()), (Code::NotFound, "Not Found"));
        let decoded = rpc::Status::decode(status.details()).unwrap();
        let info = decoded.details[0].unpack::<rpc::ErrorInfo>().unwrap().unwrap();
        assert_eq!(info.reason, "Not Found");
        assert_eq!(info.metadata["http.code"], "404");
        assert_eq!(info.metadata["http.error_message"], "é".repeat(31));
    }

    #[test]
    fn an_error_inside_another_names_its_code() {
        let inner = Error::ActorNoAddress(s("x/y"));
        assert_eq!(
            inner.embedded(),
            "api error: code = FailedPrecondition desc = did not find address for actor 'x/y'"
        );
    }

    #[test]
    fn an_error_is_small_enough_to_return() {
        assert!(size_of::<Error>() <= 128);
    }
}
