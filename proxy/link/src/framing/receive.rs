//! What comes in: frames, one by one.

use std::ops::Range;

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, request, response};

use super::frame::{
    DEFAULT_WINDOW, FrameHead, HEAD, Kind, LARGEST_WINDOW, Settings, Violation, flag, put_reset,
    put_settings_ack, put_window_update, read_u32, reason, without_padding,
};
use super::hpack::{Decoder, FieldList};
use super::state::{Events, FAREWELL_PING, Farewell, MAX_FRAME, Side, State};
use crate::Status;
use crate::transport::{
    Call, Failure, Head, Request, Rpc, Trailers, no_trailers, refusal_of, trace_of, wrong_head,
};

/// Cuts received bytes into frames and keeps what spans several of them.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) buffer: BytesMut,
    decoder: Decoder,
    fields: FieldList,
    /// A header block whose end has not come.
    block: Option<Block>,
    max_block: usize,
}

/// A header block that began with the HEADERS frame `head`.
#[derive(Debug)]
struct Block {
    head: FrameHead,
    bytes: Vec<u8>,
    frames: usize,
}

/// Frames that a header block may be spread over.
const MAX_BLOCK_FRAMES: usize = 512;

// === impl Reader ===

impl Reader {
    pub(super) fn new(max_header_list: u32) -> Self {
        let max = max_header_list as usize;
        Self {
            buffer: BytesMut::new(),
            decoder: Decoder::new(),
            fields: FieldList::new(max),
            block: None,
            max_block: max.max(MAX_FRAME),
        }
    }

    /// Takes the whole frames out of the buffer and lets the state know.
    pub(super) fn take_frames(&mut self, state: &mut State, events: &mut Events) -> Result<(), Violation> {
        while let Some(head) = FrameHead::read(&self.buffer) {
            if head.len > MAX_FRAME {
                return Err(Violation(reason::FRAME_SIZE_ERROR));
            }
            if self.buffer.len() < HEAD + head.len {
                self.buffer.reserve(HEAD + head.len - self.buffer.len());
                return Ok(());
            }
            self.check_order(state, head)?;
            self.buffer.advance(HEAD);
            let payload = self.buffer.split_to(head.len);
            self.take_frame(state, head, payload, events)?;
        }
        Ok(())
    }

    /// Settings come first, and nothing comes between the frames of one header block.
    fn check_order(&self, state: &State, head: FrameHead) -> Result<(), Violation> {
        let is_continued = head.kind == Kind::Continuation;
        let is_in_order = match &self.block {
            Some(block) => is_continued && block.head.stream == head.stream,
            None => !is_continued,
        };
        let is_greeting = head.kind == Kind::Settings && !head.has(flag::ACK);
        if is_in_order && (state.peer.has_greeted || is_greeting) {
            return Ok(());
        }
        Err(Violation(reason::PROTOCOL_ERROR))
    }

    fn take_frame(
        &mut self,
        state: &mut State,
        head: FrameHead,
        payload: BytesMut,
        events: &mut Events,
    ) -> Result<(), Violation> {
        let is_for_stream = matches!(
            head.kind,
            Kind::Data | Kind::Headers | Kind::Priority | Kind::Reset | Kind::Continuation
        );
        let is_for_connection = matches!(head.kind, Kind::Settings | Kind::Ping | Kind::GoAway);
        if (is_for_stream && head.stream == 0) || (is_for_connection && head.stream != 0) {
            return Err(Violation(reason::PROTOCOL_ERROR));
        }
        match head.kind {
            Kind::Data => state.on_data(head, payload.freeze(), events),
            Kind::Headers => self.on_headers(state, head, &payload, events),
            Kind::Continuation => self.on_continuation(state, head, &payload, events),
            Kind::Reset => state.on_reset(head.stream, read_u32(&payload)?, events),
            Kind::Settings => state.on_settings(head, &payload, events),
            Kind::Ping => state.on_ping(head, &payload, events),
            Kind::GoAway => state.on_go_away(&payload, events),
            Kind::WindowUpdate => state.on_window_update(head.stream, read_u32(&payload)?, events),
            Kind::Push => Err(Violation(reason::PROTOCOL_ERROR)),
            Kind::Priority if head.len != 5 => Err(Violation(reason::FRAME_SIZE_ERROR)),
            Kind::Priority | Kind::Unknown => state.abuse.chatter.spend(state.now),
        }
    }

    fn on_headers(
        &mut self,
        state: &mut State,
        head: FrameHead,
        payload: &[u8],
        events: &mut Events,
    ) -> Result<(), Violation> {
        let mut range = without_padding(head, payload)?;
        if head.has(flag::PRIORITY) {
            range = Range {
                start: range.start + 5,
                ..range
            };
        }
        let block = payload.get(range).ok_or(Violation(reason::FRAME_SIZE_ERROR))?;
        if head.has(flag::END_HEADERS) {
            return self.on_block(state, head, block, events);
        }
        self.block = Some(Block {
            head,
            bytes: block.to_vec(),
            frames: 1,
        });
        Ok(())
    }

