//! What received frames do to the connection and its streams.

use bytes::Bytes;

use super::frame::{
    DEFAULT_WINDOW, FrameHead, LARGEST_WINDOW, Settings, Violation, flag, put_reset, put_settings_ack,
    put_window_update, reason, without_padding,
};
use super::head::{read_fields, read_grpc_head, read_request, read_response, read_status};
use super::hpack::FieldList;
use super::state::{Events, FAREWELL_PING, Farewell, Side, State};
use crate::transport::{Failure, Request, Trailers, no_trailers};

/// Requests of one connection that are answered at once; peers use far fewer.
const MAX_STREAMS: usize = 1 << 16;

/// Pieces that may lie unread on one stream; a peer that sends its bytes in crumbs gets no further.
const MAX_PIECES: usize = 1 << 16;

// === impl State ===

impl State {
    pub(super) fn on_data(
        &mut self,
        head: FrameHead,
        payload: Bytes,
        events: &mut Events,
    ) -> Result<(), Violation> {
        self.check_known(head.stream)?;
        let is_last = head.has(flag::END_STREAM);
        if payload.is_empty() && !is_last {
            self.abuse.chatter.spend(self.now)?;
        }
        let len = payload.len() as i64;
        self.recv_window -= len;
        if self.recv_window < 0 {
            return Err(Violation(reason::FLOW_CONTROL_ERROR));
        }
        let range = without_padding(head, &payload)?;
        let padding = payload.len() - range.len();
        let content = if padding > 0 {
            payload.slice(range)
        } else {
            payload
        };
        self.give_back(len as u32);
        let Some(place) = self.streams.find(head.stream) else {
            return Ok(());
        };
        let stream = self.streams.at(place);
        if stream.recv.is_ended || !stream.recv.has_head {
            self.reset(place, reason::PROTOCOL_ERROR);
            return Ok(());
        }
        stream.recv.window -= len;
        if stream.recv.window < 0 {
            self.reset(place, reason::FLOW_CONTROL_ERROR);
            return Ok(());
        }
        if stream.recv.data.len() >= MAX_PIECES {
            self.reset(place, reason::ENHANCE_YOUR_CALM);
            return Ok(());
        }
        // What is not content counts as read.
        stream.recv.taken += padding as u32;
        if !content.is_empty() && !stream.recv.is_dropped {
            self.unread += content.len();
            stream.recv.data.push_back(content);
        }
        if is_last {
            stream.recv.is_ended = true;
        }
        events.wakers.extend(stream.recv.waker.take());
        self.settle(place);
        Ok(())
    }

    pub(super) fn on_reset(&mut self, id: u32, code: u32, events: &mut Events) -> Result<(), Violation> {
        self.check_known(id)?;
        let Some(place) = self.streams.find(id) else {
            return Ok(());
        };
        if self.side == Side::Server {
            self.abuse.resets.spend(self.now)?;
        }
        if code == reason::NO_ERROR && self.streams.at(place).recv.is_ended {
            // The answer is whole, and the rest of the request is not wanted.
            let send = &mut self.streams.at(place).send;
            send.pending.clear();
            send.pending_len = 0;
            send.is_ended = true;
            events.wakers.extend(send.waker.take());
            self.settle(place);
            return Ok(());
        }
        self.fail(place, Failure::reset(code), events);
        Ok(())
    }

    pub(super) fn on_settings(
        &mut self,
        head: FrameHead,
        payload: &[u8],
        events: &mut Events,
    ) -> Result<(), Violation> {
        if head.has(flag::ACK) {
            self.on_settings_known();
            return if payload.is_empty() {
                Ok(())
            } else {
                Err(Violation(reason::FRAME_SIZE_ERROR))
            };
        }
        if self.peer.has_greeted {
            self.abuse.chatter.spend(self.now)?;
        }
        self.peer.has_greeted = true;
        let settings = Settings::read(payload)?;
        if self.side == Side::Client && settings.enable_push == Some(1) {
            return Err(Violation(reason::PROTOCOL_ERROR));
        }
        if let Some(size) = settings.header_table_size {
            self.encoder.limit_table(size as usize);
        }
        if let Some(size) = settings.max_frame_size {
            self.peer.max_frame = size as usize;
        }
        if let Some(most) = settings.max_concurrent_streams {
            self.peer.max_streams = most as usize;
            events.wakers.append(&mut self.awaiting_stream);
        }
        put_settings_ack(self.out.buffer());
        if let Some(window) = settings.initial_window_size {
            let change = i64::from(window) - self.peer.stream_window;
            self.peer.stream_window = i64::from(window);
            for place in self.streams.places() {
                let send = &mut self.streams.at(place).send;
                send.window += change;
                if send.window > i64::from(LARGEST_WINDOW) {
                    return Err(Violation(reason::FLOW_CONTROL_ERROR));
                }
                self.pump(place);
                events.wakers.extend(self.wake_sender(place));
            }
        }
        Ok(())
    }

