//! The text protocol on one connection.
//!
//! Source: memcached, `protocol.txt`.

use std::io;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt as _;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufStream};
use tokio::net::TcpStream;

/// A connection between two calls.
#[derive(Debug)]
pub(crate) struct Connection(BufStream<TcpStream>);

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProtocolError {
    /// The connection broke.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The server does not do it.
    #[error("memcache: server error: {0}")]
    Server(String),
    /// The server says something that is no answer.
    #[error("memcache: unexpected line in response: {0}")]
    Unexpected(String),
}

/// The longest line of an answer: a key, and some numbers.
const LONGEST_LINE: u64 = 2048;

/// The largest value that is read; servers take far less unless they are told otherwise.
const LARGEST_VALUE: usize = 1 << 30;

// === impl Connection ===

impl Connection {
    pub(crate) async fn open(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self(BufStream::new(stream)))
    }

    /// The values of keys that are there, with their keys.
    pub(crate) async fn get(&mut self, keys: &[&str]) -> Result<Vec<(String, Bytes)>, ProtocolError> {
        self.0.write_all(b"get").await?;
        for key in keys {
            self.0.write_all(b" ").await?;
            self.0.write_all(key.as_bytes()).await?;
        }
        self.0.write_all(b"\r\n").await?;
        self.0.flush().await?;
        read_values(&mut self.0).await
    }

    /// Writes a value that expires at `expiry` in the server's own terms; 0 is never.
    pub(crate) async fn set(&mut self, key: &str, value: &[u8], expiry: i64) -> Result<(), ProtocolError> {
        let head = format!("set {key} 0 {expiry} {}\r\n", value.len());
        self.0.write_all(head.as_bytes()).await?;
        self.0.write_all(value).await?;
        self.0.write_all(b"\r\n").await?;
        self.0.flush().await?;
        self.expect(&["STORED"]).await
    }

    /// Deletes a value, if there is one.
    pub(crate) async fn delete(&mut self, key: &str) -> Result<(), ProtocolError> {
        self.0.write_all(format!("delete {key}\r\n").as_bytes()).await?;
        self.0.flush().await?;
        self.expect(&["DELETED", "NOT_FOUND"]).await
    }

    /// Asks the server who it is.
    pub(crate) async fn version(&mut self) -> Result<(), ProtocolError> {
        self.0.write_all(b"version\r\n").await?;
        self.0.flush().await?;
        let line = read_line(&mut self.0).await?;
        match line.starts_with("VERSION ") {
            true => Ok(()),
            false => Err(refusal(line)),
        }
    }

    async fn expect(&mut self, words: &[&str]) -> Result<(), ProtocolError> {
        let line = read_line(&mut self.0).await?;
        match words.contains(&line.as_str()) {
            true => Ok(()),
            false => Err(refusal(line)),
        }
    }
}

/// Reads an answer to `get` that has arrived whole, and says how many bytes of values it has.
#[must_use]
pub fn read_answer(mut answer: &[u8]) -> usize {
    let values = read_values(&mut answer).now_or_never();
    let values = values.and_then(Result::ok).unwrap_or_default();
    values.iter().map(|(_, value)| value.len()).sum()
}

/// Reads the answer to `get`: values with their keys, up to the end of the answer.
async fn read_values(from: &mut (impl AsyncBufRead + Unpin)) -> Result<Vec<(String, Bytes)>, ProtocolError> {
    let mut values = Vec::new();
    loop {
        let line = read_line(from).await?;
        if line == "END" {
            return Ok(values);
        }
        let mut words = line.split(' ');
        let (word, key, _flags, length) = (words.next(), words.next(), words.next(), words.next());
        let length: Option<usize> = length.and_then(|length| length.parse().ok());
        match (word, key, length) {
            (Some("VALUE"), Some(key), Some(length @ ..=LARGEST_VALUE)) => {
                values.push((key.to_owned(), read_block(from, length).await?));
            }
            _ => return Err(refusal(line)),
        }
    }
}

