//! The one error of the sidecar's API and how it looks on both wires.
//!
//! ```text
//!                    ┌─ HTTP: status, {"errorCode", "message", "details"}
//! Error ─▶ face() ───┤
//!                    └─ gRPC: code, message, google.rpc details
//! ```
//!
//! Clients compare these texts and codes byte for byte, so every error has one row in [`Error::face`],
//! and `golden/errors.txt` shows each of them as it goes out.
//!
//! An error costs nothing until it happens: the variants hold the parts of their message, and text is made
//! only when an answer is written.

mod answer;
pub mod code;
mod detail;
mod error;
mod face;
mod fault;
pub mod golden;

pub use detail::{Detail, FieldViolation, Link, Wire};
pub use error::Error;
pub use face::{Face, Info};
pub use fault::Fault;
