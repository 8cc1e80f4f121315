//! Streams of the `h2` crate.

use std::io::IoSlice;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h2::client::{ResponseFuture, SendRequest};
use h2::server::SendResponse;
use h2::{Ping, PingPong, Reason, RecvStream, SendStream};
use http::{HeaderMap, Response, request, response};
use outrigger_svc::Connection;
use outrigger_telemetry::trace::TraceContext;
use tokio::time::{sleep, timeout};

use super::grpc::{
    GRPC_ENCODING, GRPC_TRACE, TRACEPARENT, no_trailers, refusal_of, request_of, status_of_response, trace_of,
};
use super::{
    Accepted, Call, CallFailure, Client, Failure, GRPC, Head, Outgoing, RecvHalf, Request, Responder, Rpc,
    SendHalf, Trailers, io_text,
};
use crate::codec::EncodeError;
use crate::{LinkSettings, Status};

/// The head of a message, and its payload, which follows without having been copied.
#[derive(Debug, Default)]
pub(crate) struct Segments {
    head: Bytes,
    tail: Bytes,
}

#[derive(Clone, Debug)]
pub(crate) struct H2Client {
    requests: SendRequest<Segments>,
    authority: Arc<str>,
}

/// The stream; none if it was gone before the answer began.
#[derive(Debug)]
pub(crate) struct H2Send(Option<SendStream<Segments>>);

#[derive(Debug)]
pub(crate) struct H2Recv {
    incoming: Incoming,
    is_raw: bool,
}

#[derive(Debug)]
enum Incoming {
    Head(ResponseFuture),
    Data(RecvStream),
}

#[derive(Debug)]
pub(crate) struct H2Responder(SendResponse<Segments>);

/// Yields the requests of one connection, and drives it on the way.
pub(crate) struct H2Acceptor<T>(h2::server::Connection<T, Segments>);

/// Bytes that a stream must have room for to be ready. More would be taken from the other streams.
const ROOM: usize = 1;

/// Starts a client on `io`. The second value drives the connection until it ends.
pub(crate) async fn connect_h2<T: Connection>(
    io: T,
    authority: Arc<str>,
    settings: &LinkSettings,
) -> Result<(Client, impl Future<Output = ()> + Send + use<T>), Failure> {
    let handshake = h2::client::Builder::new()
        .initial_window_size(settings.stream_window)
        .initial_connection_window_size(settings.connection_window)
        .max_header_list_size(settings.max_header_list)
        .enable_push(false)
        .handshake(io)
        .await;
    let (requests, mut connection) = handshake.map_err(|error| failure_of(&error))?;
    let pings = connection.ping_pong();
    let (after, answer_within) = (settings.ping_after, settings.ping_timeout);
    let drive = async move {
        tokio::select! {
            _ = connection => {}
            () = keep_alive(pings, after, answer_within) => {}
        }
    };
    Ok((Client::H2(H2Client { requests, authority }), drive))
}

/// Pings until the peer fails to answer in time.
async fn keep_alive(pings: Option<PingPong>, after: std::time::Duration, answer_within: std::time::Duration) {
    let Some(mut pings) = pings else {
        return std::future::pending().await;
    };
    loop {
        sleep(after).await;
        if !matches!(
            timeout(answer_within, pings.ping(Ping::opaque())).await,
            Ok(Ok(_))
        ) {
            return;
        }
    }
}

// === impl H2Client ===

impl H2Client {
    pub(super) async fn call<F>(
        &mut self,
        rpc: Rpc,
        trace: Option<&TraceContext>,
        first: Outgoing<F>,
    ) -> Result<(SendHalf, RecvHalf), CallFailure>
    where
        F: FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
    {
        let message = Segments::write(first.head, first.payload)?;
        let request = request_of(rpc, &self.authority, trace);
        let (send, recv) = self.send(request, false, false).await?;
        let mut send = H2Send(Some(send));
        send.segments(message, first.is_last);
        Ok((SendHalf::H2(send), RecvHalf::H2(recv)))
    }

    pub(super) async fn request(
        &mut self,
        head: request::Parts,
        is_last: bool,
    ) -> Result<(SendHalf, RecvHalf), Failure> {
        let (send, recv) = self
            .send(http::Request::from_parts(head, ()), is_last, true)
            .await?;
        Ok((SendHalf::H2(H2Send(Some(send))), RecvHalf::H2(recv)))
    }

