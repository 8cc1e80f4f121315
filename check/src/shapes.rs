//! The shapes of all kinds of resources.
//!
//! Source: specification, Kubernetes custom resources.

use crate::Check;
use crate::document::Document;
use crate::finding::Findings;
use crate::shape::Shape::{
    self, Any, Bool, Duration, Integer, List, Map, Milliseconds, Object, Scalar, Text, Word,
};
use crate::shape::check;
use crate::suggest::did_you_mean;

/// Kind, versions and shape of what a resource folder may hold.
#[rustfmt::skip] // A table: one kind, one line.
const KINDS: &[(&str, &[&str], &Shape)] = &[
    ("Component", &["dapr.io/v1alpha1"], &COMPONENT),
    ("Configuration", &["dapr.io/v1alpha1"], &CONFIGURATION),
    ("HTTPEndpoint", &["dapr.io/v1alpha1"], &HTTP_ENDPOINT),
    ("Resiliency", &["dapr.io/v1alpha1"], &RESILIENCY),
    ("Subscription", &["dapr.io/v1alpha1", "dapr.io/v2alpha1"], &SUBSCRIPTION_V1),
    ("MCPServer", &["dapr.io/v1alpha1"], &MCP_SERVER),
    ("WorkflowAccessPolicy", &["dapr.io/v1alpha1"], &WORKFLOW_ACCESS_POLICY),
];

const TEXTS: Shape = List(&Text);
const LABELS: Shape = Map(&Text);

const METADATA: Shape = Object(&[
    ("name", Text),
    ("namespace", Text),
    ("labels", LABELS),
    ("annotations", LABELS),
    ("creationTimestamp", Any),
    ("generation", Any),
    ("resourceVersion", Any),
    ("uid", Any),
    ("managedFields", Any),
    ("ownerReferences", Any),
    ("finalizers", Any),
]);
const AUTH: Shape = Object(&[("secretStore", Text)]);
const SECRET_KEY_REF: Shape = Object(&[("name", Text), ("key", Text)]);
const PAIR: Shape = Object(&[
    ("name", Text),
    ("value", Any),
    ("secretKeyRef", SECRET_KEY_REF),
    ("envRef", Text),
]);

macro_rules! kind {
    ($spec:expr) => {
        Object(&[
            ("apiVersion", Text),
            ("kind", Text),
            ("metadata", METADATA),
            ("spec", $spec),
            ("auth", AUTH),
            ("scopes", TEXTS),
        ])
    };
}

const COMPONENT: Shape = kind!(Object(&[
    ("type", Text),
    ("version", Text),
    ("ignoreErrors", Bool),
    ("initTimeout", Duration),
    ("metadata", List(&PAIR)),
]));

const TLS_DOCUMENT: Shape = Object(&[("value", Any), ("secretKeyRef", SECRET_KEY_REF)]);
const HTTP_ENDPOINT: Shape = kind!(Object(&[
    ("baseUrl", Text),
    ("headers", List(&PAIR)),
    (
        "clientTLS",
        Object(&[
            ("rootCA", TLS_DOCUMENT),
            ("certificate", TLS_DOCUMENT),
            ("privateKey", TLS_DOCUMENT),
            (
                "renegotiation",
                Word(&[
                    "Never",
                    "OnceAsClient",
                    "FreelyAsClient",
                    "RenegotiateNever",
                    "RenegotiateOnceAsClient",
                    "RenegotiateFreelyAsClient",
                ]),
            ),
        ]),
    ),
]));

const HANDLERS: Shape = Object(&[(
    "handlers",
    List(&Object(&[
        ("name", Text),
        ("type", Text),
        ("version", Text),
        (
            "selector",
            Object(&[("fields", List(&Object(&[("field", Text), ("value", Text)])))]),
        ),
    ])),
)]);
const COLLECTOR: Shape = Object(&[
    ("protocol", Word(&["grpc", "http", ""])),
    ("endpointAddress", Text),
    ("isSecure", Bool),
    ("headers", Any),
    ("timeout", Duration),
]);
const METRICS: Shape = Object(&[
    ("enabled", Bool),
    ("recordErrorCodes", Bool),
    (
        "http",
        Object(&[
            ("increasedCardinality", Bool),
            ("pathMatching", TEXTS),
            ("excludeVerbs", Bool),
        ]),
    ),
    ("latencyDistributionBuckets", List(&Integer)),
    (
        "workflow",
        Object(&[
            ("latencyDistributionBuckets", List(&Integer)),
            ("latencyDistributionUnits", Duration),
        ]),
    ),
    (
        "rules",
        List(&Object(&[
            ("name", Text),
            ("labels", List(&Object(&[("name", Text), ("regex", LABELS)]))),
        ])),
    ),
    ("otlp", COLLECTOR),
]);
const API_RULES: Shape = List(&Object(&[("name", Text), ("version", Text), ("protocol", Text)]));
const LIMITS: Shape = List(&Object(&[("name", Text), ("maxConcurrent", Integer)]));

