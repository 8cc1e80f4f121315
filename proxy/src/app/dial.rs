//! Opening connections, with the error texts that clients of the API see.
//!
//! Failures travel to the caller's client as text, and clients match on it, so they are worded as Go's
//! `net` package words them: `dial tcp 127.0.0.1:3000: connect: connection refused`.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use outrigger_resolver::LookupAddresses;
use outrigger_svc::{BoxConnection, Connect};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;

use super::proxies::{Proxies, Proxy, connect_request};
use super::tls::Tls;

/// Host and port of a server, and whether it is reached by TLS.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    /// Host name or address, an IPv6 address without brackets.
    pub(crate) host: Arc<str>,
    /// TCP port.
    pub(crate) port: u16,
    /// Whether the connection is TLS.
    pub(crate) tls: bool,
}

/// Opens connections to origins, within the times that Go allows.
#[derive(Clone)]
pub(crate) struct Dialer {
    lookup: Arc<dyn LookupAddresses>,
    connect: Arc<dyn Connect>,
    tls: Option<Tls>,
    timeout: Duration,
    handshake_timeout: Duration,
    proxies: Arc<Proxies>,
    /// The name of all servers in TLS, in place of that of their host.
    server_name: Option<Arc<str>>,
}

/// Why no connection could be opened; the text is that of Go's `net` and `crypto/tls`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    /// The name has no address.
    #[error("dial tcp: lookup {host}: no such host")]
    NoSuchHost {
        /// The name.
        host: Arc<str>,
    },
    /// The search for the name's address took too long.
    #[error("dial tcp: lookup {host}: i/o timeout")]
    LookupTimeout {
        /// The name.
        host: Arc<str>,
    },
    /// The connection could not be made.
    #[error("dial tcp {address}: {}", ConnectText(.source))]
    Connect {
        /// Address of the last attempt.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The host name cannot be a server name of TLS.
    #[error("tls: invalid server name {0}")]
    ServerName(Arc<str>),
    /// The peer's certificate is not trusted.
    #[error("tls: failed to verify certificate: {0}")]
    Untrusted(CertificateText),
    /// The handshake failed.
    #[error("{0}")]
    Handshake(io::Error),
    /// The handshake took too long.
    #[error("net/http: TLS handshake timeout")]
    HandshakeTimeout,
    /// The proxy cannot be reached.
    #[error("proxyconnect tcp: {0}")]
    Proxy(Box<Self>),
    /// The proxy opens no tunnel; the text is the reason that it gives.
    #[error("{0}")]
    Tunnel(String),
    /// TLS is asked for where there is none.
    #[error("tls: no client configuration")]
    NoTls,
}

/// How Go words a certificate that is not trusted.
#[derive(Clone, Debug)]
pub(crate) struct CertificateText(rustls::CertificateError);

struct ConnectText<'a>(&'a io::Error);

/// Time to reach an app or a plain URL.
pub(crate) const DIAL_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest head of a proxy's answer.
const MAX_TUNNEL_HEAD: usize = 16 << 10;
/// Time for the TLS handshake with an app or a plain URL.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

// === impl Origin ===

impl Origin {
    /// The origin as a URL writes it: `http://127.0.0.1:3000`, the port always given.
    #[must_use]
    pub(crate) fn url(&self) -> String {
        format!(
            "{}://{}",
            if self.tls { "https" } else { "http" },
            self.authority()
        )
    }

    /// `host:port`, IPv6 in brackets.
    #[must_use]
    pub(crate) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

// === impl Dialer ===

impl Dialer {
    /// A dialer for plain connections, with 30 s to connect and 10 s for a TLS handshake.
    #[must_use]
    pub(crate) fn new(lookup: Arc<dyn LookupAddresses>, connect: Arc<dyn Connect>) -> Self {
        Self {
            lookup,
            connect,
            tls: None,
            timeout: DIAL_TIMEOUT,
            handshake_timeout: HANDSHAKE_TIMEOUT,
            proxies: Arc::default(),
            server_name: None,
        }
    }

    /// The same dialer, also for TLS.
    #[must_use]
    pub(crate) fn with_tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// The same dialer, to servers that all have this name in TLS.
    #[must_use]
    pub(crate) fn with_server_name(mut self, name: &str) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// The same dialer with other times to connect and to shake hands.
    #[must_use]
    pub(crate) fn with_timeouts(mut self, connect: Duration, handshake: Duration) -> Self {
        (self.timeout, self.handshake_timeout) = (connect, handshake);
        self
    }

    /// The same dialer by way of proxies, where there is one for a server.
    #[must_use]
    pub(crate) fn with_proxies(mut self, proxies: &Arc<Proxies>) -> Self {
        self.proxies = Arc::clone(proxies);
        self
    }

    /// The proxy that requests to this server are given to, each with the whole URL; none where they go to the
    /// server itself, be it through a tunnel.
    pub(crate) fn forwarder(&self, origin: &Origin) -> Option<&Proxy> {
        self.proxies.of(origin).filter(|_| !origin.tls)
    }

