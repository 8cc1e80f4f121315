//! HTTP/1.1 messages on a connection. Plain and strict enough for tests.

use std::io;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::message::Headers;

const MAX_LINE: usize = 1024 * 1024;

/// The reading side of a connection.
#[derive(Debug)]
pub(crate) struct Reader<R> {
    stream: R,
    buffer: BytesMut,
}

/// First line and headers of a message.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) first_line: String,
    pub(crate) headers: Headers,
}

/// How the end of a body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(u64),
    Chunked,
    UntilEnd,
    Over,
}

// === impl Head ===

impl Head {
    /// The framing of a request's body.
    pub(crate) fn request_framing(&self) -> Framing {
        self.framing().unwrap_or(Framing::Over)
    }

    /// The framing of the body that answers `method`.
    pub(crate) fn response_framing(&self, method: &str, status: u16) -> Framing {
        match status {
            100..=199 | 204 | 304 => Framing::Over,
            _ if method == "HEAD" => Framing::Over,
            _ => self.framing().unwrap_or(Framing::UntilEnd),
        }
    }

    fn framing(&self) -> Option<Framing> {
        if self
            .headers
            .all("transfer-encoding")
            .any(|coding| coding.eq_ignore_ascii_case("chunked"))
        {
            return Some(Framing::Chunked);
        }
        let length = self.headers.get("content-length")?.trim().parse().ok()?;
        Some(if length == 0 {
            Framing::Over
        } else {
            Framing::Length(length)
        })
    }

    /// Whether the sender means to close the connection.
    pub(crate) fn closes(&self) -> bool {
        self.headers
            .all("connection")
            .any(|value| value.eq_ignore_ascii_case("close"))
    }
}

// === impl Reader ===

impl<R: AsyncRead + Unpin> Reader<R> {
    pub(crate) fn new(stream: R) -> Self {
        Self {
            stream,
            buffer: BytesMut::new(),
        }
    }

    /// The next head; none at the end of the connection.
    pub(crate) async fn head(&mut self) -> io::Result<Option<Head>> {
        let Some(first_line) = self.line().await? else {
            return Ok(None);
        };
        let mut headers = Headers::default();
        loop {
            let line = self.line().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
            if line.is_empty() {
                return Ok(Some(Head { first_line, headers }));
            }
            let (name, value) = line
                .split_once(':')
                .ok_or_else(|| invalid("a header without colon"))?;
            headers.push(name, value.trim());
        }
    }

    /// The next piece of a body as it arrives; none at its end.
    pub(crate) async fn piece(&mut self, framing: &mut Framing) -> io::Result<Option<Bytes>> {
        match framing {
            Framing::Over => Ok(None),
            Framing::UntilEnd => {
                let more = !self.buffer.is_empty() || self.fill().await?;
                Ok(more.then(|| self.buffer.split().freeze()))
            }
            Framing::Length(left) => {
                if self.buffer.is_empty() && !self.fill().await? {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                let length = self
                    .buffer
                    .len()
                    .min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= length as u64;
                if *left == 0 {
                    *framing = Framing::Over;
                }
                Ok(Some(self.buffer.split_to(length).freeze()))
            }
            Framing::Chunked => {
                let line = self.line().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
                let size = line.split(';').next().unwrap_or_default().trim();
                let size = usize::from_str_radix(size, 16).map_err(|_| invalid("a chunk without size"))?;
                if size == 0 {
                    *framing = Framing::Over;
                    while self.line().await?.is_some_and(|trailer| !trailer.is_empty()) {}
                    return Ok(None);
                }
                while self.buffer.len() < size + 2 {
                    if !self.fill().await? {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                let piece = self.buffer.split_to(size).freeze();
                self.buffer.advance(2);
                Ok(Some(piece))
            }
        }
    }

    /// The rest of a body.
    pub(crate) async fn body(&mut self, mut framing: Framing) -> io::Result<Bytes> {
        let mut body = BytesMut::new();
        while let Some(piece) = self.piece(&mut framing).await? {
            body.extend_from_slice(&piece);
        }
        Ok(body.freeze())
    }

    /// The next line without its end; none at the end of the connection.
    async fn line(&mut self) -> io::Result<Option<String>> {
        loop {
            if let Some(end) = self.buffer.iter().position(|&byte| byte == b'\n') {
                let line = self.buffer.split_to(end + 1);
                let text = String::from_utf8_lossy(&line);
                return Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()));
            }
            if self.buffer.len() > MAX_LINE {
                return Err(invalid("an endless line"));
            }
            if !self.fill().await? {
                return match self.buffer.is_empty() {
                    true => Ok(None),
                    false => Err(io::ErrorKind::UnexpectedEof.into()),
                };
            }
        }
    }

    async fn fill(&mut self) -> io::Result<bool> {
        Ok(self.stream.read_buf(&mut self.buffer).await? > 0)
    }
}

/// Writes a head; `framing` headers are the caller's.
pub(crate) async fn write_head<W: AsyncWrite + Unpin>(
    stream: &mut W,
    first_line: &str,
    headers: impl Iterator<Item = (&str, &str)>,
) -> io::Result<()> {
    let mut text = format!("{first_line}\r\n");
    for (name, value) in headers {
        text.extend([name, ": ", value, "\r\n"]);
    }
    text.push_str("\r\n");
    stream.write_all(text.as_bytes()).await
}

/// Writes one chunk at once; an empty one ends the body.
pub(crate) async fn write_chunk<W: AsyncWrite + Unpin>(stream: &mut W, data: &[u8]) -> io::Result<()> {
    let mut chunk = format!("{:x}\r\n", data.len()).into_bytes();
    chunk.extend_from_slice(data);
    chunk.extend_from_slice(b"\r\n");
    stream.write_all(&chunk).await?;
    stream.flush().await
}

pub(crate) fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_are_read_one_after_the_other() {
        let bytes = b"POST /a HTTP/1.1\r\nX-Mine:  v \r\ntransfer-encoding: chunked\r\n\r\n\
            3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: t\r\n\r\n\
            GET /b HTTP/1.1\r\n\r\n";
        let mut reader = Reader::new(&bytes[..]);
        let head = reader.head().await.unwrap().unwrap();
        assert_eq!(head.first_line, "POST /a HTTP/1.1");
        assert_eq!(head.headers.iter().next(), Some(("X-Mine", "v")));
        let mut framing = head.request_framing();
        assert_eq!(reader.piece(&mut framing).await.unwrap().unwrap(), "abc");
        assert_eq!(reader.piece(&mut framing).await.unwrap().unwrap(), "de");
        assert_eq!(reader.piece(&mut framing).await.unwrap(), None);
        assert_eq!(
            reader.head().await.unwrap().unwrap().request_framing(),
            Framing::Over
        );
        assert!(reader.head().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_an_error() {
        for (bytes, framing) in [(&b"ab"[..], Framing::Length(3)), (b"5\r\nab", Framing::Chunked)] {
            assert!(Reader::new(bytes).body(framing).await.is_err());
        }
        assert_eq!(
            Reader::new(&b"ab"[..]).body(Framing::UntilEnd).await.unwrap(),
            "ab"
        );
    }
}
