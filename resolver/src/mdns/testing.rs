//! Networks and sidecars in memory, for tests.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use outrigger_svc::BoxFuture;
use tokio::sync::broadcast;

use super::MdnsResolver;
use super::network::{Channel, Network, Received, To};
use crate::component::Instance;

/// A link that everybody is on.
#[derive(Clone)]
pub(crate) struct Hub {
    link: broadcast::Sender<Packet>,
    next_port: Arc<AtomicU16>,
}

/// A place on the hub that hears everything but itself.
pub(crate) struct Ear {
    port: u16,
    link: broadcast::Sender<Packet>,
    inbox: broadcast::Receiver<Packet>,
}

/// No network at all.
pub(crate) struct Nowhere;

#[derive(Clone, Debug)]
struct Packet {
    bytes: Vec<u8>,
    from: u16,
    to: Option<u16>,
}

/// A sidecar on a machine that has no other of its app.
pub(crate) fn instance(app_id: &str, host_name: &str, host_address: &str) -> Instance {
    Instance {
        app_id: app_id.to_owned(),
        host_name: host_name.to_owned(),
        host_address: host_address.to_owned(),
        internal_port: 26102,
    }
}

/// Starts a sidecar at an address on the hub.
pub(crate) fn start(hub: &Hub, app_id: &str, address: &str) -> MdnsResolver {
    start_on(hub, app_id, address, 26102)
}

/// Starts a sidecar at an address and port on the hub.
pub(crate) fn start_on(hub: &Hub, app_id: &str, address: &str, port: u16) -> MdnsResolver {
    let instance = Instance {
        internal_port: port,
        ..instance(app_id, &format!("{address}-{port}"), address)
    };
    MdnsResolver::start_on(Arc::new(hub.clone()), &instance, "nr (mdns/v1)").unwrap()
}

impl Network for Nowhere {
    fn open(&self) -> io::Result<Box<dyn Channel>> {
        Err(io::ErrorKind::AddrNotAvailable.into())
    }
}

impl Hub {
    pub(crate) fn new() -> Self {
        Self {
            link: broadcast::channel(256).0,
            next_port: Arc::new(AtomicU16::new(1)),
        }
    }

    pub(crate) fn ear(&self) -> Ear {
        let port = self.next_port.fetch_add(1, Ordering::Relaxed);
        Ear {
            port,
            link: self.link.clone(),
            inbox: self.link.subscribe(),
        }
    }
}

impl Network for Hub {
    fn open(&self) -> io::Result<Box<dyn Channel>> {
        Ok(Box::new(self.ear()))
    }
}

impl Ear {
    pub(crate) async fn hear(&mut self) -> Vec<u8> {
        self.next().await.bytes
    }

    pub(crate) fn say(&self, bytes: &[u8]) {
        self.put(bytes, None);
    }

    async fn next(&mut self) -> Packet {
        loop {
            let packet = self.inbox.recv().await.expect("the hub outlives its ears");
            if packet.from != self.port && packet.to.is_none_or(|port| port == self.port) {
                return packet;
            }
        }
    }

    fn put(&self, bytes: &[u8], to: Option<u16>) {
        let packet = Packet {
            bytes: bytes.to_vec(),
            from: self.port,
            to,
        };
        self.link.send(packet).expect("somebody listens");
    }
}

impl Channel for Ear {
    fn receive<'a>(&'a mut self, buffer: &'a mut [u8]) -> BoxFuture<'a, io::Result<Received>> {
        Box::pin(async move {
            let packet = self.next().await;
            buffer[..packet.bytes.len()].copy_from_slice(&packet.bytes);
            let sender = SocketAddr::from((Ipv4Addr::LOCALHOST, packet.from));
            Ok(Received {
                length: packet.bytes.len(),
                link: 0,
                sender,
            })
        })
    }

    fn send<'a>(&'a mut self, packet: &'a [u8], to: To) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            match to {
                To::Everybody | To::Link(_) => self.put(packet, None),
                To::One(_, target) => self.put(packet, Some(target.port())),
            }
        })
    }
}
