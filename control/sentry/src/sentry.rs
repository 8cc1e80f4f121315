//! Starting everything that sentry does, and stopping it.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use outrigger_api::sentry::sign_certificate_request::TokenValidator;
use outrigger_config::Mode;
use outrigger_config::configuration::Configuration;
use outrigger_config::env::ProcessEnv;
use outrigger_config::resources::Disk;
use outrigger_config::sentry::{CaConfiguration, CaConfigurationError, Listener, Settings, ValidatorKind};
use outrigger_identity::spiffe::{ControlPlane, SpiffeId, TrustDomain};
use outrigger_identity::tls;
use outrigger_telemetry::metrics::{self, Metrics};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::ca::AuthoritySettings;
use crate::error::{ConfigurationCause, Error};
use crate::health::{Health, Target};
use crate::http_server;
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
    ended: JoinHandle<Result<(), Error>>,
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

/// The validators, and the keys that one of them needs.
#[derive(Debug)]
struct Proofs {
    validators: Validators,
    keys: Option<(Arc<KeySource>, Target)>,
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
        let oidc_certificate = settings.oidc.as_ref().and_then(|oidc| oidc.tls.clone());
        let oidc_files: Vec<PathBuf> = oidc_certificate
            .iter()
            .flat_map(|files| [files.certificate.clone(), files.key.clone()])
            .collect();
        let oidc_certificate = oidc_certificate.map(|files| Arc::new(OidcCertificate::new(files)));

        let authority_settings = AuthoritySettings {
            trust_domain,
            namespace: settings.namespace.clone(),
            lifetime: configuration.workload_cert_ttl,
            clock_skew: configuration.allowed_clock_skew,
            jwt: settings.jwt.clone(),
            paths: settings.credentials.clone(),
        };
        let health = Health::default();
        let mut reloader = Reloader::new(authority_settings, &oidc_files, metrics.clone())?;
        let proofs = Proofs::new(&configuration, settings.mode, &id, &health)?;
        let authority = Arc::new(ArcSwap::from_pointee(reloader.open()?));
        let own = OwnIdentity::new(id, authority.clone(), metrics.clone())?;

        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let service = CertificateService {
            authority: authority.clone(),
            validators: proofs.validators,
            metrics: metrics.clone(),
            namespace: settings.namespace.clone(),
            cluster_domain: settings.trust_domain.clone(),
        };
        let (grpc_listener, grpc) = listen(&settings.grpc).await?;
        let tls = Arc::new(tls::open_server(own.source()));
        spawn(
            &mut tasks,
            server::serve(grpc_listener, tls, service, stop.clone()),
        );
        tracing::info!(target: SCOPE, "Running gRPC server on {grpc}");

        let oidc = match &settings.oidc {
            Some(oidc) => {
                let (listener, address) = listen(&oidc.listener).await?;
                let server = OidcServer {
                    discovery: Discovery::new(
                        oidc.clone(),
                        settings.jwt.as_ref().and_then(|jwt| jwt.issuer.clone()),
                    ),
                    authority: authority.clone(),
                    certificate: oidc_certificate.clone(),
                    health: health.target("oidc-server"),
                };
                tasks.spawn(server.run(listener, stop.clone()));
                Some(address)
            }
            None => None,
        };
        if let Some((keys, target)) = proofs.keys {
            let stop = stop.clone();
            tasks.spawn(async move { Ok(keys.run(target, stop).await?) });
        }
        let metrics_address = match &settings.metrics {
            Some(at) => {
                let (listener, address) = listen(at).await?;
                spawn(
                    &mut tasks,
                    metrics::serve(listener, metrics.clone(), stop.clone().cancelled_owned()),
                );
                tracing::info!(target: SCOPE, "metrics server started on {}:{}/", at.address, address.port());
                Some(address)
            }
            None => None,
        };
        {
            let (own, stop) = (own.clone(), stop.clone());
            spawn(&mut tasks, async move { own.run(stop).await });
        }
        tasks.spawn(reloader.run(
            InUse {
                authority,
                own,
                oidc_certificate,
            },
            stop.clone(),
        ));

