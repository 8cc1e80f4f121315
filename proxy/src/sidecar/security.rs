//! Who the sidecar is: its identity, and what links make of it.

use std::sync::{Arc, OnceLock};

use outrigger_config::Mode;
use outrigger_config::daprd::Settings;
use outrigger_identity::{
    FailureReason, Identity, IdentityMetrics, Seams, Settings as IdentitySettings, StartError,
};
use outrigger_kit::clock::SystemClock;
use outrigger_link::{Security as LinkSecurity, TcpConnect};
use outrigger_telemetry::metrics::Metrics;
use tokio_util::sync::CancellationToken;

use super::{RUNTIME, RunError};
use crate::stop::Stop;

/// The identity of the run; none without mTLS.
#[derive(Clone, Default)]
pub(crate) struct Security {
    identity: Option<Identity>,
    mtls: bool,
    counts: Arc<Counts>,
}

/// Counts what happens to the identity. Metrics exist only after the first certificate: what happens before
/// them is not counted.
#[derive(Debug, Default)]
struct Counts(OnceLock<Metrics>);

/// Obtains the first certificate, or learns that there is none to obtain. None if the run was stopped meanwhile
/// by anything but a signal, which is an error while the certificate is waited for.
pub(super) async fn obtain(
    settings: &Settings,
    stop: &Stop,
    over: &CancellationToken,
) -> Result<Option<Security>, RunError> {
    let security = &settings.security;
    if !security.mtls && settings.mode == Mode::Standalone {
        tracing::warn!(
            target: "dapr.runtime.security",
            "mTLS is disabled. Skipping certificate request and tls validation"
        );
        return Ok(Some(Security::default()));
    }
    let counts = Arc::new(Counts::default());
    let metrics = Arc::clone(&counts) as Arc<dyn IdentityMetrics>;
    let seams = Seams {
        connect: Arc::new(TcpConnect),
        clock: Arc::new(SystemClock),
        metrics,
    };
    let (identity, renewal) = match Identity::start(&identity_settings(settings), seams, stop.token()).await {
        Ok(started) => started,
        Err(StartError::Request(_)) if stop.cause() == Some(crate::StopCause::Restart) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let end = over.clone();
    tokio::spawn(async move {
        if let Err(error) = renewal.run(end).await {
            tracing::error!(target: RUNTIME, "{error}");
        }
    });
    Ok(Some(Security {
        identity: Some(identity),
        mtls: security.mtls,
        counts,
    }))
}

fn identity_settings(settings: &Settings) -> IdentitySettings {
    let security = &settings.security;
    IdentitySettings {
        mode: match settings.mode {
            Mode::Standalone => outrigger_identity::Mode::Standalone,
            Mode::Kubernetes => outrigger_identity::Mode::Kubernetes,
        },
        app_id: settings.app_id.to_string(),
        local_identity: security.local_identity.clone(),
        namespace: Some(settings.namespace.name().to_owned()),
        control_plane_trust_domain: security.control_plane_trust_domain.clone(),
        control_plane_namespace: security.control_plane_namespace.clone(),
        sentry_address: security.sentry_address.clone(),
        trust_anchors: security.trust_anchors.clone().map(Into::into),
        token_file_variable: security.token_file.clone(),
        jwt_audiences: security.jwt_audiences.clone(),
        skip_root_check: security.allow_root.then(|| "true".to_owned()),
        ..IdentitySettings::default()
    }
}

// === impl Security ===

impl Security {
    /// How links to other sidecars are secured.
    pub(crate) fn links(&self) -> LinkSecurity {
        match &self.identity {
            Some(identity) if self.mtls => LinkSecurity::Mutual {
                svid: identity.svids().clone(),
                anchors: identity.anchors().clone(),
            },
            _ => LinkSecurity::Plain,
        }
    }

    /// The identity that the internal server shows, if it speaks mTLS.
    pub(crate) fn server(&self) -> Option<&Identity> {
        self.identity.as_ref().filter(|_| self.mtls)
    }

    /// Counts from now on, the identity that is there already included.
    pub(crate) fn count(&self, metrics: &Metrics) {
        if self.identity.is_some() {
            metrics.mtls().obtained();
            self.counts.0.get_or_init(|| metrics.clone());
        }
    }
}

// === impl Counts ===

impl IdentityMetrics for Counts {
    fn rotation_failed(&self, reason: FailureReason) {
        if let Some(metrics) = self.0.get() {
            metrics.mtls().rotation_failed(reason.as_str());
        }
    }
}
