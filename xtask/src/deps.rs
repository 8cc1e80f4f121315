//! Who may depend on whom: the rooms form levels, and every edge is allowed here or fails the check.

use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::tree;

/// What one room may use.
struct Rule {
    /// A room sees only rooms of lower levels.
    level: u8,
    /// Folder of the room; `*` at the end stands for any rest.
    room: &'static str,
    /// Folders of the rooms it may use, with the same `*`.
    may_use: &'static [&'static str],
}

const fn rule(level: u8, room: &'static str, may_use: &'static [&'static str]) -> Rule {
    Rule { level, room, may_use }
}

/// The first rule that fits a room is its rule.
#[rustfmt::skip] // A table: one rule, one line.
const RULES: &[Rule] = &[
    rule(0, "base/svc", &[]),
    rule(0, "base/kit", &[]),
    rule(0, "base/profile", &[]),
    rule(0, "api", &[]),
    rule(1, "base/error", &["api", "base/kit"]),
    rule(1, "base/telemetry", &["base/kit", "base/svc"]),
    rule(1, "config", &["base/kit"]),
    rule(2, "identity", &["api", "base/kit", "base/svc", "base/telemetry", "config"]),
    rule(2, "base/resilience", &["base/error", "base/kit", "base/svc", "base/telemetry", "config"]),
    rule(2, "components/core", &["base/error", "base/kit", "base/svc", "config"]),
    rule(3, "base/kube", &["base/kit", "config", "identity"]),
    rule(3, "control/store", &["base/error", "base/kit", "base/telemetry", "config"]),
    rule(3, "resolver", &["base/kit", "base/svc", "base/telemetry", "components/core", "config", "identity"]),
    rule(3, "proxy/link", &["api", "base/kit", "base/svc", "base/telemetry", "identity"]),
    rule(3, "components/pluggable", &["api", "base/error", "base/kit", "base/svc", "components/core"]),
    rule(3, "components/keys", &["base/svc", "components/core", "identity"]),
    rule(4, "components/*", &["base/kit", "base/svc", "components/core", "components/keys", "identity"]),
    rule(5, "components", &["components/*"]),
    rule(4, "actors", &["api", "base/error", "base/kit", "base/resilience", "base/svc", "base/telemetry", "components/core", "identity", "resolver"]),
    rule(5, "actors/workflow", &["actors", "api", "base/error", "base/kit", "base/resilience", "base/svc", "base/telemetry", "components/core", "identity", "resolver"]),
    rule(5, "deploy", &["api", "base/kit", "base/kube", "base/svc", "config"]),
    rule(6, "proxy", &["actors", "actors/workflow", "api", "base/*", "components/core", "components/pluggable", "config", "identity", "proxy/link", "resolver"]),
    rule(6, "control/dashboard", &["api", "base/kit", "base/kube", "base/svc", "config", "deploy"]),
    rule(6, "control/*", &["api", "base/error", "base/kit", "base/kube", "base/svc", "base/telemetry", "config", "control/store", "deploy", "identity"]),
    rule(6, "check", &["base/kit", "base/resilience", "config", "identity"]),
    rule(6, "cli", &["api", "base/kit", "base/kube", "base/svc", "config", "deploy"]),
    rule(7, "outrigger", &["base/*", "check", "cli", "components", "config", "control/*", "identity", "proxy"]),
    rule(ANYTHING, "tests*", &["*"]),
    rule(ANYTHING, "benches", &["*"]),
    rule(ANYTHING, "fuzz", &["*"]),
    rule(ANYTHING, "examples/*", &["*"]),
    rule(ANYTHING, "xtask", &["*"]),
];

/// Level of the rooms that may use anything, their own level included.
const ANYTHING: u8 = 8;

/// Room that any other may use in its tests.
const FOR_TESTS: &str = "tests/kit";

/// One dependency between two rooms.
#[derive(Debug)]
struct Edge {
    from: String,
    to: String,
    for_tests: bool,
}

/// Checks the dependencies of every crate of the workspace.
pub(crate) fn run() -> Result<()> {
    let edges = edges(&metadata()?)?;
    let mut offences: Vec<String> = edges.iter().filter_map(offence).collect();
    offences.dedup();
    if !offences.is_empty() {
        bail!(
            "the levels of the architecture are broken:\n  {}",
            offences.join("\n  ")
        );
    }
    println!("{} dependencies between rooms, all allowed", edges.len());
    Ok(())
}

fn metadata() -> Result<Value> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .current_dir(tree::root())
        .output()
        .context("cargo metadata does not run")?;
    ensure!(
        output.status.success(),
        "cargo metadata fails: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn edges(metadata: &Value) -> Result<Vec<Edge>> {
    let root = text(metadata, "workspace_root")?;
    let room_of = |path: &str| {
        let room = path.strip_prefix(root).unwrap_or(path).trim_start_matches('/');
        room.trim_end_matches("Cargo.toml")
            .trim_end_matches('/')
            .to_owned()
    };
    let mut edges = Vec::new();
    for package in list(metadata, "packages")? {
        let from = room_of(text(package, "manifest_path")?);
        ensure!(
            rule_of(&from).is_some(),
            "the room {from} has no rule in xtask/src/deps.rs"
        );
        for dependency in list(package, "dependencies")? {
            let Some(path) = dependency.get("path").and_then(Value::as_str) else {
                continue;
            };
            let for_tests = dependency.get("kind").and_then(Value::as_str) == Some("dev");
            edges.push(Edge {
                from: from.clone(),
                to: room_of(path),
                for_tests,
            });
        }
    }
    Ok(edges)
}

fn text<'a>(value: &'a Value, name: &str) -> Result<&'a str> {
    value
        .get(name)
        .and_then(Value::as_str)
        .with_context(|| format!("cargo metadata gives no {name}"))
}

