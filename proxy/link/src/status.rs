//! gRPC statuses as numbers and texts, unchanged from peer to client.

use std::fmt;

use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::GeneralPurposeConfig;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

/// Numbers of the gRPC status codes.
pub mod code {
    /// Success.
    pub const OK: i32 = 0;
    /// The caller gave up.
    pub const CANCELED: i32 = 1;
    /// An error of no known kind.
    pub const UNKNOWN: i32 = 2;
    /// The caller sent something that is wrong in any state.
    pub const INVALID_ARGUMENT: i32 = 3;
    /// The deadline passed.
    pub const DEADLINE_EXCEEDED: i32 = 4;
    /// Something asked for does not exist.
    pub const NOT_FOUND: i32 = 5;
    /// Something to be made exists.
    pub const ALREADY_EXISTS: i32 = 6;
    /// The caller may not do this.
    pub const PERMISSION_DENIED: i32 = 7;
    /// A limit or quota is used up.
    pub const RESOURCE_EXHAUSTED: i32 = 8;
    /// The state of the system does not allow this.
    pub const FAILED_PRECONDITION: i32 = 9;
    /// The operation was ended by a conflict.
    pub const ABORTED: i32 = 10;
    /// Past the valid range.
    pub const OUT_OF_RANGE: i32 = 11;
    /// The method does not exist.
    pub const UNIMPLEMENTED: i32 = 12;
    /// An invariant is broken.
    pub const INTERNAL: i32 = 13;
    /// The service cannot be reached now.
    pub const UNAVAILABLE: i32 = 14;
    /// Data is lost or damaged.
    pub const DATA_LOSS: i32 = 15;
    /// The caller is not known.
    pub const UNAUTHENTICATED: i32 = 16;
}

/// A gRPC status as it is on the wire; numbers outside 0 to 16 are kept.
///
/// Its text form is that of the reference runtime: `rpc error: code = Internal desc = text`.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
#[error("rpc error: code = {} desc = {message}", Name(*.code))]
pub struct Status {
    /// Status code.
    pub code: i32,
    /// Message, decoded.
    pub message: String,
    /// Encoded `google.rpc.Status` with details; empty if there are none.
    pub details: Bytes,
}

/// Why a call brought no [`Reply`](crate::Reply).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The peer, or the transport to it, ended the call with a status.
    #[error(transparent)]
    Status(#[from] Status),
    /// The call failed in another way; clients see the bare text.
    #[error("{text}")]
    Text {
        /// Code of the status underneath, [`code::UNKNOWN`] if there is none.
        code: i32,
        /// What the client sees.
        text: String,
    },
}

pub(crate) const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
pub(crate) const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
pub(crate) const GRPC_DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");

/// Reads base64 with or without padding, as gRPC peers may send either.
pub(crate) const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

struct Name(i32);

// === impl Status ===

impl Status {
    /// A status with a message and no details.
    pub fn new(code: i32, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            details: Bytes::new(),
        }
    }

    /// A status of code Internal.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(code::INTERNAL, message)
    }

    /// A status of code Unavailable.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(code::UNAVAILABLE, message)
    }

    /// Name of the status code as the reference runtime prints it: `NotFound`, or `Code(20)` for a number
    /// without a name.
    #[must_use]
    pub fn code_name(&self) -> String {
        Name(self.code).to_string()
    }

    /// Reads the status out of trailers, or out of the headers of an answer without a body.
    ///
    /// None if there is no `grpc-status`; a number that cannot be read becomes Unknown.
    #[must_use]
    pub fn from_trailers(trailers: &HeaderMap) -> Option<Self> {
        let field = |name| trailers.get(name).map(HeaderValue::as_bytes);
        Some(Self::from_fields(
            field(&GRPC_STATUS)?,
            field(&GRPC_MESSAGE),
            field(&GRPC_DETAILS),
        ))
    }

    /// Reads the status out of the values of its fields.
    pub(crate) fn from_fields(number: &[u8], message: Option<&[u8]>, details: Option<&[u8]>) -> Self {
        let Some(code) = std::str::from_utf8(number)
            .ok()
            .and_then(|text| text.parse().ok())
        else {
            let number = String::from_utf8_lossy(number);
            return Self::new(code::UNKNOWN, format!("malformed grpc-status: {number}"));
        };
        let details = details.and_then(|text| LENIENT.decode(text).ok());
        Self {
            code,
            message: message.map(decode_message).unwrap_or_default(),
            details: details.map(Bytes::from).unwrap_or_default(),
        }
    }

    /// Writes the status into trailers. An empty message is written too, as the reference runtime does.
    pub fn write_to(&self, trailers: &mut HeaderMap) {
        trailers.insert(GRPC_STATUS, HeaderValue::from(self.code));
        trailers.insert(GRPC_MESSAGE, encode_message(&self.message));
        if !self.details.is_empty() {
            let text = LENIENT.encode(&self.details);
            trailers.insert(
                GRPC_DETAILS,
                HeaderValue::from_str(&text).expect("base64 is a header value"),
            );
        }
    }
}

