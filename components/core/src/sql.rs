//! What stores in SQL databases share: the names of tables, the times of their settings, and the sweep of what
//! has expired.
//!
//! Source: specification, state stores, common expiry sweep.

use std::sync::Arc;
use std::time::Duration;

use outrigger_svc::{BoxError, BoxFuture};
use tokio::task::AbortHandle;
use tokio::time::{interval, timeout};

use crate::properties::Fields;

/// Time of a statement unless settings say otherwise.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The longest that one sweep may take.
const LONGEST_SWEEP: Duration = Duration::from_secs(600);

/// Clocks of databases and of processes differ: a turn must not be missed for a fraction of a second.
const TOLERANCE: Duration = Duration::from_millis(100);

/// Removes what has expired from a table that several processes share.
pub trait Sweep: Send + Sync + 'static {
    /// Takes the turn if the last one was at least `age` ago, by a row that all processes share, and then deletes
    /// what has expired. Says how many rows that were; none if the turn is another's.
    fn sweep(&self, age: Duration) -> BoxFuture<'_, Result<Option<u64>, BoxError>>;
}

/// Sweeps in intervals, the first time after one of them. Ends when it is dropped or [stopped](Self::stop).
#[derive(Debug)]
pub struct Sweeper(Option<AbortHandle>);

/// Whether a text can name a table: letters, digits and `_`.
#[must_use]
pub fn is_identifier(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !name.is_empty() && name.bytes().all(is_plain)
}

/// Time of a statement: `timeout`, else `timeoutInSeconds`, else 20 seconds.
///
/// # Errors
/// Less than a second: `invalid value for 'timeout': must be greater than 1s`.
pub fn statement_timeout(fields: &Fields<'_>) -> Result<Duration, BoxError> {
    let timeout = match duration_of(fields, &["timeout", "timeoutInSeconds"])? {
        Some(timeout) => timeout.unwrap_or_default(),
        None => TIMEOUT,
    };
    if timeout < Duration::from_secs(1) {
        return Err("invalid value for 'timeout': must be greater than 1s".into());
    }
    Ok(timeout)
}

/// How often what has expired is swept: `cleanupInterval`, else `cleanupIntervalInSeconds`, else `default`; none
/// for a time that is not above zero. An empty text is the default.
///
/// # Errors
/// A text that is no time.
pub fn cleanup_interval(
    fields: &Fields<'_>,
    default: Option<Duration>,
) -> Result<Option<Duration>, BoxError> {
    const NAMES: [&str; 2] = ["cleanupInterval", "cleanupIntervalInSeconds"];
    if fields.text_of(&NAMES).is_none_or(str::is_empty) {
        return Ok(default);
    }
    Ok(duration_of(fields, &NAMES)?.flatten())
}

/// The first of some fields that is there; what is not above zero is no time.
fn duration_of(fields: &Fields<'_>, names: &[&str]) -> Result<Option<Option<Duration>>, BoxError> {
    for name in names {
        if let Some(span) = fields.duration(name)? {
            return Ok(Some(span.positive()));
        }
    }
    Ok(None)
}

// === impl Sweeper ===

impl Sweeper {
    /// Begins to sweep; without an interval nothing is swept. Failures are logged.
    #[must_use]
    pub fn start(every: Option<Duration>, sweep: Arc<impl Sweep>) -> Self {
        let task = every.map(|every| tokio::spawn(keep_swept(every, sweep)));
        Self(task.map(|task| task.abort_handle()))
    }

    /// Ends it.
    pub fn stop(&self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn keep_swept(every: Duration, sweep: Arc<impl Sweep>) {
    let mut ticks = interval(every);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let age = every.saturating_sub(TOLERANCE);
        match timeout(LONGEST_SWEEP, sweep.sweep(age)).await {
            Ok(Ok(Some(count))) => tracing::debug!(target: "dapr.contrib", "removed {count} expired rows"),
            Ok(Ok(None)) => {}
            Ok(Err(error)) => {
                tracing::error!(target: "dapr.contrib", "error removing expired rows: {error}");
            }
            Err(_) => {
                tracing::error!(target: "dapr.contrib", "error removing expired rows: it takes too long")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::time::{Instant, sleep};

    use super::*;
    use crate::Properties;

    /// Notes when it was called, and fails every second time.
    struct Notes(Mutex<Vec<(Duration, Duration)>>, Instant);

    impl Sweep for Notes {
        fn sweep(&self, age: Duration) -> BoxFuture<'_, Result<Option<u64>, BoxError>> {
            let mut notes = self.0.lock().unwrap();
            notes.push((self.1.elapsed(), age));
            let is_even = notes.len().is_multiple_of(2);
            Box::pin(async move { if is_even { Err("down".into()) } else { Ok(None) } })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_sweep_begins_after_one_interval_and_survives_failures() {
        let notes = Arc::new(Notes(Mutex::default(), Instant::now()));
        let sweeper = Sweeper::start(Some(Duration::from_secs(2)), Arc::clone(&notes));
        sleep(Duration::from_secs(7)).await;
        let expected = [2, 4, 6].map(|at| (Duration::from_secs(at), Duration::from_millis(1900)));
        assert_eq!(*notes.0.lock().unwrap(), expected);
        drop(sweeper);
        sleep(Duration::from_secs(7)).await;
        assert_eq!(notes.0.lock().unwrap().len(), 3);
        let _none = Sweeper::start(None, Arc::clone(&notes));
        sleep(Duration::from_secs(7)).await;
        assert_eq!(notes.0.lock().unwrap().len(), 3);
    }

    #[test]
    fn times_of_settings_have_other_names_and_bounds() {
        let hour = Some(Duration::from_secs(3600));
        for (name, text, cleanup) in [
            ("cleanupInterval", "", hour),
            ("other", "5s", hour),
            ("cleanupInterval", "0", None),
            ("cleanupIntervalInSeconds", "-1", None),
            ("cleanupintervalinseconds", "90", Some(Duration::from_secs(90))),
            ("CleanupInterval", "1m30s", Some(Duration::from_secs(90))),
        ] {
            let properties = Properties::from([(name, text)]);
            let read = cleanup_interval(&properties.fields().unwrap(), hour).unwrap();
            assert_eq!(read, cleanup, "{name} {text}");
        }
        let read = |text| {
            let properties = Properties::from([("timeoutInSeconds", text)]);
            statement_timeout(&properties.fields().unwrap()).map_err(|error| error.to_string())
        };
        assert_eq!(read("5"), Ok(Duration::from_secs(5)));
        for text in ["900ms", "0", "-5s"] {
            let expected = "invalid value for 'timeout': must be greater than 1s";
            assert_eq!(read(text).unwrap_err(), expected);
        }
        let none = Properties::default();
        assert_eq!(statement_timeout(&none.fields().unwrap()).unwrap(), TIMEOUT);
    }

    #[test]
    fn names_of_tables_are_letters_digits_and_underscores() {
        assert!(is_identifier("State_2"));
        for name in ["", "a b", "a;b", "ä", "a.b", "a\"b"] {
            assert!(!is_identifier(name), "{name}");
        }
    }
}
