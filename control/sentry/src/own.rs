//! Sentry's own certificate, which it signs for itself and renews at half of its life.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use outrigger_identity::key::{KeyType, PrivateKey};
use outrigger_identity::spiffe::SpiffeId;
use outrigger_identity::svid::{Svid, SvidSource};
use outrigger_telemetry::metrics::Metrics;
use tokio_util::sync::CancellationToken;

use crate::ca::Authority;
use crate::error::OwnCertificateError;

/// Log scope of the own identity.
const SCOPE: &str = "dapr.sentry.security";

/// The longest sleep: the clock may be set, or the machine suspended.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The shortest sleep, for certificates whose life is over half before it begins.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

/// How long to wait after a failure.
const RETRY_PAUSE: Duration = Duration::from_secs(10);

/// Signs certificates for sentry itself.
#[derive(Clone, Debug)]
pub(crate) struct OwnIdentity {
    id: SpiffeId,
    authority: Arc<ArcSwap<Authority>>,
    current: SvidSource,
    metrics: Metrics,
}

// === impl OwnIdentity ===

impl OwnIdentity {
    /// Signs the first certificate.
    pub(crate) fn new(
        id: SpiffeId,
        authority: Arc<ArcSwap<Authority>>,
        metrics: Metrics,
    ) -> Result<Self, OwnCertificateError> {
        let first =
            issue(&id, &authority.load()).inspect_err(|_| metrics.sentry().own_certificate_failed())?;
        Ok(Self {
            id,
            authority,
            current: SvidSource::new(first),
            metrics,
        })
    }

    /// The place of the current certificate.
    pub(crate) const fn source(&self) -> &SvidSource {
        &self.current
    }

    /// Signs another certificate with another key.
    pub(crate) fn renew(&self) -> Result<(), OwnCertificateError> {
        let next = issue(&self.id, &self.authority.load())
            .inspect_err(|_| self.metrics.sentry().own_certificate_failed())?;
        self.current.replace(next);
        Ok(())
    }

    /// Renews the certificate whenever it is due, until `stop`.
    pub(crate) async fn run(&self, stop: CancellationToken) {
        loop {
            let due = self.current.current().renewal_at();
            let pause = match due.duration_since(SystemTime::now()) {
                Ok(left) => left.min(LONGEST_PAUSE),
                Err(_) => match self.renew() {
                    Ok(()) => SHORTEST_PAUSE,
                    Err(error) => {
                        tracing::error!(
                            target: SCOPE,
                            "Error renewing identity, trying again in 10 seconds: {error}"
                        );
                        RETRY_PAUSE
                    }
                },
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => return,
            }
        }
    }
}

fn issue(id: &SpiffeId, authority: &Authority) -> Result<Svid, OwnCertificateError> {
    let key = PrivateKey::generate(KeyType::Ed25519)?;
    let signed = authority.sign(id, &key.public_key_info()?, &[], "", SystemTime::now())?;
    Ok(Svid::new(signed.chain, key)?)
}