/// Reads so many bytes and the end of their line.
async fn read_block(from: &mut (impl AsyncBufRead + Unpin), length: usize) -> Result<Bytes, ProtocolError> {
    // Room is made as bytes arrive, however many are promised.
    let mut block = BytesMut::new();
    while block.len() < length {
        let left = length - block.len();
        if from.take(left as u64).read_buf(&mut block).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
    }
    let mut end = [0; 2];
    from.read_exact(&mut end).await?;
    match &end {
        b"\r\n" => Ok(block.freeze()),
        _ => Err(ProtocolError::Unexpected("a value without its end".to_owned())),
    }
}

async fn read_line(from: &mut (impl AsyncBufRead + Unpin)) -> Result<String, ProtocolError> {
    let mut line = Vec::new();
    from.take(LONGEST_LINE).read_until(b'\n', &mut line).await?;
    match line.strip_suffix(b"\r\n") {
        Some(text) => Ok(String::from_utf8_lossy(text).into_owned()),
        None if line.len() as u64 == LONGEST_LINE => {
            Err(ProtocolError::Unexpected("a line without an end".to_owned()))
        }
        None => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
    }
}

/// A line that is not the answer that was wanted.
fn refusal(line: String) -> ProtocolError {
    let is_error = ["ERROR", "CLIENT_ERROR ", "SERVER_ERROR "]
        .iter()
        .any(|word| line.starts_with(word));
    match is_error {
        true => ProtocolError::Server(line),
        false => ProtocolError::Unexpected(line),
    }
}

// === impl ProtocolError ===

impl ProtocolError {
    /// Whether the connection is of no use any more.
    pub(crate) fn is_broken(&self) -> bool {
        // After `ERROR` and `SERVER_ERROR` the next answer is in its place; a block that was refused is swallowed.
        !matches!(self, Self::Server(line) if !line.starts_with("CLIENT_ERROR"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(text: &[u8]) -> Result<Vec<(String, Bytes)>, String> {
        let mut from = text;
        read_values(&mut from).await.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn values_are_read_whatever_is_in_them() {
        let values = read(b"VALUE a 0 4\r\n\r\nEN\r\nVALUE b||c 7 0\r\n\r\nEND\r\n").await;
        let expected = [("a", &b"\r\nEN"[..]), ("b||c", b"")];
        let expected = expected.map(|(key, value)| (key.to_owned(), Bytes::from_static(value)));
        assert_eq!(values.unwrap(), expected);
        assert_eq!(read(b"END\r\n").await.unwrap(), []);
        assert_eq!(read_answer(b"VALUE a 0 4\r\n\r\nEN\r\nEND\r\n"), 4);
    }

    #[tokio::test]
    async fn answers_that_are_none_are_errors() {
        let long = "x".repeat(3000);
        for (text, expected) in [
            (
                "SERVER_ERROR out of memory\r\n",
                "memcache: server error: SERVER_ERROR out of memory",
            ),
            ("ERROR\r\n", "memcache: server error: ERROR"),
            (
                "VALUE a 0 x\r\n",
                "memcache: unexpected line in response: VALUE a 0 x",
            ),
            (
                "VALUE a 0 9999999999\r\n",
                "memcache: unexpected line in response: VALUE a 0 9999999999",
            ),
            (
                "VALUE a 0 1\r\nxy\r\n",
                "memcache: unexpected line in response: a value without its end",
            ),
            ("VALUE a 0 1000000000\r\nx", "unexpected end of file"),
            ("EN", "unexpected end of file"),
            ("", "unexpected end of file"),
            (
                &long,
                "memcache: unexpected line in response: a line without an end",
            ),
        ] {
            assert_eq!(read(text.as_bytes()).await.unwrap_err(), expected, "{text}");
        }
    }
}
