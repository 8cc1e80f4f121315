//! What goes wrong in a state store.

use std::fmt;

use outrigger_svc::BoxError;

/// Why a store did not do what was asked.
///
/// Source: specification, state API 5.3 and 5.4.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The stored value has another tag than the request names, or is there where it must not be.
    #[error("possible etag mismatch. error from state store{}", Inner(.0.as_ref()))]
    EtagMismatch(#[source] Option<BoxError>),
    /// The tag of the request is none that the store could have given.
    #[error("invalid etag value{}", Inner(.0.as_ref()))]
    EtagInvalid(#[source] Option<BoxError>),
    /// An error that carries its own status.
    #[error(transparent)]
    Rich(Box<RichError>),
    /// Anything else.
    #[error(transparent)]
    Other(BoxError),
}

/// An error with the status, the code and the details that the caller is to see.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("api error: code = {code_name} desc = {message}")]
pub struct RichError {
    /// Code of gRPC.
    pub code: i32,
    /// Its name as Go prints it, such as `DataLoss`.
    pub code_name: String,
    /// Status of HTTP.
    pub http_status: u16,
    /// What happened.
    pub message: String,
    /// The error code of the HTTP body.
    pub tag: String,
    /// Reason of the error's detail.
    pub reason: String,
    /// Domain of the error's detail.
    pub domain: String,
}

/// Why a bulk operation did not do all that was asked.
#[derive(Debug, thiserror::Error)]
pub enum BulkError {
    /// The whole failed.
    #[error(transparent)]
    Whole(StateError),
    /// Some items failed; those that are not named are done.
    #[error("{}", Joined(.0))]
    Items(Vec<ItemError>),
}

/// Why one item of a bulk operation failed.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct ItemError {
    /// Key as it is stored; none if the store does not say which item it was.
    pub key: Option<String>,
    /// What went wrong.
    #[source]
    pub error: StateError,
}

/// `: <error>` where there is one.
struct Inner<'a>(Option<&'a BoxError>);

/// The texts of the errors, one a line.
struct Joined<'a>(&'a [ItemError]);

// === impl StateError ===

impl StateError {
    /// The stored value has another tag, for the reason given.
    pub fn mismatch(reason: impl Into<BoxError>) -> Self {
        Self::EtagMismatch(Some(reason.into()))
    }

    /// The tag cannot be read, for the reason given.
    pub fn invalid(reason: impl Into<BoxError>) -> Self {
        Self::EtagInvalid(Some(reason.into()))
    }

    /// Anything else.
    pub fn other(error: impl Into<BoxError>) -> Self {
        Self::Other(error.into())
    }

    /// Whether it is about the tag, which trying again cannot mend.
    #[must_use]
    pub const fn is_about_etag(&self) -> bool {
        matches!(self, Self::EtagMismatch(_) | Self::EtagInvalid(_))
    }
}

// === impl Inner ===

impl fmt::Display for Inner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(error) => write!(f, ": {error}"),
            None => Ok(()),
        }
    }
}

// === impl Joined ===

impl fmt::Display for Joined<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, error) in self.0.iter().enumerate() {
            let separator = if number == 0 { "" } else { "\n" };
            write!(f, "{separator}{error}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_about_tags_say_what_is_inside() {
        assert_eq!(
            StateError::EtagMismatch(None).to_string(),
            "possible etag mismatch. error from state store"
        );
        assert_eq!(
            StateError::mismatch("gone").to_string(),
            "possible etag mismatch. error from state store: gone"
        );
        assert_eq!(
            StateError::invalid("not a number").to_string(),
            "invalid etag value: not a number"
        );
        let items = ["a", "b"].map(|reason| ItemError {
            key: None,
            error: StateError::other(reason),
        });
        assert_eq!(BulkError::Items(items.into()).to_string(), "a\nb");
    }
}
