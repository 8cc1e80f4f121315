//! What happened, for a person.

use std::time::Duration;

use outrigger_test_kit::SpanRecord;

use crate::caller::Outcome;
use crate::paint::{bold, cyan, dim, green};

/// Counters and histograms that tell the story of a call.
const COUNTERS: [&str; 6] = [
    "dapr_http_server_request_count",
    "dapr_grpc_io_server_completed_rpcs",
    "dapr_runtime_service_invocation_req_sent_total",
    "dapr_runtime_service_invocation_res_recv_total",
    "dapr_runtime_service_invocation_req_recv_total",
    "dapr_runtime_service_invocation_res_sent_total",
];

pub(crate) fn latencies(outcomes: &[Outcome]) {
    println!(
        "  {:<52} {:>6} {:>7} {:>9} {:>9}",
        "", "calls", "failed", "p50", "p99"
    );
    for outcome in outcomes {
        println!(
            "  {:<52} {:>6} {:>7} {:>9} {:>9}",
            outcome.way,
            outcome.calls,
            outcome.failed,
            micros(outcome.p50_us),
            micros(outcome.p99_us)
        );
    }
}

/// The spans of one trace, each below its parent.
pub(crate) fn trace(spans: &[SpanRecord]) {
    if let Some(span) = spans.first() {
        println!("  {}", dim(&format!("trace {}", span.trace_id)));
    }
    let is_root = |span: &SpanRecord| !spans.iter().any(|other| other.span_id == span.parent_span_id);
    for root in spans.iter().filter(|span| is_root(span)) {
        branch(spans, root, 0);
    }
}

fn branch(spans: &[SpanRecord], span: &SpanRecord, depth: usize) {
    let kind = span.kind.trim_start_matches("SPAN_KIND_").to_lowercase();
    let service = span.resource.get("service.name").map_or("?", String::as_str);
    let indent = if depth == 0 {
        String::new()
    } else {
        format!("{}└─ ", "   ".repeat(depth - 1))
    };
    println!(
        "  {indent}{} {} {}",
        bold(service),
        cyan(&span.name),
        dim(&format!("({kind}, {})", micros(span.micros())))
    );
    for child in spans.iter().filter(|child| child.parent_span_id == span.span_id) {
        branch(spans, child, depth + 1);
    }
}

pub(crate) fn counters(metrics: &str) {
    for line in metrics
        .lines()
        .filter(|line| COUNTERS.iter().any(|name| line.starts_with(&format!("{name}{{"))))
    {
        println!("    {line}");
    }
}

pub(crate) fn survived(outcome: &Outcome) {
    println!(
        "  {} calls, {}, p50 {}, slowest {} {}",
        outcome.calls,
        green(&format!("{} failed", outcome.failed)),
        micros(outcome.p50_us),
        micros(outcome.slowest_us),
        dim("(a call that met the dead sidecar was retried after 1 s)")
    );
}

/// The `msg` of a log line.
pub(crate) fn message(line: &str) -> &str {
    let from = line.find("msg=\"").map_or(0, |start| start + 5);
    let rest = line.get(from..).unwrap_or(line);
    rest.find('"').and_then(|end| rest.get(..end)).unwrap_or(rest)
}

pub(crate) fn short(time: Duration) -> String {
    micros(time.as_micros())
}

fn micros(time: u128) -> String {
    match time {
        0..1_000 => format!("{time} us"),
        1_000..1_000_000 => format!("{}.{:02} ms", time / 1_000, time % 1_000 / 10),
        _ => format!("{}.{:02} s", time / 1_000_000, time % 1_000_000 / 10_000),
    }
}
