//! Reaching a peer.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use http::Uri;
use outrigger_identity::{Expect, tls};
use outrigger_kit::quote::go_quote;
use outrigger_svc::{BoxConnection, BoxFuture, Connect};
use tokio::io::BufReader;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::{PeerAddress, Security};
use crate::transport::io_text;
use crate::{Link, PeerSettings, Status};

/// Opens TCP connections, without delay of small writes. Names are looked up by the system.
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpConnect;

/// Bytes that are read at once below TLS.
const READ_BUFFER: usize = 32 << 10;

/// Opens a link to a peer and proves who it is.
pub(super) async fn dial(
    peer: &PeerAddress,
    settings: &PeerSettings,
    security: &Security,
    connect: &dyn Connect,
) -> Result<Link, Status> {
    let dialing = async {
        let address = &*peer.address;
        let io = connect
            .connect(address)
            .await
            .map_err(|error| not_dialed(address, &error))?;
        let settings = Arc::new(settings.link.clone());
        match security {
            Security::Plain => Link::connect(io, Arc::clone(&peer.address), settings).await,
            Security::Mutual { svid, anchors } => {
                let expect = Expect::App {
                    namespace: peer.namespace.to_string(),
                    app_id: peer.app_id.to_string(),
                };
                let config = Arc::new(tls::mutual_client(svid, anchors, expect));
                let io = BufReader::with_capacity(READ_BUFFER, io);
                let io = tls::connect(config, host_of(address), io).await;
                let io = io.map_err(|error| {
                    unavailable(&format!("transport: authentication handshake failed: {error}"))
                })?;
                let session = io.get_ref().1;
                if let Some(id) = tls::peer_id(session) {
                    tracing::debug!(target: super::LOG, "Connected to {id} over {}", tls::describe(session));
                }
                Link::connect(io, Arc::clone(&peer.address), settings).await
            }
        }
    };
    let dialed = timeout(settings.dial_timeout, dialing).await;
    dialed.unwrap_or_else(|_| Err(not_dialed(&peer.address, &io::ErrorKind::TimedOut.into())))
}

/// The same path at the address of a peer.
pub(super) fn absolute(uri: &Uri, address: &str) -> Result<Uri, Status> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let built = Uri::builder()
        .scheme("http")
        .authority(address)
        .path_and_query(path)
        .build();
    built.map_err(|error| Status::internal(format!("invalid address {address}: {error}")))
}

fn unavailable(description: &str) -> Status {
    Status::unavailable(format!("connection error: desc = {}", go_quote(description)))
}

fn not_dialed(address: &str, error: &io::Error) -> Status {
    let operation = match error.kind() {
        io::ErrorKind::NotFound => format!("dial tcp: lookup {}: no such host", host_of(address)),
        io::ErrorKind::TimedOut => format!("dial tcp {address}: i/o timeout"),
        _ => format!("dial tcp {address}: connect: {}", io_text(error)),
    };
    unavailable(&format!("transport: Error while dialing: {operation}"))
}

fn host_of(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(host, _)| host)
}

// === impl TcpConnect ===

impl Connect for TcpConnect {
    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<BoxConnection>> {
        Box::pin(async move {
            let stream = match address.parse::<SocketAddr>() {
                Ok(address) => TcpStream::connect(address).await?,
                Err(_) => connect_by_name(address).await?,
            };
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as BoxConnection)
        })
    }
}

/// Tries the addresses of a name in turn, from a random one on.
async fn connect_by_name(address: &str) -> io::Result<TcpStream> {
    let no_such_host = || io::Error::from(io::ErrorKind::NotFound);
    let mut addresses: Vec<SocketAddr> = match loopback(address) {
        Some(port) => vec![
            (Ipv4Addr::LOCALHOST, port).into(),
            (Ipv6Addr::LOCALHOST, port).into(),
        ],
        None => lookup_host(address).await.map_err(|_| no_such_host())?.collect(),
    };
    let mut last = no_such_host();
    if !addresses.is_empty() && loopback(address).is_none() {
        let start = fastrand::usize(..addresses.len());
        addresses.rotate_left(start);
    }
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The port of an address whose host is `localhost` or below it: such names never leave the machine (RFC 6761
/// section 6.3), whatever the system's resolver makes of them.
fn loopback(address: &str) -> Option<u16> {
    let (host, port) = address.rsplit_once(':')?;
    let last = host.trim_end_matches('.').rsplit('.').next()?;
    last.eq_ignore_ascii_case("localhost")
        .then(|| port.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_below_localhost_stay_on_the_machine() {
        assert_eq!(loopback("nodeapp.localhost:50002"), Some(50002));
        assert_eq!(loopback("LOCALHOST.:1"), Some(1));
        assert_eq!(loopback("localhost.example:1"), None);
    }

    #[test]
    fn failures_read_as_in_the_reference() {
        let cases = [
            (
                "127.0.0.1:1",
                io::ErrorKind::ConnectionRefused,
                "connection error: desc = \"transport: Error while dialing: dial tcp 127.0.0.1:1: connect: \
                 connection refused\"",
            ),
            (
                "gone.local:50002",
                io::ErrorKind::NotFound,
                "connection error: desc = \"transport: Error while dialing: dial tcp: lookup gone.local: no such \
                 host\"",
            ),
            (
                "[::1]:7",
                io::ErrorKind::TimedOut,
                "connection error: desc = \"transport: Error while dialing: dial tcp [::1]:7: i/o timeout\"",
            ),
        ];
        for (address, kind, text) in cases {
            assert_eq!(not_dialed(address, &kind.into()), Status::unavailable(text));
        }
    }

    #[test]
    fn a_request_is_sent_to_the_address_of_the_peer() {
        let uri = absolute(&Uri::from_static("/a.B/C?x=1"), "127.0.0.1:5").unwrap();
        assert_eq!(uri, "http://127.0.0.1:5/a.B/C?x=1");
        assert!(absolute(&Uri::from_static("/"), "not an address").is_err());
    }
}