    /// Opens one connection.
    ///
    /// # Errors
    /// [`DialError`], worded as Go words it.
    pub(crate) async fn dial(&self, origin: &Origin) -> Result<BoxConnection, DialError> {
        let stream = match self.proxies.of(origin) {
            None => self.connect(origin).await?,
            Some(proxy) => Box::pin(self.connect_by(proxy, origin)).await?,
        };
        if !origin.tls {
            return Ok(stream);
        }
        self.secure(self.server_name.as_ref().unwrap_or(&origin.host), stream)
            .await
    }

    async fn secure(&self, name: &Arc<str>, stream: BoxConnection) -> Result<BoxConnection, DialError> {
        let config = self.tls.as_ref().map(Tls::config).ok_or(DialError::NoTls)?;
        let name =
            ServerName::try_from(name.to_string()).map_err(|_| DialError::ServerName(Arc::clone(name)))?;
        let handshake = TlsConnector::from(config).connect(name, stream);
        match tokio::time::timeout(self.handshake_timeout, handshake).await {
            Ok(Ok(stream)) => Ok(Box::new(stream)),
            Ok(Err(error)) => Err(handshake_error(error)),
            Err(_) => Err(DialError::HandshakeTimeout),
        }
    }

    /// Connects to a proxy, and through it if the server is reached by TLS.
    async fn connect_by(&self, proxy: &Proxy, origin: &Origin) -> Result<BoxConnection, DialError> {
        let failed = |error: DialError| DialError::Proxy(Box::new(error));
        let mut stream = self.connect(&proxy.origin).await.map_err(failed)?;
        if proxy.origin.tls {
            stream = self.secure(&proxy.origin.host, stream).await.map_err(failed)?;
        }
        if !origin.tls {
            return Ok(stream);
        }
        let request = connect_request(origin, proxy.credentials.as_deref());
        match tokio::time::timeout(self.timeout, tunnel(&mut stream, &request)).await {
            Ok(Ok(())) => Ok(stream),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(DialError::Tunnel("i/o timeout".to_owned())),
        }
    }

    async fn connect(&self, origin: &Origin) -> Result<BoxConnection, DialError> {
        let addresses = match origin.host.parse::<IpAddr>() {
            Ok(address) => vec![address],
            Err(_) => self.lookup(&origin.host).await?,
        };
        let mut last = None;
        for address in addresses {
            let address = SocketAddr::new(address, origin.port);
            let text = address.to_string();
            let connect = self.connect.connect(&text);
            match tokio::time::timeout(self.timeout, connect).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(source)) => last = Some(DialError::Connect { address, source }),
                Err(_) => {
                    last = Some(DialError::Connect {
                        address,
                        source: io::ErrorKind::TimedOut.into(),
                    });
                }
            }
        }
        Err(last.unwrap_or_else(|| DialError::NoSuchHost {
            host: origin.host.clone(),
        }))
    }

    async fn lookup(&self, host: &Arc<str>) -> Result<Vec<IpAddr>, DialError> {
        if &**host == "localhost" {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        match tokio::time::timeout(self.timeout, self.lookup.lookup(host)).await {
            Ok(Ok(addresses)) => Ok(addresses),
            Ok(Err(reason)) => {
                tracing::debug!(target: "dapr.runtime.channels", "failed to look up {host}: {reason}");
                Err(DialError::NoSuchHost { host: host.clone() })
            }
            Err(_) => Err(DialError::LookupTimeout { host: host.clone() }),
        }
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer")
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// Has a proxy open a tunnel; what it says behind the head of its answer is the server's.
async fn tunnel(stream: &mut BoxConnection, request: &str) -> Result<(), DialError> {
    let broken = |error: io::Error| DialError::Tunnel(SystemText(&error).to_string());
    stream.write_all(request.as_bytes()).await.map_err(broken)?;
    stream.flush().await.map_err(broken)?;
    let mut head = Vec::new();
    // Byte by byte: nothing behind the head may be taken.
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == MAX_TUNNEL_HEAD {
            return Err(DialError::Tunnel(
                "the answer of the proxy is too long".to_owned(),
            ));
        }
        head.push(stream.read_u8().await.map_err(broken)?);
    }
    let head = String::from_utf8_lossy(&head);
    let status = head.lines().next().unwrap_or_default();
    let (_, status) = status.split_once(' ').unwrap_or_default();
    match status.split_once(' ').unwrap_or((status, "")) {
        ("200", _) => Ok(()),
        (_, reason) => Err(DialError::Tunnel(reason.to_owned())),
    }
}

fn handshake_error(error: io::Error) -> DialError {
    let tls = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::InvalidCertificate(cause)) => {
            DialError::Untrusted(CertificateText(cause.clone()))
        }
        _ => DialError::Handshake(error),
    }
}

// === impl CertificateText ===

impl fmt::Display for CertificateText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use rustls::CertificateError as Cause;
        match &self.0 {
            Cause::UnknownIssuer | Cause::BadSignature => {
                f.write_str("x509: certificate signed by unknown authority")
            }
            Cause::Expired
            | Cause::ExpiredContext { .. }
            | Cause::NotValidYet
            | Cause::NotValidYetContext { .. } => {
                f.write_str("x509: certificate has expired or is not yet valid")
            }
            other => write!(f, "x509: {other}"),
        }
    }
}

