//! The expressions that open a circuit breaker: a part of CEL over its counts.
//!
//! ```text
//! text ──lex──▶ tokens ──parse──▶ Node ──check──▶ Trip        when a resource is loaded
//!                                            Trip + Counts ──▶ bool        at each failure
//! ```
//!
//! There are the literals, operators, conversions, lists and the `size` of CEL, with its types and its rules of
//! errors. What a condition on five whole numbers has no use for is left out and refused when a resource is
//! loaded: maps, messages, bytes, times, macros and the functions of texts.
//!
//! Source: specification, resiliency 6; CEL language definition.

mod check;
mod evaluate;
mod lex;
mod parse;
#[cfg(test)]
mod tests;

use std::fmt;

use self::parse::Node;

/// A condition on the counts of a breaker, compiled.
#[derive(Clone, PartialEq)]
pub struct Trip {
    text: Box<str>,
    root: Node,
}

/// What a breaker has counted since its last change of state, or since its interval began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls that were let through.
    pub requests: u32,
    /// Calls that succeeded.
    pub total_successes: u32,
    /// Calls that failed.
    pub total_failures: u32,
    /// Calls that succeeded since the last failure.
    pub consecutive_successes: u32,
    /// Calls that failed since the last success.
    pub consecutive_failures: u32,
}

/// Why an expression cannot be compiled, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("ERROR: <input>:1:{column}: {reason}")]
pub struct TripError {
    /// The character that it is about, from 1.
    pub column: usize,
    /// What is wrong.
    pub reason: String,
}

/// A place in the text, in bytes.
type Position = usize;

/// An error with a place that is still in bytes.
type Fault = (Position, String);

// === impl Trip ===

impl Trip {
    /// Longest expression, in bytes.
    pub const MAX_LENGTH: usize = 4096;

    /// Compiles an expression.
    ///
    /// Names that are no count compile, as in CEL a name may have any type, but fail whenever they are needed.
    ///
    /// # Errors
    /// Texts that are no CEL, operands of types that do not fit, and parts of CEL that are not supported.
    pub fn compile(text: &str) -> Result<Self, TripError> {
        let compiled = if text.len() > Self::MAX_LENGTH {
            let reason = format!("expression is longer than {} bytes", Self::MAX_LENGTH);
            Err((0, reason))
        } else {
            parse::parse(text).and_then(|root| check::check(&root).map(|_| root))
        };
        match compiled {
            Ok(root) => Ok(Self {
                text: text.into(),
                root,
            }),
            Err((position, reason)) => {
                let before = text.get(..position).unwrap_or(text);
                let column = before.chars().count() + 1;
                Err(TripError { column, reason })
            }
        }
    }

    /// Whether the counts open the breaker; an expression that fails, or is no condition, never does.
    #[must_use]
    pub fn holds(&self, counts: &Counts) -> bool {
        evaluate::condition(&self.root, counts)
    }

    /// The expression as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for Trip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Trip").field(&self.text).finish()
    }
}

// === impl Counts ===

impl Counts {
    /// The count of this name in expressions.
    fn get(&self, count: Count) -> u32 {
        match count {
            Count::Requests => self.requests,
            Count::TotalSuccesses => self.total_successes,
            Count::TotalFailures => self.total_failures,
            Count::ConsecutiveSuccesses => self.consecutive_successes,
            Count::ConsecutiveFailures => self.consecutive_failures,
        }
    }
}

/// The names of counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Count {
    Requests,
    TotalSuccesses,
    TotalFailures,
    ConsecutiveSuccesses,
    ConsecutiveFailures,
}

// === impl Count ===

impl Count {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "requests" => Self::Requests,
            "totalSuccesses" => Self::TotalSuccesses,
            "totalFailures" => Self::TotalFailures,
            "consecutiveSuccesses" => Self::ConsecutiveSuccesses,
            "consecutiveFailures" => Self::ConsecutiveFailures,
            _ => return None,
        })
    }
}
