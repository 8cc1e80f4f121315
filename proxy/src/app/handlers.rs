//! The user's handlers around calls to the app, `appHttpPipeline` of the Configuration.
//!
//! They stand between a request that is ready to be sent and the connection: headers, token and trace are set,
//! the call has its place among the calls in flight. On the way back they see the app's answer without what
//! concerns the connection only.
//!
//! Source: specification, HTTP middleware 1.

use http::Response;
use http_body::Body as _;
use outrigger_link::remove_transport_headers;
use outrigger_svc::{Body, Request};

use super::client::AnswerBody;
use super::send_error::SendError;
use crate::components::Handlers;

/// Sends a request through the handlers, if there are any.
///
/// # Errors
/// That of `send`, or what a handler says.
pub(crate) async fn through<S, F, E>(
    handlers: &Handlers,
    request: Request,
    send: S,
) -> Result<Response<AnswerBody>, E>
where
    S: FnOnce(Request) -> F + Send,
    F: Future<Output = Result<Response<AnswerBody>, E>> + Send,
    E: From<SendError> + Send,
{
    let Some(chain) = handlers.chain() else {
        return send(request).await;
    };
    let mut failure = None;
    let inside = async |request| match send(request).await {
        Ok(mut response) => {
            remove_transport_headers(response.headers_mut());
            Ok(response.map(from_app))
        }
        Err(error) => {
            failure = Some(error);
            Err("the app gives no answer".into())
        }
    };
    // Boxed: most sidecars have no such handlers, and their calls should not carry the chain.
    match Box::pin(chain.run(request, inside)).await {
        Ok(response) => Ok(response.map(AnswerBody::Handled)),
        Err(error) => Err(failure.unwrap_or_else(|| SendError::Handler(error).into())),
    }
}

fn from_app(body: AnswerBody) -> Body {
    if body.is_end_stream() {
        Body::empty()
    } else {
        Body::new(body)
    }
}
