//! One operation under the policies of its target.
//!
//! ```text
//! retry ( circuit breaker ( timeout ( operation ) ) )
//! ```
//!
//! Source: specification, resiliency 4.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use outrigger_config::resources::RetryPolicy;
use outrigger_kit::duration::format_go;
use tokio::time::{Instant, sleep, timeout_at};

use crate::LOG;
use crate::breaker::{Breaker, Entry};
use crate::failure::{Failure, PolicyError};
use crate::meter::{Meter, RETRY, TIMEOUT};

/// The policies of one operation; made for each operation anew.
#[derive(Debug)]
#[must_use = "a policy without an operation does nothing but count"]
pub struct Policy<'a> {
    name: Name<'a>,
    timeout: Option<Duration>,
    retry: Option<&'a RetryPolicy>,
    breaker: Option<Arc<Breaker>>,
    meter: Option<Arc<Meter>>,
}

/// An attempt that has brought something, but goes on: the answer still streams.
///
/// It counts as failed if it is dropped.
#[derive(Debug)]
#[must_use = "an attempt that is dropped counts as failed"]
pub struct Pending {
    deadline: Option<Instant>,
    passage: Option<Passage>,
    meter: Option<Arc<Meter>>,
    /// Whether an earlier attempt has timed out: that is counted once.
    has_timed_out: bool,
    recovered: Option<Recovered>,
}

