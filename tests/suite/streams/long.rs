//! Bodies that are too long to be held anywhere: made as they are sent, and hashed as they arrive.

use std::fmt::Write as _;

use anyhow::{Context as _, ensure};
use rustls::SupportedCipherSuite;
use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::crypto::hash::Context;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

use outrigger_test_kit::Result;

/// Bytes of a chunk.
const CHUNK: usize = 256 << 10;

/// A connection that carries one long body after the other.
#[derive(Debug)]
pub(in crate::suite) struct Connection {
    pub(in crate::suite) reader: BufReader<OwnedReadHalf>,
    pub(in crate::suite) writer: OwnedWriteHalf,
}

/// An app that answers `POST /up` with the digest of what it got, and `GET /down/<length>` with so many bytes.
#[derive(Debug)]
pub(in crate::suite) struct LongApp {
    pub(in crate::suite) port: u16,
    _task: AbortOnDropHandle<()>,
}

/// SHA-256, by the TLS library: those in Rust alone are slow without optimisation.
struct Digest(Box<dyn Context>);

// === impl Connection ===

impl Connection {
    pub(in crate::suite) async fn open(port: u16) -> Result<Self> {
        Ok(Self::of(TcpStream::connect(("127.0.0.1", port)).await?))
    }

    fn of(stream: TcpStream) -> Self {
        let (reader, writer) = stream.into_split();
        Self {
            reader: BufReader::with_capacity(CHUNK, reader),
            writer,
        }
    }

    /// Sends a head, whose lines are separated by line feeds.
    pub(in crate::suite) async fn send_head(&mut self, lines: &str) -> Result<()> {
        let head = lines.replace('\n', "\r\n") + "\r\n\r\n";
        Ok(self.writer.write_all(head.as_bytes()).await?)
    }

    /// Receives a head: its lines, and whether a body in chunks follows.
    pub(in crate::suite) async fn head(&mut self) -> Result<Option<String>> {
        let mut head = String::new();
        loop {
            let begin = head.len();
            if self.reader.read_line(&mut head).await? == 0 {
                ensure!(head.is_empty(), "the head breaks off");
                return Ok(None);
            }
            if head.get(begin..).is_some_and(|line| line == "\r\n") {
                return Ok(Some(head.to_ascii_lowercase()));
            }
        }
    }
}

// === impl LongApp ===

impl LongApp {
    pub(in crate::suite) async fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(async move { serve(Connection::of(stream)).await.ok() });
            }
        });
        Ok(Self {
            port,
            _task: AbortOnDropHandle::new(task),
        })
    }
}

async fn serve(mut connection: Connection) -> Result<()> {
    while let Some(head) = connection.head().await? {
        let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
        if let Some(length) = target.strip_prefix("/down/") {
            connection
                .send_head("HTTP/1.1 200 OK\nTransfer-Encoding: chunked")
                .await?;
            send_body(&mut connection.writer, length.parse()?).await?;
        } else if target == "/up" {
            let (length, digest) = receive_body(&mut connection.reader).await?;
            let answer = format!("{length} {digest}");
            connection
                .send_head(&format!("HTTP/1.1 200 OK\nContent-Length: {}", answer.len()))
                .await?;
            connection.writer.write_all(answer.as_bytes()).await?;
        } else {
            connection
                .send_head("HTTP/1.1 404 Not Found\nContent-Length: 0")
                .await?;
        }
    }
    Ok(())
}

/// Sends a body of `length` bytes in chunks and returns its digest. No two chunks are alike.
pub(in crate::suite) async fn send_body(
    writer: &mut (impl AsyncWrite + Unpin),
    length: u64,
) -> Result<String> {
    let mut digest = Digest::new();
    let mut chunk: Vec<u8> = (0..CHUNK).map(|index| ((index * index) >> 7) as u8).collect();
    let mut sent = 0;
    while sent < length {
        let len = usize::try_from(length - sent)?.min(CHUNK);
        let number = sent.to_be_bytes();
        for (place, byte) in chunk.iter_mut().zip(number) {
            *place = byte;
        }
        let content = chunk.get(..len).context("a chunk has this length")?;
        digest.0.update(content);
        writer.write_all(format!("{len:x}\r\n").as_bytes()).await?;
        writer.write_all(content).await?;
        writer.write_all(b"\r\n").await?;
        sent += len as u64;
    }
    writer.write_all(b"0\r\n\r\n").await?;
    writer.flush().await?;
    Ok(digest.text())
}

/// Receives a body in chunks and returns its length and its digest.
pub(in crate::suite) async fn receive_body<R>(reader: &mut BufReader<R>) -> Result<(u64, String)>
where
    R: AsyncRead + Unpin,
{
    let mut digest = Digest::new();
    let mut total = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).await?;
        let mut left =
            usize::from_str_radix(line.trim(), 16).with_context(|| format!("no chunk: {line:?}"))?;
        let is_last = left == 0;
        total += left as u64;
        while left > 0 {
            let bytes = reader.fill_buf().await?;
            ensure!(
                !bytes.is_empty(),
                "the body breaks off after {} bytes",
                total - left as u64
            );
            let len = bytes.len().min(left);
            digest.0.update(bytes.get(..len).context("it was just measured")?);
            reader.consume(len);
            left -= len;
        }
        line.clear();
        reader.read_line(&mut line).await?;
        ensure!(line == "\r\n", "a chunk ends with {line:?}");
        if is_last {
            return Ok((total, digest.text()));
        }
    }
}

// === impl Digest ===

impl Digest {
    fn new() -> Self {
        let SupportedCipherSuite::Tls13(suite) = TLS13_AES_128_GCM_SHA256 else {
            panic!("a suite of TLS 1.3");
        };
        Self(suite.common.hash_provider.start())
    }

    fn text(self) -> String {
        self.0
            .finish()
            .as_ref()
            .iter()
            .fold(String::new(), |mut text, byte| {
                write!(text, "{byte:02x}").expect("a string takes all text");
                text
            })
    }
}