    /// From here on the peer keeps to the settings of this side.
    fn on_settings_known(&mut self) {
        if std::mem::replace(&mut self.limits.are_known, true) {
            return;
        }
        let change = i64::from(self.limits.stream_window) - i64::from(DEFAULT_WINDOW);
        for place in self.streams.places() {
            self.streams.at(place).recv.window += change;
        }
    }

    pub(super) fn on_ping(
        &mut self,
        head: FrameHead,
        payload: &[u8],
        events: &mut Events,
    ) -> Result<(), Violation> {
        if payload.len() != FAREWELL_PING.len() {
            return Err(Violation(reason::FRAME_SIZE_ERROR));
        }
        if head.has(flag::ACK) {
            if payload == FAREWELL_PING {
                self.shut_down_finally();
            }
            return Ok(());
        }
        self.pong(payload);
        // Peers that measure the link ping after each message; that is not chatter.
        let has_sent = std::mem::take(&mut self.has_sent);
        if !has_sent {
            self.abuse.chatter.spend(self.now)?;
        }
        if self.side == Side::Server && self.abuse.pings.is_exhausted_by(self.now, has_sent) {
            self.punish(Violation(reason::ENHANCE_YOUR_CALM), b"too_many_pings", events);
        }
        Ok(())
    }

    pub(super) fn on_go_away(&mut self, payload: &[u8], events: &mut Events) -> Result<(), Violation> {
        let (last, rest) = payload
            .split_first_chunk()
            .ok_or(Violation(reason::FRAME_SIZE_ERROR))?;
        let (code, debug) = rest
            .split_first_chunk()
            .ok_or(Violation(reason::FRAME_SIZE_ERROR))?;
        let (last, code) = (
            u32::from_be_bytes(*last) & LARGEST_WINDOW,
            u32::from_be_bytes(*code),
        );
        self.abuse.chatter.spend(self.now)?;
        self.life.is_leaving = true;
        if code != reason::NO_ERROR {
            self.life.goodbye = Some(Failure::goodbye(code, debug));
        }
        events.wakers.append(&mut self.awaiting_stream);
        match self.side {
            Side::Client => {
                for place in self.streams.places() {
                    if self.streams.at(place).id > last {
                        let failure = self.refusal();
                        self.fail(place, failure, events);
                    }
                }
                self.close_if_left();
            }
            Side::Server => {
                if self.life.farewell == Farewell::None {
                    self.life.farewell = Farewell::Second;
                }
                self.close_if_left();
            }
        }
        Ok(())
    }

    pub(super) fn on_window_update(
        &mut self,
        id: u32,
        increment: u32,
        events: &mut Events,
    ) -> Result<(), Violation> {
        let increment = i64::from(increment & LARGEST_WINDOW);
        if id == 0 {
            self.send_window += increment;
            if increment == 0 {
                return Err(Violation(reason::PROTOCOL_ERROR));
            }
            if self.send_window > i64::from(LARGEST_WINDOW) {
                return Err(Violation(reason::FLOW_CONTROL_ERROR));
            }
            for _ in 0..self.line.len() {
                if self.send_window <= 0 {
                    break;
                }
                let Some(place) = self.line.pop_front() else { break };
                self.streams.at(place).send.is_in_line = false;
                self.pump(place);
                events.wakers.extend(self.wake_sender(place));
            }
            return Ok(());
        }
        self.check_known(id)?;
        let Some(place) = self.streams.find(id) else {
            return Ok(());
        };
        let send = &mut self.streams.at(place).send;
        send.window += increment;
        if increment == 0 {
            self.reset(place, reason::PROTOCOL_ERROR);
        } else if send.window > i64::from(LARGEST_WINDOW) {
            self.reset(place, reason::FLOW_CONTROL_ERROR);
        } else {
            self.pump(place);
            events.wakers.extend(self.wake_sender(place));
        }
        Ok(())
    }

