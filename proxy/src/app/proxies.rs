//! Proxies for calls to servers outside, by the rules of Go's HTTP client.
//!
//! `HTTP_PROXY` is for `http` targets, `HTTPS_PROXY` for `https` targets; `NO_PROXY` lists hosts that are called
//! directly. The own machine is always called directly.

use std::net::IpAddr;

use outrigger_config::daprd::HttpProxy;

use super::base::Base;
use super::dial::Origin;

/// The proxies of a process.
#[derive(Debug, Default)]
pub(crate) struct Proxies {
    http: Option<Proxy>,
    https: Option<Proxy>,
    exceptions: Vec<Exception>,
}

/// One proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proxy {
    /// Where it listens.
    pub(crate) origin: Origin,
    /// Value of `Proxy-Authorization`, if its URL has credentials.
    pub(crate) credentials: Option<String>,
}

/// Hosts that are called directly.
#[derive(Debug, PartialEq, Eq)]
enum Exception {
    /// All of them.
    All,
    /// An address, with a port if one is given.
    Address(IpAddr, Option<u16>),
    /// A range of addresses: the first bits of one of them.
    Range(IpAddr, u32),
    /// A domain and what is below it; only what is below if it was written with a dot in front.
    Domain {
        name: String,
        itself: bool,
        port: Option<u16>,
    },
}

// === impl Proxies ===

impl Proxies {
    /// Reads the rules. A proxy whose URL cannot be read is no proxy, as in Go.
    pub(crate) fn new(rules: &HttpProxy) -> Self {
        Self {
            http: Proxy::parse(&rules.http),
            https: Proxy::parse(&rules.https),
            exceptions: rules.exceptions.split(',').filter_map(Exception::parse).collect(),
        }
    }

    /// The proxy for calls to a server; none if it is called directly.
    pub(crate) fn of(&self, origin: &Origin) -> Option<&Proxy> {
        let proxy = if origin.tls { &self.https } else { &self.http };
        let proxy = proxy.as_ref()?;
        let host = origin.host.to_ascii_lowercase();
        let address: Option<IpAddr> = host.parse().ok();
        if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
            return None;
        }
        let is_excepted = |exception: &Exception| exception.holds(&host, address, origin.port);
        (!self.exceptions.iter().any(is_excepted)).then_some(proxy)
    }
}

// === impl Proxy ===

impl Proxy {
    fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return None;
        }
        let url = match text.contains("://") {
            true => text.to_owned(),
            false => format!("http://{text}"),
        };
        let base = Base::parse(&url).ok()?;
        let credentials = base
            .credentials
            .and_then(|value| value.to_str().ok().map(str::to_owned));
        Some(Self {
            origin: base.origin,
            credentials,
        })
    }
}

// === impl Exception ===

impl Exception {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        if text.is_empty() {
            return None;
        }
        if text == "*" {
            return Some(Self::All);
        }
        if let Some((address, bits)) = text.split_once('/')
            && let (Ok(address), Ok(bits)) = (address.parse(), bits.parse())
        {
            return Some(Self::Range(address, bits));
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, port.parse().ok()),
            _ => (text.as_str(), None),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = host.parse() {
            return Some(Self::Address(address, port));
        }
        let host = host
            .strip_prefix('*')
            .filter(|rest| rest.starts_with('.'))
            .unwrap_or(host);
        let itself = !host.starts_with('.');
        Some(Self::Domain {
            name: host.trim_start_matches('.').to_owned(),
            itself,
            port,
        })
    }

    fn holds(&self, host: &str, address: Option<IpAddr>, port: u16) -> bool {
        match self {
            Self::All => true,
            Self::Address(known, wanted) => {
                address == Some(*known) && wanted.is_none_or(|wanted| wanted == port)
            }
            Self::Range(first, bits) => address.is_some_and(|address| shares(*first, address, *bits)),
            Self::Domain {
                name,
                itself,
                port: wanted,
            } => {
                let is_below = host
                    .strip_suffix(name.as_str())
                    .is_some_and(|rest| rest.ends_with('.'));
                (is_below || *itself && host == name) && wanted.is_none_or(|wanted| wanted == port)
            }
        }
    }
}

