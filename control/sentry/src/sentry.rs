//! Starting everything that sentry does, and stopping it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use outrigger_api::sentry::sign_certificate_request::TokenValidator;
use outrigger_config::Mode;
use outrigger_config::configuration::Configuration;
use outrigger_config::env::ProcessEnv;
use outrigger_config::resources::Disk;
use outrigger_config::sentry::{CaConfiguration, CaConfigurationError, Settings, ValidatorKind};
use outrigger_identity::spiffe::{ControlPlane, SpiffeId, TrustDomain};
use outrigger_identity::tls;
use outrigger_telemetry::metrics::{self, Metrics};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::ca::{Authority, AuthoritySettings};
use crate::error::{ConfigurationCause, Error};
use crate::health::{Health, Target};
use crate::http_server;
use crate::listen;
use crate::oidc::Discovery;
use crate::oidc_server::{OidcCertificate, OidcServer};
use crate::own::OwnIdentity;
use crate::reload::{InUse, Reloader};
use crate::server::{self, CertificateService};
use crate::validator::{Insecure, Jwks, KeySource, Validators};

/// Log scope of sentry as a whole.
const SCOPE: &str = "dapr.sentry";

/// The certificate authority as a program.
#[derive(Clone, Copy, Debug)]
pub struct Sentry;

/// A running certificate authority; it stops when this is dropped.
#[derive(Debug)]
pub struct Handle {
    addresses: Addresses,
    stop: CancellationToken,
    ended: Option<JoinHandle<Result<(), Error>>>,
    _stop_on_drop: DropGuard,
}

/// Where a running certificate authority listens, with the ports that were taken for port 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// `SignCertificate` by gRPC over TLS.
    pub grpc: SocketAddr,
    /// `GET /healthz`.
    pub healthz: SocketAddr,
    /// Metrics for Prometheus, if they are on.
    pub metrics: Option<SocketAddr>,
    /// Discovery documents, if they are on.
    pub oidc: Option<SocketAddr>,
}

/// What the servers share.
struct Parts<'a> {
    settings: &'a Settings,
    metrics: &'a Metrics,
    health: Health,
    authority: Arc<ArcSwap<Authority>>,
    own: OwnIdentity,
    oidc_certificate: Option<Arc<OidcCertificate>>,
}

/// Everything that runs; when one ends, for whatever reason, the others end too.
#[derive(Default)]
struct Tasks {
    running: JoinSet<Result<(), Error>>,
    stop: CancellationToken,
}

/// Runs the certificate authority until `stop`.
///
/// # Errors
/// If it cannot start, or cannot go on: mostly because its files are missing or do not fit together.
pub async fn run(settings: &Settings, metrics: &Metrics, stop: CancellationToken) -> Result<(), Error> {
    let mut handle = Sentry::start(settings, metrics).await?;
    tokio::select! {
        ended = handle.ended() => return ended,
        () = stop.cancelled() => {}
    }
    handle.stop().await?;
    tracing::info!(target: SCOPE, "Sentry shut down gracefully");
    Ok(())
}

// === impl Sentry ===

