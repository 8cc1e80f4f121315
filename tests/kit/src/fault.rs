//! A network that misbehaves at command: a TCP proxy between a client and a server.
//!
//! ```text
//! client ──▶ FaultProxy ──▶ server      Direction::ToServer
//! client ◀── FaultProxy ◀── server      Direction::ToClient
//! ```
//!
//! A fault concerns one direction of all connections, those that are open and those to come, until another
//! takes its place. A connection is broken by [`Fault::ResetAfter`], [`FaultProxy::cut`] and
//! [`FaultProxy::refuse`] only; all other faults leave it open.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use crate::{Result, until};

/// A TCP proxy to a port of the loopback address.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    _task: AbortOnDropHandle<()>,
}

/// One of the two ways through a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    ToServer,
    /// From the server to the client.
    ToClient,
}

/// What is wrong with a direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// Every piece waits this long.
    Delay(Duration),
    /// At most so many bytes a second.
    Throttle(u64),
    /// Nothing is read: the sender fills its buffers and is held back.
    Hang,
    /// Everything is read and goes nowhere, the end of the connection too: to the sender all looks well.
    Swallow,
    /// The connection is reset, at both ends, once it has carried so many bytes in this direction.
    ResetAfter(u64),
}

/// What is wrong with both directions.
#[derive(Clone, Copy, Debug, Default)]
struct Faults {
    to_server: Fault,
    to_client: Fault,
    /// Number of times that all connections were broken.
    cuts: u64,
    is_refusing: bool,
}

#[derive(Debug)]
struct Shared {
    target: u16,
    faults: watch::Sender<Faults>,
    open: AtomicUsize,
    accepted: AtomicU64,
    to_server: AtomicU64,
    to_client: AtomicU64,
}

/// Counts a connection as open until it is dropped.
struct Open<'a>(&'a AtomicUsize);

const BUFFER: usize = 64 << 10;

// === impl FaultProxy ===

impl FaultProxy {
    /// Starts a proxy to `127.0.0.1:<target>` on a free port. Nothing is wrong yet.
    ///
    /// # Errors
    /// If no port can be bound.
    pub async fn start(target: u16) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            target,
            faults: watch::Sender::default(),
            open: AtomicUsize::new(0),
            accepted: AtomicU64::new(0),
            to_server: AtomicU64::new(0),
            to_client: AtomicU64::new(0),
        });
        let accepting = Arc::clone(&shared);
        let task = AbortOnDropHandle::new(tokio::spawn(async move {
            accept(listener, address, accepting).await.ok();
        }));
        Ok(Self {
            address,
            shared,
            _task: task,
        })
    }

    /// The port that clients connect to.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Puts a fault into one direction.
    pub fn set(&self, direction: Direction, fault: Fault) {
        self.shared.faults.send_modify(|faults| match direction {
            Direction::ToServer => faults.to_server = fault,
            Direction::ToClient => faults.to_client = fault,
        });
    }

    /// Puts a fault into both directions.
    pub fn set_both(&self, fault: Fault) {
        self.shared.faults.send_modify(|faults| {
            faults.to_server = fault;
            faults.to_client = fault;
        });
    }

    /// Resets all connections that are open; new ones are welcome.
    pub fn cut(&self) {
        self.shared.faults.send_modify(|faults| faults.cuts += 1);
    }

    /// Resets all connections that are open and listens no more.
    ///
    /// # Errors
    /// If the port still accepts connections.
    pub async fn refuse(&self) -> Result<()> {
        self.shared.faults.send_modify(|faults| {
            faults.cuts += 1;
            faults.is_refusing = true;
        });
        let address = self.address;
        until("connections to be refused", async || {
            TcpStream::connect(address).await.is_err().then_some(())
        })
        .await
    }

    /// Ends all faults. What was swallowed stays so, and broken connections stay broken.
    ///
    /// # Errors
    /// If the port cannot be bound again.
    pub async fn heal(&self) -> Result<()> {
        self.shared.faults.send_modify(|faults| {
            *faults = Faults {
                cuts: faults.cuts,
                ..Faults::default()
            };
        });
        crate::wait_for_port(self.port()).await
    }

    /// Number of connections that are open now.
    #[must_use]
    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::Relaxed)
    }

    /// Number of connections that were accepted so far.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// Bytes that were read so far in a direction.
    #[must_use]
    pub fn carried(&self, direction: Direction) -> u64 {
        self.shared.carried(direction).load(Ordering::Relaxed)
    }
}

