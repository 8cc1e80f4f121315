//! Listeners: binding with patience, accepting, handing connections to workers.
//!
//! Only this module names the network; everything behind it is given a byte stream.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use outrigger_kit::system;
use outrigger_svc::{BoxConnection, DrainSignal};
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::time::Instant;

use crate::worker::{Turn, Workers};

/// Sockets that one server accepts on.
#[derive(Debug)]
pub(crate) enum Listeners {
    /// One TCP socket an address.
    Tcp(Vec<TcpListener>),
    /// A Unix socket and its path, which is removed at the end.
    Unix(UnixListener, PathBuf),
}

/// One accepted connection, not yet bound to a worker's event queue.
#[derive(Debug)]
pub(crate) enum Accepted {
    /// A TCP connection and the address of its other end.
    Tcp(std::net::TcpStream, SocketAddr),
    /// A connection by a Unix socket.
    Unix(std::os::unix::net::UnixStream),
}

/// Why a server has no socket to accept on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BindError {
    /// No address could be bound within the time for it.
    #[error("could not listen on any endpoint")]
    NoEndpoint,
    /// The Unix socket could not be made.
    #[error("failed to listen on unix socket {path}: {}", system::text(.source))]
    Unix { path: PathBuf, source: io::Error },
}

/// Tries again while an address is taken: from the first pause to the longest, in all at most ten seconds.
const BIND_PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(500));
const BIND_PATIENCE: Duration = Duration::from_secs(10);
const BACKLOG: i32 = 1024;
/// Silence of a TCP connection before the system asks whether the other end is there, and between two such
/// questions. Go's servers ask as often.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

// === impl Listeners ===

impl Listeners {
    /// Binds `port` on each address; an empty address means all interfaces.
    ///
    /// # Errors
    /// [`BindError::NoEndpoint`] if not one address could be bound.
    pub(crate) async fn tcp(addresses: &[String], port: u16) -> Result<Self, BindError> {
        let mut listeners = Vec::with_capacity(addresses.len());
        for address in addresses {
            match bind_patiently(address, port).await {
                Ok(listener) => listeners.push(listener),
                Err(error) => {
                    tracing::debug!(target: "dapr.runtime", "failed to listen on {address}:{port}: listen tcp {address}:{port}: bind: {}", system::text(&error));
                }
            }
        }
        if listeners.is_empty() {
            Err(BindError::NoEndpoint)
        } else {
            Ok(Self::Tcp(listeners))
        }
    }

    /// Binds one address at once, without patience.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) async fn one_tcp(address: &str, port: u16) -> io::Result<TcpListener> {
        bind(address, port).await
    }

    /// Makes a Unix socket at `path`; a left-over one is replaced.
    pub(crate) fn unix(path: &Path) -> Result<Self, BindError> {
        let failed = |source| BindError::Unix {
            path: path.to_owned(),
            source,
        };
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        Ok(Self::Unix(listener, path.to_owned()))
    }

    /// What is listened on, as the log prints it: `TCP address: <a>` or `UNIX socket: <p>`.
    pub(crate) fn names(&self) -> Vec<String> {
        match self {
            Self::Tcp(listeners) => listeners
                .iter()
                .filter_map(|listener| listener.local_addr().ok())
                .map(|address| format!("TCP address: {}", display_address(address)))
                .collect(),
            Self::Unix(_, path) => vec![format!("UNIX socket: {}", path.display())],
        }
    }

    /// The bound TCP addresses.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        match self {
            Self::Tcp(listeners) => listeners
                .iter()
                .filter_map(|listener| listener.local_addr().ok())
                .collect(),
            Self::Unix(..) => Vec::new(),
        }
    }

    /// Accepts until the drain starts; `serve` is called on the worker that the connection was dealt to.
    ///
    /// `make` gives the server of the worker with an index: each has its own, so that cores share nothing.
    pub(crate) fn accept<S, F>(
        self,
        workers: &Arc<Workers>,
        drain: &DrainSignal,
        make: impl Fn(usize) -> S,
        serve: F,
    ) where
        S: Clone + Send + Sync + 'static,
        F: AsyncServe<S>,
    {
        let servers: Arc<[S]> = (0..workers.len()).map(make).collect();
        let turn = Arc::new(Turn::default());
        let deal = Deal {
            servers,
            turn,
            workers: Arc::clone(workers),
            drain: drain.clone(),
            serve,
        };
        match self {
            Self::Tcp(listeners) => {
                for listener in listeners {
                    let deal = deal.clone();
                    tokio::spawn(accept_tcp(listener, deal));
                }
            }
            Self::Unix(listener, path) => {
                tokio::spawn(accept_unix(listener, path, deal));
            }
        }
    }
}