impl Sentry {
    /// Loads or makes the bundle, binds all ports and serves them in the background.
    ///
    /// # Errors
    /// If the Configuration, the bundle or a port cannot be used.
    pub async fn start(settings: &Settings, metrics: &Metrics) -> Result<Handle, Error> {
        let configuration = load_configuration(settings)?;
        let trust_domain = TrustDomain::parse(&settings.trust_domain)?;
        let id = ControlPlane::Sentry.id(&trust_domain, &settings.namespace)?;
        let authority_settings = AuthoritySettings {
            trust_domain,
            namespace: settings.namespace.clone(),
            lifetime: configuration.workload_cert_ttl,
            clock_skew: configuration.allowed_clock_skew,
            jwt: settings.jwt.clone(),
            paths: settings.credentials.clone(),
        };
        let mut reloader = Reloader::new(authority_settings, &oidc_files(settings), metrics.clone())?;

        let (health, mut tasks) = (Health::default(), Tasks::default());
        let validators = validators(&configuration, settings.mode, &id, &health, &mut tasks)?;
        let authority = Arc::new(ArcSwap::from_pointee(reloader.open()?));
        let own = OwnIdentity::new(id, authority.clone(), metrics.clone())?;
        let oidc_certificate = settings.oidc.as_ref().and_then(|oidc| oidc.tls.clone());
        let parts = Parts {
            settings,
            metrics,
            health,
            authority,
            own,
            oidc_certificate: oidc_certificate.map(|files| Arc::new(OidcCertificate::new(files))),
        };
        parts.stay_current(reloader, &mut tasks);
        let addresses = Addresses {
            grpc: parts.serve_certificates(validators, &mut tasks).await?,
            oidc: parts.serve_discovery(&mut tasks).await?,
            metrics: parts.serve_metrics(&mut tasks).await?,
            healthz: parts.serve_health(&mut tasks).await?,
        };
        Ok(tasks.into_handle(addresses))
    }
}

// === impl Handle ===

impl Handle {
    /// Where it listens.
    #[must_use]
    pub const fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Resolves when it has ended by itself; at once if that has been told before.
    ///
    /// # Errors
    /// Why it ended.
    pub async fn ended(&mut self) -> Result<(), Error> {
        let Some(ended) = &mut self.ended else {
            return Ok(());
        };
        let outcome = ended.await;
        self.ended = None;
        outcome?
    }

    /// Stops accepting, lets calls in flight finish, and closes all ports.
    ///
    /// # Errors
    /// Why it has ended by itself before, if it has.
    pub async fn stop(mut self) -> Result<(), Error> {
        self.stop.cancel();
        self.ended().await
    }
}

// === impl Parts ===

impl Parts<'_> {
    /// Renews the own certificate in time, and everything when files have changed.
    fn stay_current(&self, reloader: Reloader, tasks: &mut Tasks) {
        let in_use = InUse {
            authority: self.authority.clone(),
            own: self.own.clone(),
            oidc_certificate: self.oidc_certificate.clone(),
        };
        tasks.spawn(reloader.run(in_use, tasks.stop.clone()));
        let (own, stop) = (self.own.clone(), tasks.stop.clone());
        tasks.spawn(async move {
            own.run(stop).await;
            Ok(())
        });
    }

    async fn serve_certificates(
        &self,
        validators: Validators,
        tasks: &mut Tasks,
    ) -> Result<SocketAddr, Error> {
        let (listener, address) = listen::bind(&self.settings.grpc).await?;
        let service = CertificateService {
            authority: self.authority.clone(),
            validators,
            metrics: self.metrics.clone(),
            namespace: self.settings.namespace.clone(),
            cluster_domain: self.settings.trust_domain.clone(),
        };
        let config = Arc::new(tls::open_server(self.own.source()));
        tasks.serve(server::serve(listener, config, service, tasks.stop.clone()));
        tracing::info!(target: SCOPE, "Running gRPC server on port {}", address.port());
        Ok(address)
    }

    async fn serve_discovery(&self, tasks: &mut Tasks) -> Result<Option<SocketAddr>, Error> {
        let Some(oidc) = &self.settings.oidc else {
            return Ok(None);
        };
        let (listener, address) = listen::bind(&oidc.listener).await?;
        let issuer = self.settings.jwt.as_ref().and_then(|jwt| jwt.issuer.clone());
        let server = OidcServer {
            discovery: Discovery::new(oidc.clone(), issuer),
            authority: self.authority.clone(),
            certificate: self.oidc_certificate.clone(),
            health: self.health.target("oidc-server"),
        };
        tasks.spawn(server.run(listener, tasks.stop.clone()));
        Ok(Some(address))
    }

    async fn serve_metrics(&self, tasks: &mut Tasks) -> Result<Option<SocketAddr>, Error> {
        let Some(at) = &self.settings.metrics else {
            return Ok(None);
        };
        let (listener, address) = listen::bind(at).await?;
        let stop = tasks.stop.clone().cancelled_owned();
        tasks.serve(metrics::serve(listener, self.metrics.clone(), stop));
        tracing::info!(target: SCOPE, "metrics server started on {}:{}/", at.address, address.port());
        Ok(Some(address))
    }

    async fn serve_health(&self, tasks: &mut Tasks) -> Result<SocketAddr, Error> {
        let (listener, address) = listen::bind(&self.settings.healthz).await?;
        let health = self.health.clone();
        let handler = move |request: &http::Request<_>| health.answer(request.uri().path());
        let plain = Arc::new(|| None);
        tasks.serve(http_server::serve(listener, plain, handler, tasks.stop.clone()));
        Ok(address)
    }
}