// === impl ConnectText ===

impl fmt::Display for ConnectText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.kind() {
            io::ErrorKind::TimedOut => f.write_str("i/o timeout"),
            _ => write!(f, "connect: {}", SystemText(self.0)),
        }
    }
}

/// A system error in Go's words: those of the system, in lower case and without the number.
pub(crate) struct SystemText<'a>(pub(crate) &'a io::Error);

impl fmt::Display for SystemText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.0.kind() {
            io::ErrorKind::ConnectionRefused => "connection refused",
            io::ErrorKind::ConnectionReset => "connection reset by peer",
            io::ErrorKind::BrokenPipe => "broken pipe",
            io::ErrorKind::HostUnreachable => "no route to host",
            io::ErrorKind::NetworkUnreachable => "network is unreachable",
            io::ErrorKind::AddrNotAvailable => "cannot assign requested address",
            io::ErrorKind::UnexpectedEof => "unexpected EOF",
            io::ErrorKind::PermissionDenied => "permission denied",
            _ => return write!(f, "{}", self.0),
        };
        f.write_str(text)
    }
}

#[cfg(test)]
mod tests {
    use outrigger_config::daprd::HttpProxy;
    use outrigger_svc::BoxFuture;

    use super::*;
    use outrigger_link::TcpConnect;

    fn origin(host: &str, port: u16) -> Origin {
        Origin {
            host: host.into(),
            port,
            tls: false,
        }
    }

    struct Fixed(Result<Vec<IpAddr>, String>);

    impl LookupAddresses for Fixed {
        fn lookup<'a>(&'a self, _host: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, String>> {
            Box::pin(std::future::ready(self.0.clone()))
        }
    }

    async fn failure(lookup: Result<Vec<IpAddr>, String>, origin: &Origin) -> String {
        match Dialer::new(Arc::new(Fixed(lookup)), Arc::new(TcpConnect))
            .dial(origin)
            .await
        {
            Ok(_) => "connected".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[tokio::test]
    async fn a_refused_connection_is_worded_as_go_words_it() {
        let closed = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let text = failure(Ok(Vec::new()), &origin("127.0.0.1", closed)).await;
        assert_eq!(
            text,
            format!("dial tcp 127.0.0.1:{closed}: connect: connection refused")
        );
    }

    #[tokio::test]
    async fn a_name_without_address_is_worded_as_go_words_it() {
        let nobody = origin("nobody.invalid", 80);
        let expected = "dial tcp: lookup nobody.invalid: no such host";
        assert_eq!(failure(Ok(Vec::new()), &nobody).await, expected);
        assert_eq!(failure(Err("refused".to_owned()), &nobody).await, expected);
    }

    #[tokio::test]
    async fn the_next_address_is_tried_when_one_refuses() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let addresses = Ok(vec!["127.0.0.2".parse().unwrap(), "127.0.0.1".parse().unwrap()]);
        assert_eq!(failure(addresses, &origin("app", port)).await, "connected");
    }

    /// A proxy that gives one answer, and what it was asked.
    async fn proxy(answer: &'static str) -> (HttpProxy, tokio::task::JoinHandle<String>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let rules = HttpProxy {
            https: format!("http://{}", listener.local_addr().unwrap()),
            ..HttpProxy::default()
        };
        let asked = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8(head).unwrap()
        });
        (rules, asked)
    }

    #[tokio::test]
    async fn a_proxy_that_opens_no_tunnel_gives_the_reason() {
        let (rules, asked) = proxy("HTTP/1.1 407 Proxy Authentication Required\r\nX: y\r\n\r\n").await;
        let dialer = Dialer::new(Arc::new(Fixed(Ok(Vec::new()))), Arc::new(TcpConnect));
        let dialer = dialer.with_proxies(&Arc::new(Proxies::new(&rules)));
        let outside = Origin {
            tls: true,
            ..origin("outside.example", 443)
        };
        let error = dialer.dial(&outside).await.err().unwrap();
        assert_eq!(error.to_string(), "Proxy Authentication Required");
        assert!(
            asked
                .await
                .unwrap()
                .starts_with("CONNECT outside.example:443 HTTP/1.1\r\n")
        );

        let closed = HttpProxy {
            https: "http://127.0.0.1:1".to_owned(),
            ..HttpProxy::default()
        };
        let dialer = dialer.with_proxies(&Arc::new(Proxies::new(&closed)));
        let error = dialer.dial(&outside).await.err().unwrap();
        assert_eq!(
            error.to_string(),
            "proxyconnect tcp: dial tcp 127.0.0.1:1: connect: connection refused"
        );
    }

    #[test]
    fn origins_are_written_as_urls() {
        assert_eq!(origin("127.0.0.1", 80).url(), "http://127.0.0.1:80");
        assert_eq!(
            Origin {
                tls: true,
                ..origin("::1", 443)
            }
            .url(),
            "https://[::1]:443"
        );
    }
}
