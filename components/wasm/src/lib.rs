//! `middleware.http.wasm`: a WebAssembly module handles requests and answers.
//!
//! ```text
//! request ──▶ handle_request ──continue──▶ next handler ──▶ handle_response ──▶ answer
//!                  │ stop
//!                  ▼
//!             the module's answer
//! ```
//!
//! The module speaks the http-wasm ABI for handlers, and finds the part of WASI preview 1 that modules need to
//! start: clocks, random numbers, standard output. It sees no files, no environment and no network. A body is
//! read when the module asks for it, piece by piece; one that it does not ask for streams past it.
//!
//! Source: specification, HTTP middleware 11; the http-wasm handler ABI.

mod abi;
mod guest;
mod host;
mod source;
mod tap;
#[cfg(test)]
mod tests;
mod wasi;

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, StatusCode};
use outrigger_component::{Catalogue, HttpMiddleware, Init, Next};
use outrigger_svc::{Body, BoxError, BoxFuture, CallContext, Request, Response};

use self::guest::{Code, Guest};
use self::host::{Features, Settings};
use self::tap::Tap;

/// Requests and answers handled by a module. Each request in flight has an instance of its own.
#[derive(Debug)]
pub struct Wasm {
    code: Code,
    idle: Mutex<Vec<Guest>>,
}

/// Instances that are kept for the next requests.
const MOST_IDLE: usize = 64;

/// Adds the type of this crate.
pub fn register(catalogue: &mut Catalogue) {
    catalogue
        .http_middleware
        .register("middleware.http.wasm", Wasm::make);
}

// === impl Wasm ===

impl Wasm {
    async fn make(init: Init) -> Result<Arc<dyn HttpMiddleware>, BoxError> {
        let fields = init.properties.fields()?;
        let bytes = source::load(fields.text("url").unwrap_or_default(), &init.http, init.deadline).await?;
        let settings = Settings {
            guest_config: fields.text("guestConfig").unwrap_or_default().into(),
            is_confined: fields.boolean("strictSandbox").unwrap_or_default(),
            log_name: Arc::clone(&init.log_name),
        };
        Ok(Arc::new(Self::new(&bytes, settings)?))
    }

    /// A module that cannot be started is told at once.
    fn new(bytes: &[u8], settings: Settings) -> Result<Self, BoxError> {
        let code = Code::new(bytes, settings)?;
        let first = code.start()?;
        Ok(Self {
            code,
            idle: Mutex::new(vec![first]),
        })
    }

    async fn handle(&self, request: Request, next: Next<'_>) -> Result<Response, BoxError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut guest = match idle {
            Some(guest) => guest,
            None => self.code.start()?,
        };
        let outcome = exchange(&mut guest, request, next).await;
        guest.log_output();
        // An instance that has failed is in no state to be used again.
        if outcome.is_ok() {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < MOST_IDLE {
                idle.push(guest);
            }
        }
        outcome
    }
}

impl HttpMiddleware for Wasm {
    fn call<'a>(&'a self, request: Request, next: Next<'a>) -> BoxFuture<'a, Result<Response, BoxError>> {
        Box::pin(self.handle(request, next))
    }
}

async fn exchange(guest: &mut Guest, request: Request, next: Next<'_>) -> Result<Response, BoxError> {
    let (head, body) = request.into_parts();
    let source = head
        .extensions
        .get::<CallContext>()
        .and_then(|context| context.remote);
    let features = guest.host().begin(&head, source);
    let mut tap = Tap::new(body, features.has(Features::BUFFER_REQUEST));
    let (goes_on, context) = guest.handle_request(&mut tap).await?;
    if !goes_on {
        return Ok(own_answer(guest));
    }
    let mut request = http::Request::from_parts(head, Body::empty());
    let written = guest.host().end_request(&mut request);
    *request.body_mut() = body_of(written, tap, request.headers_mut());
    let response = match next.run(request).await {
        Ok(response) => response,
        Err(error) => {
            guest
                .host()
                .begin_response(StatusCode::INTERNAL_SERVER_ERROR, HeaderMap::new());
            guest.handle_response(context, true, &mut Tap::default()).await?;
            return Err(error);
        }
    };
    let (mut head, body) = response.into_parts();
    let headers = std::mem::take(&mut head.headers);
    let features = guest.host().begin_response(head.status, headers);
    let mut tap = Tap::new(body, features.has(Features::BUFFER_RESPONSE));
    guest.handle_response(context, false, &mut tap).await?;
    let (status, headers, written) = guest.host().end_response();
    (head.status, head.headers) = (status, headers);
    let body = body_of(written, tap, &mut head.headers);
    Ok(Response::from_parts(head, body))
}

/// The answer of a module that does not go on.
fn own_answer(guest: &mut Guest) -> Response {
    let (status, headers, written) = guest.host().end_response();
    let mut response = Response::new(Body::from(written.unwrap_or_default()));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// What the module has written, else what it was not interested in.
fn body_of(written: Option<Bytes>, tap: Tap, headers: &mut HeaderMap) -> Body {
    match written {
        Some(written) => {
            headers.remove(TRANSFER_ENCODING);
            headers.insert(CONTENT_LENGTH, HeaderValue::from(written.len()));
            Body::from(written)
        }
        None => tap.into_body(),
    }
}
