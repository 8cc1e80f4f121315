//! What the driver and the handles of one connection share.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use tokio::time::Instant;

use super::frame::{
    DEFAULT_FRAME, DEFAULT_WINDOW, LARGEST_WINDOW, PREFACE, Settings, Violation, flag, put_go_away, put_ping,
    put_window_update, reason,
};
use super::hpack::Encoder;
use super::limits::{Budget, PingPatience};
use super::output::Output;
use super::stream::Streams;
use crate::LinkSettings;
use crate::transport::{Failure, Request};

/// Which end of the connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Server,
}

/// The state of a connection behind its lock.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) side: Side,
    pub(super) limits: Limits,
    pub(super) out: Output,
    pub(super) encoder: Encoder,
    /// Room to write header blocks in.
    pub(super) block: Vec<u8>,
    pub(super) streams: Streams,
    pub(super) peer: Peer,
    /// Bytes that may be sent on all streams together.
    pub(super) send_window: i64,
    /// Places of streams that wait for the window of the connection.
    pub(super) line: VecDeque<usize>,
    /// Bytes that the peer may still send on all streams together.
    pub(super) recv_window: i64,
    /// Bytes that were received and not yet given back to the peer.
    pub(super) unreturned: u32,
    /// Bytes that were received and not yet read.
    pub(super) unread: usize,
    /// The id of the next stream that this side opens.
    pub(super) next_id: u32,
    /// The id of the last stream that the peer opened.
    pub(super) last_peer_id: u32,
    pub(super) life: Life,
    pub(super) abuse: Abuse,
    /// Whether headers or data were sent since the last ping of the peer.
    pub(super) has_sent: bool,
    /// When the last bytes were read.
    pub(super) now: Instant,
    /// When the last stream ended.
    pub(super) idle_since: Instant,
    pub(super) driver: DriverWaker,
    /// Senders that wait until the output has been written.
    pub(super) awaiting_room: Vec<Waker>,
    /// Calls that wait until the peer takes another stream.
    pub(super) awaiting_stream: Vec<Waker>,
}

/// What this side allows.
#[derive(Debug)]
pub(super) struct Limits {
    pub(super) stream_window: u32,
    pub(super) connection_window: u32,
    pub(super) header_list: u32,
    /// Whether the peer has said that it knows. Until then it may go by the defaults.
    pub(super) are_known: bool,
}

/// What the peer allows.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) max_frame: usize,
    pub(super) max_streams: usize,
    pub(super) stream_window: i64,
    /// Whether the peer has sent its first settings.
    pub(super) has_greeted: bool,
}

/// How far the connection is from its end.
#[derive(Debug)]
pub(super) struct Life {
    /// No new streams: the peer said goodbye, or nobody will open any.
    pub(super) is_leaving: bool,
    /// What goodbye the peer said, if it was not a friendly one.
    pub(super) goodbye: Option<Failure>,
    /// Why the connection is over.
    pub(super) end: Option<Failure>,
    /// The goodbye of this side, which takes two steps.
    pub(super) farewell: Farewell,
    /// Whether the connection ends once the output is written.
    pub(super) is_closing: bool,
    /// Whether the driver has ended; nothing comes in or goes out any more.
    pub(super) is_over: bool,
}

/// A server says goodbye twice: first that no new streams are wanted, and a round trip later which was the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Farewell {
    None,
    /// The first word is out; the second follows the answer to a ping, or this instant.
    First(Instant),
    Second,
}

/// Allowances for what costs this side and moves nothing.
#[derive(Debug)]
pub(super) struct Abuse {
    /// Streams that are reset by the peer.
    pub(super) resets: Budget,
    /// Settings, pings, priorities, frames without content, frames of unknown kinds.
    pub(super) chatter: Budget,
    pub(super) pings: PingPatience,
}

/// Wakes the driver, once for all that is put into the output before its turn comes.
#[derive(Debug, Default)]
pub(super) struct DriverWaker {
    pub(super) waker: Option<Waker>,
    pub(super) is_awake: bool,
}

/// What the driver does once the lock is released.
#[derive(Debug, Default)]
pub(super) struct Events {
    pub(super) wakers: Vec<Waker>,
    pub(super) accepted: Vec<(usize, Request)>,
}

/// Bytes of output above which senders wait.
pub(super) const HIGH_WATER: usize = 512 << 10;

