//! Operations on components.

use std::time::Duration;

use super::instrument::{Counter, Histogram};
use super::registry::{Buckets, Description, Fixed, Registry};
use super::runtime::Success;

/// A building block whose operations are counted alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    /// Events from input bindings.
    InputBinding,
    /// Operations on output bindings.
    OutputBinding,
    /// Operations on state stores.
    State,
    /// Operations on configuration stores.
    Configuration,
    /// Operations on secret stores.
    Secret,
    /// Calls of language models.
    Conversation,
    /// Cryptographic operations.
    Crypto,
}

/// How messages travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// One at a time.
    Single,
    /// Several in one call.
    Bulk,
}

/// Operations on components, all with the labels `app_id` and `namespace`.
///
/// Latencies of zero are not recorded. Specification: observability, section 7.4.
#[derive(Debug)]
pub struct Components {
    blocks: [Family; 7],
    ingress: Family,
    ingress_bulk: Family,
    ingress_bulk_events: Counter,
    egress: Family,
    egress_bulk: Family,
    jobs_succeeded: Counter,
    jobs_failed: Counter,
    job_latency: Histogram,
}

/// A count and the latencies that go with it.
#[derive(Debug)]
struct Family {
    count: Counter,
    latency: Histogram,
    /// Whether the label `operation` belongs to it.
    has_operation: bool,
}

/// A family's name, the texts of its count and latencies, and its labels.
type Row = (&'static str, &'static str, &'static str, &'static [&'static str]);

const BY_OPERATION: &[&str] = &["component", "operation", "success"];
const BY_SUCCESS: &[&str] = &["component", "success"];

/// In the order of [`Block`].
const BLOCKS: [Row; 7] = [
    (
        "input_binding",
        "The number of incoming events arriving from the input binding component.",
        "The triggered app event processing latency.",
        BY_SUCCESS,
    ),
    (
        "output_binding",
        "The number of operations invoked on the output binding component.",
        "The latency of the response from the output binding component.",
        BY_OPERATION,
    ),
    (
        "state",
        "The number of operations performed on the state component.",
        "The latency of the response from the state component.",
        BY_OPERATION,
    ),
    (
        "configuration",
        "The number of operations performed on the configuration component.",
        "The latency of the response from the configuration component.",
        BY_OPERATION,
    ),
    (
        "secret",
        "The number of operations performed on the secret component.",
        "The latency of the response from the secret component.",
        BY_OPERATION,
    ),
    (
        "conversation",
        "The number of operations performed on the conversation component.",
        "The latency of the response from the conversation component.",
        BY_SUCCESS,
    ),
    (
        "crypto",
        "The number of operations performed on the crypto component.",
        "The latency of the response from the crypto component.",
        BY_OPERATION,
    ),
];

const INGRESS: Row = (
    "pubsub_ingress",
    "The number of incoming messages arriving from the pub/sub component.",
    "The consuming app event processing latency.",
    &["component", "process_status", "status", "topic"],
);

const INGRESS_BULK: Row = (
    "pubsub_ingress/bulk",
    "The number of incoming bulk subscribe calls from the pub/sub component.",
    "The consuming app bulk event processing latency.",
    &["component", "process_status", "topic"],
);

const EGRESS: Row = (
    "pubsub_egress",
    "The number of outgoing messages published to the pub/sub component.",
    "The latency of the response from the pub/sub component.",
    &["component", "success", "topic"],
);

const EGRESS_BULK: Row = (
    "pubsub_egress/bulk",
    "The number of bulk publish calls to the pub/sub component.",
    "The latency of the response for the bulk publish call from the pub/sub component.",
    &["component", "success", "topic"],
);

// === impl Components ===

impl Components {
    pub(super) fn new(registry: &Registry) -> Self {
        let describe = |name, help, labels| Description {
            name,
            help,
            labels,
            fixed: Fixed::AppIdAndNamespace,
        };
        let family = |row| Family::new(registry, row);
        Self {
            blocks: BLOCKS.map(family),
            ingress: family(INGRESS),
            ingress_bulk: family(INGRESS_BULK),
            ingress_bulk_events: registry.counter(describe(
                "component/pubsub_ingress/bulk/event_count",
                "The number of messages arriving in bulk from the pub/sub component.",
                INGRESS_BULK.3,
            )),
            egress: family(EGRESS),
            egress_bulk: family(EGRESS_BULK),
            jobs_succeeded: registry.counter(describe(
                "component/job/success_count",
                "The number of jobs delivered to the app with success.",
                &["operation"],
            )),
            jobs_failed: registry.counter(describe(
                "component/job/failure_count",
                "The number of jobs that the app failed on.",
                &["operation"],
            )),
            job_latency: registry.histogram(
                describe(
                    "component/job/latencies",
                    "The latency of the app's answer to a job.",
                    &["operation", "success"],
                ),
                &Buckets::Latency,
            ),
        }
    }

    /// Counts an operation. Blocks without the label ignore `operation`.
    pub fn operation(
        &self,
        block: Block,
        component: &str,
        operation: &str,
        success: Success,
        elapsed: Duration,
    ) {
        let family = &self.blocks[block as usize];
        if family.has_operation {
            family.record(&[component, operation, success.label()], elapsed);
        } else {
            family.record(&[component, success.label()], elapsed);
        }
    }

    /// Counts a message that was delivered to the app. `outcome` is `success`, `retry` or `drop`; `status` is
    /// the same, unless the app asked for it.
    pub fn ingress(&self, component: &str, topic: &str, outcome: &str, status: &str, elapsed: Duration) {
        self.ingress.record(&[component, outcome, status, topic], elapsed);
    }

    /// Counts a bulk that was delivered to the app, and the messages in it of that outcome.
    pub fn ingress_bulk(&self, component: &str, topic: &str, outcome: &str, events: u64, elapsed: Duration) {
        let labels = [component, outcome, topic];
        self.ingress_bulk.record(&labels, elapsed);
        self.ingress_bulk_events.add(&labels, events);
    }

    /// Counts a publish call.
    pub fn egress(
        &self,
        delivery: Delivery,
        component: &str,
        topic: &str,
        success: Success,
        elapsed: Duration,
    ) {
        let family = match delivery {
            Delivery::Single => &self.egress,
            Delivery::Bulk => &self.egress_bulk,
        };
        family.record(&[component, success.label(), topic], elapsed);
    }

    /// Counts a job that was delivered to the app.
    pub fn job(&self, operation: &str, success: Success, elapsed: Duration) {
        let counter = if success == Success::Yes {
            &self.jobs_succeeded
        } else {
            &self.jobs_failed
        };
        counter.increment(&[operation]);
        if !elapsed.is_zero() {
            self.job_latency
                .observe_latency(&[operation, success.label()], elapsed);
        }
    }
}

// === impl Family ===

impl Family {
    fn new(registry: &Registry, (name, count_help, latency_help, labels): Row) -> Self {
        let describe = |name, help| Description {
            name,
            help,
            labels,
            fixed: Fixed::AppIdAndNamespace,
        };
        let count = format!("component/{name}/count");
        let latency = format!("component/{name}/latencies");
        Self {
            count: registry.counter(describe(&count, count_help)),
            latency: registry.histogram(describe(&latency, latency_help), &Buckets::Latency),
            has_operation: labels.contains(&"operation"),
        }
    }

    fn record(&self, labels: &[&str], elapsed: Duration) {
        self.count.increment(labels);
        if !elapsed.is_zero() {
            self.latency.observe_latency(labels, elapsed);
        }
    }
}
