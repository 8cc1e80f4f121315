//! Options that make no sense.

use outrigger_test_kit::{Program, Result};

use super::{daprd, message};

/// Runs a sidecar and returns the message of its last line, which must be a fatal one.
async fn fatal(arguments: &[&str]) -> Result<String> {
    let (code, process) = daprd(arguments).await?;
    assert_eq!(code, Some(1), "{arguments:?}: {}", process.tail());
    let line = process.stdout().pop().unwrap_or_default();
    assert!(line.contains(" level=fatal "), "{line}");
    Ok(message(&line))
}

#[tokio::test]
async fn each_mistake_ends_with_1_and_its_text() -> Result<()> {
    let number = |option: &str| {
        format!(
            "Fatal error from runtime: error parsing {option}: strconv.Atoi: parsing \"x\": invalid syntax"
        )
    };
    let runtime = |text: &str| format!("Fatal error from runtime: {text}");
    let flags = |text: &str| format!("Failed to parse flags: {text}");
    let table: Vec<(&[&str], String)> = vec![
        (&[], runtime("parameter app-id cannot be empty")),
        (&["--app-id="], runtime("parameter app-id cannot be empty")),
        (&["--app-id=a.b"], runtime("parameter app-id cannot contain dots")),
        (&["--app-id=a", "--mode=x"], runtime("invalid mode: x")),
        (
            &["--app-id=a", "--dapr-http-port=x"],
            number("dapr-http-port flag"),
        ),
        (
            &["--app-id=a", "--dapr-grpc-port=x"],
            number("dapr-grpc-port flag"),
        ),
        (&["--app-id=a", "--profile-port=x"], number("profile-port flag")),
        (
            &["--app-id=a", "--dapr-internal-grpc-port=x"],
            number("dapr-internal-grpc-port"),
        ),
        (
            &["--app-id=a", "--dapr-public-port=x"],
            number("dapr-public-port"),
        ),
        (&["--app-id=a", "--app-port=x"], number("app-port")),
        (
            &["--app-id=a", "--app-port=3000", "--dapr-http-port=3000"],
            runtime("the 'dapr-http-port' argument value 3000 conflicts with 'app-port'"),
        ),
        (
            &["--app-id=a", "--app-port=3000", "--dapr-grpc-port=3000"],
            runtime("the 'dapr-grpc-port' argument value 3000 conflicts with 'app-port'"),
        ),
        (
            &["--app-id=a", "--dapr-http-port=0"],
            runtime("the 'dapr-http-port' argument value 0 conflicts with 'app-port'"),
        ),
        (
            &["--app-id=a", "--app-protocol=ftp"],
            runtime("invalid value for 'app-protocol': ftp"),
        ),
        (
            &["--app-id=a", "--disable-init-endpoints=config,x"],
            runtime("invalid value for 'disable-init-endpoints': x"),
        ),
        (
            &[
                "--app-id=a",
                "--enable-app-health-check",
                "--app-health-probe-interval=1",
                "--app-health-probe-timeout=2000",
            ],
            runtime("value for 'health-probe-timeout' must be smaller than 'health-probe-interval'"),
        ),
        (
            &["--app-id=a", "--scheduler-job-streams=0"],
            flags("must define at least 1 scheduler stream, got 0"),
        ),
        (
            &["--app-id=a", "--actors-disseminate-timeout=-1s"],
            flags("invalid value for 'actors-disseminate-timeout' option: must be positive, got -1s"),
        ),
        (
            &["--app-id=a", "--log-level=x"],
            "invalid value for --log-level: x".to_owned(),
        ),
    ];
    for (arguments, expected) in table {
        assert_eq!(fatal(arguments).await?, expected, "{arguments:?}");
    }
    let size = fatal(&["--app-id=a", "--max-body-size=lots"]).await?;
    assert!(
        size.starts_with("Failed to parse flags: invalid value for 'max-body-size' option: "),
        "{size}"
    );
    Ok(())
}

