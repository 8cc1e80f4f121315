//! Ports and sockets.

use std::net::Ipv4Addr;
use std::os::unix::fs::FileTypeExt as _;

use outrigger_test_kit::http::{get, send};
use outrigger_test_kit::namespace::WIRE_ADDRESS;
use outrigger_test_kit::{
    Daprd, Directory, HttpRequest, Program, Result, Sentry, free_port, isolated, until, wait_for_port,
};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixStream};

use super::{message, messages};

#[test]
fn sockets_replace_the_ports_of_the_apis_and_go_with_the_sidecar() {
    isolated!(async {
        let directory = Directory::new()?;
        let mut daprd = Daprd::builder("a")?
            .flag("unix-domain-socket", directory.path().display())
            .spawn()?;
        let socket = |name: &str| directory.path().join(format!("dapr-a-{name}.socket"));
        daprd
            .process
            .wait_for_line("dapr initialized. Status: Running.")
            .await?;
        for (server, name) in [("HTTP", "http"), ("gRPC", "grpc")] {
            daprd
                .process
                .wait_for_line(&format!(
                    "{server} server listening on UNIX socket: {}",
                    socket(name).display()
                ))
                .await?;
            assert!(std::fs::metadata(socket(name))?.file_type().is_socket());
        }
        daprd
            .process
            .wait_for_line("HTTP server is running on a Unix Domain Socket")
            .await?;
        for port in [daprd.http_port, daprd.grpc_port] {
            assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err());
        }
        let mut stream = UnixStream::connect(socket("http")).await?;
        stream
            .write_all(b"GET /v1.0/healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .await?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await?;
        assert!(reply.starts_with("HTTP/1.1 204 "), "{reply}");
        assert!(daprd.process.stop().await?.success());
        assert_eq!(
            std::fs::read_dir(directory.path())?.count(),
            0,
            "the files are removed"
        );
        Ok(())
    });
}

#[test]
fn a_socket_left_over_by_a_killed_sidecar_is_replaced() {
    isolated!(async {
        let directory = Directory::new()?;
        for _ in 0..2 {
            let mut daprd = Daprd::builder("a")?
                .flag("unix-domain-socket", directory.path().display())
                .spawn()?;
            daprd
                .process
                .wait_for_line("dapr initialized. Status: Running.")
                .await?;
            daprd.process.signal(outrigger_test_kit::Signal::Kill).await?;
            daprd.process.exit().await?;
        }
        Ok(())
    });
}

#[test]
fn the_public_port_serves_health_and_metadata_without_a_token() {
    isolated!(async {
        let port = free_port()?;
        let daprd = Daprd::builder("a")?
            .flag("dapr-public-port", port)
            .flag("dapr-public-listen-address", "127.0.0.1")
            .env("DAPR_API_TOKEN", "secret")
            .start()
            .await?;
        let url = |path: &str| format!("http://127.0.0.1:{port}{path}");
        for (verb, path, status) in [
            ("GET", "/v1.0/healthz", 204),
            ("GET", "/v1.0/healthz/outbound", 204),
            ("GET", "/v1.0/metadata", 200),
            ("PUT", "/v1.0/metadata/key", 204),
            ("GET", "/v1.0/invoke/a/method/x", 404),
            ("POST", "/v1.0/shutdown", 404),
            ("POST", "/v1.0/healthz", 405),
        ] {
            let reply = send(&HttpRequest::new(verb, url(path)).body("value")).await?;
            assert_eq!(reply.status, status, "{verb} {path}");
            if status == 404 {
                assert_eq!(reply.text().trim_end(), "404 page not found", "{path}");
            }
        }
        assert_eq!(daprd.get("/v1.0/metadata").await?.status, 401);
        assert_eq!(
            get(url("/v1.0/metadata")).await?.json()?["extended"]["key"],
            "value"
        );
        Ok(())
    });
}

#[test]
fn without_the_option_there_is_no_public_port() {
    isolated!(async {
        let daprd = Daprd::builder("a")?.start().await?;
        let servers = messages(&daprd.process);
        let servers = servers
            .iter()
            .filter(|line| line.starts_with("HTTP server listening on"));
        assert_eq!(servers.count(), 1);
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, 3501)).await.is_err());
        Ok(())
    });
}

#[test]
fn a_metrics_port_in_use_is_fatal() {
    isolated!(async {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = taken.local_addr()?.port();
        let mut daprd = Daprd::builder("a")?.flag("metrics-port", port).spawn()?;
        assert_eq!(daprd.process.exit().await?.code(), Some(1));
        let line = daprd.process.stdout().pop().unwrap_or_default();
        assert!(line.contains(" level=fatal "), "{line}");
        let told = message(&line);
        assert!(
            told.starts_with("Fatal error from runtime: ") && told.contains(&format!("127.0.0.1:{port}")),
            "{told}"
        );
        Ok(())
    });
}

#[test]
fn metrics_can_be_turned_off() {
    isolated!(async {
        let daprd = Daprd::builder("a")?.flag("enable-metrics", false).start().await?;
        assert!(
            TcpStream::connect((Ipv4Addr::LOCALHOST, daprd.metrics_port))
                .await
                .is_err()
        );
        Ok(())
    });
}

