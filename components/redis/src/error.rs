//! What goes wrong between here and a server, in the words of the field: those of Go's `net` and of the servers.

use std::error::Error as _;
use std::io;
use std::sync::Arc;

use redis::{RedisError, ServerError, Value};

/// Why a command has no answer, or which error the answer is.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The server said no; its own line.
    #[error("{0}")]
    Server(Arc<str>),
    /// The name of the server has no address.
    #[error("dial tcp: lookup {0}: no such host")]
    NoSuchHost(Arc<str>),
    /// No connection could be made.
    #[error("dial tcp {0}: {1}")]
    Dial(Arc<str>, Arc<str>),
    /// No connection could be made in time.
    #[error("dial tcp {0}: i/o timeout")]
    DialTimeout(Arc<str>),
    /// The connection ended before the answer came.
    #[error("EOF")]
    Ended,
    /// The connection failed before the answer came.
    #[error("read tcp {0}: {1}")]
    Broken(Arc<str>, Arc<str>),
    /// The answer did not come in time.
    #[error("read tcp {0}: i/o timeout")]
    Timeout(Arc<str>),
    /// Too many commands wait for answers.
    #[error("redis: connection pool timeout")]
    Full,
    /// The component is closed.
    #[error("redis: client is closed")]
    Closed,
    /// No sentinel answers.
    #[error("redis: all sentinels specified in configuration are unreachable: {0}")]
    NoSentinel(Arc<str>),
    /// No sentinel knows the master.
    #[error("redis: nil")]
    Nil,
    /// No node of the cluster answers, or none owns the key.
    #[error("redis: cluster has no nodes: {0}")]
    NoNode(Arc<str>),
    /// An answer that the command cannot have.
    #[error("redis: unexpected type of answer: {0}")]
    Unexpected(Arc<str>),
}

/// How the client library keeps what its errors come from.
type Shared = Arc<dyn std::error::Error + Send + Sync>;

// === impl Error ===

impl Error {
    /// What a server said.
    pub(crate) fn of_server(error: &ServerError) -> Self {
        match error.details() {
            Some(details) => Self::Server(format!("{} {details}", error.code()).into()),
            None => Self::Server(error.code().into()),
        }
    }

    /// What the client library said of a connection.
    pub(crate) fn of_connection(error: &RedisError, address: &Arc<str>) -> Self {
        if error.is_timeout() {
            return Self::Timeout(Arc::clone(address));
        }
        let shared = error.source().and_then(|source| source.downcast_ref::<Shared>());
        match shared.and_then(|source| source.downcast_ref::<io::Error>()) {
            Some(source) if source.kind() == io::ErrorKind::UnexpectedEof => Self::Ended,
            Some(source) => Self::Broken(Arc::clone(address), system_text(source).into()),
            None if error.is_connection_dropped() => Self::Ended,
            None => Self::Broken(Arc::clone(address), error.to_string().into()),
        }
    }

    /// What is strange about an answer.
    pub(crate) fn unexpected(value: &Value) -> Self {
        let kind = match value {
            Value::Nil => return Self::Nil,
            Value::ServerError(error) => return Self::of_server(error),
            Value::Int(_) => "int",
            Value::BulkString(_) | Value::SimpleString(_) | Value::Okay => "string",
            Value::Array(_) | Value::Set(_) => "array",
            Value::Map(_) => "map",
            _ => "other",
        };
        Self::Unexpected(kind.into())
    }

    /// The code that a server's line begins with.
    pub(crate) fn code(&self) -> Option<&str> {
        match self {
            Self::Server(line) => line.split(' ').next(),
            _ => None,
        }
    }

    /// Whether the command cannot have reached a server.
    pub(crate) const fn is_unsent(&self) -> bool {
        matches!(self, Self::NoSuchHost(_) | Self::Dial(..) | Self::DialTimeout(_))
    }

    /// Whether the connection is of no more use.
    pub(crate) const fn is_of_connection(&self) -> bool {
        matches!(self, Self::Ended | Self::Broken(..) | Self::Timeout(_))
    }
}

/// A system error in Go's words.
pub(crate) fn system_text(error: &io::Error) -> String {
    let text = match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused",
        io::ErrorKind::ConnectionReset => "connection reset by peer",
        io::ErrorKind::BrokenPipe => "broken pipe",
        io::ErrorKind::HostUnreachable => "no route to host",
        io::ErrorKind::NetworkUnreachable => "network is unreachable",
        _ => return error.to_string(),
    };
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_the_words_of_the_field() {
        let address: Arc<str> = "127.0.0.1:6379".into();
        let broken =
            |kind: io::ErrorKind| Error::of_connection(&io::Error::from(kind).into(), &address).to_string();
        assert_eq!(broken(io::ErrorKind::UnexpectedEof), "EOF");
        assert_eq!(
            broken(io::ErrorKind::TimedOut),
            "read tcp 127.0.0.1:6379: i/o timeout"
        );
        assert_eq!(
            broken(io::ErrorKind::ConnectionReset),
            "read tcp 127.0.0.1:6379: connection reset by peer"
        );
        let server = Error::Server("WRONGTYPE Operation against a key".into());
        assert_eq!(server.code(), Some("WRONGTYPE"));
        assert_eq!(Error::Ended.code(), None);
        assert_eq!(Error::unexpected(&Value::Nil).to_string(), "redis: nil");
        assert_eq!(
            Error::unexpected(&Value::Int(1)).to_string(),
            "redis: unexpected type of answer: int"
        );
    }
}
