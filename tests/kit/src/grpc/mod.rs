//! gRPC as it is on the wire: frames, metadata and trailers, any status number.

mod app;
mod client;
mod frame;

pub use app::{GrpcAnswer, GrpcApp, GrpcCall};
pub use client::{GrpcClient, GrpcReply, GrpcStream};
pub use frame::{Messages, frame};

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

/// Metadata of text values.
///
/// # Panics
/// If a name or a value is not allowed in HTTP.
#[must_use]
pub fn metadata<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> HeaderMap {
    let parse = |(name, value): (&str, &str)| {
        let name: HeaderName = name.parse().expect("a test gives valid names");
        let value: HeaderValue = value.parse().expect("a test gives valid values");
        (name, value)
    };
    pairs.into_iter().map(parse).collect()
}