/// Serves one connection on a worker.
pub(crate) trait AsyncServe<S>: Clone + Send + Sync + 'static {
    /// Runs the connection to its end.
    fn serve(
        &self,
        server: S,
        connection: BoxConnection,
        remote: Option<SocketAddr>,
        drain: DrainSignal,
    ) -> impl Future<Output = ()> + Send + 'static;
}

#[derive(Clone)]
struct Deal<S, F> {
    servers: Arc<[S]>,
    turn: Arc<Turn>,
    workers: Arc<Workers>,
    drain: DrainSignal,
    serve: F,
}

// === impl Deal ===

impl<S, F> Deal<S, F>
where
    S: Clone + Send + Sync + 'static,
    F: AsyncServe<S>,
{
    fn hand_out(&self, accepted: Accepted) {
        let index = self.turn.next(self.workers.len());
        let server = self.servers[index].clone();
        let (serve, drain) = (self.serve.clone(), self.drain.clone());
        self.workers.start_on(index, move || {
            let track = drain.clone();
            track.track(async move {
                match accepted.open() {
                    Ok((connection, remote)) => serve.serve(server, connection, remote, drain).await,
                    Err(error) => {
                        tracing::debug!(target: "dapr.runtime", "failed to open an accepted connection: {error}");
                    }
                }
            })
        });
    }
}

// === impl Accepted ===

impl Accepted {
    /// Registers the connection with the event queue of the current worker.
    fn open(self) -> io::Result<(BoxConnection, Option<SocketAddr>)> {
        match self {
            Self::Tcp(stream, remote) => Ok((Box::new(TcpStream::from_std(stream)?), Some(remote))),
            Self::Unix(stream) => Ok((Box::new(UnixStream::from_std(stream)?), None)),
        }
    }
}

async fn accept_tcp<S, F>(listener: TcpListener, deal: Deal<S, F>)
where
    S: Clone + Send + Sync + 'static,
    F: AsyncServe<S>,
{
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = deal.drain.stopping() => return,
        };
        match accepted {
            Ok((stream, remote)) => {
                let prepared = stream.set_nodelay(true).and_then(|()| stream.into_std());
                match prepared {
                    Ok(stream) => deal.hand_out(Accepted::Tcp(stream, remote)),
                    Err(error) => {
                        tracing::debug!(target: "dapr.runtime", "a connection ended at once: {error}")
                    }
                }
            }
            Err(error) => pause_after(&error).await,
        }
    }
}

async fn accept_unix<S, F>(listener: UnixListener, path: PathBuf, deal: Deal<S, F>)
where
    S: Clone + Send + Sync + 'static,
    F: AsyncServe<S>,
{
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = deal.drain.stopping() => break,
        };
        match accepted.and_then(|(stream, _)| stream.into_std()) {
            Ok(stream) => deal.hand_out(Accepted::Unix(stream)),
            Err(error) => pause_after(&error).await,
        }
    }
    drop(listener);
    if let Err(error) = std::fs::remove_file(&path) {
        tracing::debug!(target: "dapr.runtime", "failed to remove {}: {error}", path.display());
    }
}

