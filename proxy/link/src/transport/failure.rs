//! How a broken stream or connection looks to a call.

use std::io;

use outrigger_identity::tls::HandshakeError;

use crate::{Status, code};

/// Why a stream ended before its time, seen from one end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The status that a gRPC client makes of it.
    pub(crate) status: Status,
    /// Whether the peer is known not to have looked at the request, so that it may be sent again at once.
    pub(crate) unprocessed: bool,
}

/// HTTP/2 error codes that this crate sends or looks for (RFC 9113, 7).
pub(crate) const INTERNAL_ERROR: u32 = 2;
const FLOW_CONTROL_ERROR: u32 = 3;
pub(crate) const REFUSED_STREAM: u32 = 7;
pub(crate) const CANCEL: u32 = 8;
const ENHANCE_YOUR_CALM: u32 = 11;
const INADEQUATE_SECURITY: u32 = 12;

const REASONS: [&str; 14] = [
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
];

// === impl Failure ===

impl Failure {
    pub(crate) const fn new(status: Status) -> Self {
        Self {
            status,
            unprocessed: false,
        }
    }

    /// The peer, or a server in front of it, reset the stream.
    pub(crate) fn reset(reason: u32) -> Self {
        let code = match reason {
            REFUSED_STREAM => code::UNAVAILABLE,
            CANCEL => code::CANCELED,
            FLOW_CONTROL_ERROR | ENHANCE_YOUR_CALM => code::RESOURCE_EXHAUSTED,
            INADEQUATE_SECURITY => code::PERMISSION_DENIED,
            _ => code::INTERNAL,
        };
        let text = format!(
            "stream terminated by RST_STREAM with error code: {}",
            name_of(reason)
        );
        Self {
            status: Status::new(code, text),
            unprocessed: reason == REFUSED_STREAM,
        }
    }

    /// The connection ended; `cause` is the text of the reason.
    pub(crate) fn closed(cause: &str) -> Self {
        Self::new(Status::unavailable(format!("error reading from server: {cause}")))
    }

    /// The server said goodbye before it looked at the request.
    pub(crate) fn going_away() -> Self {
        Self {
            status: Status::unavailable("the connection is draining"),
            unprocessed: true,
        }
    }

    /// The server closed the connection for a reason of its own.
    pub(crate) fn goodbye(reason: u32, debug: &[u8]) -> Self {
        let text = format!(
            "closing transport due to: connection error: desc = \"error reading from server: EOF\", \
             received prior goaway: code: {}, debug data: {:?}",
            name_of(reason),
            String::from_utf8_lossy(debug)
        );
        Self::new(Status::unavailable(text))
    }
}

/// The text of an IO error in the reference runtime.
pub(crate) fn io_text(error: &io::Error) -> String {
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    if let Some(inner) = inner {
        return HandshakeError::from(inner.clone()).to_string();
    }
    let text = match error.kind() {
        io::ErrorKind::UnexpectedEof => "EOF",
        io::ErrorKind::ConnectionRefused => "connection refused",
        io::ErrorKind::ConnectionReset => "connection reset by peer",
        io::ErrorKind::BrokenPipe => "broken pipe",
        io::ErrorKind::TimedOut => "i/o timeout",
        io::ErrorKind::HostUnreachable => "no route to host",
        io::ErrorKind::NetworkUnreachable => "network is unreachable",
        io::ErrorKind::AddrNotAvailable => "cannot assign requested address",
        _ => return error.to_string(),
    };
    text.to_owned()
}

fn name_of(reason: u32) -> String {
    let name = usize::try_from(reason).ok().and_then(|index| REASONS.get(index));
    name.map_or_else(|| format!("{reason}"), |name| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resets_have_the_codes_of_grpc() {
        let cases = [
            (0, code::INTERNAL),
            (2, code::INTERNAL),
            (3, code::RESOURCE_EXHAUSTED),
            (7, code::UNAVAILABLE),
            (8, code::CANCELED),
            (11, code::RESOURCE_EXHAUSTED),
            (12, code::PERMISSION_DENIED),
            (99, code::INTERNAL),
        ];
        for (reason, expected) in cases {
            assert_eq!(Failure::reset(reason).status.code, expected, "{reason}");
        }
        assert_eq!(
            Failure::reset(8).status.message,
            "stream terminated by RST_STREAM with error code: CANCEL"
        );
    }
}
