//! The task of a connection: reads all there is, hands it out, writes once, sleeps.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Buf;
use outrigger_kit::quote::go_quote;
use outrigger_svc::Connection;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::io::{poll_read_buf, poll_write_buf};

use super::frame::{PREFACE, Violation, put_ping, reason};
use super::handle::{OwnClient, ServerHandle, handles};
use super::output::Writing;
use super::read::Reader;
use super::state::{Events, Shared, Side, State};
use crate::transport::{Accepted, Client, Failure, RecvHalf, Responder, io_text};
use crate::{LinkSettings, Status};

/// Drives a connection until it ends. Requests that come in are given to `accept`.
pub(crate) struct Driver<IO, A> {
    io: IO,
    accept: A,
    side: Side,
    shared: Arc<Shared>,
    reader: Reader,
    writing: Writing,
    events: Events,
    /// Bytes of the client's greeting that a server still waits for.
    greeting: &'static [u8],
    clock: Clock,
    /// Whether the io wants a flush.
    is_unflushed: bool,
    /// Whether everybody was told that the connection is over, and only the io is left to be closed.
    is_concluded: bool,
}

/// Times of a connection.
#[derive(Debug)]
struct Clock {
    timer: Pin<Box<Sleep>>,
    ping_after: Duration,
    ping_timeout: Duration,
    idle_after: Duration,
    /// When the answer to a ping must have come.
    pong_by: Option<Instant>,
    /// When a connection that is closing must have been written out.
    close_by: Option<Instant>,
}

/// How a connection ended.
enum End {
    /// Everything was said and written.
    Good,
    /// The peer closed it, or an io error did.
    Broken(String),
}

/// Time that closing may take.
const CLOSE_WAIT: Duration = Duration::from_secs(5);

/// Bytes that are handed out before more are read.
const BATCH: usize = 32 << 10;

/// Bytes that are read before other tasks have their turn.
const READ_TURN: usize = 1 << 20;

/// The content of pings that only ask whether the peer is there.
const PING: [u8; 8] = *b"are you?";

// === impl Driver ===

impl<IO: Connection> Driver<IO, fn(Accepted)> {
    /// The client's end of a connection.
    pub(crate) fn client(io: IO, authority: Arc<str>, settings: &LinkSettings) -> (Client, Self) {
        let shared = Shared::new(Side::Client, settings);
        let client = OwnClient::new(Arc::clone(&shared), authority);
        // Servers do not open streams, so this is never called.
        (
            Client::Own(client),
            Self::new(io, drop::<Accepted>, Side::Client, shared, settings),
        )
    }
}

impl<IO: Connection, A: FnMut(Accepted) + Unpin> Driver<IO, A> {
    /// The server's end of a connection.
    pub(crate) fn server(io: IO, settings: &LinkSettings, accept: A) -> (ServerHandle, Self) {
        let shared = Shared::new(Side::Server, settings);
        let handle = ServerHandle(Arc::clone(&shared));
        (handle, Self::new(io, accept, Side::Server, shared, settings))
    }

    fn new(io: IO, accept: A, side: Side, shared: Arc<Shared>, settings: &LinkSettings) -> Self {
        let first = settings.ping_after.min(settings.idle_after);
        Self {
            io,
            accept,
            side,
            shared,
            reader: Reader::new(settings.max_header_list),
            writing: Writing::default(),
            events: Events::default(),
            greeting: if side == Side::Server { PREFACE } else { &[] },
            clock: Clock {
                timer: Box::pin(sleep_until(Instant::now() + first)),
                ping_after: settings.ping_after,
                ping_timeout: settings.ping_timeout,
                idle_after: settings.idle_after,
                pong_by: None,
                close_by: None,
            },
            is_unflushed: false,
            is_concluded: false,
        }
    }

