//! Requests to OTLP receivers by gRPC or HTTP, tried again as the protocol asks for.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri};
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource as ProtoResource;
use outrigger_kit::backoff::{Exponential, Policy};
use prost::Message;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tonic::client::Grpc;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

use super::http::Poster;
use super::network::Dialer;
use super::settings::{Network, OtlpSettings, Resource, SetupError};
use super::{ExportError, SCOPE};

/// Limit of one export if the settings name none.
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// Pauses between the tries of one request; the limit of the export ends them.
const RETRIES: Policy = Policy::Exponential(Exponential {
    initial: Duration::from_millis(500),
    multiplier: 1.5,
    jitter: 0.2,
    max_interval: Duration::from_secs(5),
    max_elapsed: None,
    max_retries: None,
});

/// One kind of request.
pub(crate) trait Exchange: Send + Sync + 'static {
    type Request: Message + Clone + 'static;
    type Response: Message + Default + 'static;

    /// Full name of the method.
    const METHOD: &'static str;

    /// Path of HTTP requests.
    const PATH: &'static str;

    /// What the receiver did not take of a request that it answered, and why.
    fn rejected(response: Self::Response) -> Option<(i64, String)>;
}

/// Sends the requests of one kind to one receiver.
pub(crate) struct Sender<E> {
    way: Way,
    address: String,
    timeout: Duration,
    /// Turns true when nothing is to be tried again.
    leaving: watch::Receiver<bool>,
    exchange: PhantomData<fn() -> E>,
}

#[derive(Debug)]
enum Way {
    Grpc { channel: Channel, metadata: MetadataMap },
    Http { poster: Poster, uri: Uri },
}

// === impl Sender ===

impl<E: Exchange> Sender<E> {
    /// A way to the receiver, with its connections on `control`.
    pub(crate) fn open(
        receiver: &OtlpSettings,
        control: &Handle,
        network: &Network,
        leaving: watch::Receiver<bool>,
    ) -> Result<Self, SetupError> {
        let headers = header_map(&receiver.headers)?;
        let timeout = receiver.timeout.unwrap_or(DEFAULT_TIMEOUT);
        let way = match receiver.protocol.as_str() {
            "grpc" => Way::Grpc {
                channel: channel(receiver, timeout, control, network)?,
                metadata: MetadataMap::from_headers(headers),
            },
            "http" => Way::Http {
                poster: poster(receiver, headers, network)?,
                uri: address(receiver, E::PATH)?,
            },
            other => return Err(SetupError::Protocol(other.to_owned())),
        };
        Ok(Self {
            way,
            address: receiver.endpoint.clone(),
            timeout,
            leaving,
            exchange: PhantomData,
        })
    }

    /// The receiver.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Sends a request until it is answered, for at most the timeout of the settings.
    pub(crate) async fn send(&self, request: E::Request) -> Result<(), ExportError> {
        let answered = timeout(self.timeout, self.until_answered(request)).await;
        match E::rejected(answered.unwrap_or(Err(ExportError::Timeout))?) {
            Some((count, reason)) if count > 0 => Err(ExportError::Rejected {
                count: count.unsigned_abs(),
                reason,
            }),
            _ => Ok(()),
        }
    }

    async fn until_answered(&self, request: E::Request) -> Result<E::Response, ExportError> {
        let (began, mut pauses) = (Instant::now(), RETRIES.start());
        loop {
            let error = match self.once(&request).await {
                Err(error) if error.is_transient() => error,
                outcome => return outcome,
            };
            let Some(pause) = pauses.next_pause(began.elapsed()) else {
                return Err(error);
            };
            let mut leaving = self.leaving.clone();
            tokio::select! {
                biased;
                // It also ends when nobody is left who could say so.
                _ = leaving.wait_for(|leaving| *leaving) => return Err(error),
                () = sleep(pause) => {}
            }
        }
    }