// === impl Tasks ===

impl Tasks {
    /// Runs what may fail.
    fn spawn(&mut self, work: impl Future<Output = Result<(), Error>> + Send + 'static) {
        self.running.spawn(work);
    }

    /// Runs what only ends when all end.
    fn serve(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        self.spawn(async {
            work.await;
            Ok(())
        });
    }

    fn into_handle(self, addresses: Addresses) -> Handle {
        let stop = self.stop.clone();
        Handle {
            addresses,
            stop: stop.clone(),
            ended: Some(tokio::spawn(self.supervise())),
            _stop_on_drop: stop.drop_guard(),
        }
    }

    async fn supervise(mut self) -> Result<(), Error> {
        let mut outcome = Ok(());
        while let Some(ended) = self.running.join_next().await {
            self.stop.cancel();
            let ended = ended.unwrap_or_else(|error| Err(error.into()));
            outcome = outcome.and(ended);
        }
        outcome
    }
}

fn load_configuration(settings: &Settings) -> Result<CaConfiguration, Error> {
    let failed = |source| Error::Configuration {
        name: settings.configuration.clone(),
        source,
    };
    if settings.mode == Mode::Kubernetes {
        return Err(failed(ConfigurationCause::Kubernetes));
    }
    let paths = std::slice::from_ref(&settings.configuration);
    Configuration::from_files(paths, &Disk, &ProcessEnv)
        .map_err(CaConfigurationError::from)
        .and_then(CaConfiguration::new)
        .map_err(|error| failed(error.into()))
}

/// Sets up the validators that the mode and the Configuration turn on.
fn validators(
    configuration: &CaConfiguration,
    mode: Mode,
    own_id: &SpiffeId,
    health: &Health,
    tasks: &mut Tasks,
) -> Result<Validators, Error> {
    let mut validators = Validators::default();
    if configuration.enabled(mode).contains(&ValidatorKind::Insecure) {
        validators.enable(TokenValidator::Insecure, Arc::new(Insecure));
    }
    for configured in &configuration.validators {
        let keys = Arc::new(KeySource::new(&configured.options, &tls::provider())?);
        let validator = Jwks::new(keys.clone(), own_id.clone());
        validators.enable(TokenValidator::Jwks, Arc::new(validator));
        tasks.spawn(refresh(
            keys,
            health.target("sentry-jwks-validator"),
            tasks.stop.clone(),
        ));
    }
    if configuration.default_validator(mode) == Some(ValidatorKind::Insecure) {
        validators.set_default(TokenValidator::Insecure);
    }
    Ok(validators)
}

async fn refresh(keys: Arc<KeySource>, health: Target, stop: CancellationToken) -> Result<(), Error> {
    Ok(keys.run(health, stop).await?)
}

/// The files of the OIDC server, which are watched like those of the authority.
fn oidc_files(settings: &Settings) -> Vec<PathBuf> {
    let files = settings.oidc.as_ref().and_then(|oidc| oidc.tls.clone());
    files.map_or_else(Vec::new, |files| vec![files.certificate, files.key])
}