pub(crate) const CONFIGURATION: Shape = kind!(Object(&[
    ("httpPipeline", HANDLERS),
    ("appHttpPipeline", HANDLERS),
    (
        "tracing",
        Object(&[
            ("samplingRate", Text),
            ("stdout", Bool),
            ("zipkin", Object(&[("endpointAddress", Text)])),
            ("otel", COLLECTOR),
        ]),
    ),
    ("metric", METRICS),
    ("metrics", METRICS),
    (
        "mtls",
        Object(&[
            ("enabled", Bool),
            ("workloadCertTTL", Duration),
            ("allowedClockSkew", Duration),
            ("sentryAddress", Text),
            ("controlPlaneTrustDomain", Text),
            (
                "tokenValidators",
                List(&Object(&[("name", Text), ("options", Any)]))
            ),
        ]),
    ),
    (
        "secrets",
        Object(&[(
            "scopes",
            List(&Object(&[
                ("storeName", Text),
                ("defaultAccess", Text),
                ("allowedSecrets", TEXTS),
                ("deniedSecrets", TEXTS),
            ])),
        )]),
    ),
    (
        "accessControl",
        Object(&[
            ("defaultAction", Text),
            ("trustDomain", Text),
            (
                "policies",
                List(&Object(&[
                    ("appId", Text),
                    ("defaultAction", Text),
                    ("trustDomain", Text),
                    ("namespace", Text),
                    (
                        "operations",
                        List(&Object(&[("name", Text), ("httpVerb", TEXTS), ("action", Text)])),
                    ),
                ])),
            ),
        ]),
    ),
    (
        "nameResolution",
        Object(&[("component", Text), ("version", Text), ("configuration", Any)]),
    ),
    ("features", List(&Object(&[("name", Text), ("enabled", Bool)]))),
    ("api", Object(&[("allowed", API_RULES), ("denied", API_RULES)])),
    ("components", Object(&[("deny", TEXTS)])),
    (
        "logging",
        Object(&[
            (
                "apiLogging",
                Object(&[
                    ("enabled", Bool),
                    ("obfuscateURLs", Bool),
                    ("omitHealthChecks", Bool),
                ]),
            ),
            ("otlp", COLLECTOR),
        ]),
    ),
    ("wasm", Object(&[("strictSandbox", Bool)])),
    (
        "workflow",
        Object(&[
            ("maxConcurrentWorkflowInvocations", Integer),
            ("maxConcurrentActivityInvocations", Integer),
            ("globalMaxConcurrentWorkflowInvocations", Integer),
            ("globalMaxConcurrentActivityInvocations", Integer),
            ("workflowConcurrencyLimits", LIMITS),
            ("activityConcurrencyLimits", LIMITS),
            (
                "stateRetentionPolicy",
                Object(&[
                    ("anyTerminal", Duration),
                    ("completed", Duration),
                    ("failed", Duration),
                    ("terminated", Duration),
                ]),
            ),
        ]),
    ),
]));

const DIRECTION: Shape = Object(&[("timeout", Text), ("retry", Text), ("circuitBreaker", Text)]);
const RESILIENCY: Shape = kind!(Object(&[
    (
        "policies",
        Object(&[
            ("timeouts", Map(&Milliseconds)),
            (
                "retries",
                Map(&Object(&[
                    ("policy", Word(&["constant", "exponential", ""])),
                    ("duration", Milliseconds),
                    ("maxInterval", Milliseconds),
                    ("maxRetries", Integer),
                    (
                        "matching",
                        Object(&[("httpStatusCodes", Scalar), ("gRPCStatusCodes", Scalar)]),
                    ),
                ])),
            ),
            (
                "circuitBreakers",
                Map(&Object(&[
                    ("maxRequests", Integer),
                    ("interval", Milliseconds),
                    ("timeout", Milliseconds),
                    ("trip", Text),
                ])),
            ),
        ]),
    ),
    (
        "targets",
        Object(&[
            (
                "apps",
                Map(&Object(&[
                    ("timeout", Text),
                    ("retry", Text),
                    ("circuitBreaker", Text),
                    ("circuitBreakerCacheSize", Integer),
                ])),
            ),
            (
                "actors",
                Map(&Object(&[
                    ("timeout", Text),
                    ("retry", Text),
                    ("circuitBreaker", Text),
                    ("circuitBreakerScope", Word(&["type", "id", "both", ""])),
                    ("circuitBreakerCacheSize", Integer),
                ])),
            ),
            (
                "components",
                Map(&Object(&[("inbound", DIRECTION), ("outbound", DIRECTION)])),
            ),
        ]),
    ),
]));