/// Out of descriptors or memory: give the system a moment, the listener stays.
async fn pause_after(error: &io::Error) {
    if matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    ) {
        return;
    }
    tracing::warn!(target: "dapr.runtime", "failed to accept a connection: {error}");
    tokio::time::sleep(Duration::from_millis(100)).await;
}

async fn bind_patiently(address: &str, port: u16) -> io::Result<TcpListener> {
    let deadline = Instant::now() + BIND_PATIENCE;
    let (mut pause, longest) = BIND_PAUSES;
    loop {
        let error = match bind(address, port).await {
            Ok(listener) => return Ok(listener),
            Err(error) => error,
        };
        if error.kind() != io::ErrorKind::AddrInUse || Instant::now() + pause > deadline {
            return Err(error);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 3 / 2).min(longest);
    }
}

/// Binds one address. All interfaces means IPv6 with IPv4 inside where the machine has IPv6, else IPv4.
async fn bind(address: &str, port: u16) -> io::Result<TcpListener> {
    if address.is_empty() {
        let any = SocketAddr::from(([0u16; 8], port));
        return match bind_socket(any) {
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => bind_socket(([0u8; 4], port).into()),
            bound => bound,
        };
    }
    let host = address.trim_start_matches('[').trim_end_matches(']');
    let mut last = io::Error::new(io::ErrorKind::NotFound, "no such address");
    for candidate in tokio::net::lookup_host((host, port)).await? {
        match bind_socket(candidate) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn bind_socket(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    // Accepted connections inherit it: a client that has vanished without a word is found out.
    let keep_alive = TcpKeepalive::new()
        .with_time(KEEP_ALIVE)
        .with_interval(KEEP_ALIVE);
    socket.set_tcp_keepalive(&keep_alive)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// The way Go prints a listening address: all interfaces as `[::]`.
fn display_address(address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        format!("[::]:{}", address.port())
    } else {
        address.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_empty_address_listens_on_all_interfaces() {
        let listeners = Listeners::tcp(&[String::new()], 0).await.unwrap();
        let port = listeners.addresses()[0].port();
        TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        assert_eq!(listeners.names(), [format!("TCP address: [::]:{port}")]);
    }

    #[tokio::test]
    async fn clients_that_vanish_are_found_out() {
        let listeners = Listeners::tcp(&["127.0.0.1".to_owned()], 0).await.unwrap();
        let address = listeners.addresses()[0];
        let Listeners::Tcp(listeners) = listeners else {
            panic!("TCP was asked for");
        };
        let (_client, accepted) = tokio::join!(TcpStream::connect(address), listeners[0].accept());
        let (stream, _) = accepted.unwrap();
        let socket = socket2::SockRef::from(&stream);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEP_ALIVE);
    }

    #[tokio::test]
    async fn addresses_that_cannot_be_bound_are_skipped() {
        let addresses = ["192.0.2.77".to_owned(), "127.0.0.1".to_owned()];
        let listeners = Listeners::tcp(&addresses, 0).await.unwrap();
        assert_eq!(listeners.addresses().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn no_endpoint_at_all_is_an_error_after_ten_seconds() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let begun = Instant::now();
        let refused = Listeners::tcp(&["127.0.0.1".to_owned()], port).await.unwrap_err();
        assert_eq!(refused.to_string(), "could not listen on any endpoint");
        assert!(begun.elapsed() > Duration::from_secs(9), "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn a_left_over_unix_socket_is_replaced() {
        let path = std::env::temp_dir().join(format!("outrigger-listen-{}.socket", std::process::id()));
        let first = Listeners::unix(&path).unwrap();
        drop(first);
        let second = Listeners::unix(&path).unwrap();
        assert_eq!(second.names(), [format!("UNIX socket: {}", path.display())]);
        UnixStream::connect(&path).await.unwrap();
        std::fs::remove_file(&path).unwrap();
    }
}