// === impl CallError ===

impl CallError {
    /// An error that clients see as bare text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text {
            code: code::UNKNOWN,
            text: text.into(),
        }
    }

    /// Code of the status underneath.
    #[must_use]
    pub const fn code(&self) -> i32 {
        match self {
            Self::Status(status) => status.code,
            Self::Text { code, .. } => *code,
        }
    }

    /// The error with a text in front, as the reference runtime wraps errors.
    #[must_use]
    pub fn wrapped(&self, prefix: &str) -> Self {
        Self::Text {
            code: self.code(),
            text: format!("{prefix}{self}"),
        }
    }
}

impl From<CallError> for Status {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Status(status) => status,
            CallError::Text { code, text } => Self::new(code, text),
        }
    }
}

// === impl Name ===

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            code::OK => "OK",
            code::CANCELED => "Canceled",
            code::UNKNOWN => "Unknown",
            code::INVALID_ARGUMENT => "InvalidArgument",
            code::DEADLINE_EXCEEDED => "DeadlineExceeded",
            code::NOT_FOUND => "NotFound",
            code::ALREADY_EXISTS => "AlreadyExists",
            code::PERMISSION_DENIED => "PermissionDenied",
            code::RESOURCE_EXHAUSTED => "ResourceExhausted",
            code::FAILED_PRECONDITION => "FailedPrecondition",
            code::ABORTED => "Aborted",
            code::OUT_OF_RANGE => "OutOfRange",
            code::UNIMPLEMENTED => "Unimplemented",
            code::INTERNAL => "Internal",
            code::UNAVAILABLE => "Unavailable",
            code::DATA_LOSS => "DataLoss",
            code::UNAUTHENTICATED => "Unauthenticated",
            other => return write!(f, "Code({})", other.cast_unsigned()),
        };
        f.write_str(name)
    }
}

/// Percent-encodes a status message: everything but printable ASCII, and the percent sign.
pub(crate) fn encode_message(message: &str) -> HeaderValue {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut text = BytesMut::with_capacity(message.len());
    for byte in message.bytes() {
        if matches!(byte, b' '..=b'~') && byte != b'%' {
            text.extend_from_slice(&[byte]);
        } else {
            text.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
    HeaderValue::from_maybe_shared(text.freeze()).expect("printable ASCII is a header value")
}

/// Undoes [`encode_message`]; a percent sign that starts no code stays.
pub(crate) fn decode_message(text: &[u8]) -> String {
    percent_encoding::percent_decode(text)
        .decode_utf8_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_prints_as_the_reference_prints_it() {
        let cases = [
            (Status::internal("x"), "rpc error: code = Internal desc = x"),
            (Status::new(1, ""), "rpc error: code = Canceled desc = "),
            (Status::new(20, "odd"), "rpc error: code = Code(20) desc = odd"),
            (
                Status::new(-1, "odd"),
                "rpc error: code = Code(4294967295) desc = odd",
            ),
        ];
        for (status, text) in cases {
            assert_eq!(status.to_string(), text);
        }
    }

    #[test]
    fn a_status_survives_the_trailers() {
        let status = Status {
            code: 20,
            message: "50% of ß\n".to_owned(),
            details: Bytes::from_static(b"\x08\x14"),
        };
        let mut trailers = HeaderMap::new();
        status.write_to(&mut trailers);
        assert_eq!(trailers[&GRPC_MESSAGE], "50%25 of %C3%9F%0A");
        assert_eq!(trailers[&GRPC_DETAILS], "CBQ");
        assert_eq!(Status::from_trailers(&trailers), Some(status));
    }

    #[test]
    fn trailers_without_a_status_have_none_and_bad_numbers_are_unknown() {
        assert_eq!(Status::from_trailers(&HeaderMap::new()), None);
        let mut trailers = HeaderMap::new();
        trailers.insert(GRPC_STATUS, HeaderValue::from_static("x"));
        assert_eq!(Status::from_trailers(&trailers).unwrap().code, code::UNKNOWN);
    }

    #[test]
    fn a_wrapped_error_keeps_its_code() {
        let error = CallError::from(Status::unavailable("gone")).wrapped("error receiving message: ");
        assert_eq!(error.code(), code::UNAVAILABLE);
        assert_eq!(
            error.to_string(),
            "error receiving message: rpc error: code = Unavailable desc = gone"
        );
    }
}
