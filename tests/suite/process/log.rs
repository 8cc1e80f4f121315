//! Log lines, as people and tools read them.

use std::os::unix::fs::PermissionsExt as _;

use outrigger_test_kit::{Daprd, Directory, HttpApp, Program, Result, Signal, isolated, until};
use serde_json::Value;

use super::{daprd, in_shell, message, messages};

#[tokio::test]
async fn a_text_line_has_its_keys_in_order_and_quotes_what_needs_it() -> Result<()> {
    let (_, process) = daprd(["--app-id=a1", "--mode=<x> \"y\""]).await?;
    let lines = process.stdout();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname")?;
    let tail = format!(
        "app_id=a1 instance={} scope=dapr.runtime type=log ver=unknown",
        host.trim()
    );
    let time = lines[0]
        .strip_prefix("time=\"")
        .and_then(|rest| Some(rest.split_once('"')?.0))
        .unwrap_or_default();
    assert!(is_rfc3339_with_nanoseconds(time), "{time}");
    assert_eq!(
        lines[0],
        format!("time=\"{time}\" level=info msg=\"Starting Dapr Runtime -- version edge -- commit \" {tail}")
    );
    assert!(
        lines[1].contains(" level=info msg=\"Log level set to: info\" "),
        "{}",
        lines[1]
    );
    assert!(
        lines[2].contains(" level=fatal msg=\"Fatal error from runtime: invalid mode: <x> \\\"y\\\"\" "),
        "{}",
        lines[2]
    );
    assert_eq!(lines.len(), 3);
    Ok(())
}

#[tokio::test]
async fn a_json_line_has_its_members_sorted_and_escapes_html() -> Result<()> {
    let (_, process) = daprd(["--app-id=a1", "--log-as-json", "--mode=<x&y>"]).await?;
    let lines = process.stdout();
    for line in &lines {
        let value: Value = serde_json::from_str(line)?;
        let names: Vec<_> = value
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(
            names,
            [
                "app_id", "instance", "level", "msg", "scope", "time", "type", "ver"
            ]
        );
        assert_eq!((&value["app_id"], &value["type"]), (&"a1".into(), &"log".into()));
        assert!(
            is_rfc3339_with_nanoseconds(value["time"].as_str().unwrap_or_default()),
            "{line}"
        );
    }
    assert!(
        lines[2].contains("\"msg\":\"Fatal error from runtime: invalid mode: \\u003cx\\u0026y\\u003e\""),
        "{}",
        lines[2]
    );
    Ok(())
}

#[test]
fn the_level_chooses_what_is_printed_in_any_case() {
    isolated!(async {
        for (level, first) in [
            ("DEBUG", Some("debug")),
            ("Warn", Some("warning")),
            ("error", None),
            ("FATAL", None),
        ] {
            let mut daprd = Daprd::builder("a")?.flag("log-level", level).start().await?;
            assert!(daprd.process.stop().await?.success());
            let lines = daprd.process.stdout();
            match first {
                None => assert_eq!(lines, [""; 0], "{level}"),
                Some(first) => {
                    let levels: Vec<_> = lines.iter().map(|line| level_of(line)).collect();
                    assert!(levels.contains(&first), "{level}: {levels:?}");
                    assert!(first == "debug" || !levels.contains(&"info"), "{levels:?}");
                }
            }
        }
        Ok(())
    });
}

#[test]
fn a_log_file_is_appended_to_and_stdout_stays_empty() {
    isolated!(async {
        let directory = Directory::new()?;
        let file = directory.path().join("daprd.log");
        for runs in 1..=2 {
            let mut daprd = Daprd::builder("a")?
                .flag("log-file", file.display())
                .start()
                .await?;
            assert!(daprd.process.stop().await?.success());
            assert_eq!(daprd.process.lines(), [""; 0]);
            let text = std::fs::read_to_string(&file)?;
            let ends = text
                .lines()
                .filter(|line| message(line) == "Daprd shutdown gracefully");
            assert_eq!(ends.count(), runs);
        }
        assert_eq!(std::fs::metadata(&file)?.permissions().mode() & 0o777, 0o644);
        Ok(())
    });
}

#[tokio::test]
async fn a_log_file_that_cannot_be_opened_is_fatal() -> Result<()> {
    let (code, process) = daprd(["--app-id=a", "--log-file=/nowhere/daprd.log"]).await?;
    assert_eq!(code, Some(1));
    let line = process.stdout().pop().unwrap_or_default();
    assert!(
        line.contains(" level=fatal ") && line.contains("/nowhere/daprd.log"),
        "{line}"
    );
    Ok(())
}

