//! Waiting until the app listens.
//!
//! Source: specification, the daprd process 3, step t.

use std::time::Duration;

use super::dial::{Dialer, Origin};

/// Pause between two tries, and the time that one may take.
const PAUSE: Duration = Duration::from_millis(100);
const TRY: Duration = Duration::from_millis(500);
const SCOPE: &str = "dapr.runtime";

/// Tries to reach the app's port until it answers, for TLS apps with a handshake; never gives up.
pub(crate) async fn wait_for_app(dialer: &Dialer, origin: &Origin, protocol: &str) {
    let port = origin.port;
    tracing::info!(
        target: SCOPE,
        "application protocol: {protocol}. waiting on port {port}.  This will block until the app is listening on that port."
    );
    let dialer = dialer.clone().with_timeouts(TRY, TRY);
    let mut tries: u64 = 0;
    while dialer.dial(origin).await.is_err() {
        tries += 1;
        if tries.is_multiple_of(100) {
            tracing::info!(target: SCOPE, "waiting for application to listen on port {port}");
        }
        tokio::time::sleep(PAUSE).await;
    }
    tracing::info!(target: SCOPE, "application discovered on port {port}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::testing;

    #[tokio::test(start_paused = true)]
    async fn it_ends_when_the_app_listens() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let origin = Origin {
            host: "127.0.0.1".into(),
            port: address.port(),
            tls: false,
        };
        let dialer = testing::dialer();
        let waiting = tokio::spawn(async move { wait_for_app(&dialer, &origin, "http").await });
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!waiting.is_finished());
        let _listener = tokio::net::TcpListener::bind(address).await.unwrap();
        waiting.await.unwrap();
    }
}
