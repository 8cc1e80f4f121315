//! How operations fail, as far as policies care.

use std::error::Error;
use std::fmt;

use outrigger_config::resources::Matching;

use crate::breaker::Refusal;

/// An error of an operation that a policy runs.
pub trait Failure: fmt::Display {
    /// Whether it is worth another try.
    fn class(&self) -> Class;
}

/// What a policy makes of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Tried again.
    Plain,
    /// Tried again if the policy lists the code: 0 to 16 are gRPC codes, 100 to 599 HTTP statuses, others never.
    Code(i32),
    /// Never tried again.
    Permanent,
}

/// Why an operation under a policy brought nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError<E> {
    /// The last attempt failed.
    #[error("{0}")]
    Operation(E),
    /// The last attempt took too long.
    #[error("context deadline exceeded")]
    DeadlineExceeded,
    /// The circuit breaker did not let the attempt through.
    #[error("circuit breaker is open")]
    BreakerOpen,
    /// The circuit breaker is half open, and other calls are trying the target.
    #[error("too many requests")]
    TooManyRequests,
}

// === impl Failure ===

impl Failure for Box<dyn Error + Send + Sync> {
    /// The error of a component, which has no status that policies could list.
    fn class(&self) -> Class {
        Class::Plain
    }
}

// === impl PolicyError ===

impl<E: Failure> PolicyError<E> {
    /// Whether a retry policy with these codes tries again.
    pub(crate) fn is_retried(&self, matching: &Matching) -> bool {
        match self {
            Self::Operation(failure) => match failure.class() {
                Class::Plain => true,
                Class::Code(code) => matching.retries(code),
                Class::Permanent => false,
            },
            Self::DeadlineExceeded => true,
            Self::BreakerOpen | Self::TooManyRequests => false,
        }
    }
}

impl<E> From<Refusal> for PolicyError<E> {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Open => Self::BreakerOpen,
            Refusal::TooManyRequests => Self::TooManyRequests,
        }
    }
}
