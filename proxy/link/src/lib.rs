//! The protocol between two sidecars, and its hot path.
//!
//! ```text
//!            caller                                         callee
//! Invocation ──▶ Peers ──▶ Link ══ one HTTP/2 connection ══▶ serve ──▶ Callee::invoke
//!      Reply ◀──────────────┘      gRPC, mTLS or plain        │
//!                                                             └──────▶ Callee::other
//! ```
//!
//! A [`Peers`] pool keeps one standing connection for each worker, address and expected identity. A call is
//! one HTTP/2 stream of the gRPC method `ServiceInvocation/CallLocalStream`; its first message carries the
//! metadata and the first bytes of the body, so that a small call is one write and one read a direction.
//! The four hot messages have a hand-written codec in [`codec`]; everything else that a peer may call is
//! handed to [`Callee::other`] with body frames and trailers untouched.
//!
//! What this crate does *not* do: resolve names, decide about access, speak to the app, keep metrics.

mod body;
mod client;
pub mod codec;
mod conversion;
mod framing;
mod invocation;
mod metadata;
mod peers;
mod pieces;
mod raw;
mod replay;
mod server;
mod settings;
mod status;
mod text;
mod transport;
pub mod worker;

pub use client::Link;
pub use conversion::{PERMANENT_HEADERS, remove_transport_headers};
pub use invocation::{HttpExtension, Invocation, InvocationHead, Reply, ReplyStatus, Verb};
pub use metadata::Metadata;
pub use peers::{OpenStream, PeerAddress, Peers, Retries, Route, Security, TcpConnect};
pub use replay::ReplayBody;
pub use server::{CallForm, CallScope, Callee, serve};
pub use settings::{Framing, LinkSettings, PeerSettings};
pub use status::{CallError, Status, code};
pub use text::Text;

#[cfg(test)]
mod tests;
