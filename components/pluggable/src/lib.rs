//! Components in other processes, each behind a Unix socket of its own.
//!
//! ```text
//! folder of sockets ──discover──▶ Catalogue        once, before anything is loaded
//!     <name>.sock                   state.<name>, secretstores.<name>
//!         ▲
//!         └── Channel ◀── StateStore, SecretStore  one connection a Component resource, kept open
//! ```
//!
//! A process says by gRPC server reflection what it serves; the name of its socket is the name of its types. Many
//! components may live in one process: each has its connection, and each call names the component that is meant.
//!
//! A connection that is lost is opened again, and a process that was started anew is told its settings again. Calls
//! that meet no process fail at once, as gRPC clients fail; the component's condition tells.
//!
//! What is not here: publish/subscribe and bindings. Their services are known, and told of in the log.
//!
//! Source: specification, components 7 and pluggable components on the wire.

mod channel;
mod discovery;
mod link;
mod message;
mod refusal;
mod secrets;
mod state;
#[cfg(test)]
mod tests;

pub use self::discovery::{DiscoveryError, discover};

/// Scope of what happens here.
const SCOPE: &str = "dapr.runtime.pluggable";
/// The most bytes of one message of a component, 64 MiB: a component is no enemy, but it may be broken.
const MAX_MESSAGE: usize = 64 << 20;
