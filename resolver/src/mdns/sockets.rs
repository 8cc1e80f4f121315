//! The network of this machine.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::task::{Context, Poll};

use outrigger_svc::BoxFuture;
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;

use super::network::{Channel, Network, Received, To};
use crate::SCOPE;
use crate::interfaces::{self, Interface};

const PORT: u16 = 5353;
const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);

/// One socket for each interface and address family, on a port that is shared with everybody.
///
/// A socket that joined one interface only, and hears nothing else, tells by itself where a packet
/// came from; no ancillary data is needed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sockets;

struct Links(Vec<Link>);

struct Link {
    socket: UdpSocket,
    group: SocketAddr,
}

// === impl Sockets ===

impl Network for Sockets {
    fn open(&self) -> io::Result<Box<dyn Channel>> {
        let mut links = Vec::new();
        for interface in interfaces::list()?.iter().filter(|interface| interface.multicast) {
            for attempt in [Link::ipv4(interface), Link::ipv6(interface)] {
                match attempt {
                    Ok(link) => links.extend(link),
                    Err(error) => {
                        tracing::debug!(target: SCOPE, "no mDNS on interface {}: {error}", interface.index);
                    }
                }
            }
        }
        if links.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::AddrNotAvailable,
                "no supported interface",
            ));
        }
        Ok(Box::new(Links(links)))
    }
}

// === impl Links ===

impl Links {
    fn poll_receive(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<Received>> {
        for (index, link) in self.0.iter().enumerate() {
            let mut buffer = ReadBuf::new(buffer);
            if let Poll::Ready(received) = link.socket.poll_recv_from(cx, &mut buffer) {
                let length = buffer.filled().len();
                return Poll::Ready(received.map(|sender| Received {
                    length,
                    link: index,
                    sender,
                }));
            }
        }
        Poll::Pending
    }

    async fn send_by(&self, index: usize, packet: &[u8], target: Option<SocketAddr>) {
        let Some(link) = self.0.get(index) else { return };
        if let Err(error) = link.socket.send_to(packet, target.unwrap_or(link.group)).await {
            tracing::debug!(target: SCOPE, "mDNS packet not sent: {error}");
        }
    }
}

impl Channel for Links {
    fn receive<'a>(&'a mut self, buffer: &'a mut [u8]) -> BoxFuture<'a, io::Result<Received>> {
        Box::pin(std::future::poll_fn(|cx| self.poll_receive(cx, buffer)))
    }

    fn send<'a>(&'a mut self, packet: &'a [u8], to: To) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            match to {
                To::Everybody => {
                    for index in 0..self.0.len() {
                        self.send_by(index, packet, None).await;
                    }
                }
                To::Link(index) => self.send_by(index, packet, None).await,
                To::One(index, target) => self.send_by(index, packet, Some(target)).await,
            }
        })
    }
}

// === impl Link ===

impl Link {
    /// Joins the IPv4 group; none if the interface has no IPv4 address to send from.
    fn ipv4(interface: &Interface) -> io::Result<Option<Self>> {
        let address = interface.addresses.iter().find_map(|address| match address {
            IpAddr::V4(ip) => Some(*ip),
            IpAddr::V6(_) => None,
        });
        let Some(address) = address else { return Ok(None) };
        let socket = shared_socket(Domain::IPV4)?;
        #[cfg(target_os = "linux")]
        socket.set_multicast_all_v4(false)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)).into())?;
        socket.join_multicast_v4_n(&GROUP_V4, &InterfaceIndexOrAddress::Index(interface.index))?;
        socket.set_multicast_if_v4(&address)?;
        socket.set_multicast_loop_v4(true)?;
        Self::new(socket, (GROUP_V4, PORT).into()).map(Some)
    }

    /// Joins the IPv6 group; none if the interface has no IPv6 address to send from.
    fn ipv6(interface: &Interface) -> io::Result<Option<Self>> {
        if !interface.addresses.iter().any(IpAddr::is_ipv6) {
            return Ok(None);
        }
        let socket = shared_socket(Domain::IPV6)?;
        socket.set_only_v6(true)?;
        #[cfg(target_os = "linux")]
        socket.set_multicast_all_v6(false)?;
        socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, PORT)).into())?;
        socket.join_multicast_v6(&GROUP_V6, interface.index)?;
        socket.set_multicast_if_v6(interface.index)?;
        socket.set_multicast_loop_v6(true)?;
        Self::new(
            socket,
            SocketAddrV6::new(GROUP_V6, PORT, 0, interface.index).into(),
        )
        .map(Some)
    }

    fn new(socket: Socket, group: SocketAddr) -> io::Result<Self> {
        Ok(Self {
            socket: UdpSocket::from_std(socket.into())?,
            group,
        })
    }
}

/// A socket whose port other processes may use as well.
fn shared_socket(domain: Domain) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    #[cfg(unix)]
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}