// === impl Shared ===

impl Shared {
    fn carried(&self, direction: Direction) -> &AtomicU64 {
        match direction {
            Direction::ToServer => &self.to_server,
            Direction::ToClient => &self.to_client,
        }
    }

    /// Carries one connection to its end; an error resets it.
    async fn carry(&self, mut client: TcpStream) {
        let _open = Open::count(&self.open);
        let mut faults = self.faults.subscribe();
        let cuts = faults.borrow_and_update().cuts;
        let Ok(mut server) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.target)).await else {
            client.set_zero_linger().ok();
            return;
        };
        let prepared = client.set_nodelay(true).and_then(|()| server.set_nodelay(true));
        let outcome = {
            let (from_client, to_client) = client.split();
            let (from_server, to_server) = server.split();
            let both = async {
                tokio::try_join!(
                    self.pump(from_client, to_server, Direction::ToServer),
                    self.pump(from_server, to_client, Direction::ToClient),
                )
            };
            tokio::select! {
                outcome = both => outcome.map(drop),
                _ = faults.wait_for(|faults| faults.cuts != cuts) => Err(io::ErrorKind::ConnectionReset.into()),
            }
        };
        if prepared.is_err() || outcome.is_err() {
            client.set_zero_linger().ok();
            server.set_zero_linger().ok();
        }
    }

    async fn pump(
        &self,
        mut from: ReadHalf<'_>,
        mut to: WriteHalf<'_>,
        direction: Direction,
    ) -> io::Result<()> {
        let mut faults = self.faults.subscribe();
        let mut buffer = vec![0; BUFFER];
        let mut carried = 0;
        loop {
            let fault = faults.borrow_and_update().of(direction);
            if fault == Fault::Hang {
                faults.changed().await.ok();
                continue;
            }
            let room = match fault {
                Fault::ResetAfter(limit) if carried >= limit => {
                    return Err(io::ErrorKind::ConnectionReset.into());
                }
                Fault::ResetAfter(limit) => usize::try_from(limit - carried).unwrap_or(BUFFER).min(BUFFER),
                Fault::Throttle(rate) => usize::try_from(rate / 20).unwrap_or(BUFFER).clamp(1, BUFFER),
                _ => BUFFER,
            };
            let len = tokio::select! {
                len = from.read(&mut buffer[..room]) => len?,
                // What is read must be treated by the fault of that moment.
                _ = faults.changed() => continue,
            };
            carried += len as u64;
            self.carried(direction).fetch_add(len as u64, Ordering::Relaxed);
            match fault {
                Fault::Swallow if len == 0 => return std::future::pending().await,
                Fault::Swallow => continue,
                Fault::Delay(time) => sleep(time).await,
                Fault::Throttle(rate) => {
                    sleep(Duration::from_secs(len as u64) / u32::try_from(rate).unwrap_or(u32::MAX)).await
                }
                Fault::None | Fault::Hang | Fault::ResetAfter(_) => {}
            }
            if len == 0 {
                return to.shutdown().await;
            }
            to.write_all(&buffer[..len]).await?;
        }
    }
}

// === impl Faults ===

impl Faults {
    const fn of(&self, direction: Direction) -> Fault {
        match direction {
            Direction::ToServer => self.to_server,
            Direction::ToClient => self.to_client,
        }
    }
}

// === impl Open ===

impl<'a> Open<'a> {
    fn count(open: &'a AtomicUsize) -> Self {
        open.fetch_add(1, Ordering::Relaxed);
        Self(open)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Accepts connections, but for the times when they are refused.
async fn accept(listener: TcpListener, address: SocketAddr, shared: Arc<Shared>) -> io::Result<()> {
    let mut listener = Some(listener);
    let mut faults = shared.faults.subscribe();
    let mut connections = JoinSet::new();
    loop {
        let is_refusing = faults.borrow_and_update().is_refusing;
        let Some(current) = &listener else {
            if is_refusing {
                faults.changed().await.ok();
            } else {
                listener = Some(TcpListener::bind(address).await?);
            }
            continue;
        };
        if is_refusing {
            listener = None;
            continue;
        }
        tokio::select! {
            _ = faults.changed() => {}
            Some(_) = connections.join_next() => {}
            accepted = current.accept() => {
                let (client, _) = accepted?;
                shared.accepted.fetch_add(1, Ordering::Relaxed);
                let shared = Arc::clone(&shared);
                connections.spawn(async move { shared.carry(client).await });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, timeout};

    use super::*;

    /// A server that sends back what it gets.
    async fn echo() -> Result<(u16, AbortOnDropHandle<()>)> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                connections.spawn(async move {
                    let (mut reader, mut writer) = stream.split();
                    tokio::io::copy(&mut reader, &mut writer).await.ok();
                    writer.shutdown().await.ok();
                });
            }
        });
        Ok((port, AbortOnDropHandle::new(task)))
    }

