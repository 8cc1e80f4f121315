//! The details that rich errors carry, in the order clients see them.

use std::collections::BTreeMap;

use outrigger_api::{Any, rpc};
use serde::Serialize;

use crate::Error;
use crate::code::reason_phrase;
use crate::face::Info;

/// The wire that an answer goes out on; a few errors look different on each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// The HTTP API.
    Http,
    /// The gRPC API.
    Grpc,
}

/// One detail of a rich error, `google.rpc` on gRPC and plain JSON on HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "@type")]
pub enum Detail {
    /// Why the call failed, for programs.
    #[serde(rename = "type.googleapis.com/google.rpc.ErrorInfo")]
    ErrorInfo {
        /// Who defines the reason: `dapr.io`, or what a component gave.
        domain: String,
        /// Facts about the failure; none is `null` in JSON, unlike an empty map.
        metadata: Option<BTreeMap<String, String>>,
        /// Constant that tells this failure from others.
        reason: String,
    },
    /// Which resource the call was about.
    #[serde(rename = "type.googleapis.com/google.rpc.ResourceInfo")]
    ResourceInfo {
        /// What went wrong with it.
        description: String,
        /// Whose it is.
        owner: String,
        /// Name of the component.
        resource_name: String,
        /// `state` or `pubsub`.
        resource_type: String,
    },
    /// Which fields of the request are wrong.
    #[serde(rename = "type.googleapis.com/google.rpc.BadRequest")]
    BadRequest {
        /// The fields.
        field_violations: Vec<FieldViolation>,
    },
    /// Where to read more.
    #[serde(rename = "type.googleapis.com/google.rpc.Help")]
    Help {
        /// The places.
        links: Vec<Link>,
    },
}

/// A field that is wrong, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldViolation {
    /// Name of the field.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub field: String,
    /// What is wrong with it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
}

/// A place to read more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Link {
    /// What is to be found there.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub url: String,
}

/// Domain of the runtime's own reasons.
const DOMAIN: &str = "dapr.io";

/// Longest detail of an error that is made from an HTTP status, in bytes.
const MAX_HTTP_DETAIL: usize = 63;

// === impl Error ===

impl Error {
    /// The details of this error on one wire (specification: HTTP API 6.2); none for a simple error.
    #[must_use]
    pub fn details(&self, wire: Wire) -> Vec<Detail> {
        if let (Wire::Grpc, Some(own)) = (wire, self.own()) {
            return own.details.clone();
        }
        let face = self.face();
        match (face.info, wire) {
            (Info::None, _) | (Info::Grpc, Wire::Http) => Vec::new(),
            (Info::Grpc, Wire::Grpc) => vec![info(face.code, None)],
            (Info::Both(reason), _) => self.rich_details(wire, reason),
        }
    }

