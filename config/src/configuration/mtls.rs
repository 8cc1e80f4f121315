//! What the certificate authority and the injector read.

use std::collections::BTreeMap;

use outrigger_kit::json;
use serde_json::Value;

use super::wire::{MtlsSpec, TokenValidatorSpec};

/// The section `mtls`, as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mtls {
    /// Whether sidecars use mutual TLS; true when it is not said.
    pub enabled: bool,
    /// Lifetime of workload certificates, a Go duration; may be empty.
    pub workload_cert_ttl: String,
    /// How far clocks may be apart, a Go duration; may be empty.
    pub allowed_clock_skew: String,
    /// Address of the certificate authority; may be empty.
    pub sentry_address: String,
    /// Trust domain of the control plane; may be empty.
    pub control_plane_trust_domain: String,
    /// How callers of the certificate authority prove who they are.
    pub token_validators: Vec<ValidatorSpec>,
}

/// One way to prove who one is, as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidatorSpec {
    /// Name of the way.
    pub name: String,
    /// Its settings, as texts.
    pub options: BTreeMap<String, String>,
}

// === impl Mtls ===

impl From<MtlsSpec> for Mtls {
    fn from(spec: MtlsSpec) -> Self {
        Self {
            enabled: spec.enabled.unwrap_or(true),
            workload_cert_ttl: spec.workload_cert_ttl,
            allowed_clock_skew: spec.allowed_clock_skew,
            sentry_address: spec.sentry_address,
            control_plane_trust_domain: spec.control_plane_trust_domain,
            token_validators: spec
                .token_validators
                .into_iter()
                .map(ValidatorSpec::from)
                .collect(),
        }
    }
}

// === impl ValidatorSpec ===

impl From<TokenValidatorSpec> for ValidatorSpec {
    fn from(spec: TokenValidatorSpec) -> Self {
        let options = spec
            .options
            .into_iter()
            .map(|(name, value)| (name, text_of(value)))
            .collect();
        Self {
            name: spec.name,
            options,
        }
    }
}

fn text_of(value: Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text,
        other => json::to_go_string(&other),
    }
}