/// Whether two addresses of one family have their first bits in common.
fn shares(one: IpAddr, other: IpAddr, bits: u32) -> bool {
    match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => {
            (one.to_bits() ^ other.to_bits()).leading_zeros() >= bits.min(32)
        }
        (IpAddr::V6(one), IpAddr::V6(other)) => {
            (one.to_bits() ^ other.to_bits()).leading_zeros() >= bits.min(128)
        }
        _ => false,
    }
}

/// The request that asks a proxy for a tunnel to a server.
pub(crate) fn connect_request(origin: &Origin, credentials: Option<&str>) -> String {
    let authority = origin.authority();
    let authorization = credentials
        .map(|value| format!("Proxy-Authorization: {value}\r\n"))
        .unwrap_or_default();
    format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{authorization}\r\n")
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    fn origin(url: &str) -> Origin {
        Base::parse(url).unwrap().origin
    }

    #[test]
    fn each_scheme_has_its_proxy_and_the_own_machine_has_none() {
        let proxies = Proxies::new(&HttpProxy {
            http: "proxy:3128".to_owned(),
            https: "http://user:pass@secure:80".to_owned(),
            exceptions: String::new(),
        });
        let of = |url: &str| proxies.of(&origin(url)).map(|proxy| proxy.origin.authority());
        assert_eq!(of("http://example.com").as_deref(), Some("proxy:3128"));
        assert_eq!(of("https://example.com").as_deref(), Some("secure:80"));
        for local in ["http://localhost:80", "http://127.0.0.2", "http://[::1]:8080"] {
            assert_eq!(of(local), None, "{local}");
        }
        let secure = proxies.of(&origin("https://example.com")).unwrap();
        assert_eq!(
            secure.credentials.as_deref(),
            Some(&*format!("Basic {}", STANDARD.encode("user:pass")))
        );
        assert!(Proxies::default().of(&origin("http://example.com")).is_none());
    }

    #[test]
    fn exceptions_are_hosts_domains_addresses_and_ranges() {
        let proxies = |exceptions: &str| {
            Proxies::new(&HttpProxy {
                http: "http://proxy:1".to_owned(),
                https: String::new(),
                exceptions: exceptions.to_owned(),
            })
        };
        let table = [
            ("*", "http://a.example", true),
            ("example.com", "http://example.com", true),
            ("Example.com", "http://a.EXAMPLE.com", true),
            ("example.com", "http://notexample.com", false),
            (".example.com", "http://example.com", false),
            (".example.com", "http://a.example.com", true),
            ("*.example.com", "http://a.example.com", true),
            ("example.com:81", "http://example.com", false),
            ("example.com:81", "http://example.com:81", true),
            ("x, 10.0.0.1", "http://10.0.0.1", true),
            ("10.1.0.0/16", "http://10.1.200.3", true),
            ("10.1.0.0/16", "http://10.2.0.1", false),
            ("10.1.0.0/16", "http://a.example", false),
            ("fd00::/8", "http://[fd12::1]", true),
            ("[fd12::1]:80", "http://[fd12::1]", true),
            ("10.0.0.0/0", "http://11.0.0.1", true),
            ("", "http://a.example", false),
        ];
        for (exceptions, url, is_direct) in table {
            let proxies = proxies(exceptions);
            assert_eq!(
                proxies.of(&origin(url)).is_none(),
                is_direct,
                "{exceptions} {url}"
            );
        }
    }

    #[test]
    fn a_tunnel_is_asked_for_by_name_and_port() {
        assert_eq!(
            connect_request(&origin("https://example.com"), Some("Basic eA==")),
            "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\nProxy-Authorization: Basic eA==\r\n\r\n"
        );
    }
}