/// Bytes that may lie unread before the window of the connection is no longer given back at once.
const UNREAD: usize = 64 << 20;

/// The content of the ping that separates the two words of a goodbye.
pub(super) const FAREWELL_PING: [u8; 8] = *b"goodbye?";

/// Time that the answer to that ping may take.
const FAREWELL_WAIT: Duration = Duration::from_secs(5);

/// Most bytes of a frame that this side takes: a message with a piece of 64 KiB and its metadata fits.
pub(super) const MAX_FRAME: usize = 128 << 10;

// === impl Farewell ===

impl Farewell {
    /// When the second word is said even if the ping has not been answered.
    pub(super) const fn due(self) -> Option<Instant> {
        match self {
            Self::First(by) => Some(by),
            Self::None | Self::Second => None,
        }
    }
}

// === impl Shared ===

impl Shared {
    pub(super) fn new(side: Side, settings: &LinkSettings) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State::new(side, settings)),
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state and has the driver write what came of it.
    pub(super) fn update<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let outcome = change(&mut state);
        let waker = state.driver_to_wake();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        outcome
    }
}

// === impl State ===

impl State {
    fn new(side: Side, settings: &LinkSettings) -> Self {
        let now = Instant::now();
        let limits = Limits {
            stream_window: settings.stream_window.min(LARGEST_WINDOW),
            connection_window: settings.connection_window.clamp(DEFAULT_WINDOW, LARGEST_WINDOW),
            header_list: settings.max_header_list,
            are_known: false,
        };
        let mut out = Output::default();
        greet(out.buffer(), side, &limits);
        Self {
            side,
            out,
            encoder: Encoder::new(),
            block: Vec::new(),
            streams: Streams::default(),
            peer: Peer {
                max_frame: DEFAULT_FRAME,
                max_streams: usize::MAX,
                stream_window: i64::from(DEFAULT_WINDOW),
                has_greeted: false,
            },
            send_window: i64::from(DEFAULT_WINDOW),
            line: VecDeque::new(),
            recv_window: i64::from(limits.connection_window),
            limits,
            unreturned: 0,
            unread: 0,
            next_id: 1,
            last_peer_id: 0,
            life: Life {
                is_leaving: false,
                goodbye: None,
                end: None,
                farewell: Farewell::None,
                is_closing: false,
                is_over: false,
            },
            abuse: Abuse {
                resets: Budget::new(4000, 500, now),
                chatter: Budget::new(1000, 100, now),
                pings: PingPatience::new(settings.min_ping_interval),
            },
            has_sent: false,
            now,
            idle_since: now,
            driver: DriverWaker::default(),
            awaiting_room: Vec::new(),
            awaiting_stream: Vec::new(),
        }
    }

    /// Bytes that the peer may send on a new stream.
    pub(super) fn first_recv_window(&self) -> i64 {
        i64::from(if self.limits.are_known {
            self.limits.stream_window
        } else {
            DEFAULT_WINDOW
        })
    }

    /// The waker of the driver, if it sleeps and has something to do.
    pub(super) fn driver_to_wake(&mut self) -> Option<Waker> {
        let has_work = !self.out.is_empty() || self.life.is_closing;
        if self.driver.is_awake || !has_work {
            return None;
        }
        self.driver.is_awake = true;
        self.driver.waker.clone()
    }

    /// Whether a new stream can be opened now or later.
    pub(super) const fn takes_streams(&self) -> bool {
        !self.life.is_leaving && !self.life.is_closing && !self.life.is_over && self.next_id < LARGEST_WINDOW
    }

    /// Why no new stream can be opened.
    ///
    /// Nothing was sent, so the call may be made on another connection at once.
    pub(super) fn refusal(&self) -> Failure {
        let known = self.life.goodbye.as_ref().or(self.life.end.as_ref());
        Failure {
            unprocessed: true,
            ..known.cloned().unwrap_or_else(Failure::going_away)
        }
    }

    /// Takes a stream off the wire if neither side has more to say on it.
    pub(super) fn settle(&mut self, place: usize) {
        let stream = self.streams.at(place);
        let is_done = stream.failure.is_some() || (stream.recv.is_ended && stream.send.is_ended);
        if stream.is_attached && is_done {
            self.streams.detach(place);
            if self.streams.attached() == 0 {
                self.idle_since = self.now;
            }
            // Wakers are few: calls only wait here at the peer's limit of streams.
            for waker in self.awaiting_stream.drain(..) {
                waker.wake();
            }
            self.close_if_left();
        }
    }