    fn poll_until_end(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        self.stay_awake(cx.waker());
        let is_interrupted = match self.read(cx) {
            Ok(is_interrupted) => is_interrupted,
            Err(end) => return Poll::Ready(end),
        };
        loop {
            if let Some(end) = self.watch_clock(cx) {
                return Poll::Ready(end);
            }
            if let Err(error) = self.write(cx) {
                return Poll::Ready(End::Broken(io_text(&error)));
            }
            let mut state = self.shared.lock();
            let is_written = !self.writing.has_remaining();
            if is_written && !state.out.is_empty() {
                continue;
            }
            if state.life.is_closing {
                if is_written && !self.is_unflushed {
                    return Poll::Ready(End::Good);
                }
                if self.clock.begin_closing() {
                    continue;
                }
            }
            if self.clock.wake_by(state.life.farewell.due()) {
                continue;
            }
            state.driver.is_awake = is_interrupted;
            drop(state);
            if is_interrupted {
                cx.waker().wake_by_ref();
            }
            return Poll::Pending;
        }
    }

    /// From here on nobody needs to wake the driver: it will look once more before it sleeps.
    fn stay_awake(&self, waker: &Waker) {
        let mut state = self.shared.lock();
        state.driver.is_awake = true;
        if !state
            .driver
            .waker
            .as_ref()
            .is_some_and(|known| known.will_wake(waker))
        {
            state.driver.waker = Some(waker.clone());
        }
    }

    /// Reads until there is nothing more, or for one turn; then hands out what came. Whether there may be more.
    fn read(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let mut total = 0;
        let outcome = loop {
            self.reader.make_room();
            match poll_read_buf(Pin::new(&mut self.io), cx, &mut self.reader.buffer) {
                Poll::Pending => break Ok(false),
                Poll::Ready(Ok(0)) => break Err(End::Broken("EOF".to_owned())),
                Poll::Ready(Err(error)) => break Err(End::Broken(io_text(&error))),
                Poll::Ready(Ok(len)) => total += len,
            }
            // Whole frames leave the buffer before more is read into it.
            if self.reader.buffer.len() >= BATCH {
                self.hand_out();
            }
            if total >= READ_TURN {
                break Ok(true);
            }
        };
        if total > 0 {
            self.clock.pong_by = None;
            self.hand_out();
        }
        outcome
    }

    /// Lets the calls know what came for them.
    fn hand_out(&mut self) {
        let mut state = self.shared.lock();
        state.now = Instant::now();
        if state.life.is_over {
            // Nobody listens any more.
            self.reader.buffer.clear();
            return;
        }
        let outcome = take_greeting(&mut self.greeting, &mut self.reader);
        let outcome = match outcome {
            Ok(true) => self.reader.take_frames(&mut state, &mut self.events),
            Ok(false) => Ok(()),
            Err(violation) => Err(violation),
        };
        if let Err(violation) = outcome {
            state.punish(violation, &[], &mut self.events);
        }
        drop(state);
        self.dispatch();
    }

    fn dispatch(&mut self) {
        for (place, request) in self.events.accepted.drain(..) {
            let (responder, body) = handles(&self.shared, place);
            (self.accept)(Accepted {
                request,
                responder: Responder::Own(responder),
                body: RecvHalf::Own(body),
            });
        }
        for waker in self.events.wakers.drain(..) {
            waker.wake();
        }
    }

