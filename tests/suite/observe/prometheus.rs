//! Prometheus itself scrapes sidecars and finds nothing to complain about.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context as _, ensure};
use outrigger_test_kit::http::get;
use outrigger_test_kit::{
    Cluster, Daprd, Directory, HttpApp, HttpRequest, Process, Program, Result, free_port, isolated, skip,
    until, wait_for_port,
};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::{Pair, SAMPLED, TRACE_ID};

/// The paths of programs of the Debian package, if it is installed.
pub(super) fn installed(name: &str) -> Option<&'static str> {
    let path = match name {
        "prometheus" => "/usr/bin/prometheus",
        _ => "/usr/bin/promtool",
    };
    if std::path::Path::new(path).exists() {
        return Some(path);
    }
    skip(&format!("no {name}: run `make test-tools`"));
    None
}

pub(super) async fn start_prometheus(
    program: &str,
    directory: &Directory,
    targets: &[&Daprd],
    rules: &[PathBuf],
) -> Result<(Process, u16)> {
    let port = free_port()?;
    let targets: Vec<_> = targets
        .iter()
        .map(|daprd| format!("'127.0.0.1:{}'", daprd.metrics_port))
        .collect();
    let rules: Vec<_> = rules.iter().map(|path| format!("'{}'", path.display())).collect();
    let configuration = directory.write(
        "prometheus.yaml",
        format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [{}]\nscrape_configs:\n- job_name: sidecars\n  static_configs: [{{targets: [{}]}}]\n",
            rules.join(", "),
            targets.join(", ")
        ),
    )?;
    let process = Program::new(program)
        .flag("config.file", configuration.display())
        .flag("storage.tsdb.path", directory.path().join("data").display())
        .flag("web.listen-address", format_args!("127.0.0.1:{port}"))
        .flag("enable-feature", "exemplar-storage")
        .start()?;
    wait_for_port(port).await?;
    Ok((process, port))
}

/// The samples that a query finds.
pub(super) async fn query(port: u16, query: &str) -> Result<Vec<Value>> {
    let reply = get(format!("http://127.0.0.1:{port}/api/v1/query?query={query}")).await?;
    ensure!(reply.status == 200, "{}", reply.text());
    let found = reply.json()?["data"]["result"].as_array().cloned();
    found.context("no result")
}

#[test]
fn prometheus_scrapes_both_sidecars_and_finds_their_series() {
    isolated!(async {
        let Some(program) = installed("prometheus") else {
            return Ok(());
        };
        let cluster = Cluster::start(["caller", "callee"]).await?;
        for _ in 0..3 {
            assert_eq!(cluster["caller"].invoke("callee", "orders").await?.status, 200);
        }
        let directory = Directory::new()?;
        let targets = [&cluster["caller"].daprd, &cluster["callee"].daprd];
        let (prometheus, port) = start_prometheus(program, &directory, &targets, &[]).await?;
        until("both targets to be up", async || {
            let up = query(port, "up").await.ok()?;
            (up.len() == 2 && up.iter().all(|sample| sample["value"][1] == "1")).then_some(())
        })
        .await
        .map_err(|error| error.context(prometheus.tail()))?;
        for (series, app_id) in [
            ("dapr_runtime_service_invocation_req_sent_total", "caller"),
            ("dapr_runtime_service_invocation_req_recv_total", "callee"),
        ] {
            let samples = query(port, series).await?;
            assert_eq!(samples.len(), 1, "{samples:?}");
            assert_eq!(samples[0]["metric"]["app_id"], app_id);
            assert_eq!(samples[0]["value"][1], "3");
        }
        let quantile = query(
            port,
            "histogram_quantile(0.9,sum(dapr_http_server_latency_bucket)by(le))",
        )
        .await?;
        assert_eq!(quantile.len(), 1);
        Ok(())
    });
}

#[test]
fn prometheus_finds_the_traces_of_slow_requests() {
    isolated!(async {
        let Some(program) = installed("prometheus") else {
            return Ok(());
        };
        let app = HttpApp::echo().await?;
        let pair = Pair::start("http", app.port(), "{tracing: {samplingRate: '1'}}").await?;
        let call =
            HttpRequest::new("GET", "/v1.0/invoke/callee/method/orders").header("traceparent", SAMPLED);
        assert_eq!(pair.caller.send(&call).await?.status, 200);
        let directory = Directory::new()?;
        let (prometheus, port) =
            start_prometheus(program, &directory, &[&pair.caller, &pair.callee], &[]).await?;
        for series in [
            "dapr_http_server_latency_bucket",
            "dapr_runtime_service_invocation_res_recv_latency_ms_bucket",
            "dapr_http_client_roundtrip_latency_bucket",
        ] {
            let exemplar = until(format!("an exemplar of {series}"), async || {
                let url = format!(
                    "http://127.0.0.1:{port}/api/v1/query_exemplars?query={series}&start=0&end=4000000000"
                );
                let found = get(url).await.ok()?.json().ok()?["data"].clone();
                let exemplars = found.as_array()?.iter().flat_map(|of| of["exemplars"].as_array());
                let mut ids = exemplars.flatten().map(|exemplar| exemplar["labels"].clone());
                ids.find(|labels| labels["trace_id"] == TRACE_ID)
            });
            let labels = exemplar.await.map_err(|error| error.context(prometheus.tail()))?;
            assert_eq!(labels["span_id"].as_str().map(str::len), Some(16), "{labels}");
        }
        Ok(())
    });
}

#[test]
fn promtool_has_nothing_to_say_but_about_the_names_of_dapr() {
    isolated!(async {
        let Some(program) = installed("promtool") else {
            return Ok(());
        };
        let cluster = Cluster::start(["caller", "callee"]).await?;
        assert_eq!(cluster["caller"].invoke("callee", "orders").await?.status, 200);
        assert_eq!(cluster["caller"].invoke("nobody", "orders").await?.status, 500);
        for app_id in ["caller", "callee"] {
            let text = cluster[app_id].daprd.metrics().await?;
            let mut child = Command::new(program)
                .args(["check", "metrics"])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()?;
            let mut input = child.stdin.take().context("the input is piped")?;
            input.write_all(text.as_bytes()).await?;
            drop(input);
            let output = child.wait_with_output().await?;
            let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
            let other: BTreeSet<_> = said.lines().filter(|line| !is_about_a_name(line)).collect();
            assert_eq!(other, BTreeSet::new());
            // 3: there are hints; 1 would be text that cannot be read.
            assert!(matches!(output.status.code(), Some(0 | 3)), "{said}");
        }
        Ok(())
    });
}

/// Whether a hint is about a name that Dapr gave and its users rely on.
fn is_about_a_name(hint: &str) -> bool {
    hint.starts_with("dapr_")
        && [
            " counter metrics should have \"_total\" suffix",
            " non-histogram and non-summary metrics should not have \"_count\" suffix",
            " metric names should not contain abbreviated units",
            " label names should be written in 'snake_case' not 'camelCase'",
        ]
        .iter()
        .any(|kind| hint.ends_with(kind))
}
