//! Keeping an identity valid.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use outrigger_kit::clock::Clock;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use crate::LOG;
use crate::anchors::{AnchorError, AnchorSource, AnchorWatch};
use crate::directory::IdentityDirectory;
use crate::identity::Identity;
use crate::metrics::IdentityMetrics;
use crate::sentry::{Obtained, RequestError, SentryClient};

/// Longest sleep between two looks at the clock, so that a machine that was suspended notices soon.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);

/// Pause after a failure.
const RETRY_PAUSE: Duration = Duration::from_secs(10);

/// Shortest pause between two renewals: certificates of 10 ms are renewed at their half life and no faster.
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);

/// The task that renews an [`Identity`] at half its life, and follows its file of anchors.
#[derive(Debug)]
pub struct Renewal {
    identity: Identity,
    requester: Requester,
    anchors: Option<AnchorWatch>,
}

/// Asks for identities and writes them down.
pub(crate) struct Requester {
    pub(crate) client: SentryClient,
    pub(crate) anchors: AnchorSource,
    pub(crate) directory: Option<IdentityDirectory>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Arc<dyn IdentityMetrics>,
}

/// When what is at hand ends, and when to ask for more.
struct Plan {
    expires: SystemTime,
    jwt_expires: Option<SystemTime>,
    renew: SystemTime,
}

// === impl Renewal ===

impl Renewal {
    pub(crate) fn new(identity: Identity, requester: Requester, anchors: Option<AnchorWatch>) -> Self {
        Self {
            identity,
            requester,
            anchors,
        }
    }

    /// Renews the identity until `cancel` comes. A renewal that fails is tried again every 10 s for ever, even
    /// past the end of the certificate.
    ///
    /// # Errors
    /// When the file of anchors can no longer be followed: the process must end then.
    pub async fn run(mut self, cancel: CancellationToken) -> Result<(), AnchorError> {
        let anchors = self.anchors.take();
        let follow = async {
            match anchors {
                Some(watch) => watch.run().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            result = follow => result,
            () = self.renew_for_ever(&cancel) => Ok(()),
            () = cancel.cancelled() => Ok(()),
        }
    }

    async fn renew_for_ever(&mut self, cancel: &CancellationToken) {
        let clock = self.requester.clock.clone();
        let mut plan = Plan::new(&self.identity, clock.now());
        tracing::info!(target: LOG, "Starting workload identity expiry watcher; {plan}");
        loop {
            sleep_until(plan.renew, &*clock).await;
            tracing::info!(target: LOG, "Renewing workload identity; {plan}");
            match self.requester.request(cancel).await {
                Ok(obtained) => {
                    self.identity.replace(obtained);
                    plan = Plan::new(&self.identity, clock.now());
                    tracing::info!(target: LOG, "Successfully renewed workload identity; {plan}");
                    tokio::time::sleep(self.pause_after(&plan, clock.now())).await;
                }
                Err(error) => {
                    tracing::error!(target: LOG, "Error renewing identity, trying again in 10 seconds: {error}");
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
            }
        }
    }

    /// Time until the next renewal may begin.
    ///
    /// A long certificate that is to be renewed as soon as it comes is no reason to hurry: the clock of this
    /// machine is ahead of that of the authority, and the next one will be no better.
    fn pause_after(&self, plan: &Plan, now: SystemTime) -> Duration {
        let svid = self.identity.svid();
        let life = svid.leaf().not_after().duration_since(svid.leaf().not_before());
        let is_long = life.is_ok_and(|life| life > 2 * RETRY_PAUSE);
        if is_long && plan.renew <= now {
            RETRY_PAUSE
        } else {
            SHORTEST_PAUSE
        }
    }
}

// === impl Requester ===

impl Requester {
    /// Obtains an identity, and writes it to its folder if there is one.
    pub(crate) async fn request(&mut self, cancel: &CancellationToken) -> Result<Obtained, RequestError> {
        let outcome = self.try_request(cancel).await;
        if let Err(error) = &outcome
            && let Some(reason) = error.reason()
        {
            self.metrics.rotation_failed(reason);
        }
        outcome
    }

    async fn try_request(&mut self, cancel: &CancellationToken) -> Result<Obtained, RequestError> {
        let obtained = self.client.obtain(&*self.clock, cancel).await?;
        if let Some(directory) = &mut self.directory {
            let anchors = self.anchors.current();
            directory.write(&obtained.svid, &obtained.jwts, &anchors, self.clock.now())?;
        }
        Ok(obtained)
    }
}

impl fmt::Debug for Requester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requester")
            .field("client", &self.client)
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}

// === impl Plan ===

impl Plan {
    fn new(identity: &Identity, now: SystemTime) -> Self {
        let svid = identity.svid();
        let jwt_expires = identity.jwts().base().map(crate::jwt::JwtSvid::expires_at);
        let renew_jwt = jwt_expires.map(|end| now + end.duration_since(now).unwrap_or_default() / 2);
        let renew = svid.renewal_at();
        Self {
            expires: svid.leaf().not_after(),
            jwt_expires,
            renew: renew_jwt.map_or(renew, |jwt| jwt.min(renew)),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cert expires on: {}", Moment(self.expires))?;
        if let Some(end) = self.jwt_expires {
            write!(f, ", jwt expires on: {}", Moment(end))?;
        }
        write!(f, ", renewal at: {}", Moment(self.renew))
    }
}

/// A moment as Go prints it by default: `2026-11-23 17:17:40.5 +0000 UTC`.
struct Moment(SystemTime);

// === impl Moment ===

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = OffsetDateTime::from(self.0);
        let (hour, minute, second) = moment.to_hms();
        write!(f, "{} {hour:02}:{minute:02}:{second:02}", moment.date())?;
        if moment.nanosecond() > 0 {
            let fraction = format!("{:09}", moment.nanosecond());
            write!(f, ".{}", fraction.trim_end_matches('0'))?;
        }
        f.write_str(" +0000 UTC")
    }
}

/// Sleeps until the wall clock shows `moment`, looking at it at least once a minute.
async fn sleep_until(moment: SystemTime, clock: &dyn Clock) {
    while let Ok(left) = moment.duration_since(clock.now())
        && !left.is_zero()
    {
        tokio::time::sleep(left.min(LOOK_INTERVAL)).await;
    }
}

#[cfg(test)]
mod tests;
