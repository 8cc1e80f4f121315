//! Messages in frames of five bytes and a body.

use anyhow::{Context as _, ensure};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http::HeaderMap;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use crate::Result;

const HEADER: usize = 5;

/// Puts a message into an uncompressed frame.
#[must_use]
pub fn frame(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(HEADER + message.len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).expect("a test's message is short"));
    frame.extend_from_slice(message);
    frame.freeze()
}

/// The messages of a body, one after the other.
#[derive(Debug)]
pub struct Messages {
    body: Incoming,
    buffer: BytesMut,
    trailers: Option<HeaderMap>,
}

// === impl Messages ===

impl Messages {
    pub(crate) fn new(body: Incoming) -> Self {
        Self {
            body,
            buffer: BytesMut::new(),
            trailers: None,
        }
    }

    /// The next message; none at the end.
    ///
    /// # Errors
    /// If the stream is reset or a frame breaks off.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        let Some(frame) = self.next_frame().await? else {
            return Ok(None);
        };
        ensure!(frame[0] == 0, "a compressed frame");
        Ok(Some(frame.slice(HEADER..)))
    }

    /// The next frame with its five bytes; none at the end.
    ///
    /// # Errors
    /// If the stream is reset or a frame breaks off.
    pub async fn next_frame(&mut self) -> Result<Option<Bytes>> {
        loop {
            if self.buffer.len() >= HEADER {
                let length = HEADER + (&self.buffer[1..HEADER]).get_u32() as usize;
                if self.buffer.len() >= length {
                    return Ok(Some(self.buffer.split_to(length).freeze()));
                }
            }
            let Some(frame) = self.body.frame().await else {
                ensure!(self.buffer.is_empty(), "the stream ends inside a frame");
                return Ok(None);
            };
            match frame.context("the stream broke")?.into_data() {
                Ok(data) => self.buffer.extend_from_slice(&data),
                Err(other) => self.trailers = other.into_trailers().ok(),
            }
        }
    }

    /// The trailers, once the end was reached and if there were any.
    #[must_use]
    pub fn trailers(&self) -> Option<&HeaderMap> {
        self.trailers.as_ref()
    }
}
