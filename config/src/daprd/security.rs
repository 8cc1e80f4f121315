//! Identity, control plane and the way out.

use super::Flags;
use crate::env::{self, Env};

/// Identity of the sidecar and the control plane it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Security {
    /// Whether links are mutual TLS.
    pub mtls: bool,
    /// PEM bundle of trust anchors, from the environment.
    pub trust_anchors: Option<String>,
    /// Address of the certificate authority; may be empty.
    pub sentry_address: String,
    /// Audiences of the JWTs to ask for.
    pub jwt_audiences: Vec<String>,
    /// Address of the operator; may be empty.
    pub control_plane_address: String,
    /// Namespace of the control plane.
    pub control_plane_namespace: String,
    /// Trust domain of the control plane.
    pub control_plane_trust_domain: String,
    /// Token file for certificate requests as given; set but empty is the identity's error to tell.
    pub token_file: Option<String>,
    /// Id to ask a certificate for instead of the app id.
    pub local_identity: Option<String>,
    /// Whether uid 0 is allowed in kubernetes mode.
    pub allow_root: bool,
}

/// Proxies of outgoing HTTP calls, from the environment; empty for none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpProxy {
    /// Proxy of `http` calls.
    pub http: String,
    /// Proxy of `https` calls.
    pub https: String,
    /// Hosts that are called directly.
    pub exceptions: String,
}

// === impl Security ===

impl Security {
    pub(super) fn new(flags: &Flags, environment: &impl Env) -> Self {
        let fallback = |option: &Option<String>, variable: &str, default: &str| {
            let given = option.clone().or_else(|| environment.get_filled(variable));
            given.unwrap_or_else(|| default.to_owned())
        };
        Self {
            mtls: flags.enable_mtls,
            trust_anchors: environment.get_filled(env::DAPR_TRUST_ANCHORS),
            sentry_address: flags.sentry_address.clone(),
            jwt_audiences: flags.sentry_request_jwt_audiences.clone(),
            control_plane_address: flags.control_plane_address.clone(),
            control_plane_namespace: fallback(
                &flags.control_plane_namespace,
                env::DAPR_CONTROLPLANE_NAMESPACE,
                "default",
            ),
            control_plane_trust_domain: fallback(
                &flags.control_plane_trust_domain,
                env::DAPR_CONTROLPLANE_TRUST_DOMAIN,
                "localhost",
            ),
            token_file: environment.get(env::DAPR_SENTRY_TOKEN_FILE),
            local_identity: environment.get_filled(env::SENTRY_LOCAL_IDENTITY),
            allow_root: environment
                .get(env::DAPR_UNSAFE_SKIP_CONTAINER_UID_GID_CHECK)
                .as_deref()
                == Some("true"),
        }
    }
}

// === impl HttpProxy ===

impl HttpProxy {
    pub(super) fn new(environment: &impl Env) -> Self {
        let read = |name: &str| {
            let value = environment
                .get_filled(name)
                .or_else(|| environment.get_filled(&name.to_ascii_lowercase()));
            value.unwrap_or_default()
        };
        Self {
            http: read(env::HTTP_PROXY),
            https: read(env::HTTPS_PROXY),
            exceptions: read(env::NO_PROXY),
        }
    }
}