fn list<'a>(value: &'a Value, name: &str) -> Result<&'a Vec<Value>> {
    value
        .get(name)
        .and_then(Value::as_array)
        .with_context(|| format!("cargo metadata gives no {name}"))
}

/// What is wrong with an edge, if it is.
fn offence(edge: &Edge) -> Option<String> {
    let Edge { from, to, for_tests } = edge;
    let rule = rule_of(from)?;
    let named = rule.may_use.iter().any(|pattern| fits(pattern, to));
    let below = rule.level == ANYTHING || rule_of(to).is_some_and(|used| used.level < rule.level);
    let allowed = named && below || *for_tests && (to == FOR_TESTS || to == from);
    (!allowed).then(|| format!("{from} may not use {to}"))
}

fn rule_of(room: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| fits(rule.room, room))
}

fn fits(pattern: &str, room: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => room.starts_with(beginning),
        None => room == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(from: &str, to: &str, for_tests: bool) -> Edge {
        Edge {
            from: from.to_owned(),
            to: to.to_owned(),
            for_tests,
        }
    }

    #[test]
    fn rules_only_lead_to_lower_levels() {
        for rule in RULES.iter().filter(|rule| rule.level < ANYTHING) {
            for used in rule.may_use.iter().filter(|used| !used.ends_with('*')) {
                let below = rule_of(used).unwrap_or_else(|| panic!("{used} has no rule"));
                assert!(below.level < rule.level, "{} uses {used}", rule.room);
            }
        }
    }

    #[test]
    fn the_control_plane_never_sees_the_data_plane() {
        for room in ["control/sentry", "control/placement", "cli", "control/dashboard"] {
            assert!(offence(&edge(room, "proxy", false)).is_some(), "{room}");
            assert!(offence(&edge(room, "proxy/link", false)).is_some(), "{room}");
        }
    }

    #[test]
    fn the_proxy_never_sees_a_vendor() {
        assert!(offence(&edge("proxy", "components/redis", false)).is_some());
        assert!(offence(&edge("proxy", "components", false)).is_some());
        assert!(offence(&edge("proxy", "components/core", false)).is_none());
    }

    #[test]
    fn tests_may_use_the_test_kit_and_code_may_not() {
        assert!(offence(&edge("config", "tests/kit", true)).is_none());
        assert!(offence(&edge("config", "tests/kit", false)).is_some());
        assert!(offence(&edge("config", "proxy", true)).is_some());
    }

    #[test]
    fn edges_are_read_from_paths() {
        let metadata = serde_json::json!({
            "workspace_root": "/w",
            "packages": [{
                "manifest_path": "/w/base/error/Cargo.toml",
                "dependencies": [
                    { "name": "http", "kind": null },
                    { "name": "outrigger-api", "kind": null, "path": "/w/api" },
                    { "name": "outrigger-test-kit", "kind": "dev", "path": "/w/tests/kit" },
                ],
            }],
        });
        let found = edges(&metadata).unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|edge| (&*edge.from, &*edge.to, edge.for_tests))
            .collect();
        assert_eq!(
            found,
            [("base/error", "api", false), ("base/error", "tests/kit", true)]
        );
    }
}
