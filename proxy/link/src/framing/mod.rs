//! HTTP/2 as links need it (RFC 9113): many small messages on one connection, both ends.
//!
//! ```text
//! call ──▶ handle ──▶ State ◀──▶ Driver ◀──▶ io
//! call ──▶ handle ──▶   │  streams, windows, output
//! ```
//!
//! One task a connection, the [`Driver`](driver), reads all there is, hands it out, writes once, and sleeps.
//! Calls put their frames straight into the output of the connection, behind a lock that calls of the same
//! worker never wait for; the driver is woken once for all that is put there before its turn comes.
//!
//! What peers can make this side keep or do is bounded: header lists, blocks in pieces, unread bytes, and the
//! rate of frames that move nothing. Not here: server push, priorities, upgrades from HTTP/1, trailers that are
//! announced.

mod driver;
mod frame;
mod handle;
mod head;
mod hpack;
mod limits;
mod output;
mod read;
mod receive;
mod send;
mod state;
mod stream;

pub(crate) use self::driver::Driver;
pub(crate) use self::handle::{OwnClient, OwnRecv, OwnResponder, OwnSend};

#[cfg(test)]
mod tests;