    fn on_continuation(
        &mut self,
        state: &mut State,
        head: FrameHead,
        payload: &[u8],
        events: &mut Events,
    ) -> Result<(), Violation> {
        let mut block = self.block.take().ok_or(Violation(reason::PROTOCOL_ERROR))?;
        block.bytes.extend_from_slice(payload);
        block.frames += 1;
        if block.bytes.len() > self.max_block || block.frames > MAX_BLOCK_FRAMES {
            return Err(Violation(reason::ENHANCE_YOUR_CALM));
        }
        if head.has(flag::END_HEADERS) {
            return self.on_block(state, block.head, &block.bytes, events);
        }
        self.block = Some(block);
        Ok(())
    }

    /// A whole header block. It is decoded even if nobody wants it, because later ones build on it.
    fn on_block(
        &mut self,
        state: &mut State,
        head: FrameHead,
        block: &[u8],
        events: &mut Events,
    ) -> Result<(), Violation> {
        let decoded = self.decoder.decode(block, &mut self.fields);
        decoded.map_err(|_| Violation(reason::COMPRESSION_ERROR))?;
        match state.side {
            Side::Client => state.on_response(head, &self.fields, events),
            Side::Server => state.on_request(head, &self.fields, events),
        }
    }
}

// === impl State ===

