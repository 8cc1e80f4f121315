//! The one call of the certificate authority: `SignCertificate`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::HeaderValue;
use http_body_util::BodyExt;
use hyper::body::Frame;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use outrigger_api::sentry::ca_server::{Ca, CaServer};
use outrigger_api::sentry::{SignCertificateRequest, SignCertificateResponse};
use outrigger_identity::spiffe::SpiffeId;
use outrigger_identity::tls;
use outrigger_svc::{DrainSignal, Service};
use outrigger_telemetry::metrics::Metrics;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::ca::{self, Authority};
use crate::listen::{self, PATIENCE};
use crate::validator::Validators;

/// Log scope of the server.
const SCOPE: &str = "dapr.sentry.server";

/// Answers requests for certificates.
#[derive(Debug)]
pub(crate) struct CertificateService {
    pub(crate) authority: Arc<ArcSwap<Authority>>,
    pub(crate) validators: Validators,
    pub(crate) metrics: Metrics,
    /// Namespace of the control plane.
    pub(crate) namespace: String,
    /// What the names of the scheduler's replicas end with.
    pub(crate) cluster_domain: String,
}

// === impl CertificateService ===

impl CertificateService {
    async fn sign(&self, request: &SignCertificateRequest) -> Result<SignCertificateResponse, Status> {
        let validator = self
            .validators
            .find(request.token_validator)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let validated = validator.validate(request).await.map_err(|refusal| {
            tracing::debug!(target: SCOPE, "Refused a certificate for {}: {refusal}", request.id);
            Status::permission_denied(refusal.to_string())
        })?;
        let public_key_info = ca::public_key(&request.certificate_signing_request)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;

        let authority = self.authority.load_full();
        let now = SystemTime::now();
        let failed = |error: &dyn std::fmt::Display| {
            tracing::error!(target: SCOPE, "Error signing identity: {error}");
            Status::internal("failed to sign certificate")
        };
        let id = SpiffeId::workload(&validated.trust_domain, &request.namespace, &request.id)
            .map_err(|error| failed(&error))?;
        let dns_names = ca::dns_names(
            &request.id,
            &request.namespace,
            &self.namespace,
            &self.cluster_domain,
        );
        let signed = authority
            .sign(
                &id,
                &public_key_info,
                &dns_names,
                &validated.container_images,
                now,
            )
            .map_err(|error| failed(&error))?;

        let mut response = SignCertificateResponse {
            workload_certificate: signed.to_pem().into(),
            trust_chain_certificates: vec![authority.anchors().to_owned().into()],
            valid_until: Some(prost_types::Timestamp {
                seconds: ca::unix_seconds(signed.validity.not_after),
                nanos: 0,
            }),
            ..SignCertificateResponse::default()
        };
        add_tokens(&mut response, &authority, &id, &request.jwt_audiences, now).await?;
        Ok(response)
    }
}

#[tonic::async_trait]
impl Ca for CertificateService {
    async fn sign_certificate(
        &self,
        request: Request<SignCertificateRequest>,
    ) -> Result<Response<SignCertificateResponse>, Status> {
        self.metrics.sentry().request_received();
        let answer = self.sign(request.get_ref()).await;
        match &answer {
            Ok(_) => self.metrics.sentry().signed(),
            Err(_) => self.metrics.sentry().sign_failed(),
        }
        answer.map(Response::new)
    }
}

/// Serves TLS connections until `stop`, then lets calls in flight finish.
pub(crate) async fn serve(
    listener: TcpListener,
    config: Arc<ServerConfig>,
    service: CertificateService,
    stop: CancellationToken,
) {
    let service = CaServer::new(service);
    listen::accept(listener, stop, |stream, signal| {
        serve_connection(stream, config.clone(), service.clone(), signal)
    })
    .await;
}

async fn serve_connection(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    service: CaServer<CertificateService>,
    signal: DrainSignal,
) {
    let stream = match tokio::time::timeout(PATIENCE, tls::accept(config, stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(target: SCOPE, "TLS handshake failed: {error}"),
        Err(_) => return tracing::debug!(target: SCOPE, "TLS handshake timed out"),
    };
    let answer = service_fn(move |request| {
        let answer = service.clone().call(request);
        async { Ok::<_, Infallible>(answer.await?.map(|body| body.map_frame(with_message))) }
    });
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), answer);
    listen::drive(connection, signal).await;
}

/// Clients see a message in the trailers even when it is empty.
fn with_message(mut frame: Frame<Bytes>) -> Frame<Bytes> {
    if let Some(trailers) = frame.trailers_mut() {
        trailers
            .entry(Status::GRPC_MESSAGE)
            .or_insert(HeaderValue::from_static(""));
    }
    frame
}

/// Puts tokens into the answer if the authority issues any: one for all audiences, and one for each.
async fn add_tokens(
    response: &mut SignCertificateResponse,
    authority: &Authority,
    id: &SpiffeId,
    extra_audiences: &[String],
    now: SystemTime,
) -> Result<(), Status> {
    let Some(issuer) = authority.jwt() else {
        return Ok(());
    };
    let mut audiences = vec![id.trust_domain()];
    audiences.extend(extra_audiences.iter().map(String::as_str));
    let token = issuer
        .issue(id.as_str(), &audiences, now)
        .map_err(|error| Status::internal(format!("failed to generate JWT: {error}")))?;
    response.jwt = Some(token);
    for audience in audiences {
        if response.per_audience_jwts.contains_key(audience) {
            continue;
        }
        let token = issuer.issue(id.as_str(), &[audience], now).map_err(|error| {
            Status::internal(format!("failed to generate JWT for audience {audience}: {error}"))
        })?;
        response.per_audience_jwts.insert(audience.to_owned(), token);
        // A signature takes long, and the client decides how many there are: let others have their turn.
        tokio::task::yield_now().await;
    }
    Ok(())
}
