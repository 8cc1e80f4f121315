//! An app's connection that leaves HTTP.

use outrigger_link::Reply;
use outrigger_svc::Body;
use tokio_util::task::AbortOnDropHandle;

use super::client::AnswerBody;
use super::gate::Slot;
use super::http_app::reply;
use super::send_error::SendError;
use crate::websocket::{body_of, halves, pour};

/// Joins the call to the connection whose answer was 101: `body` goes to the app, and what the app sends is the
/// body of the reply. `slot` is kept until the reply's body is over.
///
/// # Errors
/// If the connection breaks at that moment.
pub(super) async fn leave(
    mut response: http::Response<AnswerBody>,
    body: Body,
    slot: Slot,
) -> Result<Reply, SendError> {
    let upgraded = hyper::upgrade::on(&mut response).await;
    let (reader, writer) = halves(upgraded.map_err(SendError::Transport)?);
    let writing = tokio::spawn(async move {
        if let Err(error) = pour(body, writer).await {
            tracing::debug!(target: "dapr.runtime.channels", "a WebSocket connection to the app ended: {error}");
        }
    });
    let guard = (slot, AbortOnDropHandle::new(writing));
    Ok(Reply {
        body: body_of(reader, guard),
        ..reply(response, Slot::default())
    })
}
