//! What calls hold of a connection.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, request, response};
use outrigger_telemetry::trace::TraceContext;

use super::frame::reason;
use super::send::Opening;
use super::state::{Shared, State};
use super::stream::Ending;
use crate::Status;
use crate::codec::EncodeError;
use crate::transport::{
    CallFailure, Failure, Head, Outgoing, RecvHalf, Rpc, SendHalf, Trailers, no_trailers,
};

/// The right to open streams. The connection ends when the last clone is gone and its streams have ended.
#[derive(Clone, Debug)]
pub(crate) struct OwnClient(Arc<Client>);

#[derive(Debug)]
struct Client {
    shared: Arc<Shared>,
    authority: Arc<str>,
}

/// The sending half of a stream.
#[derive(Debug)]
pub(crate) struct OwnSend(SendHandle);

/// The receiving half of a stream.
#[derive(Debug)]
pub(crate) struct OwnRecv {
    shared: Arc<Shared>,
    place: usize,
}

/// The right to answer a request.
#[derive(Debug)]
pub(crate) struct OwnResponder(SendHandle);

/// The right to end a server's connection.
#[derive(Debug)]
pub(crate) struct ServerHandle(pub(super) Arc<Shared>);

/// Whoever may still send on a stream.
#[derive(Debug)]
struct SendHandle {
    shared: Arc<Shared>,
    place: usize,
}

/// The handles of a stream that was just added.
pub(super) fn handles(shared: &Arc<Shared>, place: usize) -> (OwnResponder, OwnRecv) {
    let shared = || Arc::clone(shared);
    let send = SendHandle {
        shared: shared(),
        place,
    };
    let recv = OwnRecv {
        shared: shared(),
        place,
    };
    (OwnResponder(send), recv)
}

// === impl OwnClient ===

impl OwnClient {
    pub(super) fn new(shared: Arc<Shared>, authority: Arc<str>) -> Self {
        Self(Arc::new(Client { shared, authority }))
    }

    /// Whether streams can still be opened.
    pub(crate) fn is_open(&self) -> bool {
        self.0.shared.lock().takes_streams()
    }

    pub(crate) async fn call<F>(
        &self,
        rpc: Rpc,
        trace: Option<&TraceContext>,
        first: Outgoing<F>,
    ) -> Result<(SendHalf, RecvHalf), CallFailure>
    where
        F: FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
    {
        let opened = self.open(|state| {
            let place = state.open_call(rpc, &self.0.authority, trace);
            let outcome = state.send_message(place, first);
            if outcome.is_err() {
                state.reset(place, reason::CANCEL);
            }
            (place, outcome)
        });
        let (place, outcome) = opened.await?;
        let halves = self.halves(place);
        outcome?;
        Ok(halves)
    }

    pub(crate) async fn request(
        &self,
        head: request::Parts,
        is_last: bool,
    ) -> Result<(SendHalf, RecvHalf), Failure> {
        let opened = self.open(|state| state.open_request(&head, is_last));
        Ok(self.halves(opened.await?))
    }

    /// Opens a stream as soon as the peer takes another one.
    async fn open<T>(&self, open: impl FnOnce(&mut State) -> T) -> Result<T, Failure> {
        let mut open = Some(open);
        std::future::poll_fn(|cx| {
            self.0.shared.update(|state| {
                if !state.takes_streams() {
                    return Poll::Ready(Err(state.refusal()));
                }
                if state.streams.attached() >= state.peer.max_streams {
                    state.awaiting_stream.push(cx.waker().clone());
                    return Poll::Pending;
                }
                let open = open.take().expect("a stream is opened once");
                Poll::Ready(Ok(open(state)))
            })
        })
        .await
    }

    fn halves(&self, place: usize) -> (SendHalf, RecvHalf) {
        let (OwnResponder(send), recv) = handles(&self.0.shared, place);
        (SendHalf::Own(OwnSend(send)), RecvHalf::Own(recv))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.shared.update(State::shut_down);
    }
}

// === impl SendHandle ===

impl SendHandle {
    fn update<T>(&self, change: impl FnOnce(&mut State, usize) -> T) -> T {
        self.shared.update(|state| change(state, self.place))
    }