/// How log lines call an operation.
#[derive(Clone, Debug)]
pub(crate) enum Name<'a> {
    Endpoint { app_id: &'a str, endpoint: String },
    Actor { actor_type: &'a str, id: &'a str },
    Output { component: &'a str },
    Input { component: &'a str },
    BuiltIn(&'static str),
}

/// A call that a breaker has let through; counted as failed if nobody says otherwise.
#[derive(Debug)]
struct Passage {
    breaker: Arc<Breaker>,
    entry: Entry,
    meter: Option<Arc<Meter>>,
    is_settled: bool,
}

/// What is logged when an operation succeeds after failures.
#[derive(Debug)]
struct Recovered {
    name: String,
    attempts: u32,
}

/// Runs an operation under a policy, or once if there is none.
///
/// # Errors
/// The failure of the last attempt.
pub async fn run<T, E, O>(
    policy: Option<Policy<'_>>,
    mut operation: impl FnMut(u32) -> O,
) -> Result<T, PolicyError<E>>
where
    E: Failure,
    O: Future<Output = Result<T, E>>,
{
    match policy {
        Some(policy) => policy.run(operation).await,
        None => operation(1).await.map_err(PolicyError::Operation),
    }
}

// === impl Policy ===

impl<'a> Policy<'a> {
    /// Puts policies together for an operation, and counts them.
    pub(crate) fn new(
        name: Name<'a>,
        timeout: Option<Duration>,
        retry: Option<&'a RetryPolicy>,
        breaker: Option<Arc<Breaker>>,
        meter: Option<Arc<Meter>>,
    ) -> Self {
        if let Some(meter) = &meter {
            if timeout.is_some() {
                meter.applied(TIMEOUT);
            }
            if retry.is_some() {
                meter.applied(RETRY);
            }
            if let Some(breaker) = &breaker {
                meter.breaker_applied(breaker.state());
            }
        }
        Self {
            name,
            timeout,
            retry,
            breaker,
            meter,
        }
    }

    /// Runs an operation; `operation` is given the number of the attempt, from 1.
    ///
    /// Dropping the future cancels the attempt, which then counts as failed.
    ///
    /// # Errors
    /// The failure of the last attempt.
    pub async fn run<T, E, O>(&self, operation: impl FnMut(u32) -> O) -> Result<T, PolicyError<E>>
    where
        E: Failure,
        O: Future<Output = Result<T, E>>,
    {
        let (value, pending) = self.begin(operation).await?;
        pending.succeed();
        Ok(value)
    }

    /// Runs an operation whose success is not its end, such as an answer that begins.
    ///
    /// # Errors
    /// The failure of the last attempt.
    pub async fn begin<T, E, O>(
        &self,
        mut operation: impl FnMut(u32) -> O,
    ) -> Result<(T, Pending), PolicyError<E>>
    where
        E: Failure,
        O: Future<Output = Result<T, E>>,
    {
        let began = Instant::now();
        let mut pauses = None;
        let mut has_timed_out = false;
        let mut attempt = 1;
        loop {
            let failure = match self.attempt(attempt, &mut operation).await {
                Ok((value, mut pending)) => {
                    pending.has_timed_out = has_timed_out;
                    return Ok((value, pending));
                }
                Err(failure) => failure,
            };
            if matches!(failure, PolicyError::DeadlineExceeded) && !has_timed_out {
                has_timed_out = true;
                self.activated(TIMEOUT);
            }
            let Some(retry) = self.retry.filter(|retry| failure.is_retried(&retry.matching)) else {
                return Err(failure);
            };
            let pauses = pauses.get_or_insert_with(|| retry.pauses.start());
            let Some(pause) = pauses.next_pause(began.elapsed()) else {
                return Err(failure);
            };
            if attempt == 1 {
                self.activated(RETRY);
                let name = &self.name;
                tracing::warn!(
                    target: LOG,
                    "Error processing operation {name}. Retrying in {}…",
                    format_go(pause)
                );
                tracing::debug!(target: LOG, "Error for operation {name} was: {failure}");
            }
            drop(failure);
            sleep(pause).await;
            attempt += 1;
        }
    }

    /// Whether an operation may be run more than once, so that what it sends must be kept.
    #[must_use]
    pub fn has_retries(&self) -> bool {
        self.retry
            .is_some_and(|retry| retry.pauses.max_retries() != Some(0))
    }

    async fn attempt<T, E, O>(
        &self,
        number: u32,
        operation: &mut impl FnMut(u32) -> O,
    ) -> Result<(T, Pending), PolicyError<E>>
    where
        E: Failure,
        O: Future<Output = Result<T, E>>,
    {
        let passage = match &self.breaker {
            Some(breaker) => Some(Passage {
                entry: breaker.enter()?,
                breaker: Arc::clone(breaker),
                meter: self.meter.clone(),
                is_settled: false,
            }),
            None => None,
        };
        let deadline = self
            .timeout
            .and_then(|timeout| Instant::now().checked_add(timeout));
        let work = operation(number);
        let outcome = match deadline {
            Some(deadline) => match timeout_at(deadline, work).await {
                Ok(outcome) => outcome,
                Err(_) => return Err(PolicyError::DeadlineExceeded),
            },
            None => work.await,
        };
        let value = outcome.map_err(PolicyError::Operation)?;
        let recovered = (number > 1).then(|| Recovered {
            name: self.name.to_string(),
            attempts: number,
        });
        let pending = Pending {
            deadline,
            passage,
            meter: self.meter.clone(),
            has_timed_out: false,
            recovered,
        };
        Ok((value, pending))
    }

    fn activated(&self, policy: &str) {
        if let Some(meter) = &self.meter {
            meter.activated(policy);
        }
    }
}

// === impl Pending ===

impl Pending {
    /// When the attempt is to be cut off.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Whether nothing depends on how the attempt goes on: no deadline, and no breaker that counts it.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.deadline.is_none() && self.passage.is_none()
    }

    /// The attempt has ended well.
    pub fn succeed(mut self) {
        if let Some(passage) = self.passage.take() {
            passage.succeed();
        }
        if let Some(Recovered { name, attempts }) = &self.recovered {
            tracing::info!(
                target: LOG,
                "Recovered processing operation {name} after {attempts} attempts"
            );
        }
    }

    /// The attempt was cut off at its deadline.
    pub fn time_out(self) {
        if let Some(meter) = self.meter.as_ref().filter(|_| !self.has_timed_out) {
            meter.activated(TIMEOUT);
        }
    }
}

// === impl Passage ===

impl Passage {
    fn succeed(mut self) {
        self.settle(true);
    }

    fn settle(&mut self, is_success: bool) {
        self.is_settled = true;
        let after = self.breaker.settle(self.entry, is_success);
        if after != self.entry.state
            && let Some(meter) = &self.meter
        {
            meter.breaker_activated(after);
        }
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        if !self.is_settled {
            self.settle(false);
        }
    }
}

// === impl Name ===

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Endpoint { app_id, endpoint } => write!(f, "endpoint[{app_id}, {endpoint}]"),
            Self::Actor { actor_type, id } => write!(f, "actor[{actor_type}, {id}]"),
            Self::Output { component } => write!(f, "component[{component}] output"),
            Self::Input { component } => write!(f, "component[{component}] input"),
            Self::BuiltIn(name) => f.write_str(name),
        }
    }
}