    async fn send(
        &mut self,
        request: http::Request<()>,
        is_last: bool,
        is_raw: bool,
    ) -> Result<(SendStream<Segments>, H2Recv), Failure> {
        std::future::poll_fn(|cx| self.requests.poll_ready(cx))
            .await
            .map_err(|error| failure_of(&error))?;
        let opened = self.requests.send_request(request, is_last);
        let (head, send) = opened.map_err(|error| failure_of(&error))?;
        let incoming = Incoming::Head(head);
        Ok((send, H2Recv { incoming, is_raw }))
    }
}

// === impl H2Send ===

impl H2Send {
    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let Some(stream) = &mut self.0 else {
            return Poll::Ready(Err(gone()));
        };
        stream.reserve_capacity(ROOM);
        while stream.capacity() == 0 {
            match ready!(stream.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(failure_of(&error))),
                None => return Poll::Ready(Err(gone())),
            }
        }
        Poll::Ready(Ok(()))
    }

    pub(super) fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<Failure> {
        match &mut self.0 {
            Some(stream) => stream.poll_reset(cx).map(failure_of_reset),
            None => Poll::Ready(gone()),
        }
    }

    pub(super) fn message<F>(&mut self, message: Outgoing<F>) -> Result<(), EncodeError>
    where
        F: FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
    {
        let segments = Segments::write(message.head, message.payload)?;
        self.segments(segments, message.is_last);
        Ok(())
    }

    pub(super) fn data(&mut self, data: Bytes, is_last: bool) {
        let head = Bytes::new();
        self.segments(Segments { head, tail: data }, is_last);
    }

    pub(super) fn finish(&mut self, status: &Status) {
        let mut trailers = HeaderMap::with_capacity(3);
        status.write_to(&mut trailers);
        self.trailers(trailers);
    }

    pub(super) fn trailers(&mut self, trailers: HeaderMap) {
        if let Some(stream) = &mut self.0 {
            // A stream that is gone says so when it is read or asked for room.
            drop(stream.send_trailers(trailers));
        }
    }

    pub(super) fn reset(&mut self, reason: u32) {
        if let Some(stream) = &mut self.0 {
            stream.send_reset(Reason::from(reason));
        }
    }

    fn segments(&mut self, segments: Segments, is_last: bool) {
        if let Some(stream) = &mut self.0 {
            drop(stream.send_data(segments, is_last));
        }
    }
}

// === impl H2Recv ===

impl H2Recv {
    pub(super) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Head, Failure>> {
        let Incoming::Head(head) = &mut self.incoming else {
            return Poll::Ready(Ok(Head::Started));
        };
        let response = ready!(Pin::new(head).poll(cx)).map_err(|error| failure_of(&error))?;
        let (head, body) = response.into_parts();
        let is_end = body.is_end_stream();
        self.incoming = Incoming::Data(body);
        if self.is_raw {
            return Poll::Ready(Ok(Head::Raw(Box::new(head))));
        }
        Poll::Ready(Ok(match status_of_response(head.status, &head.headers, is_end) {
            Some(status) => Head::Ended(status),
            None => Head::Started,
        }))
    }

    pub(super) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Failure>>> {
        let Incoming::Data(data) = &mut self.incoming else {
            return Poll::Ready(None);
        };
        loop {
            return match ready!(data.poll_data(cx)) {
                None => Poll::Ready(None),
                Some(Ok(bytes)) => {
                    // What is taken makes room for more. Fails only on a stream that is gone.
                    drop(data.flow_control().release_capacity(bytes.len()));
                    if bytes.is_empty() && !data.is_end_stream() {
                        continue;
                    }
                    Poll::Ready(Some(Ok(bytes)))
                }
                Some(Err(error)) => Poll::Ready(Some(Err(failure_of(&error)))),
            };
        }
    }

    pub(super) fn poll_trailers(&mut self, cx: &mut Context<'_>) -> Poll<Result<Trailers, Failure>> {
        let trailers = match &mut self.incoming {
            Incoming::Head(_) => None,
            Incoming::Data(data) => ready!(data.poll_trailers(cx)).map_err(|error| failure_of(&error))?,
        };
        if self.is_raw {
            return Poll::Ready(Ok(Trailers::Raw(trailers)));
        }
        let status = trailers.as_ref().and_then(Status::from_trailers);
        Poll::Ready(Ok(Trailers::Status(status.unwrap_or_else(no_trailers))))
    }

    pub(super) fn is_end(&self) -> bool {
        match &self.incoming {
            Incoming::Head(_) => false,
            Incoming::Data(data) => data.is_end_stream(),
        }
    }
}

// === impl H2Responder ===

