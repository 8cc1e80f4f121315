//! HTTP clients for servers outside, one an origin, and the redirects that they follow.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use http::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_TYPE,
    COOKIE, LOCATION, REFERER, TRANSFER_ENCODING, WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri};
use http_body::Body as _;
use outrigger_kit::path;
use outrigger_svc::Body;

use crate::app::base::Base;
use crate::app::client::{AnswerBody, Client, HttpVersion};
use crate::app::pool::PoolSettings;
use crate::app::send_error::{RequestError, SendError};
use crate::app::{Dialer, Origin};

/// One worker's clients of one kind.
#[derive(Debug)]
pub(crate) struct Clients {
    version: HttpVersion,
    dialer: Dialer,
    settings: PoolSettings,
    by_origin: Mutex<HashMap<Origin, Arc<Client>>>,
}

/// What happens to a redirect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Redirects {
    /// It is the answer.
    Return,
    /// The request is made again where it points to, ten times at most.
    Follow,
}

/// Why there was no answer, and at which request if a redirect led there.
#[derive(Debug)]
pub(crate) struct Failure {
    at: Option<(Method, String)>,
    source: SendError,
}

/// What is needed of a request to make it again elsewhere.
struct Again {
    method: Method,
    headers: HeaderMap,
    has_body: bool,
    /// Whether the client says itself where it comes from.
    has_referer: bool,
    base: Base,
    target: Uri,
}

/// Origins that are remembered, a worker.
const MAX_ORIGINS: usize = 256;
const MAX_REDIRECTS: usize = 10;

// === impl Clients ===

impl Clients {
    /// Clients that open connections by `dialer`.
    pub(crate) fn new(version: HttpVersion, dialer: Dialer, settings: PoolSettings) -> Self {
        Self {
            version,
            dialer,
            settings,
            by_origin: Mutex::default(),
        }
    }

    /// Sends a request whose URI is a path below `base`.
    ///
    /// # Errors
    /// [`Failure`] if no server answered.
    pub(crate) async fn send(
        &self,
        base: &Base,
        request: http::Request<Body>,
        redirects: Redirects,
    ) -> Result<Response<AnswerBody>, Failure> {
        let mut again = (redirects == Redirects::Follow).then(|| Again::of(base, &request));
        let first = self.client(base).send(request).await;
        let mut response = first.map_err(|source| Failure { at: None, source })?;
        let mut followed = 0;
        while let Some(again) = &mut again
            && let Some(request) = again.after(&response)
        {
            if followed == MAX_REDIRECTS {
                return Err(again.failed(SendError::TooManyRedirects(MAX_REDIRECTS)));
            }
            followed += 1;
            let client = self.client(&again.base);
            response = client
                .send(request)
                .await
                .map_err(|source| again.failed(source))?;
        }
        Ok(response)
    }

    fn client(&self, base: &Base) -> Arc<Client> {
        let mut by_origin = self.by_origin.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = by_origin.get(&base.origin) {
            return Arc::clone(client);
        }
        if by_origin.len() >= MAX_ORIGINS {
            // Clients in use live on; the others' connections are closed.
            by_origin.clear();
        }
        let client = Client::new(base, self.version, self.dialer.clone(), self.settings);
        let client = Arc::new(client);
        by_origin.insert(base.origin.clone(), Arc::clone(&client));
        client
    }
}

// === impl Failure ===

impl From<SendError> for Failure {
    fn from(source: SendError) -> Self {
        Self { at: None, source }
    }
}

impl Failure {
    /// The error with the request that it met; `first` gives the one that no redirect led to.
    pub(crate) fn into_request_error(self, first: impl FnOnce() -> (Method, String)) -> RequestError {
        let (method, url) = self.at.unwrap_or_else(first);
        RequestError {
            method,
            url,
            source: self.source,
        }
    }
}

// === impl Again ===

impl Again {
    fn of(base: &Base, request: &http::Request<Body>) -> Self {
        Self {
            method: request.method().clone(),
            headers: request.headers().clone(),
            has_body: !request.body().is_end_stream(),
            has_referer: request.headers().contains_key(REFERER),
            base: base.clone(),
            target: request.uri().clone(),
        }
    }

    /// The request that a response asks for; none if it is no redirect or cannot be followed.
    fn after(&mut self, response: &Response<AnswerBody>) -> Option<http::Request<Body>> {
        let keeps_method = match response.status() {
            StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND | StatusCode::SEE_OTHER => {
                matches!(self.method, Method::GET | Method::HEAD)
            }
            // The body of the request is gone, so one that had any cannot be sent again.
            StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT if !self.has_body => true,
            _ => return None,
        };
        let location = response.headers().get(LOCATION)?.to_str().ok()?;
        let (base, target) = self.resolve(location)?;
        if !is_within(&base.origin.host, &self.base.origin.host) {
            for secret in [AUTHORIZATION, WWW_AUTHENTICATE, COOKIE] {
                self.headers.remove(secret);
            }
        }
        if !self.has_referer {
            self.refer(&base);
        }
        if !keeps_method {
            self.method = Method::GET;
            self.has_body = false;
            for name in [
                CONTENT_TYPE,
                CONTENT_LENGTH,
                CONTENT_ENCODING,
                CONTENT_LANGUAGE,
                CONTENT_LOCATION,
                TRANSFER_ENCODING,
            ] {
                self.headers.remove(name);
            }
        }
        (self.base, self.target) = (base, target);
        let mut request = http::Request::new(Body::empty());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.target.clone();
        *request.headers_mut() = self.headers.clone();
        Some(request)
    }

    /// Says where the next request comes from, unless that would tell a plain server of a secure one.
    fn refer(&mut self, next: &Base) {
        self.headers.remove(REFERER);
        if self.base.origin.tls && !next.origin.tls {
            return;
        }
        let scheme = if self.base.origin.tls { "https" } else { "http" };
        let host = String::from_utf8_lossy(self.base.host.as_bytes());
        if let Ok(url) = HeaderValue::from_str(&format!("{scheme}://{host}{}", self.target)) {
            self.headers.insert(REFERER, url);
        }
    }

    /// Where a `Location` points to from here.
    fn resolve(&self, location: &str) -> Option<(Base, Uri)> {
        let location = location.split('#').next().unwrap_or_default();
        let scheme = if self.base.origin.tls { "https" } else { "http" };
        let absolute = match location.strip_prefix("//") {
            Some(_) => format!("{scheme}:{location}"),
            None => location.to_owned(),
        };
        if absolute.contains("://") {
            let base = Base::parse(&absolute).ok()?;
            let target = if base.path.is_empty() { "/" } else { &*base.path };
            let target = target.parse().ok()?;
            return Some((base, target));
        }
        let target = if location.starts_with('/') {
            location.to_owned()
        } else {
            let (relative, query) = location.split_at(location.find('?').unwrap_or(location.len()));
            let here = self.target.path();
            let folder = here
                .rfind('/')
                .map_or("", |slash| here.get(..slash).unwrap_or_default());
            format!("{}{query}", path::clean(&format!("{folder}/{relative}")))
        };
        Some((self.base.clone(), target.parse().ok()?))
    }

    fn failed(&self, source: SendError) -> Failure {
        let url = format!("{}{}", self.base.origin.url(), self.target);
        Failure {
            at: Some((self.method.clone(), url)),
            source,
        }
    }
}

/// Whether a host is the other one or a part of its domain.
fn is_within(host: &str, domain: &str) -> bool {
    let is_below = || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
    host == domain || (domain.parse::<IpAddr>().is_err() && is_below())
}
