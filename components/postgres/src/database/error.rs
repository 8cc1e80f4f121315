//! What goes wrong between us and the server.

use std::error::Error;
use std::fmt::Write as _;

use tokio_postgres::error::SqlState;

/// Why the server did not do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum DatabaseError {
    /// There is no connection to be had.
    #[error("failed to connect to the server: {0}")]
    Connect(String),
    /// The server refuses, or the connection broke.
    #[error("{text}")]
    Server {
        /// What it says.
        text: String,
        /// Its code, where the server has spoken.
        code: Option<SqlState>,
    },
    /// It took too long.
    #[error("timeout: context deadline exceeded")]
    Deadline,
    /// Too much is under way already.
    #[error("too many statements wait for the server")]
    Busy,
    /// The component is closed.
    #[error("closed pool")]
    Closed,
}

// === impl DatabaseError ===

impl DatabaseError {
    /// Whether two made the same at once.
    pub(crate) fn is_duplicate(&self) -> bool {
        let duplicates = [
            SqlState::UNIQUE_VIOLATION,
            SqlState::DUPLICATE_OBJECT,
            SqlState::DUPLICATE_TABLE,
        ];
        matches!(self, Self::Server { code: Some(code), .. } if duplicates.contains(code))
    }
}

impl From<tokio_postgres::Error> for DatabaseError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Server {
            text: text(&error),
            code: error.code().cloned(),
        }
    }
}

impl From<DatabaseError> for outrigger_component::state::StateError {
    fn from(error: DatabaseError) -> Self {
        Self::other(error)
    }
}

/// What the server says, as others show it: `ERROR: … (SQLSTATE 42P01)`; else the error with its causes.
pub(crate) fn text(error: &tokio_postgres::Error) -> String {
    if let Some(error) = error.as_db_error() {
        return format!(
            "{}: {} (SQLSTATE {})",
            error.severity(),
            error.message(),
            error.code().code()
        );
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        write!(text, ": {error}").expect("writing to a string cannot fail");
        cause = error.source();
    }
    text
}
