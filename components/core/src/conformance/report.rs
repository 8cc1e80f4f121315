//! Cases, and what is said of those that fail.

use std::fmt::{self, Debug, Write as _};
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use futures_util::stream::{self, StreamExt as _};
use outrigger_svc::BoxError;
use tokio::time::timeout;

/// What became of a case.
pub type Outcome = Result<(), Failure>;

/// Why a case failed. Made from any error by `?`.
pub struct Failure(String);

/// One case: its name, and what it does with its subject.
pub(super) struct Case<S: 'static> {
    pub(super) name: &'static str,
    pub(super) run: for<'a> fn(&'a S) -> LocalBoxFuture<'a, Outcome>,
}

/// How many cases run at a time.
const AT_ONCE: usize = 4;

/// The longest that a case may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Cases by the names of their functions.
macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        &[$($crate::conformance::report::Case {
            name: stringify!($name),
            run: |subject| Box::pin($name(subject)),
        }),*]
    };
}

/// Ends a case with a text unless a condition holds.
macro_rules! check {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err($crate::conformance::report::Failure::new(format!($($text)+)));
        }
    };
}

pub(super) use {cases, check};

/// Runs cases and fails with all of those that failed.
pub(super) async fn report<S: 'static>(
    what: &str,
    cases: impl IntoIterator<Item = &'static Case<S>>,
    subject: &S,
) {
    let outcomes = stream::iter(cases).map(async |case| {
        let outcome = timeout(PATIENCE, (case.run)(subject)).await;
        let outcome = outcome.unwrap_or_else(|_| Err(Failure::new(format!("no end after {PATIENCE:?}"))));
        (case.name, outcome)
    });
    let outcomes: Vec<_> = outcomes.buffered(AT_ONCE).collect().await;
    let mut failed = String::new();
    let mut count = 0;
    for (name, outcome) in &outcomes {
        if let Err(failure) = outcome {
            count += 1;
            let name = name.replace('_', " ");
            write!(failed, "\n  {name}: {failure:?}").expect("a string takes all text");
        }
    }
    assert!(
        count == 0,
        "{what}: {count} of {} cases failed{failed}",
        outcomes.len()
    );
}

/// Ends a case unless two values are the same.
pub(super) fn equal<T: PartialEq + Debug>(what: impl fmt::Display, found: &T, expected: &T) -> Outcome {
    check!(
        found == expected,
        "{what}: found {found:?}, expected {expected:?}"
    );
    Ok(())
}

// === impl Failure ===

impl Failure {
    /// A case that failed for the reason given.
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }

    /// The same with what was tried before the reason.
    #[must_use]
    pub fn of(self, what: impl fmt::Display) -> Self {
        Self(format!("{what}: {}", self.0))
    }
}

impl<E: Into<BoxError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.into().to_string())
    }
}

impl Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