    fn write(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        loop {
            if !self.writing.has_remaining() {
                let mut state = self.shared.lock();
                if state.out.is_empty() {
                    break;
                }
                state.out.hand_to(&mut self.writing);
                let waiting = std::mem::take(&mut state.awaiting_room);
                drop(state);
                for waker in waiting {
                    waker.wake();
                }
            }
            match poll_write_buf(Pin::new(&mut self.io), cx, &mut self.writing) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(_)) => self.is_unflushed = true,
                Poll::Ready(Err(error)) => return Err(error),
            }
        }
        if self.is_unflushed
            && let Poll::Ready(flushed) = Pin::new(&mut self.io).poll_flush(cx)
        {
            flushed?;
            self.is_unflushed = false;
        }
        Ok(())
    }

    /// Pings a silent peer, gives up one that stays silent, and says goodbye to an idle one.
    fn watch_clock(&mut self, cx: &mut Context<'_>) -> Option<End> {
        let clock = &mut self.clock;
        while clock.timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            if clock.close_by.is_some_and(|by| by <= now) {
                return Some(End::Good);
            }
            if clock.pong_by.is_some_and(|by| by <= now) {
                return Some(End::Broken(
                    "keepalive ping failed to receive ACK within timeout".to_owned(),
                ));
            }
            let mut state = self.shared.lock();
            if clock.pong_by.is_none() && state.now + clock.ping_after <= now {
                put_ping(state.out.buffer(), 0, &PING);
                self.reader.rest();
                clock.pong_by = Some(now + clock.ping_timeout);
            }
            let is_idle = self.side == Side::Server && state.streams.attached() == 0;
            let idle_by = is_idle.then(|| state.idle_since + clock.idle_after);
            if idle_by.is_some_and(|by| by <= now) {
                state.shut_down();
            }
            let mut farewell_by = state.life.farewell.due();
            if farewell_by.is_some_and(|by| by <= now) {
                state.shut_down_finally();
                farewell_by = None;
            }
            let next = clock.pong_by.unwrap_or(state.now + clock.ping_after);
            let others = [idle_by, farewell_by, clock.close_by];
            let others = others.into_iter().flatten().filter(|by| *by > now);
            clock.timer.as_mut().reset(others.fold(next, Instant::min));
        }
        None
    }

    /// Tells everybody that the connection is over.
    fn conclude(&mut self, end: &End) {
        let mut state = self.shared.lock();
        let failure = match (&state.life.goodbye, end) {
            (Some(goodbye), _) => goodbye.clone(),
            (None, End::Broken(text)) => unavailable(&state, text),
            (None, End::Good) => unavailable(&state, "EOF"),
        };
        state.fail_all(&failure, &mut self.events);
        drop(state);
        self.dispatch();
        self.is_concluded = true;
    }
}

// === impl Clock ===

impl Clock {
    /// Rings no later than `by`; whether it would have rung later.
    fn wake_by(&mut self, by: Option<Instant>) -> bool {
        let by = by.filter(|by| *by < self.timer.deadline());
        if let Some(by) = by {
            self.timer.as_mut().reset(by);
        }
        by.is_some()
    }

    /// Sets the limit for closing; whether it was not set before.
    fn begin_closing(&mut self) -> bool {
        let begins = self.close_by.is_none();
        if begins {
            let by = Instant::now() + CLOSE_WAIT;
            self.close_by = Some(by);
            self.timer.as_mut().reset(by);
        }
        begins
    }
}

impl<IO: Connection, A: FnMut(Accepted) + Unpin> Future for Driver<IO, A> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        if !this.is_concluded {
            let end = ready!(this.poll_until_end(cx));
            this.conclude(&end);
            this.clock.timer.as_mut().reset(Instant::now() + CLOSE_WAIT);
        }
        if this.clock.timer.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        // Whether the peer still listens makes no difference now.
        Pin::new(&mut this.io).poll_shutdown(cx).map(drop)
    }
}

impl<IO, A> Drop for Driver<IO, A> {
    fn drop(&mut self) {
        if !self.is_concluded {
            let mut events = Events::default();
            self.shared.lock().fail_all(&Failure::closed("EOF"), &mut events);
            events.wakers.drain(..).for_each(Waker::wake);
        }
    }
}

impl<IO, A> std::fmt::Debug for Driver<IO, A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver")
            .field("side", &self.side)
            .finish_non_exhaustive()
    }
}

/// Takes the client's greeting off the buffer; whether all of it was there.
fn take_greeting(expected: &mut &'static [u8], reader: &mut Reader) -> Result<bool, Violation> {
    let len = expected.len().min(reader.buffer.len());
    let (now, later) = expected.split_at(len);
    if reader.buffer[..len] != *now {
        return Err(Violation(reason::PROTOCOL_ERROR));
    }
    reader.buffer.advance(len);
    *expected = later;
    Ok(later.is_empty())
}

/// How the end of the connection looks to a call.
fn unavailable(state: &State, text: &str) -> Failure {
    if state.side == Side::Server || state.peer.has_greeted {
        return Failure::closed(text);
    }
    let text = go_quote(&format!("error reading server preface: {text}"));
    Failure::new(Status::unavailable(format!("connection error: desc = {text}")))
}
