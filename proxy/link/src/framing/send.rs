//! What goes out on streams.

use std::task::Waker;

use bytes::Bytes;
use http::{HeaderMap, request, response};
use outrigger_telemetry::trace::TraceContext;

use super::frame::{FrameHead, HEAD, Kind, flag, put_block, put_head, put_reset, reason};
use super::state::{HIGH_WATER, Side, State};
use super::stream::Ending;
use crate::Status;
use crate::codec::EncodeError;
use crate::transport::{Failure, Outgoing, Rpc};

/// How an answer begins.
#[derive(Debug)]
pub(super) enum Opening<'a> {
    /// As that of a gRPC call.
    Answer,
    /// As that of a gRPC call, and with a status at once.
    Refusal(&'a Status),
    /// As it is.
    Raw(&'a response::Parts, bool),
}

// === impl State ===

impl State {
    /// Opens a stream for a hot call.
    pub(super) fn open_call(&mut self, rpc: Rpc, authority: &str, trace: Option<&TraceContext>) -> usize {
        let place = self.open(false);
        self.block.clear();
        self.encoder.call(&mut self.block, rpc, authority, trace);
        self.put_block(place, 0);
        place
    }

    /// Opens a stream for a raw request.
    pub(super) fn open_request(&mut self, head: &request::Parts, is_last: bool) -> usize {
        let place = self.open(true);
        self.block.clear();
        self.encoder.request(&mut self.block, head);
        self.put_block(place, if is_last { flag::END_STREAM } else { 0 });
        if is_last {
            self.end_sending(place);
        }
        place
    }

    fn open(&mut self, is_raw: bool) -> usize {
        let place = self.streams.add(self.next_id);
        self.next_id += 2;
        let recv_window = self.first_recv_window();
        let stream = self.streams.at(place);
        stream.is_raw = is_raw;
        stream.send.window = self.peer.stream_window;
        stream.recv.window = recv_window;
        place
    }

    /// Begins the answer to a request.
    pub(super) fn begin_answer(&mut self, place: usize, opening: &Opening<'_>) {
        if self.streams.at(place).is_given_up() {
            return;
        }
        self.block.clear();
        let is_last = match opening {
            Opening::Answer => {
                self.encoder.answer(&mut self.block);
                false
            }
            Opening::Refusal(status) => {
                self.encoder.refusal(&mut self.block, status);
                true
            }
            Opening::Raw(head, is_last) => {
                self.encoder.response(&mut self.block, head);
                *is_last
            }
        };
        self.put_block(place, if is_last { flag::END_STREAM } else { 0 });
        if is_last {
            self.end_sending(place);
        }
    }

    /// Sends one message; what the peer gives no window for waits on the stream.
    pub(super) fn send_message<F>(&mut self, place: usize, message: Outgoing<F>) -> Result<(), EncodeError>
    where
        F: FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
    {
        let Outgoing {
            head,
            payload,
            is_last,
        } = message;
        let start = self.out.buffer().len();
        self.out.buffer().extend_from_slice(&[0; HEAD]);
        if let Err(error) = head(self.out.buffer()) {
            self.out.buffer().truncate(start);
            return Err(error);
        }
        let written = self.out.buffer().len() - start - HEAD;
        let len = written + payload.len();
        let stream = self.streams.at(place);
        if stream.is_given_up() || !stream.send.ending.is_open() {
            self.out.buffer().truncate(start);
            return Ok(());
        }
        let room = stream
            .send
            .window
            .min(self.send_window)
            .min(self.peer.max_frame as i64);
        if stream.send.pending_len == 0 && len as i64 <= room {
            // The usual case: everything goes into one frame, which is where it was written to.
            stream.send.window -= len as i64;
            self.send_window -= len as i64;
            self.has_sent = true;
            let id = stream.id;
            let flags = if is_last { flag::END_STREAM } else { 0 };
            let head = FrameHead {
                len,
                kind: Kind::Data,
                flags,
                stream: id,
            };
            self.out.buffer()[start..start + HEAD].copy_from_slice(&head.to_bytes());
            self.out.put(payload);
            if is_last {
                self.end_sending(place);
            }
            return Ok(());
        }
        let head = Bytes::copy_from_slice(&self.out.buffer()[start + HEAD..]);
        self.out.buffer().truncate(start);
        self.queue(place, [head, payload]);
        self.finish_sending(place, if is_last { Ending::Data } else { Ending::Open });
        Ok(())
    }

    /// Sends bytes as they are.
    pub(super) fn send_data(&mut self, place: usize, data: Bytes, is_last: bool) {
        let stream = self.streams.at(place);
        if stream.is_given_up() || !stream.send.ending.is_open() {
            return;
        }
        self.queue(place, [data, Bytes::new()]);
        self.finish_sending(place, if is_last { Ending::Data } else { Ending::Open });
    }

    /// Ends a half, after what is pending.
    pub(super) fn finish_sending(&mut self, place: usize, ending: Ending) {
        let stream = self.streams.at(place);
        if stream.is_given_up() {
            return;
        }
        if stream.send.ending.is_open() {
            stream.send.ending = ending;
        }
        self.pump(place);
    }

    /// Gives a stream up. Whoever waits for it hears of that as of a reset by the peer. Does nothing if it has
    /// ended.
    pub(super) fn reset(&mut self, place: usize, code: u32) {
        let stream = self.streams.at(place);
        if !stream.is_attached {
            return;
        }
        let id = stream.id;
        stream.failure.get_or_insert_with(|| Failure::reset(code));
        stream.send.pending.clear();
        stream.send.pending_len = 0;
        let waiting = [stream.recv.waker.take(), stream.send.waker.take()];
        waiting.into_iter().flatten().for_each(Waker::wake);
        put_reset(self.out.buffer(), id, code);
        self.settle(place);
    }

    /// Why nobody waits any more for what is sent on a stream, if so.
    pub(super) fn loss_of_interest(&mut self, place: usize) -> Option<Failure> {
        let is_client = self.side == Side::Client;
        let stream = self.streams.at(place);
        let is_answered = is_client && stream.recv.is_ended;
        match &stream.failure {
            Some(failure) => Some(failure.clone()),
            None if is_answered || !stream.is_attached => Some(Failure::reset(reason::NO_ERROR)),
            None => None,
        }
    }

    /// Nobody sends on a stream any more. Unless its end is on the way, it is given up.
    pub(super) fn drop_sender(&mut self, place: usize) {
        let send = &mut self.streams.at(place).send;
        send.waker = None;
        if send.ending.is_open() {
            self.reset(place, reason::CANCEL);
        }
        self.streams.drop_handle(place);
    }

    /// Whether a sender may put one more message on a stream.
    pub(super) fn has_room(&mut self, place: usize) -> bool {
        self.streams.at(place).send.pending_len == 0 && self.out.len() < HIGH_WATER
    }

    /// Moves pending bytes, and then the end of the half, into the output as far as the windows allow.
    pub(super) fn pump(&mut self, place: usize) {
        loop {
            let stream = self.streams.at(place);
            if stream.is_given_up() || stream.send.is_ended {
                return;
            }
            let pending = stream.send.pending_len;
            if pending == 0 {
                break;
            }
            let window = stream.send.window.min(self.send_window);
            if window <= 0 {
                if stream.send.window > 0 && !stream.send.is_in_line {
                    stream.send.is_in_line = true;
                    self.line.push_back(place);
                }
                return;
            }
            let len = pending
                .min(window.unsigned_abs() as usize)
                .min(self.peer.max_frame);
            let is_last = len == pending && matches!(stream.send.ending, Ending::Data);
            stream.send.window -= len as i64;
            self.send_window -= len as i64;
            self.has_sent = true;
            let id = stream.id;
            let flags = if is_last { flag::END_STREAM } else { 0 };
            put_head(self.out.buffer(), len, Kind::Data, flags, id);
            self.put_pending(place, len);
            if is_last {
                return self.end_sending(place);
            }
        }
        self.put_ending(place);
    }

    /// Wakes a sender whose pending bytes are gone.
    pub(super) fn wake_sender(&mut self, place: usize) -> Option<Waker> {
        let send = &mut self.streams.at(place).send;
        if send.pending_len == 0 {
            send.waker.take()
        } else {
            None
        }
    }

    fn queue(&mut self, place: usize, parts: [Bytes; 2]) {
        let send = &mut self.streams.at(place).send;
        for part in parts {
            if !part.is_empty() {
                send.pending_len += part.len();
                send.pending.push_back(part);
            }
        }
    }

    fn put_pending(&mut self, place: usize, mut len: usize) {
        let send = &mut self.streams.at(place).send;
        send.pending_len -= len;
        while len > 0 {
            let Some(part) = send.pending.front_mut() else {
                return;
            };
            let taken = part.split_to(part.len().min(len));
            len -= taken.len();
            if part.is_empty() {
                send.pending.pop_front();
            }
            self.out.put(taken);
        }
    }

    fn put_ending(&mut self, place: usize) {
        let stream = self.streams.at(place);
        let id = stream.id;
        match std::mem::take(&mut stream.send.ending) {
            Ending::Open => return,
            Ending::Data => {
                put_head(self.out.buffer(), 0, Kind::Data, flag::END_STREAM, id);
            }
            Ending::Status(status) => {
                self.block.clear();
                self.encoder.end(&mut self.block, &status);
                self.put_block(place, flag::END_STREAM);
            }
            Ending::Trailers(trailers) => self.put_trailers(place, &trailers),
        }
        self.end_sending(place);
    }

    fn put_trailers(&mut self, place: usize, trailers: &HeaderMap) {
        self.block.clear();
        self.encoder.trailers(&mut self.block, trailers);
        self.put_block(place, flag::END_STREAM);
    }

    fn put_block(&mut self, place: usize, flags: u8) {
        self.has_sent = true;
        let id = self.streams.at(place).id;
        put_block(self.out.buffer(), id, flags, &self.block, self.peer.max_frame);
    }

    /// Notes that the end of a half is in the output.
    fn end_sending(&mut self, place: usize) {
        let stream = self.streams.at(place);
        stream.send.is_ended = true;
        stream.send.ending = Ending::Data;
        if self.side == Side::Server && !stream.recv.is_ended {
            // The answer is complete; the rest of the request is not wanted, and not to be taken for its end.
            let id = stream.id;
            stream
                .failure
                .get_or_insert_with(|| Failure::reset(reason::CANCEL));
            put_reset(self.out.buffer(), id, reason::NO_ERROR);
        }
        self.settle(place);
    }
}