#[test]
fn the_sidecar_says_what_it_does_in_the_known_order() {
    isolated!(async {
        let app = HttpApp::echo().await?;
        let mut daprd = Daprd::builder("myapp")?.app("http", app.port()).start().await?;
        let (http, grpc, internal, metrics) = (
            daprd.http_port,
            daprd.grpc_port,
            daprd.internal_port,
            daprd.metrics_port,
        );
        assert!(daprd.process.stop().await?.success());
        let port = app.port();
        let expected = [
            "Starting Dapr Runtime -- version edge -- commit ".to_owned(),
            "Log level set to: info".to_owned(),
            "mTLS is disabled. Skipping certificate request and tls validation".to_owned(),
            "loading default configuration".to_owned(),
            "Enabled features: HotReload WorkflowsRemoteActivityReminder".to_owned(),
            "metric spec: {\"enabled\":true}".to_owned(),
            format!("metrics server started on 127.0.0.1:{metrics}/"),
            "standalone mode configured".to_owned(),
            "app id: myapp".to_owned(),
            "Dapr trace sampler initialized: ParentBased{root:TraceIDRatioBased{0.0001},remoteParentSampled:\
             AlwaysOnSampler,remoteParentNotSampled:AlwaysOffSampler,localParentSampled:AlwaysOnSampler,\
             localParentNotSampled:AlwaysOffSampler}"
                .to_owned(),
            "Initialized name resolution to mdns".to_owned(),
            "Loading components…".to_owned(),
            "All outstanding components processed".to_owned(),
            "Loading endpoints…".to_owned(),
            "All outstanding http endpoints processed".to_owned(),
            format!("gRPC server listening on TCP address: 127.0.0.1:{grpc}"),
            format!("API gRPC server is running on port {grpc}"),
            format!("HTTP server listening on TCP address: 127.0.0.1:{http}"),
            format!("HTTP server is running on port {http}"),
            "The request body size parameter is: 4194304 bytes".to_owned(),
            format!("gRPC server listening on pre-bound TCP address: 127.0.0.1:{internal}"),
            format!("Internal gRPC server is running on :{internal}"),
            format!(
                "application protocol: http. waiting on port {port}.  This will block until the app is listening on \
                 that port."
            ),
            format!("application discovered on port {port}"),
            "dapr initialized. Status: Running. Init Elapsed ".to_owned(),
            "Received signal 'terminated'; beginning shutdown".to_owned(),
            "Dapr is shutting down".to_owned(),
            "Dapr runtime stopped".to_owned(),
            "Daprd shutdown gracefully".to_owned(),
        ];
        let told = messages(&daprd.process);
        let mut rest = told.iter();
        for expected in &expected {
            assert!(
                rest.any(|line| line.starts_with(expected.as_str())),
                "{expected:?} is missing or too early in {told:#?}"
            );
        }
        let initialized = told
            .iter()
            .find(|line| line.starts_with("dapr initialized"))
            .cloned();
        let elapsed = initialized.unwrap_or_default();
        let milliseconds = elapsed
            .strip_prefix("dapr initialized. Status: Running. Init Elapsed ")
            .and_then(|rest| rest.strip_suffix("ms"))
            .unwrap_or_default();
        assert!(milliseconds.parse::<u64>().is_ok(), "{elapsed}");
        assert_eq!(daprd.process.stderr(), [""; 0]);
        Ok(())
    });
}

#[test]
fn an_empty_environment_and_any_folder_are_enough() {
    isolated!(async {
        let mut daprd = Program::outrigger("daprd")?
            .directory("/")
            .flag("app-id", "a")
            .flag("dapr-internal-grpc-listen-address", "127.0.0.1")
            .start()?;
        daprd.wait_for_line("dapr initialized. Status: Running.").await?;
        // Default ports: this network is the test's own.
        for port in [3500, 50001, 9090] {
            outrigger_test_kit::wait_for_port(port).await?;
        }
        daprd.signal(Signal::Interrupt).await?;
        assert_eq!(daprd.exit().await?.code(), Some(0));
        assert_eq!(daprd.stderr(), [""; 0]);
        until("the last line", async || {
            let last = daprd.stdout().pop()?;
            (message(&last) == "Daprd shutdown gracefully").then_some(())
        })
        .await
    });
}

#[test]
fn a_log_that_nobody_takes_disturbs_nothing() {
    isolated!(async {
        for stdout in [">/dev/full", ">&-"] {
            let mut daprd = in_shell(&format!("exec \"$0\" \"$@\" {stdout}"))?
                .args([
                    "daprd",
                    "--app-id=a",
                    "--dapr-internal-grpc-listen-address=127.0.0.1",
                ])
                .start()?;
            until("the sidecar to be healthy", async || {
                let reply = outrigger_test_kit::http::get("http://127.0.0.1:3500/v1.0/healthz")
                    .await
                    .ok()?;
                (reply.status == 204).then_some(())
            })
            .await?;
            assert_eq!(daprd.stop().await?.code(), Some(0), "{stdout}");
            assert_eq!(daprd.stderr(), [""; 0], "{stdout}");
        }
        Ok(())
    });
}

fn level_of(line: &str) -> &str {
    let rest = line.split_once(" level=").map_or("", |(_, rest)| rest);
    rest.split(' ').next().unwrap_or_default()
}

/// `2026-01-02T03:04:05.123456789Z`, with 1 to 9 digits behind the point, or none.
fn is_rfc3339_with_nanoseconds(text: &str) -> bool {
    use time::format_description::well_known::Rfc3339;
    let digits = text
        .split_once('.')
        .map_or("0", |(_, rest)| rest)
        .bytes()
        .take_while(u8::is_ascii_digit)
        .count();
    time::OffsetDateTime::parse(text, &Rfc3339).is_ok() && (1..=9).contains(&digits)
}