impl H2Responder {
    pub(super) fn start(self) -> H2Send {
        let mut head = Response::new(());
        head.headers_mut()
            .insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(GRPC));
        self.send(head, false)
    }

    pub(super) fn refuse(self, status: &Status) {
        let mut head = Response::new(());
        head.headers_mut()
            .insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(GRPC));
        status.write_to(head.headers_mut());
        drop(self.send(head, true));
    }

    pub(super) fn respond(self, head: response::Parts, is_last: bool) -> H2Send {
        self.send(Response::from_parts(head, ()), is_last)
    }

    pub(super) fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<Failure> {
        self.0.poll_reset(cx).map(failure_of_reset)
    }

    fn send(mut self, head: Response<()>, is_last: bool) -> H2Send {
        H2Send(self.0.send_response(head, is_last).ok())
    }
}

// === impl H2Acceptor ===

impl<T: Connection> H2Acceptor<T> {
    /// Greets the client and waits for its greeting.
    pub(crate) async fn accept(io: T, settings: &LinkSettings) -> Result<Self, Failure> {
        let connection = h2::server::Builder::new()
            .initial_window_size(settings.stream_window)
            .initial_connection_window_size(settings.connection_window)
            .max_header_list_size(settings.max_header_list)
            .handshake(io)
            .await;
        connection.map(Self).map_err(|error| failure_of(&error))
    }

    /// Waits for the next request; none when the connection is over.
    pub(crate) fn poll_request(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Accepted, Failure>>> {
        let accepted = match ready!(self.0.poll_accept(cx)) {
            None => return Poll::Ready(None),
            Some(Err(error)) => return Poll::Ready(Some(Err(failure_of(&error)))),
            Some(Ok(accepted)) => accepted,
        };
        let (request, responder) = accepted;
        let (head, body) = request.into_parts();
        let incoming = Incoming::Data(body);
        Poll::Ready(Some(Ok(Accepted {
            request: classify(head),
            responder: Responder::H2(H2Responder(responder)),
            body: RecvHalf::H2(H2Recv {
                incoming,
                is_raw: false,
            }),
        })))
    }

    /// Takes no new requests and ends when the running ones have ended.
    pub(crate) fn shut_down(&mut self) {
        self.0.graceful_shutdown();
    }

    /// Pings until the client fails to answer in time.
    pub(crate) fn keep_alive(&mut self, settings: &LinkSettings) -> impl Future<Output = ()> + Send + use<T> {
        keep_alive(self.0.ping_pong(), settings.ping_after, settings.ping_timeout)
    }
}

// === impl Segments ===

impl Segments {
    fn write<F>(head: F, tail: Bytes) -> Result<Self, EncodeError>
    where
        F: FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
    {
        let mut out = Vec::new();
        head(&mut out)?;
        Ok(Self {
            head: Bytes::from(out),
            tail,
        })
    }
}

impl Buf for Segments {
    fn remaining(&self) -> usize {
        self.head.len() + self.tail.len()
    }

    fn chunk(&self) -> &[u8] {
        if self.head.is_empty() {
            &self.tail
        } else {
            &self.head
        }
    }

    fn advance(&mut self, count: usize) {
        let of_head = count.min(self.head.len());
        self.head.advance(of_head);
        self.tail.advance(count - of_head);
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let parts = [&self.head, &self.tail]
            .into_iter()
            .filter(|part| !part.is_empty());
        parts
            .zip(slices)
            .map(|(part, slice)| *slice = IoSlice::new(part))
            .count()
    }
}

fn classify(head: request::Parts) -> Request {
    let Some(rpc) = Rpc::of_path(head.uri.path().as_bytes()) else {
        return Request::Raw(Box::new(head));
    };
    let header = |name| head.headers.get(name).map(http::HeaderValue::as_bytes);
    Request::Call(Call {
        rpc,
        trace: trace_of(header(&GRPC_TRACE), header(&TRACEPARENT)),
        refusal: refusal_of(header(&GRPC_ENCODING)),
    })
}

fn failure_of(error: &h2::Error) -> Failure {
    if let Some(error) = error.get_io() {
        return Failure::closed(&io_text(error));
    }
    let Some(reason) = error.reason() else {
        return Failure::closed(&error.to_string());
    };
    if error.is_go_away() && error.is_remote() {
        return match reason {
            Reason::NO_ERROR => Failure::going_away(),
            other => Failure::goodbye(other.into(), &[]),
        };
    }
    if error.is_reset() {
        return Failure::reset(reason.into());
    }
    Failure::closed(&error.to_string())
}

fn failure_of_reset(reset: Result<Reason, h2::Error>) -> Failure {
    match reset {
        Ok(reason) => Failure::reset(reason.into()),
        Err(error) => failure_of(&error),
    }
}

/// The stream went away before it could be answered.
fn gone() -> Failure {
    Failure::reset(super::CANCEL)
}
