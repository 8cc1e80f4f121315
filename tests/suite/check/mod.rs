//! `outrigger check` as a person or a pipeline meets it.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use outrigger_test_kit::{Process, Program, Result, free_port, isolated};

/// The report on the folder of mistakes.
const GOLDEN: &str = include_str!("mistakes.txt");

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("suite/check")
}

async fn check(arguments: &[&str]) -> Result<(ExitStatus, Process)> {
    Program::outrigger("check")?
        .directory(folder())
        .args(arguments)
        .run()
        .await
}

#[test]
fn every_mistake_is_told_at_once_with_its_place() {
    isolated!(async {
        let arguments = [
            "--app-id=shop",
            "--app-port=3500",
            "--enable-mtls",
            "--enable-app-health-check",
            "--metrics-port=50001",
            "--config=mistakes/configuration.yaml",
            "--resources-path=mistakes/resources",
        ];
        let (status, process) = check(&arguments).await?;
        let text = process.stdout().join("\n") + "\n";
        assert_eq!(text, GOLDEN, "the report has changed:\n{text}");
        assert_eq!(status.code(), Some(1));
        assert!(process.stderr().is_empty());

        let (status, process) = check(&[&arguments[..], &["--output", "json"]].concat()).await?;
        assert_eq!(status.code(), Some(1));
        let report: serde_json::Value = serde_json::from_str(&process.stdout().join("\n"))?;
        let mistakes = report["mistakes"].as_array().cloned().unwrap_or_default();
        let lines: Vec<_> = mistakes
            .iter()
            .map(|mistake| {
                let text = |member: &str| mistake[member].as_str().unwrap_or_default();
                match &mistake["line"] {
                    serde_json::Value::Null => format!("{}: {}", text("file"), text("message")),
                    line => format!("{}:{line}: {}", text("file"), text("message")),
                }
            })
            .collect();
        let golden: Vec<_> = GOLDEN.lines().collect();
        assert_eq!(lines, golden[..golden.len() - 1]);
        assert_eq!(report["files"], 4);
        Ok(())
    });
}

#[test]
fn what_is_clean_ends_well_and_dials_nobody() {
    isolated!(async {
        let port = free_port()?.to_string();
        let arguments = [
            "--app-id=shop",
            "--config=good/configuration.yaml",
            "--resources-path=good/resources",
            "--app-port",
            &port,
        ];
        let (status, process) = check(&arguments).await?;
        assert_eq!(process.stdout(), ["no mistakes in 2 files"]);
        assert_eq!(status.code(), Some(0));

        let (status, process) = check(&[&arguments[..], &["--connect"]].concat()).await?;
        let unreachable =
            format!("command line: the app at 127.0.0.1:{port} cannot be reached: connection refused");
        assert_eq!(process.stdout(), [unreachable.as_str(), "1 mistake in 2 files"]);
        assert_eq!(status.code(), Some(1));
        Ok(())
    });
}

#[test]
fn options_that_nobody_knows_are_a_usage_error() {
    isolated!(async {
        for arguments in [["--app-idd=x"], ["--output=xml"], ["--app-max-concurrency=x"]] {
            let (status, process) = check(&arguments).await?;
            assert_eq!(status.code(), Some(2), "{arguments:?}");
            assert!(process.stdout().is_empty());
            assert!(!process.stderr().is_empty());
        }
        let (status, process) = check(&["--help"]).await?;
        assert_eq!(status.code(), Some(0));
        assert!(process.lines().iter().any(|line| line.contains("--connect")));
        Ok(())
    });
}