    /// Waits until the peer has no more interest in the stream.
    fn poll_reset(&self, cx: &mut Context<'_>) -> Poll<Failure> {
        let mut state = self.shared.lock();
        if let Some(failure) = state.loss_of_interest(self.place) {
            return Poll::Ready(failure);
        }
        state.streams.at(self.place).send.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for SendHandle {
    fn drop(&mut self) {
        self.update(State::drop_sender);
    }
}

// === impl OwnSend ===

impl OwnSend {
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let place = self.0.place;
        let mut state = self.0.shared.lock();
        if let Some(failure) = state.loss_of_interest(place) {
            return Poll::Ready(Err(failure));
        }
        if state.has_room(place) {
            return Poll::Ready(Ok(()));
        }
        if state.streams.at(place).send.pending_len == 0 {
            state.awaiting_room.push(cx.waker().clone());
        }
        state.streams.at(place).send.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    pub(crate) fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<Failure> {
        self.0.poll_reset(cx)
    }

    pub(crate) fn message<F>(&mut self, message: Outgoing<F>) -> Result<(), EncodeError>
    where
        F: FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
    {
        self.0.update(|state, place| state.send_message(place, message))
    }

    pub(crate) fn data(&mut self, data: Bytes, is_last: bool) {
        self.0
            .update(|state, place| state.send_data(place, data, is_last));
    }

    pub(crate) fn finish(&mut self, status: &Status) {
        let ending = Ending::Status(status.clone());
        self.0.update(|state, place| state.finish_sending(place, ending));
    }

    pub(crate) fn trailers(&mut self, trailers: HeaderMap) {
        let ending = Ending::Trailers(Box::new(trailers));
        self.0.update(|state, place| state.finish_sending(place, ending));
    }

    pub(crate) fn reset(&mut self, code: u32) {
        self.0.update(|state, place| state.reset(place, code));
    }
}

// === impl OwnRecv ===

impl OwnRecv {
    pub(crate) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Head, Failure>> {
        let mut state = self.shared.lock();
        let stream = state.streams.at(self.place);
        if let Some(head) = stream.recv.head.take() {
            return Poll::Ready(Ok(head));
        }
        if let Some(failure) = &stream.failure {
            return Poll::Ready(Err(failure.clone()));
        }
        stream.recv.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    pub(crate) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Failure>>> {
        let mut state = self.shared.lock();
        let stream = state.streams.at(self.place);
        if let Some(data) = stream.recv.data.pop_front() {
            state.count_as_read(self.place, data.len());
            let waker = state.driver_to_wake();
            drop(state);
            if let Some(waker) = waker {
                waker.wake();
            }
            return Poll::Ready(Some(Ok(data)));
        }
        if stream.recv.is_ended {
            return Poll::Ready(None);
        }
        if let Some(failure) = &stream.failure {
            return Poll::Ready(Some(Err(failure.clone())));
        }
        stream.recv.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// The trailers; they are there once the data has ended.
    pub(crate) fn trailers(&mut self) -> Trailers {
        let mut state = self.shared.lock();
        let stream = state.streams.at(self.place);
        match stream.recv.trailers.take() {
            Some(trailers) => trailers,
            None if stream.is_raw => Trailers::Raw(None),
            None => Trailers::Status(no_trailers()),
        }
    }

    pub(crate) fn is_end(&self) -> bool {
        let mut state = self.shared.lock();
        let recv = &state.streams.at(self.place).recv;
        recv.is_ended && recv.data.is_empty() && recv.trailers.is_none()
    }
}

impl Drop for OwnRecv {
    fn drop(&mut self) {
        self.shared.update(|state| state.drop_receiver(self.place));
    }
}

// === impl OwnResponder ===

impl OwnResponder {
    pub(crate) fn start(self) -> OwnSend {
        self.open(&Opening::Answer)
    }

    pub(crate) fn refuse(self, status: &Status) {
        drop(self.open(&Opening::Refusal(status)));
    }

    pub(crate) fn respond(self, head: &response::Parts, is_last: bool) -> OwnSend {
        self.open(&Opening::Raw(head, is_last))
    }

    pub(crate) fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<Failure> {
        self.0.poll_reset(cx)
    }

    fn open(self, opening: &Opening<'_>) -> OwnSend {
        self.0.update(|state, place| state.begin_answer(place, opening));
        OwnSend(self.0)
    }
}

// === impl ServerHandle ===

impl ServerHandle {
    /// Takes no new requests and ends when the running ones have ended.
    pub(crate) fn shut_down(&self) {
        self.0.update(State::shut_down);
    }
}