    fn rich_details(&self, wire: Wire, reason: &str) -> Vec<Detail> {
        let pubsub = |name: &str| resource("pubsub", name, self.to_string());
        let on_http = |metadata| (wire == Wire::Http).then_some(metadata);
        match self {
            Self::Component { details, .. } => details.clone(),
            Self::HttpStatus { status, detail } => {
                let facts = [
                    ("http.code", status.to_string()),
                    ("http.error_message", cut(detail).to_owned()),
                ];
                vec![info(reason_phrase(*status), Some(map(facts)))]
            }

            Self::StateStoreNotConfigured { app_id, .. } | Self::StateStoreNotFound { app_id, .. } => {
                vec![info(reason, on_http(map([("appID", app_id.clone())])))]
            }
            Self::StateKeyIllegal { store, field, .. } => {
                let violation = FieldViolation {
                    field: field.clone(),
                    description: self.message(wire),
                };
                vec![
                    Detail::BadRequest {
                        field_violations: vec![violation],
                    },
                    state(store),
                    info(reason, None),
                ]
            }
            Self::StateTransactionsUnsupported { store } => {
                let link = Link {
                    description: "Check the list of state stores and the features they support".to_owned(),
                    url: "https://docs.dapr.io/reference/components-reference/supported-state-stores/"
                        .to_owned(),
                };
                vec![
                    Detail::Help { links: vec![link] },
                    state(store),
                    info(reason, None),
                ]
            }
            Self::StateTooManyOperations { store, given, limit } => {
                let facts = [
                    ("currentOpsTransaction", given.to_string()),
                    ("maxOpsPerTransaction", limit.to_string()),
                ];
                vec![state(store), info(reason, Some(map(facts)))]
            }
            Self::StateQueryUnsupported { store } | Self::StateQuery { store, .. } => {
                vec![state(store), info(reason, None)]
            }

            Self::PubsubNotFound { metadata, .. } => vec![info(reason, on_http(metadata.clone()))],
            Self::PubsubNotConfigured { .. } => vec![info(reason, None)],
            Self::PubsubNameEmpty => vec![pubsub(""), info(reason, None)],
            Self::TopicEmpty { pubsub: name } => vec![pubsub(name), info(reason, None)],
            Self::PubsubMetadata {
                pubsub: name,
                metadata,
                ..
            } => {
                vec![pubsub(name), info(reason, Some(metadata.clone()))]
            }
            Self::CloudEvent {
                pubsub: name,
                app_id,
                cause,
            }
            | Self::EventEnvelope {
                pubsub: name,
                app_id,
                cause,
                ..
            } => {
                let facts = [("appID", app_id.clone()), ("error", cause.clone())];
                vec![pubsub(name), info(reason, Some(map(facts)))]
            }
            Self::EventEntryId {
                pubsub: name, app_id, ..
            } => {
                let cause = "entryId is duplicated or not present for entry".to_owned();
                vec![
                    pubsub(name),
                    info(reason, Some(map([("appID", app_id.clone()), ("error", cause)]))),
                ]
            }
            Self::EventsMalformed {
                pubsub: name, app_id, ..
            } => {
                vec![pubsub(name), info(reason, Some(map([("appID", app_id.clone())])))]
            }
            Self::Publish {
                pubsub: name,
                topic,
                cause,
            } => {
                let facts = [("topic", topic.clone()), ("error", cause.clone())];
                vec![pubsub(name), info(reason, Some(map(facts)))]
            }
            Self::PublishForbidden {
                pubsub: name, topic, ..
            }
            | Self::PubsubGone { pubsub: name, topic } => {
                let facts = [("topic", topic.clone()), ("error", self.to_string())];
                vec![pubsub(name), info(reason, Some(map(facts)))]
            }
            Self::Outbox { app_id, cause } => {
                vec![info(
                    reason,
                    Some(map([("appID", app_id.clone()), ("error", cause.clone())])),
                )]
            }

            Self::JobEmpty { app_id, namespace }
            | Self::JobNameEmpty { app_id, namespace }
            | Self::JobScheduleEmpty { app_id, namespace }
            | Self::JobSchedule {
                app_id, namespace, ..
            }
            | Self::JobGet {
                app_id, namespace, ..
            }
            | Self::JobList {
                app_id, namespace, ..
            }
            | Self::JobDelete {
                app_id, namespace, ..
            } => {
                let facts = [("appID", app_id.clone()), ("namespace", namespace.clone())];
                vec![info(reason, Some(map(facts)))]
            }
            Self::JobNameInBody { app_id } => vec![info(reason, Some(map([("appID", app_id.clone())])))],
            _ => vec![info(reason, None)],
        }
    }
}

impl From<Detail> for Any {
    fn from(detail: Detail) -> Self {
        match detail {
            Detail::ErrorInfo {
                domain,
                metadata,
                reason,
            } => {
                let metadata = metadata.unwrap_or_default().into_iter().collect();
                Self::pack(&rpc::ErrorInfo {
                    reason,
                    domain,
                    metadata,
                })
            }
            Detail::ResourceInfo {
                description,
                owner,
                resource_name,
                resource_type,
            } => Self::pack(&rpc::ResourceInfo {
                resource_type,
                resource_name,
                owner,
                description,
            }),
            Detail::BadRequest { field_violations } => {
                let field_violations = field_violations.into_iter().map(|violation| {
                    let FieldViolation { field, description } = violation;
                    rpc::bad_request::FieldViolation {
                        field,
                        description,
                        ..Default::default()
                    }
                });
                Self::pack(&rpc::BadRequest {
                    field_violations: field_violations.collect(),
                })
            }
            Detail::Help { links } => {
                let links = links
                    .into_iter()
                    .map(|Link { description, url }| rpc::help::Link { description, url });
                Self::pack(&rpc::Help {
                    links: links.collect(),
                })
            }
        }
    }
}

fn info(reason: &str, metadata: Option<BTreeMap<String, String>>) -> Detail {
    Detail::ErrorInfo {
        domain: DOMAIN.to_owned(),
        metadata,
        reason: reason.to_owned(),
    }
}

fn state(store: &str) -> Detail {
    resource("state", store, String::new())
}

fn resource(resource_type: &str, name: &str, description: String) -> Detail {
    Detail::ResourceInfo {
        description,
        owner: String::new(),
        resource_name: name.to_owned(),
        resource_type: resource_type.to_owned(),
    }
}

fn map<const N: usize>(facts: [(&str, String); N]) -> BTreeMap<String, String> {
    facts
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

fn cut(detail: &str) -> &str {
    detail
        .get(..detail.floor_char_boundary(MAX_HTTP_DETAIL))
        .unwrap_or(detail)
}
