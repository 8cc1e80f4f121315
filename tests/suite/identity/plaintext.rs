//! The internal port without TLS, and clients without TLS on one with it.

use std::net::Ipv4Addr;
use std::time::Duration;

use outrigger_test_kit::{Daprd, HttpApp, Result, Sentry, isolated};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::openssl::s_client;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";
/// Type of a SETTINGS frame.
const SETTINGS: u8 = 4;

#[test]
fn a_port_without_tls_greets_before_the_client_says_a_word() {
    isolated!(async {
        let daprd = Daprd::builder("callee")?.start().await?;
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, daprd.internal_port)).await?;
        let mut header = [0; 9];
        timeout(Duration::from_secs(5), stream.read_exact(&mut header)).await??;
        assert_eq!((header[3], &header[4..]), (SETTINGS, &[0; 5][..]));

        let text = s_client(daprd.internal_port, &[], None).await?;
        assert!(
            text.contains("wrong version number") || text.contains("packet length"),
            "{text}"
        );
        Ok(())
    });
}

#[test]
fn a_client_without_tls_gets_no_http2_from_a_port_with_it() {
    isolated!(async {
        let sentry = Sentry::start().await?;
        let daprd = Daprd::builder("callee")?.mtls(&sentry).start().await?;
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, daprd.internal_port)).await?;
        stream.write_all(PREFACE).await?;
        let mut reply = Vec::new();
        // A reset is an end too.
        timeout(Duration::from_secs(5), stream.read_to_end(&mut reply))
            .await?
            .ok();
        assert_ne!(reply.get(3), Some(&SETTINGS), "{reply:x?}");
        assert_eq!(daprd.get("/v1.0/healthz").await?.status, 204);
        Ok(())
    });
}

#[test]
fn sidecars_with_and_without_mtls_do_not_understand_each_other() -> Result<()> {
    isolated!(async {
        let sentry = Sentry::start().await?;
        let app = HttpApp::echo().await?;
        let secure = Daprd::builder("secure")?
            .app("http", app.port())
            .mtls(&sentry)
            .start()
            .await?;
        let plain = Daprd::builder("plain")?.app("http", app.port()).start().await?;
        for (caller, callee, text) in [
            (
                &secure,
                "plain",
                "tls: first record does not look like a TLS handshake",
            ),
            (&plain, "secure", "error reading server preface: "),
        ] {
            let reply = caller.invoke(callee, "x").await?;
            assert_eq!(reply.status, 500);
            let told = reply.json()?["message"].as_str().unwrap_or_default().to_owned();
            let begin = format!(
                "failed to invoke, id: {callee}, err: failed to invoke target {callee} after 3 retries. Error: rpc \
                 error: code = Unavailable desc = "
            );
            assert!(told.starts_with(&begin) && told.contains(text), "{told}");
        }
        assert_eq!(app.requests_for("/x").len(), 0);
        Ok(())
    });
    Ok(())
}