#[test]
fn an_api_port_in_use_is_waited_for_and_then_fatal() {
    isolated!(async {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = taken.local_addr()?.port();
        let patient = Daprd::builder("patient")?.flag("dapr-http-port", port).spawn()?;
        patient.process.wait_for_line("metrics server started on").await?;
        let mut hopeless = Daprd::builder("hopeless")?
            .flag("dapr-grpc-port", metrics_of(&patient))
            .spawn()?;
        patient
            .process
            .wait_for_line("API gRPC server is running on port")
            .await?;
        drop(taken);
        wait_for_port(port).await?;
        patient
            .process
            .wait_for_line("dapr initialized. Status: Running.")
            .await?;

        assert_eq!(hopeless.process.exit().await?.code(), Some(1));
        let told = messages(&hopeless.process).pop().unwrap_or_default();
        assert!(
            told.starts_with("Fatal error from runtime: ")
                && told.ends_with("could not listen on any endpoint"),
            "{told}"
        );
        Ok(())
    });
}

/// A port that stays taken as long as the sidecar runs.
fn metrics_of(daprd: &Daprd) -> u16 {
    daprd.metrics_port
}

#[test]
fn the_apis_listen_on_every_address_that_can_be_bound() {
    isolated!(async {
        let daprd = Daprd::builder("a")?
            .flag(
                "dapr-listen-addresses",
                format_args!("127.0.0.1,192.0.2.77,{WIRE_ADDRESS}"),
            )
            .start()
            .await?;
        for address in ["127.0.0.1", WIRE_ADDRESS] {
            let url = format!("http://{address}:{}/v1.0/healthz", daprd.http_port);
            assert_eq!(get(url).await?.status, 204);
            daprd
                .process
                .wait_for_line(&format!(
                    "HTTP server listening on TCP address: {address}:{}",
                    daprd.http_port
                ))
                .await?;
        }
        let told = messages(&daprd.process);
        let count = told
            .iter()
            .filter(|line| line.starts_with("HTTP server listening on"));
        assert_eq!(count.count(), 2);
        Ok(())
    });
}

#[test]
fn the_internal_port_stays_the_same_for_the_same_app_in_the_same_folder() {
    isolated!(async {
        let directory = Directory::new()?;
        let folder = std::fs::canonicalize(directory.path())?;
        let user = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self")?);
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname")?;
        let hash = Sha256::digest(format!("myapp|{}|{user}|{}", folder.display(), host.trim()));
        let expected = 47300 + (u32::from(hash[0]) + 256 * u32::from(hash[1])) % 18235;

        let start = || -> Result<_> {
            Program::outrigger("daprd")?
                .directory(&folder)
                .flag("app-id", "myapp")
                .flag("dapr-http-port", free_port()?)
                .flag("dapr-grpc-port", free_port()?)
                .flag("metrics-port", free_port()?)
                .start()
        };
        let line = "Internal gRPC server is running on :";
        let first = start()?;
        let told = message(&first.wait_for_line(line).await?);
        assert_eq!(told, format!("{line}{expected}"));

        let second = start()?;
        let told = message(&second.wait_for_line(line).await?);
        assert_ne!(
            told,
            format!("{line}{expected}"),
            "the port is taken, so another is"
        );
        until("the second sidecar", async || {
            second
                .lines_with("dapr initialized. Status: Running.")
                .first()
                .map(drop)
        })
        .await
    });
}

#[test]
fn the_advertised_address_is_that_of_the_environment_or_of_the_machine() {
    isolated!(async {
        for (variable, expected) in [(None, WIRE_ADDRESS), (Some("10.0.0.9"), "10.0.0.9")] {
            let mut builder = Daprd::builder("a")?.flag("dapr-internal-grpc-listen-address", "");
            if let Some(address) = variable {
                builder = builder.env("DAPR_HOST_IP", address);
            }
            let daprd = builder.start().await?;
            let line = format!(
                "local service entry announced: a -> {expected}:{}",
                daprd.internal_port
            );
            daprd.process.wait_for_line(&line).await?;
        }
        Ok(())
    });
}

#[tokio::test]
async fn the_health_and_the_metrics_of_the_authority_are_there_for_everybody() -> Result<()> {
    let sentry = Sentry::start().await?;
    let health = format!("http://127.0.0.1:{}/healthz", sentry.health_port);
    for verb in ["GET", "POST", "PUT"] {
        let reply = send(&HttpRequest::new(verb, &health)).await?;
        assert_eq!((reply.status, reply.text().as_str()), (200, ""), "{verb}");
    }
    for path in ["/", "/metrics", "/any/path"] {
        let reply = get(format!("http://127.0.0.1:{}{path}", sentry.metrics_port)).await?;
        assert_eq!(reply.status, 200);
        assert!(
            reply
                .text()
                .contains("\ndapr_sentry_issuercert_expiry_timestamp "),
            "{path}"
        );
        assert!(
            reply.text().contains(
                "# HELP dapr_sentry_issuercert_expiry_timestamp The unix timestamp, in seconds, when \
                           issuer/root cert will expire.\n"
            ),
            "{}",
            reply.text()
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_port_of_the_authority_in_use_is_fatal() -> Result<()> {
    for option in ["port", "healthz-port", "metrics-port"] {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = taken.local_addr()?.port();
        let outcome = Sentry::start_with(|program| program.flag(option, port)).await;
        let error = outcome.expect_err("the port is taken");
        let text = format!("{error:#}");
        assert!(
            text.contains("level=fatal") && text.contains(&format!("failed to listen on 127.0.0.1:{port}: ")),
            "{text}"
        );
    }
    Ok(())
}