        let (healthz_listener, healthz) = listen(&settings.healthz).await?;
        let handler = move |request: &http::Request<_>| health.answer(request.uri().path());
        spawn(
            &mut tasks,
            http_server::serve(healthz_listener, Arc::new(|| None), handler, stop.clone()),
        );
        Ok(Handle {
            addresses: Addresses {
                grpc,
                healthz,
                metrics: metrics_address,
                oidc,
            },
            stop: stop.clone(),
            ended: tokio::spawn(supervise(tasks, stop.clone())),
            _stop_on_drop: stop.drop_guard(),
        })
    }
}

// === impl Handle ===

impl Handle {
    /// Where it listens.
    #[must_use]
    pub const fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Resolves when it has ended by itself.
    ///
    /// # Errors
    /// Why it ended.
    pub async fn ended(&mut self) -> Result<(), Error> {
        (&mut self.ended).await?
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

// === impl Proofs ===

impl Proofs {
    fn new(
        configuration: &CaConfiguration,
        mode: Mode,
        own_id: &SpiffeId,
        health: &Health,
    ) -> Result<Self, Error> {
        let mut proofs = Self {
            validators: Validators::default(),
            keys: None,
        };
        for kind in configuration.enabled(mode) {
            match kind {
                ValidatorKind::Insecure => {
                    proofs
                        .validators
                        .enable(TokenValidator::Insecure, Arc::new(Insecure));
                }
                ValidatorKind::Jwks => {}
                // The mode that turns it on has been refused.
                ValidatorKind::Kubernetes => {}
            }
        }
        for configured in &configuration.validators {
            let keys = Arc::new(KeySource::new(&configured.options, &tls::provider())?);
            let validator = Jwks::new(keys.clone(), own_id.clone());
            proofs
                .validators
                .enable(TokenValidator::Jwks, Arc::new(validator));
            proofs.keys = Some((keys, health.target("sentry-jwks-validator")));
        }
        if configuration.default_validator(mode) == Some(ValidatorKind::Insecure) {
            proofs.validators.set_default(TokenValidator::Insecure);
        }
        Ok(proofs)
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

/// Binds a listener; no address means all of them, in both families if the machine has both.
async fn listen(at: &Listener) -> Result<(TcpListener, SocketAddr), Error> {
    let bound = match at.address.as_str() {
        "" => match TcpListener::bind((Ipv6Addr::UNSPECIFIED, at.port)).await {
            Ok(listener) => Ok(listener),
            Err(_) => TcpListener::bind((Ipv4Addr::UNSPECIFIED, at.port)).await,
        },
        // Not looked up: a name of which there is one meaning only.
        "localhost" => TcpListener::bind((Ipv4Addr::LOCALHOST, at.port)).await,
        host => TcpListener::bind((host.trim_matches(['[', ']']), at.port)).await,
    };
    let bound = bound.and_then(|listener| Ok((listener.local_addr()?, listener)));
    match bound {
        Ok((address, listener)) => Ok((listener, address)),
        Err(source) => Err(Error::Listen {
            address: format!("{}:{}", at.address, at.port),
            source,
        }),
    }
}

fn spawn(tasks: &mut JoinSet<Result<(), Error>>, work: impl Future<Output = ()> + Send + 'static) {
    tasks.spawn(async {
        work.await;
        Ok(())
    });
}

/// Waits for all tasks; when one ends, for whatever reason, the others are asked to end too.
async fn supervise(mut tasks: JoinSet<Result<(), Error>>, stop: CancellationToken) -> Result<(), Error> {
    let mut outcome = Ok(());
    while let Some(ended) = tasks.join_next().await {
        stop.cancel();
        let ended = ended.unwrap_or_else(|error| Err(error.into()));
        outcome = outcome.and(ended);
    }
    outcome
}