    /// The head of a request, or its trailers.
    pub(super) fn on_request(
        &mut self,
        head: FrameHead,
        fields: &FieldList,
        events: &mut Events,
    ) -> Result<(), Violation> {
        let id = head.stream;
        let is_last = head.has(flag::END_STREAM);
        if id.is_multiple_of(2) {
            return Err(Violation(reason::PROTOCOL_ERROR));
        }
        if id <= self.last_peer_id {
            let Some(place) = self.streams.find(id) else {
                return Ok(());
            };
            self.on_trailers(place, is_last, fields, events);
            return Ok(());
        }
        self.last_peer_id = id;
        let is_full = self.streams.attached() >= MAX_STREAMS;
        if self.life.farewell == Farewell::Second || self.life.is_closing || is_full {
            put_reset(self.out.buffer(), id, reason::REFUSED_STREAM);
            return Ok(());
        }
        let Some(request) = read_request(fields) else {
            put_reset(self.out.buffer(), id, reason::PROTOCOL_ERROR);
            return Ok(());
        };
        let place = self.streams.add(id);
        let recv_window = self.first_recv_window();
        let stream = self.streams.at(place);
        stream.is_raw = matches!(request, Request::Raw(_));
        stream.send.window = self.peer.stream_window;
        stream.recv.window = recv_window;
        stream.recv.has_head = true;
        stream.recv.is_ended = is_last;
        events.accepted.push((place, request));
        Ok(())
    }

    /// The head of an answer, or its trailers.
    pub(super) fn on_response(
        &mut self,
        head: FrameHead,
        fields: &FieldList,
        events: &mut Events,
    ) -> Result<(), Violation> {
        self.check_known(head.stream)?;
        let Some(place) = self.streams.find(head.stream) else {
            return Ok(());
        };
        let is_last = head.has(flag::END_STREAM);
        let stream = self.streams.at(place);
        if stream.recv.has_head {
            self.on_trailers(place, is_last, fields, events);
            return Ok(());
        }
        let read = if stream.is_raw {
            read_response(fields)
        } else {
            read_grpc_head(fields, is_last)
        };
        match read {
            // Nothing follows from an interim answer.
            Ok(None) if !is_last => return self.abuse.chatter.spend(self.now),
            Ok(Some(answer)) => {
                stream.recv.has_head = true;
                stream.recv.head = Some(answer);
                stream.recv.is_ended = is_last;
                events.wakers.extend(stream.recv.waker.take());
                self.settle(place);
            }
            _ => self.reset(place, reason::PROTOCOL_ERROR),
        }
        Ok(())
    }

    fn on_trailers(&mut self, place: usize, is_last: bool, fields: &FieldList, events: &mut Events) {
        let stream = self.streams.at(place);
        if stream.recv.is_ended || !is_last {
            return self.reset(place, reason::PROTOCOL_ERROR);
        }
        let trailers = match stream.is_raw {
            true => read_fields(fields).map(|map| Trailers::Raw(Some(map))),
            false => Some(Trailers::Status(read_status(fields).unwrap_or_else(no_trailers))),
        };
        stream.recv.is_ended = true;
        stream.recv.trailers = trailers;
        events.wakers.extend(stream.recv.waker.take());
        self.settle(place);
    }

    /// Frames may come late on streams that have ended, but not on streams that never began.
    fn check_known(&self, id: u32) -> Result<(), Violation> {
        let is_known = match self.side {
            Side::Client => id % 2 == 1 && id < self.next_id,
            Side::Server => id <= self.last_peer_id,
        };
        if is_known {
            Ok(())
        } else {
            Err(Violation(reason::PROTOCOL_ERROR))
        }
    }
}

impl State {
    /// Counts bytes of a stream as read, and gives them back to the peer when they have become many.
    pub(super) fn count_as_read(&mut self, place: usize, len: usize) {
        self.unread -= len;
        let stream = self.streams.at(place);
        stream.recv.taken += len as u32;
        let taken = stream.recv.taken;
        if stream.is_attached && !stream.recv.is_ended && taken >= (self.limits.stream_window / 2).max(1) {
            stream.recv.taken = 0;
            stream.recv.window += i64::from(taken);
            let id = stream.id;
            put_window_update(self.out.buffer(), id, taken);
        }
        self.give_back(0);
    }

    /// Nobody reads a stream any more. A client gives it up; a server may still answer.
    pub(super) fn drop_receiver(&mut self, place: usize) {
        let recv = &mut self.streams.at(place).recv;
        let unread: usize = recv.data.drain(..).map(|data| data.len()).sum();
        recv.waker = None;
        recv.is_dropped = true;
        let is_wanted = recv.is_ended || self.side == Side::Server;
        self.unread -= unread;
        self.give_back(0);
        if !is_wanted {
            self.reset(place, reason::CANCEL);
        }
        self.streams.drop_handle(place);
    }
}
