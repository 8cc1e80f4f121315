//! Received bytes become frames, and header blocks become fields.

use std::ops::Range;

use bytes::{Buf, BytesMut};

use super::frame::{FrameHead, HEAD, Kind, Violation, flag, read_u32, reason, without_padding};
use super::hpack::{Decoder, FieldList};
use super::state::{Events, MAX_FRAME, Side, State};

/// Cuts received bytes into frames and keeps what spans several of them.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) buffer: BytesMut,
    /// Length of the largest frames of late.
    usual: usize,
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

/// Bytes that are read at once.
const READ: usize = 16 << 10;

/// Free bytes in the buffer below which it is made larger.
const LEAST_READ: usize = 4 << 10;

/// Frames that a header block may be spread over.
const MAX_BLOCK_FRAMES: usize = 512;

// === impl Reader ===

impl Reader {
    pub(super) fn new(max_header_list: u32) -> Self {
        let max = max_header_list as usize;
        Self {
            buffer: BytesMut::new(),
            usual: 0,
            decoder: Decoder::new(),
            fields: FieldList::new(max),
            block: None,
            max_block: max.max(MAX_FRAME),
        }
    }

    /// Makes room to read into; so much that a frame of the usual length need not be moved.
    pub(super) fn make_room(&mut self) {
        let spare = self.buffer.capacity() - self.buffer.len();
        let usual = LEAST_READ.max(HEAD + self.usual);
        if spare < LEAST_READ || (self.buffer.is_empty() && spare < usual) {
            self.buffer.reserve(usual.max(READ));
        }
    }

    /// Gives memory back while nothing comes in.
    pub(super) fn rest(&mut self) {
        self.usual = 0;
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
    }

    /// Takes the whole frames out of the buffer and lets the state know.
    pub(super) fn take_frames(&mut self, state: &mut State, events: &mut Events) -> Result<(), Violation> {
        self.usual -= self.usual / 16;
        while let Some(head) = FrameHead::read(&self.buffer) {
            if head.len > MAX_FRAME {
                return Err(Violation(reason::FRAME_SIZE_ERROR));
            }
            if self.buffer.len() < HEAD + head.len {
                self.buffer.reserve(HEAD + head.len - self.buffer.len());
                return Ok(());
            }
            self.check_order(state, head)?;
            self.usual = self.usual.max(head.len);
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
