//! Ports: binding them, accepting connections, and letting calls in flight finish.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hyper_util::server::graceful::GracefulConnection;
use outrigger_config::sentry::Listener;
use outrigger_svc::{Drain, DrainSignal};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::error::Error;

/// How long a client may take for a handshake, or for the head of a request.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// How long calls in flight may take once a server stops.
const GRACE: Duration = Duration::from_secs(5);

/// How long accepting pauses when the process has no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Binds a port; no address means all of them, in both families if the machine has both.
pub(crate) async fn bind(at: &Listener) -> Result<(TcpListener, SocketAddr), Error> {
    let listener = match at.address.as_str() {
        "" => match TcpListener::bind((Ipv6Addr::UNSPECIFIED, at.port)).await {
            Ok(listener) => Ok(listener),
            Err(_) => TcpListener::bind((Ipv4Addr::UNSPECIFIED, at.port)).await,
        },
        // Not looked up: this name has one meaning only.
        "localhost" => TcpListener::bind((Ipv4Addr::LOCALHOST, at.port)).await,
        host => TcpListener::bind((host.trim_matches(['[', ']']), at.port)).await,
    };
    let with_address = |listener: TcpListener| -> io::Result<_> {
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    listener.and_then(with_address).map_err(|source| Error::Listen {
        address: format!("{}:{}", at.address, at.port),
        source,
    })
}

/// Hands each connection to `serve` until `stop`; then closes the port and lets what is in flight finish.
pub(crate) async fn accept<F, W>(listener: TcpListener, stop: CancellationToken, serve: F)
where
    F: Fn(TcpStream, DrainSignal) -> W,
    W: Future<Output = ()> + Send + 'static,
{
    let drain = Drain::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let signal = drain.signal();
                tokio::spawn(signal.track(serve(stream, signal.clone())));
            }
            Err(error) => {
                tracing::warn!(target: "dapr.sentry", "Failed to accept a connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    drain.run(Some(GRACE)).await;
}

/// Serves one connection; when the server stops, no further call is taken from it.
pub(crate) async fn drive<C>(connection: C, signal: DrainSignal)
where
    C: GracefulConnection<Error = hyper::Error>,
{
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = signal.stopping() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(target: "dapr.sentry", "Connection failed: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses_may_be_named_or_left_out() {
        for (address, expected) in [("127.0.0.1", "127.0.0.1"), ("localhost", "127.0.0.1")] {
            let at = Listener {
                address: address.to_owned(),
                port: 0,
            };
            let (_, bound) = bind(&at).await.unwrap();
            assert_eq!(bound.ip().to_string(), expected);
        }
        let everywhere = Listener {
            address: String::new(),
            port: 0,
        };
        let (_listener, bound) = bind(&everywhere).await.unwrap();
        assert!(bound.ip().is_unspecified());
        let taken = Listener {
            address: "127.0.0.1".to_owned(),
            port: bound.port(),
        };
        let error = bind(&taken).await.unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("failed to listen on 127.0.0.1:{}: ", bound.port())),
            "{error}"
        );
    }

    #[tokio::test]
    async fn connections_in_flight_are_waited_for() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let asked = stop.clone();
        let served = tokio::spawn(accept(listener, stop, move |stream, signal| {
            let asked = asked.clone();
            async move {
                asked.cancel();
                signal.stopping().await;
                stream.writable().await.unwrap();
                stream.try_write(b"done").unwrap();
            }
        }));
        let mut stream = TcpStream::connect(address).await.unwrap();
        let mut answer = String::new();
        tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut answer)
            .await
            .unwrap();
        assert_eq!(answer, "done");
        served.await.unwrap();
        assert!(TcpStream::connect(address).await.is_err());
    }
}
