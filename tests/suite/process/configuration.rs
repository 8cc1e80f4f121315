//! Configuration files.

use outrigger_test_kit::{Daprd, Directory, HttpRequest, Program, Result, isolated};

use super::{message, messages};

/// Runs a sidecar with a Configuration that must end it; returns its last message.
async fn fatal(yaml: &str) -> Result<String> {
    let mut daprd = Daprd::builder("a")?.configuration(yaml)?.spawn()?;
    assert_eq!(daprd.process.exit().await?.code(), Some(1), "{yaml}");
    let line = daprd.process.stdout().pop().unwrap_or_default();
    assert!(line.contains(" level=fatal "), "{line}");
    Ok(message(&line))
}

#[test]
fn later_files_are_laid_over_earlier_ones_field_by_field() {
    isolated!(async {
        let directory = Directory::new()?;
        let first = directory.write(
            "1.yaml",
            "spec:\n  features: [{name: One, enabled: true}, {name: HotReload, enabled: false}]\n  logging: {apiLogging: \
             {enabled: true}}\n",
        )?;
        let second = directory.write(
            "2.yaml",
            "spec:\n  features: [{name: Two, enabled: true}]\n  logging: {apiLogging: {obfuscateURLs: true}}\n",
        )?;
        let daprd = Daprd::builder("a")?
            .flag("config", format_args!("{},{}", first.display(), second.display()))
            .start()
            .await?;
        let features = daprd.get("/v1.0/metadata").await?.json()?["enabledFeatures"].clone();
        let features: Vec<_> = features
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|name| name.as_str())
            .collect();
        assert!(
            features.contains(&"Two") && features.contains(&"HotReload"),
            "{features:?}"
        );
        assert!(
            !features.contains(&"One"),
            "a list is replaced as a whole: {features:?}"
        );
        // `enabled` is of the first file, `obfuscateURLs` of the second.
        assert_eq!(daprd.get("/v1.0/metadata").await?.status, 200);
        let line = daprd.process.wait_for_line("msg=\"HTTP API Called\"").await?;
        assert!(
            line.contains("method=\"GET /v1.0/healthz\"") || line.contains("method=Healthz"),
            "{line}"
        );
        daprd.process.wait_for_line("method=GetMetadata").await?;
        Ok(())
    });
}

#[test]
fn variables_are_replaced_and_only_the_first_document_counts() {
    isolated!(async {
        let yaml = "spec: {features: [{name: $FEATURE, enabled: true}, {name: \"x${NOTHING}y\", enabled: true}]}\n---\n\
            spec: {features: [{name: Ignored, enabled: true}]}\n";
        let daprd = Daprd::builder("a")?
            .configuration(yaml)?
            .env("FEATURE", "FromOutside")
            .start()
            .await?;
        let features = daprd.get("/v1.0/metadata").await?.json()?["enabledFeatures"].to_string();
        for (name, expected) in [("\"FromOutside\"", true), ("\"xy\"", true), ("Ignored", false)] {
            assert_eq!(features.contains(name), expected, "{features}");
        }
        Ok(())
    });
}

#[test]
fn a_feature_can_be_turned_off_and_the_last_entry_wins() {
    isolated!(async {
        let yaml = "spec: {features: [{name: HotReload, enabled: false}, {name: F, enabled: false}, {name: F, \
            enabled: true}]}";
        let daprd = Daprd::builder("a")?.configuration(yaml)?.start().await?;
        let line = daprd.process.wait_for_line("Enabled features: ").await?;
        let features: Vec<_> = message(&line).split(' ').skip(2).map(str::to_owned).collect();
        assert!(features.contains(&"F".to_owned()), "{features:?}");
        assert!(!features.contains(&"HotReload".to_owned()), "{features:?}");
        Ok(())
    });
}

#[tokio::test]
async fn a_missing_file_is_fatal() -> Result<()> {
    let (status, process) = Program::outrigger("daprd")?
        .args(["--app-id=a", "--config=/nowhere/c.yaml"])
        .run()
        .await?;
    assert_eq!(status.code(), Some(1));
    assert_eq!(
        messages(&process).last().map(String::as_str),
        Some(
            "Fatal error from runtime: error loading configuration: stat /nowhere/c.yaml: no such file or directory"
        )
    );
    Ok(())
}

#[test]
fn what_makes_no_sense_is_fatal_with_its_text() {
    isolated!(async {
        let table = [
            (
                "spec: {secrets: {scopes: [{storeName: s, defaultAccess: maybe}]}}",
                "error loading configuration: defaultAccess maybe can be either allow or deny",
            ),
            (
                "spec: {secrets: {scopes: [{storeName: s}, {storeName: s}]}}",
                "error loading configuration: s storeName is repeated in secrets configuration",
            ),
            (
                "spec: {tracing: {samplingRate: \"1\", otel: {endpointAddress: \"127.0.0.1:4317\", protocol: carrier}}}",
                "failed to setup tracing: invalid protocol carrier provided for Otel endpoint",
            ),
            (
                "spec: {nameResolution: {component: nothing}}",
                "[CREATE_COMPONENT_FAILURE]: initialization error occurred for nr (nothing/v1): couldn't find name \
                 resolver nothing/v1",
            ),
        ];
        for (yaml, text) in table {
            assert_eq!(fatal(yaml).await?, format!("Fatal error from runtime: {text}"));
        }
        for yaml in ["spec: [", "spec: {tracing: 5}", "spec: {features: {}}"] {
            let told = fatal(yaml).await?;
            assert!(
                told.starts_with("Fatal error from runtime: error loading configuration: "),
                "{told}"
            );
        }
        Ok(())
    });
}

#[test]
fn kind_and_unknown_fields_are_not_looked_at() {
    isolated!(async {
        let yaml = "apiVersion: nothing/v9\nkind: Something\nspec: {unknown: {a: 1}, FEATURES: [{Name: F, enabled: \
            true}]}";
        let daprd = Daprd::builder("a")?.configuration(yaml)?.start().await?;
        daprd.process.wait_for_line("Enabled features: ").await?;
        assert_eq!(daprd.get("/v1.0/healthz").await?.status, 204);
        Ok(())
    });
}

#[test]
fn an_option_wins_over_the_configuration() {
    isolated!(async {
        let yaml = "spec: {logging: {apiLogging: {enabled: true}}}";
        let daprd = Daprd::builder("a")?
            .configuration(yaml)?
            .flag("enable-api-logging", false)
            .start()
            .await?;
        daprd.send(&HttpRequest::new("GET", "/v1.0/metadata")).await?;
        assert_eq!(daprd.process.lines_with("HTTP API Called").len(), 0);

        let daprd = Daprd::builder("a")?
            .flag("enable-api-logging", true)
            .start()
            .await?;
        daprd.send(&HttpRequest::new("GET", "/v1.0/metadata")).await?;
        let line = daprd
            .process
            .wait_for_line("method=\"GET /v1.0/metadata\"")
            .await?;
        assert!(line.contains("scope=dapr.runtime.http-info"), "{line}");
        Ok(())
    });
}
