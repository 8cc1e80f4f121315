//! HTTP as it is on the wire: the case and order of headers, the borders of chunks.

mod app;
mod client;
mod h2;
mod message;
mod wire;

pub use app::{Flavor, HttpApp};
pub use client::{HttpConnection, get, post, raw, send};
pub use h2::send_h2c;
pub use message::{Headers, HttpBody, HttpReply, HttpRequest, HttpResponse, Piece, PieceSender};