#[tokio::test]
async fn of_several_mistakes_the_first_in_the_specified_order_is_told() -> Result<()> {
    let mut wrong = vec![
        ("--app-id=a.b", "--app-id=a", "app-id cannot contain dots"),
        (
            "--dapr-http-port=x",
            "--dapr-http-port=3500",
            "dapr-http-port flag",
        ),
        (
            "--dapr-grpc-port=x",
            "--dapr-grpc-port=50001",
            "dapr-grpc-port flag",
        ),
        ("--profile-port=x", "--profile-port=7777", "profile-port flag"),
        (
            "--dapr-internal-grpc-port=x",
            "--dapr-internal-grpc-port=0",
            "dapr-internal-grpc-port",
        ),
        (
            "--dapr-public-port=x",
            "--dapr-public-port=3501",
            "dapr-public-port",
        ),
        ("--app-port=x", "--app-port=3500", "app-port"),
        ("", "--app-port=3000", "conflicts with 'app-port'"),
        ("--app-protocol=ftp", "--app-protocol=http", "'app-protocol'"),
        (
            "--disable-init-endpoints=x",
            "--disable-init-endpoints=config",
            "'disable-init-endpoints'",
        ),
    ];
    let mut arguments: Vec<_> = wrong.iter().map(|(wrong, ..)| *wrong).collect();
    arguments.push("--app-health-probe-timeout=60000");
    arguments.push("--enable-app-health-check");
    while !wrong.is_empty() {
        let (mistake, right, text) = wrong.remove(0);
        let told = fatal(&arguments).await?;
        assert!(told.contains(text), "{told} instead of {text}");
        arguments.retain(|argument| *argument != mistake || mistake.is_empty());
        arguments.push(right);
    }
    let told = fatal(&arguments).await?;
    assert!(told.contains("'health-probe-timeout'"), "{told}");
    Ok(())
}

#[tokio::test]
async fn an_identity_that_cannot_be_obtained_is_told_before_anything_runs() -> Result<()> {
    let anchors = outrigger_test_kit::Authority::new()?;
    let anchors = anchors.anchors();
    let table: [(&[&str], &[(&str, &str)], &str); 4] = [
        (&[], &[], "trust anchors are required"),
        (
            &[],
            &[("DAPR_TRUST_ANCHORS", "no PEM")],
            "failed to decode trust anchors: ",
        ),
        (
            &["--control-plane-trust-domain=Bad"],
            &[("DAPR_TRUST_ANCHORS", anchors)],
            "invalid control plane trust domain: ",
        ),
        (
            &[],
            &[
                ("DAPR_TRUST_ANCHORS", anchors),
                ("DAPR_CONTROLPLANE_TRUST_DOMAIN", "Bad"),
            ],
            "invalid control plane trust domain: ",
        ),
    ];
    for (arguments, variables, text) in table {
        let mut program = Program::outrigger("daprd")?
            .args(["--app-id=a", "--enable-mtls", "--sentry-address=127.0.0.1:1"])
            .args(arguments);
        for (name, value) in variables {
            program = program.env(name, value);
        }
        let (status, process) = program.run().await?;
        assert_eq!(status.code(), Some(1), "{text}");
        let told = message(&process.stdout().pop().unwrap_or_default());
        assert!(
            told.starts_with(&format!("Fatal error from runtime: {text}")),
            "{told} instead of {text}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn root_is_refused_in_a_cluster() -> Result<()> {
    let is_root = std::fs::metadata("/proc/self").map(|own| std::os::unix::fs::MetadataExt::uid(&own))? == 0;
    if !is_root {
        outrigger_test_kit::skip("this test needs to be root");
        return Ok(());
    }
    let told = fatal(&["--app-id=a", "--mode=kubernetes"]).await?;
    assert_eq!(
        told,
        "Fatal error from runtime: current user UID(0) is root. Dapr must be run as a non-root user in Kubernetes \
         environments. To override this check, set the environment variable \
         'DAPR_UNSAFE_SKIP_CONTAINER_UID_GID_CHECK=true'"
    );
    Ok(())
}
