//! Resources: the documents that tell a sidecar what to load.
//!
//! [`Manifests`] reads a set of folders once; [`Manifests::select`] takes one kind out of it with the
//! warnings that kind gives rise to; [`Filter`] keeps what this app may load. Secrets stay references.

mod changes;
mod component;
mod filter;
mod http_endpoint;
mod manifests;
mod mcp_server;
mod metadata;
mod placeholder;
mod property;
mod resiliency;
mod resiliency_matching;
mod resiliency_policy;
mod subscription;
mod watched_configuration;
mod workflow_access_policy;

use outrigger_kit::json::DecodeError;
use serde_json::Value;

pub use changes::Changes;
pub use component::{Category, Component, IncorrectType};
pub use filter::{Duplicates, Filter};
pub use http_endpoint::{ClientTls, HttpEndpoint};
pub use manifests::{LoadError, Loaded, Manifests, ReadError};
pub use mcp_server::{
    HookWorkflow, HttpAuth, HttpTransport, McpCatalog, McpHook, McpMiddleware, McpOwner, McpServer,
    McpServerError, OAuth2, SpiffeJwt, Stdio, Transport,
};
pub use metadata::{Metadata, NameError, check_name};
pub use placeholder::{PlaceholderError, Placeholders};
pub use property::{EnvPermission, Property, PropertyValue, SecretRef};
pub use resiliency::{LoadedResiliency, Resiliency};
pub use resiliency_matching::{CodeRange, Matching};
pub use resiliency_policy::{
    BreakerScope, CircuitBreakerPolicy, DirectionTargets, Policies, ResiliencyError, RetryPolicy,
    TargetPolicies, Targets,
};
pub use subscription::{BulkSubscribe, RouteRule, Routes, Subscription};
pub use watched_configuration::WatchedConfiguration;
pub use workflow_access_policy::{
    ActivityRule, PolicyRule, Requirement, WorkflowAccessPolicy, WorkflowAccessPolicyError, WorkflowRule,
};

pub use crate::io::{Disk, Files};
pub(crate) use property::value_text;

/// A kind of resource.
pub trait Resource: Sized {
    /// The kind, exactly as documents name it.
    const KIND: &'static str;

    /// The versions that are read, exactly as documents name them.
    const API_VERSIONS: &'static [&'static str] = &["dapr.io/v1alpha1"];

    /// Reads a document of one of the versions above.
    ///
    /// # Errors
    /// The first field of the wrong shape.
    fn from_document(api_version: &str, document: &Value) -> Result<Self, DecodeError>;

    /// Name, namespace and what the cluster adds.
    fn metadata(&self) -> &Metadata;

    /// App ids that may load it; empty is all.
    fn scopes(&self) -> &[String];

    /// How log lines name it.
    fn log_name(&self) -> String {
        self.metadata().name.clone()
    }

    /// Whether both say the same: equal in everything but metadata other than the name.
    fn same_as(&self, other: &Self) -> bool;
}
