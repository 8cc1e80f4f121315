//! Why a request to a server brought no answer, in the words of Go's HTTP client.

use std::error::Error as _;
use std::fmt;
use std::io;

use http::Method;
use outrigger_svc::BoxError;

use super::dial::{DialError, SystemText};

/// Why a request brought no answer.
#[derive(Debug)]
pub(crate) enum SendError {
    /// No connection could be opened.
    Dial(DialError),
    /// The connection failed or the answer is no HTTP.
    Transport(hyper::Error),
    /// The client is shutting down.
    Closed,
    /// Redirects led on and on.
    TooManyRedirects(usize),
    /// A handler of the user failed, most often at a body.
    Handler(BoxError),
}

/// A [`SendError`] with the request that it met: `Get "http://127.0.0.1:3000/x": EOF`.
#[derive(Debug)]
pub(crate) struct RequestError {
    /// Method of the request.
    pub(crate) method: Method,
    /// URL of the request.
    pub(crate) url: String,
    /// What happened.
    pub(crate) source: SendError,
}

// === impl SendError ===

impl From<DialError> for SendError {
    fn from(error: DialError) -> Self {
        Self::Dial(error)
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dial(error) => fmt::Display::fmt(error, f),
            Self::Closed => f.write_str("http: client is closed"),
            Self::Handler(error) => fmt::Display::fmt(error, f),
            Self::TooManyRedirects(limit) => write!(f, "stopped after {limit} redirects"),
            Self::Transport(error) => {
                let system = error
                    .source()
                    .and_then(|source| source.downcast_ref::<io::Error>());
                match system {
                    Some(source) => write!(f, "{}", SystemText(source)),
                    None if error.is_incomplete_message() || error.is_closed() => f.write_str("EOF"),
                    None if error.is_parse_too_large() => {
                        f.write_str("net/http: server response headers exceeded the limit; aborted")
                    }
                    None if error.is_parse() => {
                        write!(
                            f,
                            "net/http: HTTP/1.x transport connection broken: malformed HTTP response: {error}"
                        )
                    }
                    None if error.is_user() => write!(f, "{}", RootCause(error)),
                    None => write!(f, "{error}"),
                }
            }
        }
    }
}

impl std::error::Error for SendError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Dial(error) => Some(error),
            Self::Transport(error) => Some(error),
            Self::Handler(error) => Some(&**error),
            Self::Closed | Self::TooManyRedirects(_) => None,
        }
    }
}

// === impl RequestError ===

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, rest) = self.method.as_str().split_at(1);
        write!(
            f,
            "{first}{} \"{}\": {}",
            rest.to_ascii_lowercase(),
            self.url,
            self.source
        )
    }
}

impl std::error::Error for RequestError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// The innermost error: what a body said when it failed.
struct RootCause<'a>(&'a hyper::Error);

impl fmt::Display for RootCause<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cause: &dyn std::error::Error = self.0;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        fmt::Display::fmt(cause, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_error_names_method_and_url() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let address = "127.0.0.1:3000".parse().unwrap();
        let error = RequestError {
            method: Method::GET,
            url: "http://127.0.0.1:3000/x".to_owned(),
            source: DialError::Connect {
                address,
                source: refused,
            }
            .into(),
        };
        assert_eq!(
            error.to_string(),
            "Get \"http://127.0.0.1:3000/x\": dial tcp 127.0.0.1:3000: connect: connection refused"
        );
    }
}
