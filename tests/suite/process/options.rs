//! The command line.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use outrigger_test_kit::{HttpApp, HttpRequest, HttpResponse, Program, Result, until};

use super::{daprd, message};

/// An option that ends the sidecar once all others have been read.
const END: &str = "--mode=x";
const ENDED: &str = "Fatal error from runtime: invalid mode: x";

#[tokio::test]
async fn one_dash_is_as_good_as_two() -> Result<()> {
    for arguments in [
        vec!["-app-id", "a", "-mode", "x"],
        vec!["--app-id", "a", "--mode", "x"],
        vec!["-app-id=a", "-mode=x"],
        vec!["--app-id=a", "--mode=x"],
    ] {
        let (code, process) = daprd(&arguments).await?;
        assert_eq!(code, Some(1), "{arguments:?}");
        let line = process.stdout().pop().unwrap_or_default();
        assert_eq!(message(&line), ENDED);
        assert!(line.contains(" app_id=a "), "{line}");
        assert_eq!(process.stderr(), [""; 0]);
    }
    Ok(())
}

#[tokio::test]
async fn a_switch_takes_its_value_behind_an_equals_sign_only() -> Result<()> {
    // Were `false` taken as the value, the log would not be JSON.
    let (code, process) = daprd(["--log-as-json", "false", END]).await?;
    assert_eq!(code, Some(1));
    assert!(process.stdout()[0].starts_with("{\""), "{:?}", process.stdout());
    for value in ["false", "F", "0", "FALSE"] {
        let (code, process) = daprd([format!("--log-as-json={value}"), END.to_owned()]).await?;
        assert_eq!(code, Some(1));
        assert!(process.stdout()[0].starts_with("time="), "{:?}", process.stdout());
    }
    Ok(())
}

#[tokio::test]
async fn what_is_not_understood_ends_with_2_and_the_usage() -> Result<()> {
    let table: [(&[&str], &str); 7] = [
        (&["--nope"], "unknown flag: --nope"),
        (&["-nope=1"], "unknown flag: --nope"),
        (&["--app-id"], "flag needs an argument: --app-id"),
        (
            &["--app-max-concurrency", "x"],
            r#"invalid argument "x" for "--app-max-concurrency" flag: strconv.ParseInt: parsing "x": invalid syntax"#,
        ),
        (
            &["--enable-mtls=maybe"],
            r#"invalid argument "maybe" for "--enable-mtls" flag: strconv.ParseBool: parsing "maybe": invalid syntax"#,
        ),
        (
            &["--actors-disseminate-timeout", "5"],
            r#"invalid argument "5" for "--actors-disseminate-timeout" flag: time: missing unit in duration "5""#,
        ),
        (
            &["--scheduler-job-streams", "-1"],
            r#"invalid argument "-1" for "--scheduler-job-streams" flag: strconv.ParseUint: parsing "-1": invalid syntax"#,
        ),
    ];
    for (arguments, expected) in table {
        let (code, process) = daprd(arguments).await?;
        assert_eq!(code, Some(2), "{arguments:?}");
        assert_eq!(process.stdout(), [""; 0], "stdout is for the log");
        let errors = process.stderr();
        assert_eq!(errors[0], expected);
        assert_eq!(errors[1], "Usage of daprd:");
    }
    Ok(())
}

