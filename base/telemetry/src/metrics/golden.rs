//! The names of all metrics, as a text that is kept beside the code and compared in its test.

use std::fmt::Write;

use super::Metrics;
use super::process;
use super::settings::{HttpLabels, MetricsSettings};

/// One line a metric that every sidecar knows from its start: name, kind, labels, help.
///
/// Dashboards and rules are written with these names; the table shows a change to whoever reviews it.
///
/// # Panics
/// Never: there is no rule to compile.
#[must_use]
pub fn table() -> String {
    let settings = MetricsSettings {
        app_id: "app".into(),
        http: HttpLabels::default(),
        record_error_codes: true,
        ..MetricsSettings::default()
    };
    let metrics = Metrics::new(&settings).expect("there is no rule to compile");
    let mut table = String::new();
    let mut line = |name: &str, kind: &str, labels: &[&str], help: &str| {
        let labels = labels.join(",");
        writeln!(table, "{name} {kind} {{{labels}}} {help}").expect("writing to a string cannot fail");
    };
    metrics
        .0
        .registry
        .list(|head, labels| line(head.name, head.kind.word(), labels, head.help));
    for (name, help, kind) in process::figures() {
        line(name, kind, &[], help);
    }
    table
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_table_is_the_one_that_was_reviewed() {
        let (made, kept) = (super::table(), include_str!("../../golden/metrics.txt"));
        let missing: Vec<_> = made.lines().filter(|line| !kept.contains(line)).collect();
        let gone: Vec<_> = kept.lines().filter(|line| !made.contains(line)).collect();
        assert!(
            made == kept,
            "run `cargo xtask golden`: new {missing:#?}, gone {gone:#?}"
        );
    }
}
