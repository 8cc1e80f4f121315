//! Waiting for a condition.

use std::fmt::Display;
use std::time::Duration;

use anyhow::bail;
use tokio::time::Instant;

use crate::Result;

/// How long a condition is waited for unless a test says otherwise.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// Looks again and again until `look` yields something, at most [`PATIENCE`].
///
/// # Errors
/// If the time is over; the text names `what` was waited for.
pub async fn until<T>(what: impl Display, look: impl AsyncFnMut() -> Option<T>) -> Result<T> {
    until_within(PATIENCE, what, look).await
}

/// Looks again and again until `look` yields something, at most `limit`.
///
/// # Errors
/// If the time is over; the text names `what` was waited for.
pub async fn until_within<T>(
    limit: Duration,
    what: impl Display,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(seen) = look().await {
            return Ok(seen);
        }
        if Instant::now() >= deadline {
            bail!("waited {limit:?} for {what}");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_condition_that_comes_true_is_seen() {
        let mut looks = 0;
        let seen = until("the third look", async || {
            looks += 1;
            (looks == 3).then_some(looks)
        });
        assert_eq!(seen.await.unwrap(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn what_never_comes_is_named() {
        let failure = until_within(Duration::from_secs(1), "nothing", async || None::<()>).await;
        assert_eq!(failure.unwrap_err().to_string(), "waited 1s for nothing");
    }
}
