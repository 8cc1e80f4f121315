//! What a component said went wrong.

use std::fmt;

use http::StatusCode;
use tonic::Code;

use crate::detail::Detail;

/// The failure of a state store, with what it says about the statuses of the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    kind: FaultKind,
    text: String,
    own: Option<Box<Own>>,
}

/// What a component that chooses its statuses tells clients of gRPC, who get it as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Own {
    pub(crate) message: String,
    pub(crate) details: Vec<Detail>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FaultKind {
    Other,
    EtagMismatch,
    EtagInvalid,
    Given { http: StatusCode, grpc: Code },
}

// === impl Fault ===

impl Fault {
    /// A failure of no kind that clients could tell apart.
    pub fn other(text: impl Into<String>) -> Self {
        Self {
            kind: FaultKind::Other,
            text: text.into(),
            own: None,
        }
    }

    /// The item has another ETag than the caller expects; `cause` is the store's own text, if it has one.
    #[must_use]
    pub fn etag_mismatch(cause: Option<&str>) -> Self {
        let kind = FaultKind::EtagMismatch;
        Self {
            kind,
            text: with_cause("possible etag mismatch. error from state store", cause),
            own: None,
        }
    }

    /// The ETag is none that this store could have given; `cause` is the store's own text, if it has one.
    #[must_use]
    pub fn etag_invalid(cause: Option<&str>) -> Self {
        Self {
            kind: FaultKind::EtagInvalid,
            text: with_cause("invalid etag value", cause),
            own: None,
        }
    }

    /// A failure whose statuses the component chose; on gRPC its message and details are the whole answer.
    #[must_use]
    pub fn given(http: StatusCode, grpc: Code, message: String, details: Vec<Detail>) -> Self {
        let text = format!(
            "api error: code = {} desc = {message}",
            crate::code::name(grpc as i32)
        );
        Self {
            kind: FaultKind::Given { http, grpc },
            text,
            own: Some(Box::new(Own { message, details })),
        }
    }

    pub(crate) fn own(&self) -> Option<&Own> {
        self.own.as_deref()
    }

    pub(crate) const fn kind(&self) -> FaultKind {
        self.kind
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn with_cause(text: &str, cause: Option<&str>) -> String {
    match cause {
        Some(cause) => format!("{text}: {cause}"),
        None => text.to_owned(),
    }
}