    /// Ends a stream with a failure, for whoever holds it.
    pub(super) fn fail(&mut self, place: usize, failure: Failure, events: &mut Events) {
        let stream = self.streams.at(place);
        stream.failure.get_or_insert(failure);
        stream.send.pending.clear();
        stream.send.pending_len = 0;
        events.wakers.extend(stream.recv.waker.take());
        events.wakers.extend(stream.send.waker.take());
        self.settle(place);
    }

    /// Ends all streams, and the connection with them.
    pub(super) fn fail_all(&mut self, failure: &Failure, events: &mut Events) {
        self.life.is_over = true;
        self.life.end.get_or_insert_with(|| failure.clone());
        for place in self.streams.places() {
            self.fail(place, failure.clone(), events);
        }
        events.wakers.append(&mut self.awaiting_room);
        events.wakers.append(&mut self.awaiting_stream);
    }

    /// Gives received bytes back to the peer, for the connection as a whole.
    ///
    /// That does not wait until they are read, so that a slow reader of one stream holds up no other; unless
    /// much lies unread.
    pub(super) fn give_back(&mut self, len: u32) {
        self.unreturned += len;
        if self.unreturned >= self.limits.connection_window / 4 && self.unread <= UNREAD {
            put_window_update(self.out.buffer(), 0, self.unreturned);
            self.recv_window += i64::from(self.unreturned);
            self.unreturned = 0;
        }
    }

    /// Says goodbye: running streams end, new ones go elsewhere.
    pub(super) fn shut_down(&mut self) {
        if self.life.farewell != Farewell::None || self.life.is_over {
            return;
        }
        self.life.is_leaving = true;
        match self.side {
            Side::Server => {
                put_go_away(self.out.buffer(), LARGEST_WINDOW, reason::NO_ERROR, &[]);
                put_ping(self.out.buffer(), 0, &FAREWELL_PING);
                self.life.farewell = Farewell::First(Instant::now() + FAREWELL_WAIT);
            }
            Side::Client => {
                self.life.farewell = Farewell::Second;
                self.close_if_left();
            }
        }
    }

    /// The second word of a goodbye.
    pub(super) fn shut_down_finally(&mut self) {
        if matches!(self.life.farewell, Farewell::First(_)) {
            put_go_away(self.out.buffer(), self.last_peer_id, reason::NO_ERROR, &[]);
            self.life.farewell = Farewell::Second;
            self.close_if_left();
        }
    }

    /// Ends the connection for a violation by the peer.
    pub(super) fn punish(&mut self, Violation(code): Violation, debug: &[u8], events: &mut Events) {
        put_go_away(self.out.buffer(), self.last_peer_id, code, debug);
        self.life.is_leaving = true;
        self.life.is_closing = true;
        let failure = Failure::closed("connection error: PROTOCOL_ERROR");
        self.fail_all(&failure, events);
    }

    /// Ends the connection if a goodbye was said and nothing is left to do.
    pub(super) fn close_if_left(&mut self) {
        let has_left = match self.side {
            Side::Server => self.life.farewell == Farewell::Second,
            Side::Client => self.life.is_leaving,
        };
        if has_left && self.streams.attached() == 0 && !self.life.is_closing {
            if self.side == Side::Client {
                put_go_away(self.out.buffer(), 0, reason::NO_ERROR, &[]);
            }
            self.life.is_closing = true;
        }
    }

    /// Answers a ping.
    pub(super) fn pong(&mut self, payload: &[u8]) {
        put_ping(self.out.buffer(), flag::ACK, payload);
    }
}

/// The first bytes of a connection.
fn greet(out: &mut Vec<u8>, side: Side, limits: &Limits) {
    if side == Side::Client {
        out.extend_from_slice(PREFACE);
    }
    Settings {
        enable_push: (side == Side::Client).then_some(0),
        initial_window_size: Some(limits.stream_window),
        max_frame_size: Some(MAX_FRAME as u32),
        max_header_list_size: Some(limits.header_list),
        ..Settings::default()
    }
    .write(out);
    let more = limits.connection_window - DEFAULT_WINDOW;
    if more > 0 {
        put_window_update(out, 0, more);
    }
}
