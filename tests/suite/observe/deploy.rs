//! The dashboards and rules of `deploy`: real programs read them, and what they look for is there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use outrigger_test_kit::http::get;
use outrigger_test_kit::{Cluster, Directory, Result, isolated, until};
use serde_json::Value;
use tokio::process::Command;

use super::prometheus::{installed, query, start_prometheus};

const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy");

/// Every metric that a sidecar knows from its start.
const KNOWN: &str = include_str!("../../../base/telemetry/golden/metrics.txt");

/// What comes before the name of a metric that histograms are shown under.
const SUFFIXES: [&str; 4] = ["", "_bucket", "_sum", "_count"];

fn files(folder: &str, ending: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(Path::new(DEPLOY).join(folder))? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
    found.sort();
    ensure!(!found.is_empty(), "nothing in {folder}");
    Ok(found)
}

async fn promtool(program: &str, arguments: &[&str], files: &[PathBuf]) -> Result<()> {
    let output = Command::new(program).args(arguments).args(files).output().await?;
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}");
    Ok(())
}

/// Every text under a member of this name, at any depth.
fn texts<'a>(value: &'a Value, name: &str, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get(name).and_then(Value::as_str));
            members.values().for_each(|member| texts(member, name, found));
        }
        Value::Array(items) => items.iter().for_each(|item| texts(item, name, found)),
        _ => {}
    }
}

/// The expressions of a dashboard, with something in the place of its variables.
fn expressions(dashboard: &Value) -> Vec<String> {
    let mut found = Vec::new();
    texts(dashboard, "expr", &mut found);
    let plain = |text: &str| {
        let mut plain = text.replace("$__rate_interval", "5m");
        for variable in ["$app_id", "$instance", "$target"] {
            plain = plain.replace(variable, ".*");
        }
        plain
    };
    found.into_iter().map(plain).collect()
}

/// The words of a text that can be names of metrics of ours.
fn metrics_in(text: &str) -> BTreeSet<&str> {
    let words =
        text.split(|character: char| !(character.is_ascii_alphanumeric() || "_:".contains(character)));
    let ours = |word: &&str| {
        ["dapr_", "outrigger_", "process_", "go_"]
            .iter()
            .any(|prefix| word.starts_with(prefix))
    };
    words.filter(ours).collect()
}

/// Whether a word is the name of a metric that a sidecar or sentry knows.
fn is_known(word: &str) -> bool {
    SUFFIXES.iter().any(|suffix| {
        let name = word.strip_suffix(suffix);
        name.is_some_and(|name| KNOWN.lines().any(|line| line.split(' ').next() == Some(name)))
    })
}

#[test]
fn every_metric_of_dashboards_and_rules_exists() -> Result<()> {
    let mut seen = BTreeSet::new();
    for path in files("grafana", ".json")? {
        let text = std::fs::read_to_string(&path)?;
        let dashboard: Value = serde_json::from_str(&text)?;
        let mut queries = Vec::new();
        texts(&dashboard, "query", &mut queries);
        let expressions = expressions(&dashboard);
        ensure!(expressions.len() > 4, "{path:?}");
        for query in queries.into_iter().chain(expressions.iter().map(String::as_str)) {
            seen.extend(metrics_in(query).into_iter().map(str::to_owned));
        }
    }
    for path in files("prometheus", ".yml")? {
        let text = std::fs::read_to_string(&path)?;
        let text = text.lines().filter(|line| !line.trim_start().starts_with('#'));
        for line in text {
            seen.extend(metrics_in(line).into_iter().map(str::to_owned));
        }
    }
    let unknown: Vec<_> = seen.iter().filter(|word| !is_known(word)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    assert!(seen.len() > 40, "{seen:?}");
    Ok(())
}

#[tokio::test]
async fn promtool_takes_the_rules_and_each_alert_fires_when_it_should() -> Result<()> {
    let Some(program) = installed("promtool") else {
        return Ok(());
    };
    promtool(program, &["check", "rules"], &files("prometheus", ".rules.yml")?).await?;
    promtool(program, &["test", "rules"], &files("prometheus", ".test.yml")?).await?;
    // Every alert has a test.
    let folder = Path::new(DEPLOY).join("prometheus");
    let rules = std::fs::read_to_string(folder.join("alerts.rules.yml"))?;
    let tests = std::fs::read_to_string(folder.join("rules.test.yml"))?;
    for alert in rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
    {
        let fires = format!("- alertname: {alert}\n");
        assert!(tests.contains(&fires), "no test makes {alert} fire");
    }
    Ok(())
}

#[test]
fn prometheus_evaluates_every_rule_and_every_panel() {
    isolated!(async {
        let Some(program) = installed("prometheus") else {
            return Ok(());
        };
        let cluster = Cluster::start(["caller", "callee"]).await?;
        assert_eq!(cluster["caller"].invoke("callee", "orders").await?.status, 200);
        let directory = Directory::new()?;
        let targets = [&cluster["caller"].daprd, &cluster["callee"].daprd];
        let rules = files("prometheus", ".rules.yml")?;
        let (prometheus, port) = start_prometheus(program, &directory, &targets, &rules).await?;
        let evaluated = until("the rules to be evaluated", async || {
            let reply = get(format!("http://127.0.0.1:{port}/api/v1/rules")).await.ok()?;
            let mut health = Vec::new();
            let reply = reply.json().ok()?;
            texts(&reply["data"], "health", &mut health);
            let done = health.len() > 15 && health.iter().all(|health| *health != "unknown");
            done.then(|| {
                health
                    .iter()
                    .map(|health| (*health).to_owned())
                    .collect::<Vec<_>>()
            })
        });
        let health = evaluated
            .await
            .map_err(|error| error.context(prometheus.tail()))?;
        assert!(health.iter().all(|health| health == "ok"), "{health:?}");
        for path in files("grafana", ".json")? {
            let dashboard: Value = serde_json::from_str(&std::fs::read_to_string(&path)?)?;
            for expression in expressions(&dashboard) {
                let text: String = expression.bytes().map(|byte| format!("%{byte:02x}")).collect();
                query(port, &text)
                    .await
                    .with_context(|| format!("{path:?}: {expression}"))?;
            }
        }
        Ok(())
    });
}
