//! The identity of a process, and how it starts.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use outrigger_kit::clock::Clock;
use outrigger_svc::Connect;
use rustls::{ClientConfig, ServerConfig};
use tokio_util::sync::CancellationToken;

use crate::LOG;
use crate::anchors::{AnchorError, AnchorSource, AnchorWatch, TrustAnchors};
use crate::directory::{DirectoryError, IdentityDirectory};
use crate::jwt::{JwtSvid, JwtSvidError, JwtSvids};
use crate::metrics::IdentityMetrics;
use crate::renewal::{Renewal, Requester};
use crate::sentry::{Obtained, RequestError, SentryClient};
use crate::settings::{RootUser, Settings, refuse_root};
use crate::signer::Signer;
use crate::spiffe::{SpiffeId, SpiffeIdError, TrustDomain};
use crate::svid::{Svid, SvidSource};
use crate::tls;
use crate::verify::Expect;

/// Who the process is, and whom it trusts. Clones share both; what is renewed is seen by all.
#[derive(Clone)]
pub struct Identity {
    svids: SvidSource,
    anchors: AnchorSource,
    jwts: Arc<ArcSwap<JwtSvids>>,
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

/// The world around an identity: what tests replace.
pub struct Seams {
    /// Opens the connections to the certificate authority.
    pub connect: Arc<dyn Connect>,
    /// The time that certificates are renewed by.
    pub clock: Arc<dyn Clock>,
    /// Where events are counted.
    pub metrics: Arc<dyn IdentityMetrics>,
}

/// Why a process has no identity. Each of these ends the process.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The process runs as root in Kubernetes.
    #[error(transparent)]
    RootUser(#[from] RootUser),
    /// No trust domain of the control plane was given.
    #[error("control plane trust domain is required")]
    NoTrustDomain,
    /// The trust domain of the control plane is none.
    #[error("invalid control plane trust domain: {0}")]
    TrustDomain(SpiffeIdError),
    /// The namespace of the control plane cannot be part of an id.
    #[error("invalid control plane namespace: {0}")]
    Namespace(SpiffeIdError),
    /// No anchors were given.
    #[error("trust anchors are required")]
    NoAnchors,
    /// Anchors were given twice.
    #[error("trust anchors cannot be specified in both TrustAnchors and TrustAnchorsFile")]
    AnchorsTwice,
    /// The anchors that were given are none.
    #[error("failed to decode trust anchors: {0}")]
    Anchors(AnchorError),
    /// The file of anchors is of no use.
    #[error(transparent)]
    AnchorsFile(AnchorError),
    /// The folder for the identity cannot be.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The authority gave no identity.
    #[error("failed to retrieve the initial identity: {0}")]
    Request(#[from] RequestError),
}

// === impl Identity ===

impl Identity {
    /// Joins an identity that is at hand already and the anchors to trust.
    #[must_use]
    pub fn new(svid: Svid, anchors: AnchorSource) -> Self {
        Self::with_jwts(svid, JwtSvids::default(), anchors)
    }

    /// Obtains the first identity of the process, and waits for it as long as it takes.
    ///
    /// [`Renewal::run`] then keeps it valid; without it the identity ends with its first certificate.
    ///
    /// # Errors
    /// When the settings are of no use, the authority refuses, or `cancel` comes first.
    pub async fn start(
        settings: &Settings,
        seams: Seams,
        cancel: &CancellationToken,
    ) -> Result<(Self, Renewal), StartError> {
        refuse_root(settings.mode, settings.skip_root_check.as_deref())?;
        let control_plane = match settings.control_plane_trust_domain.as_str() {
            "" => return Err(StartError::NoTrustDomain),
            name => TrustDomain::parse(name).map_err(StartError::TrustDomain)?,
        };
        let (anchors, watch) = open_anchors(settings, cancel).await?;
        let client = SentryClient::new(settings, &control_plane, &anchors, seams.connect)
            .map_err(StartError::Namespace)?;
        let directory = match &settings.identity_directory {
            Some(path) => Some(IdentityDirectory::new(path)?),
            None => None,
        };
        let mut requester = Requester {
            client,
            anchors: anchors.clone(),
            directory,
            clock: seams.clock,
            metrics: seams.metrics.clone(),
        };
        tracing::info!(target: LOG, "Fetching initial identity");
        let Obtained { svid, jwts } = requester.request(cancel).await?;
        let identity = Self::with_jwts(svid, jwts, anchors);
        seams.metrics.initialized();
        tracing::info!(target: LOG, "Security is initialized successfully");
        let renewal = Renewal::new(identity.clone(), requester, watch);
        Ok((identity, renewal))
    }

    fn with_jwts(svid: Svid, jwts: JwtSvids, anchors: AnchorSource) -> Self {
        let svids = SvidSource::new(svid);
        Self {
            server: Arc::new(tls::mutual_server(&svids, &anchors, Expect::Any)),
            client: Arc::new(tls::mutual_client(&svids, &anchors, Expect::Any)),
            jwts: Arc::new(ArcSwap::from_pointee(jwts)),
            svids,
            anchors,
        }
    }

    /// Who the process is.
    #[must_use]
    pub fn spiffe_id(&self) -> SpiffeId {
        self.svids.current().id().clone()
    }

    /// The current certificate with its key.
    #[must_use]
    pub fn svid(&self) -> Arc<Svid> {
        self.svids.current()
    }

    /// Where the current certificate stands: for servers that ask clients for none.
    #[must_use]
    pub fn svids(&self) -> &SvidSource {
        &self.svids
    }

    /// The anchors that peers are verified against.
    #[must_use]
    pub fn anchors(&self) -> &AnchorSource {
        &self.anchors
    }

    /// The configuration of servers: mutual TLS with anyone who has a valid certificate, `h2` only.
    ///
    /// There is one for the life of the process; each handshake reads the certificate of the moment.
    #[must_use]
    pub fn server_config(&self) -> Arc<ServerConfig> {
        self.server.clone()
    }

    /// The configuration of clients that expect a certain server.
    ///
    /// Cheap, but not free: keep it with the peer. Each handshake reads the certificate of the moment.
    #[must_use]
    pub fn client_config(&self, expect: Expect) -> Arc<ClientConfig> {
        match expect {
            Expect::Any => self.client.clone(),
            other => Arc::new(tls::mutual_client(&self.svids, &self.anchors, other)),
        }
    }

    /// The token that names the process to `audience`.
    ///
    /// # Errors
    /// When the authority issues none, or none for this audience.
    pub fn jwt_svid(&self, audience: &str) -> Result<JwtSvid, JwtSvidError> {
        self.jwts.load().fetch(audience)
    }

    /// Signs histories with the key of the moment.
    #[must_use]
    pub fn signer(&self) -> Signer {
        Signer::new(self.svids.clone(), self.anchors.clone())
    }

    /// Puts a successor in place for the next handshake.
    pub(crate) fn replace(&self, obtained: Obtained) {
        self.svids.replace(obtained.svid);
        self.jwts.store(Arc::new(obtained.jwts));
    }

    /// When the JWT of the moment ends, if there is one.
    pub(crate) fn jwts(&self) -> Arc<JwtSvids> {
        self.jwts.load_full()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Identity").field(&self.spiffe_id()).finish()
    }
}

// === impl Seams ===

impl fmt::Debug for Seams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seams").finish_non_exhaustive()
    }
}

async fn open_anchors(
    settings: &Settings,
    cancel: &CancellationToken,
) -> Result<(AnchorSource, Option<AnchorWatch>), StartError> {
    match (&settings.trust_anchors, &settings.trust_anchors_file) {
        (Some(_), Some(_)) => Err(StartError::AnchorsTwice),
        (None, None) => Err(StartError::NoAnchors),
        (Some(text), None) if text.is_empty() => Err(StartError::NoAnchors),
        (Some(text), None) => {
            let anchors = TrustAnchors::from_pem(text.clone()).map_err(StartError::Anchors)?;
            Ok((AnchorSource::fixed(anchors), None))
        }
        (None, Some(path)) => {
            let opened = AnchorSource::watch(path, cancel).await;
            let (source, watch) = opened.map_err(StartError::AnchorsFile)?;
            Ok((source, Some(watch)))
        }
    }
}

#[cfg(test)]
mod tests;