const BULK: Shape = Object(&[
    ("enabled", Bool),
    ("maxMessagesCount", Integer),
    ("maxAwaitDurationMs", Integer),
]);
const SUBSCRIPTION_V1: Shape = kind!(Object(&[
    ("topic", Text),
    ("pubsubname", Text),
    ("route", Text),
    ("metadata", LABELS),
    ("deadLetterTopic", Text),
    ("bulkSubscribe", BULK),
]));
const SUBSCRIPTION_V2: Shape = kind!(Object(&[
    ("topic", Text),
    ("pubsubname", Text),
    (
        "routes",
        Object(&[
            ("default", Text),
            ("rules", List(&Object(&[("match", Text), ("path", Text)]))),
        ]),
    ),
    ("metadata", LABELS),
    ("deadLetterTopic", Text),
    ("bulkSubscribe", BULK),
]));

const ENDPOINT: Shape = Object(&[
    ("url", Text),
    ("protocolVersion", Text),
    ("timeout", Duration),
    ("headers", List(&PAIR)),
    (
        "auth",
        Object(&[
            ("secretStore", Text),
            (
                "oauth2",
                Object(&[
                    ("issuer", Text),
                    ("audience", Text),
                    ("clientID", Text),
                    ("scopes", TEXTS),
                    ("secretKeyRef", SECRET_KEY_REF),
                ]),
            ),
            (
                "spiffe",
                Object(&[(
                    "jwt",
                    Object(&[("header", Text), ("headerValuePrefix", Text), ("audience", Text)]),
                )]),
            ),
        ]),
    ),
]);
const WORKFLOW: Shape = Object(&[("workflowName", Text), ("appID", Text)]);
const HOOKS: Shape = List(&Object(&[("workflow", WORKFLOW), ("mutate", Bool)]));
const MCP_SERVER: Shape = kind!(Object(&[
    (
        "catalog",
        Object(&[
            ("displayName", Text),
            ("description", Text),
            ("owner", Object(&[("team", Text), ("contact", Text)])),
            ("tags", TEXTS),
            ("links", LABELS),
        ]),
    ),
    (
        "endpoint",
        Object(&[
            ("streamableHTTP", ENDPOINT),
            ("sse", ENDPOINT),
            (
                "stdio",
                Object(&[("command", Text), ("args", TEXTS), ("env", List(&PAIR))]),
            ),
        ]),
    ),
    (
        "middleware",
        Object(&[
            ("beforeCallTool", HOOKS),
            ("afterCallTool", HOOKS),
            ("afterListTools", HOOKS),
            ("beforeListTools", List(&Object(&[("workflow", WORKFLOW)]))),
        ]),
    ),
    ("ignoreErrors", Bool),
]));

const REQUIRES: Shape = List(&Object(&[
    (
        "eventType",
        Word(&[
            "activity.started",
            "activity.completed",
            "workflow.started",
            "workflow.completed",
            "event.raised",
        ]),
    ),
    ("name", Text),
    ("appID", Text),
]));
const OPERATIONS: Shape = List(&Word(&[
    "schedule",
    "terminate",
    "raise",
    "pause",
    "resume",
    "purge",
    "get",
    "rerun",
]));
const WORKFLOW_ACCESS_POLICY: Shape = kind!(Object(&[(
    "rules",
    List(&Object(&[
        ("callers", List(&Object(&[("appID", Text)]))),
        (
            "workflows",
            List(&Object(&[
                ("name", Text),
                ("operations", OPERATIONS),
                ("requires", REQUIRES),
            ])),
        ),
        (
            "activities",
            List(&Object(&[("name", Text), ("requires", REQUIRES)]))
        ),
    ])),
)]));

// === impl Check ===

impl Check<'_> {
    /// Holds every document against the shape of its kind.
    pub(crate) fn shapes(&mut self) {
        for document in &self.configurations {
            check(&CONFIGURATION, &document.root, "", document, &mut self.findings);
        }
        for document in &self.resources {
            if let Some(shape) = shape_of(document, &mut self.findings) {
                check(shape, &document.root, "", document, &mut self.findings);
            }
        }
    }
}

/// The name of a kind, if there is such a kind.
pub(crate) fn known_kind(kind: &str) -> Option<&'static str> {
    let found = KINDS.iter().find(|(name, ..)| *name == kind);
    found.map(|(name, ..)| *name)
}

fn shape_of(document: &Document, findings: &mut Findings) -> Option<&'static Shape> {
    let (kind, version) = (document.kind(), document.root.text("apiVersion"));
    let Some((_, versions, shape)) = KINDS.iter().find(|(name, ..)| *name == kind) else {
        let meant = did_you_mean(kind, KINDS.iter().map(|(name, ..)| *name));
        let line = document.root.line_of("kind");
        findings.add(
            document.place(line),
            format!("unknown kind {kind:?}: it is not loaded{meant}"),
        );
        return None;
    };
    if !versions.contains(&version) {
        let line = document.root.line_of("apiVersion");
        let versions = versions.join(" or ");
        findings.add(
            document.place(line),
            format!("apiVersion {version:?} is not loaded: a {kind} is {versions}"),
        );
        return None;
    }
    match version {
        "dapr.io/v2alpha1" => Some(&SUBSCRIPTION_V2),
        _ => Some(shape),
    }
}