    async fn once(&self, request: &E::Request) -> Result<E::Response, ExportError> {
        match &self.way {
            Way::Grpc { channel, metadata } => {
                let mut client = Grpc::new(channel.clone());
                let unreachable =
                    |error: tonic::transport::Error| tonic::Status::unavailable(error.to_string());
                client.ready().await.map_err(unreachable).map_err(Box::new)?;
                let mut call = tonic::Request::new(request.clone());
                *call.metadata_mut() = metadata.clone();
                let codec = ProstCodec::<E::Request, E::Response>::default();
                let path = PathAndQuery::from_static(E::METHOD);
                let answer = client.unary(call, path, codec).await.map_err(Box::new)?;
                Ok(answer.into_inner())
            }
            Way::Http { poster, uri } => {
                let mut post = Request::new(Bytes::from(request.encode_to_vec()));
                *post.method_mut() = http::Method::POST;
                *post.uri_mut() = uri.clone();
                let kind = HeaderValue::from_static("application/x-protobuf");
                post.headers_mut().insert(CONTENT_TYPE, kind);
                let answer = poster.post(post).await?;
                if !answer.status().is_success() {
                    return Err(ExportError::Refused(answer.status()));
                }
                // Whoever answers in another form has taken it all the same.
                Ok(E::Response::decode(answer.into_body()).unwrap_or_default())
            }
        }
    }
}

impl<E> fmt::Debug for Sender<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

// === impl ExportError ===

impl From<Box<tonic::Status>> for ExportError {
    fn from(status: Box<tonic::Status>) -> Self {
        Self::Status(status)
    }
}

/// A connection to a receiver, made when it is needed, with its worker on `control`.
pub(crate) fn channel(
    receiver: &OtlpSettings,
    timeout: Duration,
    control: &Handle,
    network: &Network,
) -> Result<Channel, SetupError> {
    let uri = address(receiver, "")?;
    let dialer = dialer(receiver, b"h2", network)?;
    // The channel spawns its worker where it is made.
    let _control = control.enter();
    Ok(Endpoint::from(uri)
        .timeout(timeout)
        .connect_with_connector_lazy(dialer))
}

/// What posts requests with these headers to a receiver.
pub(crate) fn poster(
    receiver: &OtlpSettings,
    headers: HeaderMap,
    network: &Network,
) -> Result<Poster, SetupError> {
    Ok(Poster::new(dialer(receiver, b"http/1.1", network)?, headers))
}

/// The URL of a path of a receiver.
pub(crate) fn address(receiver: &OtlpSettings, path: &str) -> Result<Uri, SetupError> {
    let scheme = if receiver.secure { "https" } else { "http" };
    let endpoint = receiver.endpoint.trim_end_matches('/');
    format!("{scheme}://{endpoint}{path}")
        .parse()
        .map_err(|error: http::uri::InvalidUri| SetupError::Address {
            exporter: "otel",
            address: receiver.endpoint.clone(),
            reason: error.to_string(),
        })
}

/// The headers of the settings.
pub(crate) fn header_map(headers: &[(String, String)]) -> Result<HeaderMap, SetupError> {
    let mut map = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        let parsed = HeaderName::try_from(name)
            .ok()
            .zip(HeaderValue::try_from(value).ok());
        let (name, value) = parsed.ok_or_else(|| SetupError::Header(name.clone()))?;
        map.append(name, value);
    }
    Ok(map)
}

/// The resource of a request.
pub(crate) fn resource(resource: &Resource) -> ProtoResource {
    ProtoResource {
        attributes: resource.pairs().map(|(name, value)| text(name, value)).collect(),
        ..ProtoResource::default()
    }
}

/// The scope of spans and metrics.
pub(crate) fn scope(name: &str) -> InstrumentationScope {
    InstrumentationScope {
        name: name.to_owned(),
        ..InstrumentationScope::default()
    }
}

/// The scope that spans and metrics have.
pub(crate) fn own_scope() -> InstrumentationScope {
    scope(SCOPE)
}

/// A text attribute.
pub(crate) fn text(name: &str, value: &str) -> KeyValue {
    pair(name, Value::StringValue(value.to_owned()))
}

/// An attribute.
pub(crate) fn pair(name: &str, value: Value) -> KeyValue {
    KeyValue {
        key: name.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

fn dialer(receiver: &OtlpSettings, protocol: &[u8], network: &Network) -> Result<Dialer, SetupError> {
    if receiver.secure {
        Dialer::secure(network, protocol)
    } else {
        Ok(Dialer::plain(network))
    }
}
