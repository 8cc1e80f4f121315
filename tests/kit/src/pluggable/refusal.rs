//! Errors of components, as their SDKs make them.

use outrigger_api::Any;
use outrigger_api::rpc::bad_request::FieldViolation;
use outrigger_api::rpc::{self, BadRequest, ErrorInfo};
use prost::Message as _;
use tonic::{Code, Status};

/// Why a call is refused.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// Code of gRPC.
    pub code: i32,
    /// Text of the status.
    pub message: String,
    /// Details of the status.
    pub details: Vec<Any>,
}

// === impl Refusal ===

impl Refusal {
    /// A status without details.
    #[must_use]
    pub fn new(code: i32, message: &str) -> Self {
        Self {
            code,
            message: message.to_owned(),
            details: Vec::new(),
        }
    }

    /// A status with an error's information: reason `REASON`, domain `example.org`, and this metadata.
    #[must_use]
    pub fn with_info(code: i32, message: &str, metadata: &[(&str, &str)]) -> Self {
        let metadata = metadata
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let info = ErrorInfo {
            reason: "REASON".to_owned(),
            domain: "example.org".to_owned(),
            metadata: metadata.collect(),
        };
        Self {
            details: vec![Any::pack(&info)],
            ..Self::new(code, message)
        }
    }

    /// A status that is about one field of the request.
    #[must_use]
    pub fn about_field(code: i32, message: &str, field: &str, description: &str) -> Self {
        let violation = FieldViolation {
            field: field.to_owned(),
            description: description.to_owned(),
            ..FieldViolation::default()
        };
        let request = BadRequest {
            field_violations: vec![violation],
        };
        Self {
            details: vec![Any::pack(&request)],
            ..Self::new(code, message)
        }
    }

    pub(super) fn status(&self) -> Status {
        let details = rpc::Status {
            code: self.code,
            message: self.message.clone(),
            details: self.details.clone(),
        };
        let details = details.encode_to_vec().into();
        Status::with_details(Code::from_i32(self.code), &self.message, details)
    }
}
