//! The streams of one connection.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::task::Waker;

use bytes::Bytes;
use http::HeaderMap;

use crate::Status;
use crate::transport::{Failure, Head, Trailers};

/// One stream, from the frame that opens it until both its ends and its handles are done.
#[derive(Debug, Default)]
pub(super) struct Stream {
    pub(super) id: u32,
    /// Halves that are still held.
    pub(super) handles: u8,
    /// Whether the peer may still send frames on the stream, or this side has frames to send.
    pub(super) is_attached: bool,
    /// Whether heads and trailers are wanted in full.
    pub(super) is_raw: bool,
    /// Why the stream ended before its time.
    pub(super) failure: Option<Failure>,
    pub(super) recv: Receiving,
    pub(super) send: Sending,
}

/// What comes in on a stream.
#[derive(Debug, Default)]
pub(super) struct Receiving {
    pub(super) head: Option<Head>,
    pub(super) has_head: bool,
    pub(super) data: VecDeque<Bytes>,
    pub(super) trailers: Option<Trailers>,
    /// Whether the peer has ended its half.
    pub(super) is_ended: bool,
    /// Whether nobody reads any more.
    pub(super) is_dropped: bool,
    /// Bytes that the peer may still send.
    pub(super) window: i64,
    /// Bytes that were read and not yet given back to the peer.
    pub(super) taken: u32,
    pub(super) waker: Option<Waker>,
}

/// What goes out on a stream.
#[derive(Debug, Default)]
pub(super) struct Sending {
    /// Bytes that the peer allows; negative if it took back what was sent.
    pub(super) window: i64,
    /// Bytes that wait for a window.
    pub(super) pending: VecDeque<Bytes>,
    pub(super) pending_len: usize,
    /// How the half ends once nothing is pending.
    pub(super) ending: Ending,
    /// Whether the end has been put into the output.
    pub(super) is_ended: bool,
    /// Whether the stream stands in the line for the window of the connection.
    pub(super) is_in_line: bool,
    pub(super) waker: Option<Waker>,
}

/// How a half ends.
#[derive(Debug, Default)]
pub(super) enum Ending {
    /// It goes on.
    #[default]
    Open,
    /// With its data.
    Data,
    /// With the status of a gRPC call.
    Status(Status),
    /// With trailers as they are.
    Trailers(Box<HeaderMap>),
}

/// Streams by place, and places by the ids that are on the wire.
#[derive(Debug, Default)]
pub(super) struct Streams {
    places: Vec<Stream>,
    free: Vec<usize>,
    ids: HashMap<u32, usize, BuildHasherDefault<IdHasher>>,
}

/// Ids are small and dense; they need no mixing but an odd factor.
#[derive(Debug, Default)]
pub(super) struct IdHasher(u64);

// === impl Stream ===

impl Stream {
    /// Whether the peer has no more interest in what is sent.
    pub(super) const fn is_given_up(&self) -> bool {
        self.failure.is_some() || !self.is_attached
    }

    /// Makes the place ready for another stream; buffers keep their room.
    fn renew(&mut self) {
        self.is_raw = false;
        self.failure = None;
        self.recv.renew();
        self.send.renew();
    }
}

// === impl Receiving ===

impl Receiving {
    fn renew(&mut self) {
        self.head = None;
        self.has_head = false;
        self.data.clear();
        self.trailers = None;
        self.is_ended = false;
        self.is_dropped = false;
        self.taken = 0;
        self.waker = None;
    }
}

// === impl Sending ===

impl Sending {
    fn renew(&mut self) {
        self.pending.clear();
        self.pending_len = 0;
        self.ending = Ending::Open;
        self.is_ended = false;
        self.is_in_line = false;
        self.waker = None;
    }
}

// === impl Ending ===

impl Ending {
    pub(super) const fn is_open(&self) -> bool {
        matches!(self, Self::Open)
    }
}

// === impl Streams ===

impl Streams {
    /// Adds a stream with two handles and returns its place.
    pub(super) fn add(&mut self, id: u32) -> usize {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(Stream::default());
            self.places.len() - 1
        });
        let stream = &mut self.places[place];
        stream.id = id;
        stream.is_attached = true;
        stream.handles = 2;
        self.ids.insert(id, place);
        place
    }

    /// The stream at a place that a handle or the caller knows.
    pub(super) fn at(&mut self, place: usize) -> &mut Stream {
        &mut self.places[place]
    }

    /// The place of a stream that is on the wire.
    pub(super) fn find(&self, id: u32) -> Option<usize> {
        self.ids.get(&id).copied()
    }

    /// Number of streams that are on the wire.
    pub(super) fn attached(&self) -> usize {
        self.ids.len()
    }

    /// Places of the streams that are on the wire.
    pub(super) fn places(&self) -> Vec<usize> {
        self.ids.values().copied().collect()
    }

    /// Takes a stream off the wire. Its handles may still read what was received.
    pub(super) fn detach(&mut self, place: usize) {
        let stream = &mut self.places[place];
        if std::mem::take(&mut stream.is_attached) {
            self.ids.remove(&stream.id);
            self.release_if_unused(place);
        }
    }

    /// Counts a handle as gone.
    pub(super) fn drop_handle(&mut self, place: usize) {
        self.places[place].handles -= 1;
        self.release_if_unused(place);
    }

    fn release_if_unused(&mut self, place: usize) {
        let stream = &mut self.places[place];
        if stream.handles == 0 && !stream.is_attached {
            stream.renew();
            self.free.push(place);
        }
    }
}

// === impl IdHasher ===

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    fn write_u32(&mut self, id: u32) {
        self.0 = (self.0 ^ u64::from(id)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}
