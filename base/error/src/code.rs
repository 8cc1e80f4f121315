//! gRPC codes and HTTP statuses as numbers, and how one becomes the other.
//!
//! Both are plain numbers here: an app may answer with one that has no name.

/// HTTP status for a gRPC code (specification: HTTP API 6.4).
#[must_use]
pub const fn http_from_grpc(code: i32) -> u16 {
    match code {
        0 => 200,
        1 => 408,
        3 | 9 | 11 => 400,
        4 => 504,
        5 => 404,
        6 | 10 => 409,
        7 => 403,
        8 => 429,
        12 => 501,
        14 => 503,
        16 => 401,
        _ => 500,
    }
}

/// gRPC code for an HTTP status (specification: HTTP API 6.4).
#[must_use]
pub const fn grpc_from_http(status: u16) -> i32 {
    match status {
        200..=299 => 0,
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 5,
        408 => 1,
        409 => 6,
        429 => 8,
        501 => 12,
        503 => 14,
        504 => 4,
        _ => 2,
    }
}

/// Name of a gRPC code as messages and metrics spell it: `NotFound`, or `Code(20)` where there is no name.
#[must_use]
pub fn name(code: i32) -> std::borrow::Cow<'static, str> {
    std::borrow::Cow::Borrowed(match code {
        0 => "OK",
        1 => "Canceled",
        2 => "Unknown",
        3 => "InvalidArgument",
        4 => "DeadlineExceeded",
        5 => "NotFound",
        6 => "AlreadyExists",
        7 => "PermissionDenied",
        8 => "ResourceExhausted",
        9 => "FailedPrecondition",
        10 => "Aborted",
        11 => "OutOfRange",
        12 => "Unimplemented",
        13 => "Internal",
        14 => "Unavailable",
        15 => "DataLoss",
        16 => "Unauthenticated",
        other => return std::borrow::Cow::Owned(format!("Code({other})")),
    })
}

/// Reason phrase of an HTTP status as Go's `http.StatusText` has it; empty where it has none.
#[must_use]
pub const fn reason_phrase(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        102 => "Processing",
        103 => "Early Hints",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        207 => "Multi-Status",
        208 => "Already Reported",
        226 => "IM Used",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        305 => "Use Proxy",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Request Entity Too Large",
        414 => "Request URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Requested Range Not Satisfiable",
        417 => "Expectation Failed",
        418 => "I'm a teapot",
        421 => "Misdirected Request",
        422 => "Unprocessable Entity",
        423 => "Locked",
        424 => "Failed Dependency",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        506 => "Variant Also Negotiates",
        507 => "Insufficient Storage",
        508 => "Loop Detected",
        510 => "Not Extended",
        511 => "Network Authentication Required",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_grpc_code_has_its_http_status() {
        let expected = [
            200, 408, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401, 500, 500,
        ];
        let found: Vec<u16> = (0..=18).map(http_from_grpc).collect();
        assert_eq!(found, expected);
        assert_eq!(http_from_grpc(-1), 500);
    }

    #[test]
    fn http_statuses_without_a_counterpart_are_unknown() {
        let expected = [
            (200, 0),
            (204, 0),
            (299, 0),
            (400, 13),
            (401, 16),
            (403, 7),
            (404, 5),
            (408, 1),
            (409, 6),
            (429, 8),
            (500, 2),
            (501, 12),
            (503, 14),
            (504, 4),
            (101, 2),
            (302, 2),
            (418, 2),
            (546, 2),
            (999, 2),
        ];
        for (status, code) in expected {
            assert_eq!(grpc_from_http(status), code, "{status}");
        }
    }

    #[test]
    fn a_number_without_a_name_is_shown_as_a_number() {
        assert_eq!(name(5), "NotFound");
        assert_eq!(name(20), "Code(20)");
        assert_eq!(reason_phrase(546), "");
        assert_eq!(reason_phrase(413), "Request Entity Too Large");
    }
}
