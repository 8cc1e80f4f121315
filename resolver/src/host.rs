//! The address under which other machines reach this one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use crate::interfaces;

/// No address of this machine can be advertised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("could not determine host IP address")]
pub struct HostAddressError;

/// How well an interface address suits; the first is the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    PublicIpv4,
    GlobalIpv6,
    PrivateIpv4,
    UniqueLocalIpv6,
    LinkLocal,
}

/// Finds the advertised address: `configured` (the variable `DAPR_HOST_IP`) if it is not empty, else
/// the source address that the kernel would send from, else the best interface address.
///
/// Sends no packet. Addresses in `192.0.0.0/29` are never taken.
///
/// # Errors
/// If none of the ways yields an address.
///
/// Source: specification of name resolution, section 1.
pub fn host_address(configured: Option<&str>) -> Result<String, HostAddressError> {
    if let Some(address) = configured.filter(|address| !address.is_empty()) {
        return Ok(address.to_owned());
    }
    let targets: [SocketAddr; 2] = [
        (Ipv4Addr::new(192, 0, 2, 1), 80).into(),
        (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 80).into(),
    ];
    targets
        .into_iter()
        .filter_map(source_address)
        .find(|&address| !is_reserved(address))
        .or_else(|| {
            best(
                interfaces::list()
                    .unwrap_or_default()
                    .into_iter()
                    .flat_map(|found| found.addresses),
            )
        })
        .map(|address| address.to_string())
        .ok_or(HostAddressError)
}

fn source_address(target: SocketAddr) -> Option<IpAddr> {
    let any: SocketAddr = match target {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(target).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// The first address of the best class.
fn best(addresses: impl Iterator<Item = IpAddr>) -> Option<IpAddr> {
    addresses
        .filter_map(|address| class(address).map(|class| (class, address)))
        .min_by_key(|&(class, _)| class)
        .map(|(_, address)| address)
}

fn class(address: IpAddr) -> Option<Class> {
    if address.is_loopback() || address.is_unspecified() || address.is_multicast() || is_reserved(address) {
        return None;
    }
    Some(match address {
        IpAddr::V4(ip) if ip.is_link_local() => Class::LinkLocal,
        IpAddr::V4(ip) if ip.is_private() || is_shared(ip) => Class::PrivateIpv4,
        IpAddr::V4(_) => Class::PublicIpv4,
        IpAddr::V6(ip) if ip.is_unicast_link_local() => Class::LinkLocal,
        IpAddr::V6(ip) if ip.is_unique_local() => Class::UniqueLocalIpv6,
        IpAddr::V6(_) => Class::GlobalIpv6,
    })
}

/// `192.0.0.0/29`: the inside of a translation between IPv4 and IPv6 (RFC 7335).
fn is_reserved(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(ip) if u32::from(ip) >> 3 == u32::from(Ipv4Addr::new(192, 0, 0, 0)) >> 3)
}

/// `100.64.0.0/10` (RFC 6598).
fn is_shared(ip: Ipv4Addr) -> bool {
    let [first, second, ..] = ip.octets();
    first == 100 && second & 0xc0 == 64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pick(addresses: &[&str]) -> Option<String> {
        best(addresses.iter().map(|address| address.parse().unwrap())).map(|address| address.to_string())
    }

    #[test]
    fn a_configured_address_is_taken_as_it_is() {
        assert_eq!(host_address(Some("not checked")).unwrap(), "not checked");
    }

    #[test]
    fn the_best_class_wins_and_within_it_the_first() {
        let ranked =
            ["8.8.8.8", "2001:4860::1", "10.0.0.1", "fd00::1", "169.254.0.1"].map(|address| vec![address]);
        for worse in 1..ranked.len() {
            let listed = [ranked[worse].clone(), ranked[worse - 1].clone()].concat();
            assert_eq!(pick(&listed).unwrap(), ranked[worse - 1][0]);
        }
        assert_eq!(
            pick(&["192.168.1.1", "172.16.0.1", "100.64.0.1"]).unwrap(),
            "192.168.1.1"
        );
        assert_eq!(pick(&["fe80::1", "169.254.0.1"]).unwrap(), "fe80::1");
        assert_eq!(pick(&["100.127.255.255", "fd00::1"]).unwrap(), "100.127.255.255");
    }

    #[test]
    fn loopback_and_the_translation_range_are_never_taken() {
        assert_eq!(pick(&["127.0.0.1", "::1", "192.0.0.1", "192.0.0.7"]), None);
        assert_eq!(pick(&["192.0.0.8"]).unwrap(), "192.0.0.8");
    }
}