#[tokio::test]
async fn deprecated_options_work_and_say_so() -> Result<()> {
    for name in [
        "app-ssl",
        "components-path=x",
        "dapr-http-max-request-size=4",
        "dapr-http-read-buffer-size=4",
    ] {
        let (code, process) = daprd(["--app-id=a".to_owned(), format!("--{name}"), END.to_owned()]).await?;
        assert_eq!(code, Some(1));
        let name = name.split('=').next().unwrap_or_default();
        let errors = process.stderr();
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(
            errors[0].starts_with(&format!("Flag --{name} has been deprecated, ")),
            "{errors:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn help_shows_every_option_but_the_old_ones() -> Result<()> {
    let (code, process) = daprd(["--help"]).await?;
    assert_eq!(code, Some(0));
    let text = process.lines().join("\n");
    for name in [
        "app-id",
        "app-port",
        "app-protocol",
        "app-channel-address",
        "app-max-concurrency",
        "dapr-http-port",
        "dapr-grpc-port",
        "dapr-listen-addresses",
        "dapr-public-port",
        "dapr-internal-grpc-port",
        "unix-domain-socket",
        "max-body-size",
        "read-buffer-size",
        "allowed-origins",
        "config",
        "resources-path",
        "sentry-address",
        "enable-mtls",
        "control-plane-namespace",
        "control-plane-trust-domain",
        "dapr-graceful-shutdown-seconds",
        "dapr-block-shutdown-duration",
        "disable-init-endpoints",
        "enable-app-health-check",
        "log-level",
        "log-as-json",
        "log-file",
        "metrics-port",
        "enable-metrics",
        "placement-host-address",
        "scheduler-host-address",
        "wait",
        "version",
        "build-info",
    ] {
        assert!(text.contains(&format!("\n      --{name} ")), "{name}");
    }
    for hidden in [
        "app-ssl",
        "components-path",
        "actors-service",
        "reminders-service",
    ] {
        assert!(!text.contains(&format!("--{hidden} ")), "{hidden}");
    }
    Ok(())
}

#[tokio::test]
async fn version_and_build_info_are_printed_alone() -> Result<()> {
    let (code, process) = daprd(["--version"]).await?;
    assert_eq!(code, Some(0));
    let version = process.stdout().join("\n");
    assert!(is_version(&version), "{version}");

    let (code, process) = daprd(["--build-info"]).await?;
    assert_eq!(code, Some(0));
    let lines = process.stdout();
    let names: Vec<_> = lines
        .iter()
        .filter_map(|line| Some(line.split_once(':')?.0))
        .collect();
    assert_eq!(names, ["Version", "Git Commit", "Git Version"]);
    assert_eq!(lines[0], format!("Version: {version}"));
    Ok(())
}

#[tokio::test]
async fn wait_ends_when_the_sidecar_is_ready_for_outgoing_calls() -> Result<()> {
    let ready = Arc::new(AtomicBool::new(false));
    let is_ready = Arc::clone(&ready);
    let sidecar = HttpApp::start(move |request: HttpRequest| {
        let status = match request.path() {
            "/v1.0/healthz/outbound" if is_ready.load(Ordering::Relaxed) => 204,
            _ => 500,
        };
        async move { HttpResponse::new(status, "").without_body() }
    })
    .await?;
    let mut waiting = Program::outrigger("daprd")?
        .arg("--wait")
        .flag("dapr-http-port", sidecar.port())
        .start()?;
    sidecar.wait_for_requests("/v1.0/healthz/outbound", 3).await?;
    ready.store(true, Ordering::Relaxed);
    assert_eq!(waiting.exit().await?.code(), Some(0));
    assert_eq!(waiting.stdout(), [""; 0]);
    assert!(!waiting.stderr().is_empty());
    Ok(())
}

#[tokio::test]
async fn sentry_reads_its_options_alike() -> Result<()> {
    let run = async |arguments: &[&str]| -> Result<_> {
        let (status, process) = Program::outrigger("sentry")?.args(arguments).run().await?;
        Ok((status.code(), process))
    };
    let (code, process) = run(&["-mode", "x"]).await?;
    assert_eq!(code, Some(1));
    let line = process.stdout().pop().unwrap_or_default();
    assert_eq!(message(&line), "Invalid options: invalid mode: x");
    assert!(
        line.contains(" level=fatal ") && line.contains(" scope=dapr.sentry ") && !line.contains("app_id="),
        "{line}"
    );

    let (code, process) = run(&["--nope"]).await?;
    assert_eq!(code, Some(2));
    assert_eq!(
        process.stderr()[..2],
        ["unknown flag: --nope", "Usage of sentry:"]
    );

    let (code, process) = run(&["--jwt-issuer=i"]).await?;
    assert_eq!(code, Some(1));
    let text = process.stdout().join("\n");
    assert!(
        text.contains("Invalid options: jwt-issuer cannot be set when jwt-enabled is false"),
        "{text}"
    );

    let (code, process) = run(&["--config=/nowhere/config.yaml"]).await?;
    assert_eq!(code, Some(1));
    let lines = process.stdout();
    assert!(
        message(&lines[0]).starts_with("Starting Dapr Sentry certificate authority -- version "),
        "{lines:?}"
    );
    assert_eq!(message(&lines[1]), "Log level set to: info");
    assert!(
        message(&lines[2])
            .starts_with("loading default config. couldn't find config name \"/nowhere/config.yaml\": "),
        "{lines:?}"
    );
    Ok(())
}

/// `edge`, a release, or a candidate of one.
fn is_version(text: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (release, candidate) = text.split_once("-rc.").unwrap_or((text, "0"));
    text == "edge" || (release.split('.').filter(|part| is_number(part)).count() == 3 && is_number(candidate))
}

#[tokio::test]
async fn an_app_id_given_twice_is_the_last_one() -> Result<()> {
    let (_, process) = daprd(["--app-id=a", "--app-id=b", END]).await?;
    until("the end of the log", async || {
        (!process.stdout().is_empty()).then_some(())
    })
    .await?;
    assert!(process.stdout()[0].contains(" app_id=b "));
    Ok(())
}
