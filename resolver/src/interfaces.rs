//! The network interfaces of this machine.

use std::io;
use std::net::IpAddr;

/// A network interface that is up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Interface {
    /// The kernel's number of it, from 1.
    pub(crate) index: u32,
    /// Whether it carries multicast.
    pub(crate) multicast: bool,
    /// Its addresses, in the kernel's order.
    pub(crate) addresses: Vec<IpAddr>,
}

/// Lists the interfaces that are up.
pub(crate) fn list() -> io::Result<Vec<Interface>> {
    #[cfg(target_os = "linux")]
    return netlink::list();
    #[cfg(not(target_os = "linux"))]
    return Err(io::ErrorKind::Unsupported.into());
}

/// Asks the kernel over rtnetlink (RFC 3549), the one way that needs no C library.
#[cfg(target_os = "linux")]
mod netlink {
    use std::collections::BTreeMap;
    use std::io::{self, Read as _, Write as _};
    use std::net::IpAddr;
    use std::time::Duration;

    use socket2::{Domain, Protocol, Socket, Type};

    use super::Interface;

    const FAMILY: i32 = 16; // AF_NETLINK
    const GET_LINK: u16 = 18; // RTM_GETLINK
    const NEW_LINK: u16 = 16; // RTM_NEWLINK
    const GET_ADDRESS: u16 = 22; // RTM_GETADDR
    const NEW_ADDRESS: u16 = 20; // RTM_NEWADDR
    const ERROR: u16 = 2; // NLMSG_ERROR
    const DONE: u16 = 3; // NLMSG_DONE
    const DUMP: u16 = 0x301; // NLM_F_REQUEST | NLM_F_DUMP
    const UP: u32 = 0x1; // IFF_UP
    const MULTICAST: u32 = 0x1000; // IFF_MULTICAST
    const ADDRESS: u16 = 1; // IFA_ADDRESS
    const LOCAL: u16 = 2; // IFA_LOCAL

    const HEADER: usize = 16;
    const LINK_HEADER: usize = 16;
    const ADDRESS_HEADER: usize = 8;
    const ATTRIBUTE_HEADER: usize = 4;

    pub(super) fn list() -> io::Result<Vec<Interface>> {
        let mut socket = Socket::new(
            Domain::from(FAMILY),
            Type::DGRAM.cloexec(),
            Some(Protocol::from(0)),
        )?;
        socket.set_read_timeout(Some(Duration::from_secs(1)))?;
        let mut found = BTreeMap::new();
        dump(&mut socket, GET_LINK, |kind, payload| {
            if kind == NEW_LINK {
                found.extend(link(payload));
            }
        })?;
        dump(&mut socket, GET_ADDRESS, |kind, payload| {
            if kind != NEW_ADDRESS {
                return;
            }
            if let Some((index, ip)) = address(payload)
                && let Some(interface) = found.get_mut(&index)
            {
                interface.addresses.push(ip);
            }
        })?;
        Ok(found.into_values().collect())
    }

    /// Sends one request and shows every message of the answer to `read`.
    fn dump(socket: &mut Socket, kind: u16, mut read: impl FnMut(u16, &[u8])) -> io::Result<()> {
        let mut request = [0; HEADER + LINK_HEADER];
        let length = u32::try_from(request.len()).expect("a request is short");
        request[..4].copy_from_slice(&length.to_ne_bytes());
        request[4..6].copy_from_slice(&kind.to_ne_bytes());
        request[6..8].copy_from_slice(&DUMP.to_ne_bytes());
        socket.write_all(&request)?;

        let mut buffer = vec![0; 64 * 1024];
        loop {
            let length = socket.read(&mut buffer)?;
            let mut messages = &buffer[..length];
            while let Some((kind, payload, rest)) = split_message(messages) {
                match kind {
                    DONE => return Ok(()),
                    ERROR => return Err(io::Error::other("the kernel refused to list interfaces")),
                    kind => read(kind, payload),
                }
                messages = rest;
            }
        }
    }

    /// Kind and payload of the first message, and what follows it.
    fn split_message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
        let length = read_u32(bytes, 0)? as usize;
        let kind = read_u16(bytes, 4)?;
        let payload = bytes.get(HEADER..length)?;
        Some((
            kind,
            payload,
            bytes.get(length.next_multiple_of(4)..).unwrap_or_default(),
        ))
    }

    /// The attribute `kind` behind a message's fixed part.
    fn attribute(mut bytes: &[u8], kind: u16) -> Option<&[u8]> {
        loop {
            let length = usize::from(read_u16(bytes, 0)?);
            let value = bytes.get(ATTRIBUTE_HEADER..length)?;
            if read_u16(bytes, 2)? == kind {
                return Some(value);
            }
            bytes = bytes.get(length.next_multiple_of(4)..)?;
        }
    }

    fn link(payload: &[u8]) -> Option<(u32, Interface)> {
        let index = read_u32(payload, 4)?;
        let flags = read_u32(payload, 8)?;
        let multicast = flags & MULTICAST != 0;
        (flags & UP != 0).then(|| {
            (
                index,
                Interface {
                    index,
                    multicast,
                    addresses: Vec::new(),
                },
            )
        })
    }

    fn address(payload: &[u8]) -> Option<(u32, IpAddr)> {
        let index = read_u32(payload, 4)?;
        let attributes = payload.get(ADDRESS_HEADER..)?;
        // On a point-to-point interface ADDRESS is the other end.
        let bytes = attribute(attributes, LOCAL).or_else(|| attribute(attributes, ADDRESS))?;
        let ip = match bytes.len() {
            4 => IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?),
            16 => IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?),
            _ => return None,
        };
        Some((index, ip))
    }

    fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
        Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
    }

    fn read_u16(bytes: &[u8], at: usize) -> Option<u16> {
        Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
    }

    #[cfg(test)]
    mod tests {
        use std::net::Ipv4Addr;

        use super::*;

        #[test]
        fn the_loopback_interface_is_listed() {
            let interfaces = list().unwrap();
            let loopback = interfaces
                .iter()
                .find(|interface| interface.addresses.contains(&Ipv4Addr::LOCALHOST.into()))
                .unwrap();
            assert!(loopback.index > 0);
            assert!(!loopback.multicast);
        }

        #[test]
        fn a_message_that_is_cut_off_ends_the_walk() {
            assert_eq!(
                split_message(&[40, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
                None
            );
            assert_eq!(attribute(&[0, 0, 1, 0], LOCAL), None);
            assert_eq!(
                attribute(&[8, 0, 2, 0, 127, 0, 0, 1], LOCAL),
                Some([127, 0, 0, 1].as_slice())
            );
        }
    }
}