    async fn connect(proxy: &FaultProxy) -> Result<TcpStream> {
        Ok(TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).await?)
    }

    async fn say(stream: &mut TcpStream, text: &str) -> io::Result<String> {
        stream.write_all(text.as_bytes()).await?;
        let mut reply = vec![0; text.len()];
        stream.read_exact(&mut reply).await?;
        Ok(String::from_utf8_lossy(&reply).into_owned())
    }

    #[tokio::test]
    async fn without_a_fault_everything_passes_and_halves_close_on_their_own() -> Result<()> {
        let (port, _server) = echo().await?;
        let proxy = FaultProxy::start(port).await?;
        let mut stream = connect(&proxy).await?;
        assert_eq!(say(&mut stream, "hello").await?, "hello");
        assert_eq!((proxy.open(), proxy.accepted()), (1, 1));
        stream.write_all(b"rest").await?;
        stream.shutdown().await?;
        let mut rest = String::new();
        stream.read_to_string(&mut rest).await?;
        assert_eq!(rest, "rest");
        assert_eq!(proxy.carried(Direction::ToServer), 9);
        until("the end", async || (proxy.open() == 0).then_some(())).await
    }

    #[tokio::test]
    async fn connections_are_refused_cut_and_reset_in_the_middle() -> Result<()> {
        let (port, _server) = echo().await?;
        let proxy = FaultProxy::start(port).await?;
        let mut stream = connect(&proxy).await?;
        assert_eq!(say(&mut stream, "one").await?, "one");
        proxy.cut();
        let broken = stream.read(&mut [0; 8]).await;
        assert_eq!(broken.unwrap_err().kind(), io::ErrorKind::ConnectionReset);

        proxy.set(Direction::ToClient, Fault::ResetAfter(4));
        let mut stream = connect(&proxy).await?;
        assert_eq!(say(&mut stream, "four").await?, "four");
        assert!(say(&mut stream, "five").await.is_err());

        proxy.refuse().await?;
        assert!(connect(&proxy).await.is_err());
        proxy.heal().await?;
        assert_eq!(say(&mut connect(&proxy).await?, "again").await?, "again");
        Ok(())
    }

    #[tokio::test]
    async fn bytes_are_held_back_swallowed_and_let_through_again() -> Result<()> {
        let (port, _server) = echo().await?;
        let proxy = FaultProxy::start(port).await?;
        let mut stream = connect(&proxy).await?;
        assert_eq!(say(&mut stream, "one").await?, "one");
        let moment = Duration::from_millis(50);

        proxy.set(Direction::ToServer, Fault::Hang);
        assert!(timeout(moment, say(&mut stream, "two")).await.is_err());
        proxy.heal().await?;
        let mut reply = [0; 3];
        stream.read_exact(&mut reply).await?;
        assert_eq!(&reply, b"two");

        proxy.set(Direction::ToServer, Fault::Swallow);
        assert!(timeout(moment, say(&mut stream, "lost")).await.is_err());
        proxy.heal().await?;
        assert_eq!(say(&mut stream, "new").await?, "new");
        Ok(())
    }

    #[tokio::test]
    async fn bytes_are_delayed_and_throttled() -> Result<()> {
        let (port, _server) = echo().await?;
        let proxy = FaultProxy::start(port).await?;
        let mut stream = connect(&proxy).await?;
        proxy.set(Direction::ToClient, Fault::Delay(Duration::from_millis(60)));
        let began = Instant::now();
        say(&mut stream, "x").await?;
        assert!(began.elapsed() >= Duration::from_millis(60));

        proxy.set(Direction::ToClient, Fault::Throttle(2000));
        let began = Instant::now();
        say(&mut stream, &"x".repeat(200)).await?;
        assert!(
            began.elapsed() >= Duration::from_millis(100),
            "{:?}",
            began.elapsed()
        );
        Ok(())
    }
}