impl State {
    fn on_data(&mut self, head: FrameHead, payload: Bytes, events: &mut Events) -> Result<(), Violation> {
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
        let content = payload.slice(without_padding(head, &payload)?);
        self.give_back(payload.len() as u32);
        let Some(place) = self.streams.find(head.stream) else {
            return Ok(());
        };
        let stream = self.streams.at(place);
        if stream.recv.is_ended || !stream.recv.has_head {
            self.reset_and_wake(place, reason::PROTOCOL_ERROR, events);
            return Ok(());
        }
        stream.recv.window -= len;
        if stream.recv.window < 0 {
            self.reset_and_wake(place, reason::FLOW_CONTROL_ERROR, events);
            return Ok(());
        }
        // What is not content counts as read.
        stream.recv.taken += (payload.len() - content.len()) as u32;
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

    fn on_reset(&mut self, id: u32, code: u32, events: &mut Events) -> Result<(), Violation> {
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

    fn on_settings(&mut self, head: FrameHead, payload: &[u8], events: &mut Events) -> Result<(), Violation> {
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

    fn on_ping(&mut self, head: FrameHead, payload: &[u8], events: &mut Events) -> Result<(), Violation> {
        if payload.len() != FAREWELL_PING.len() {
            return Err(Violation(reason::FRAME_SIZE_ERROR));
        }
        if head.has(flag::ACK) {
            if payload == FAREWELL_PING {
                self.shut_down_finally();
            }
            return Ok(());
        }
        self.abuse.chatter.spend(self.now)?;
        self.pong(payload);
        let has_sent = std::mem::take(&mut self.has_sent);
        if self.side == Side::Server && self.abuse.pings.is_exhausted_by(self.now, has_sent) {
            self.punish(Violation(reason::ENHANCE_YOUR_CALM), b"too_many_pings", events);
        }
        Ok(())
    }

    fn on_go_away(&mut self, payload: &[u8], events: &mut Events) -> Result<(), Violation> {
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

    fn on_window_update(&mut self, id: u32, increment: u32, events: &mut Events) -> Result<(), Violation> {
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
            self.reset_and_wake(place, reason::PROTOCOL_ERROR, events);
        } else if send.window > i64::from(LARGEST_WINDOW) {
            self.reset_and_wake(place, reason::FLOW_CONTROL_ERROR, events);
        } else {
            self.pump(place);
            events.wakers.extend(self.wake_sender(place));
        }
        Ok(())
    }

    /// The head of a request, or its trailers.
    fn on_request(
        &mut self,
        head: FrameHead,
        fields: &FieldList,
        events: &mut Events,
    ) -> Result<(), Violation> {
        let id = head.stream;
        let is_last = head.has(flag::END_STREAM);
        if id % 2 == 0 {
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
        if self.life.farewell == Farewell::Second || self.life.is_closing {
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
    fn on_response(
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
            _ => self.reset_and_wake(place, reason::PROTOCOL_ERROR, events),
        }
        Ok(())
    }

    fn on_trailers(&mut self, place: usize, is_last: bool, fields: &FieldList, events: &mut Events) {
        let stream = self.streams.at(place);
        if stream.recv.is_ended || !is_last {
            return self.reset_and_wake(place, reason::PROTOCOL_ERROR, events);
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

    fn reset_and_wake(&mut self, place: usize, code: u32, events: &mut Events) {
        let stream = self.streams.at(place);
        events.wakers.extend(stream.recv.waker.take());
        events.wakers.extend(stream.send.waker.take());
        self.reset(place, code);
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

// === impl State: what readers do ===

impl State {
    /// Counts bytes of a stream as read, and gives them back to the peer when they have become many.
    pub(super) fn count_as_read(&mut self, place: usize, len: usize) {
        self.unread -= len;
        let stream = self.streams.at(place);
        stream.recv.taken += len as u32;
        let taken = stream.recv.taken;
        if stream.is_attached && !stream.recv.is_ended && taken >= self.limits.stream_window / 2 {
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

/// The request in a header block; none if it is malformed.
fn read_request(fields: &FieldList) -> Option<Request> {
    let find = |wanted: &[u8]| {
        fields
            .iter()
            .find(|(name, _)| *name == wanted)
            .map(|(_, value)| value)
    };
    let path = find(b":path")?;
    if fields.is_too_large {
        return None;
    }
    if let Some(rpc) = Rpc::of_path(path) {
        return Some(Request::Call(Call {
            rpc,
            trace: trace_of(find(b"grpc-trace-bin"), find(b"traceparent")),
            refusal: refusal_of(find(b"grpc-encoding")),
        }));
    }
    let mut uri = Uri::builder().path_and_query(path);
    if let (Some(scheme), Some(authority)) = (find(b":scheme"), find(b":authority")) {
        uri = uri.scheme(scheme).authority(authority);
    }
    let mut head = new_request_parts();
    head.uri = uri.build().ok()?;
    head.method = Method::from_bytes(find(b":method")?).ok()?;
    head.headers = read_fields(fields)?;
    Some(Request::Raw(Box::new(head)))
}

/// The head of an answer to a raw request; none if it is an interim one.
fn read_response(fields: &FieldList) -> Result<Option<Head>, Malformed> {
    let status = read_http_status(fields)?;
    if status.is_informational() {
        return Ok(None);
    }
    let mut head = new_response_parts();
    head.status = status;
    head.headers = read_fields(fields).ok_or(Malformed)?;
    Ok(Some(Head::Raw(Box::new(head))))
}

/// The head of an answer to a hot call; none if it is an interim one.
fn read_grpc_head(fields: &FieldList, is_last: bool) -> Result<Option<Head>, Malformed> {
    let status = read_http_status(fields)?;
    if status.is_informational() {
        return Ok(None);
    }
    if is_last && let Some(status) = read_status(fields) {
        return Ok(Some(Head::Ended(status)));
    }
    let kind = fields
        .iter()
        .find(|(name, _)| *name == b"content-type")
        .map(|(_, value)| value);
    Ok(Some(match wrong_head(status.as_u16(), kind) {
        Some(status) => Head::Ended(status),
        None if is_last => Head::Ended(no_trailers()),
        None => Head::Started,
    }))
}

/// A header block that is no answer.
struct Malformed;

fn read_http_status(fields: &FieldList) -> Result<http::StatusCode, Malformed> {
    let status = fields
        .iter()
        .find(|(name, _)| *name == b":status")
        .map(|(_, value)| value);
    let status = http::StatusCode::from_bytes(status.ok_or(Malformed)?);
    if fields.is_too_large {
        Err(Malformed)
    } else {
        status.map_err(|_| Malformed)
    }
}

/// The status in a block of trailers; none if there is none.
fn read_status(fields: &FieldList) -> Option<Status> {
    let (mut code, mut message, mut details) = (None, None, None);
    for (name, value) in fields.iter() {
        match name {
            b"grpc-status" => code = Some(value),
            b"grpc-message" => message = Some(value),
            b"grpc-status-details-bin" => details = Some(value),
            _ => {}
        }
    }
    Some(Status::from_fields(code?, message, details))
}

/// The ordinary fields of a block; none if one is malformed.
fn read_fields(fields: &FieldList) -> Option<HeaderMap> {
    let mut map = HeaderMap::with_capacity(8);
    for (name, value) in fields.iter().filter(|(name, _)| !name.starts_with(b":")) {
        // Names in upper case are malformed in HTTP/2.
        let name = HeaderName::from_lowercase(name).ok()?;
        map.append(name, HeaderValue::from_bytes(value).ok()?);
    }
    Some(map)
}

fn new_request_parts() -> request::Parts {
    let mut parts = http::Request::new(()).into_parts().0;
    parts.version = http::Version::HTTP_2;
    parts
}

fn new_response_parts() -> response::Parts {
    let mut parts = http::Response::new(()).into_parts().0;
    parts.version = http::Version::HTTP_2;
    parts
}
