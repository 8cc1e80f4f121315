//! The wire contracts as Rust types: messages, clients and servers of every gRPC surface.
//!
//! The `.proto` files are in `proto/`; `cargo xtask gen` turns them into the code in `src/gen`,
//! which is checked in, so that a build needs neither `protoc` nor a code generator.
//!
//! ```text
//! common ◀── runtime        the app's API, and what the app serves
//!    ▲  ◀── internals       sidecar to sidecar
//!    └───── scheduler, placement, operator, sentry     sidecar to control plane
//! components                sidecar to pluggable component
//! durabletask               workflow workers to sidecar
//! rpc                       error details
//! ```
//!
//! `bytes` fields are [`bytes::Bytes`] and [`Any`] is one of ours, so that decoding copies no payload.
//! Deprecated fields and methods are plain here: the marks are only in [`DESCRIPTORS`].

mod any;
#[path = "gen/mod.rs"]
#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::use_self,
    clippy::wildcard_imports,
    rustdoc::all,
    reason = "generated code"
)]
mod generated;

pub use any::Any;
pub use generated::dapr::proto::common::v1 as common;
pub use generated::dapr::proto::components::v1 as components;
pub use generated::dapr::proto::internals::v1 as internals;
pub use generated::dapr::proto::operator::v1 as operator;
pub use generated::dapr::proto::placement::v1 as placement;
pub use generated::dapr::proto::runtime::v1 as runtime;
pub use generated::dapr::proto::scheduler::v1 as scheduler;
pub use generated::dapr::proto::sentry::v1 as sentry;
pub use generated::dapr::proto::workflows::v1 as workflows;
pub use generated::google::rpc;
/// Decoder of messages, for those who read the bytes of a call themselves.
pub use tonic_prost::ProstDecoder;

/// The service between workflow workers and the sidecar, and the records that workflows keep.
///
/// These messages have no package on the wire.
pub mod durabletask {
    pub use crate::generated::durabletask::protos::backend::v1 as backend;
    pub use crate::generated::*;
}

/// A method of a gRPC service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method {
    /// Full name of the service: `package.Service`.
    pub service: &'static str,
    /// Name of the method.
    pub name: &'static str,
    /// Whether either side sends more than one message.
    pub is_streaming: bool,
}

/// The methods of every service that is described in [`DESCRIPTORS`].
pub const METHODS: &[Method] = include!("gen/methods.rs");

/// Encoded `google.protobuf.FileDescriptorSet` of every `.proto` file and its imports, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!("gen/descriptor.bin");

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use prost::Message;
    use prost_types::field_descriptor_proto::Type;
    use prost_types::{DescriptorProto, FileDescriptorSet};

    use super::*;

    fn messages() -> BTreeMap<String, DescriptorProto> {
        let set = FileDescriptorSet::decode(DESCRIPTORS).unwrap();
        let with_package = |file: prost_types::FileDescriptorProto| {
            let package = file.package().to_owned();
            file.message_type
                .into_iter()
                .map(move |message| (format!("{package}.{}", message.name()), message))
        };
        set.file.into_iter().flat_map(with_package).collect()
    }

    #[test]
    fn json_names_are_those_of_the_contract() {
        let expected = [
            (
                "dapr.proto.runtime.v1.GetMetadataResponse",
                "registered_components",
                "components",
            ),
            (
                "dapr.proto.runtime.v1.GetMetadataResponse",
                "extended_metadata",
                "extended",
            ),
            (
                "dapr.proto.runtime.v1.GetMetadataResponse",
                "active_actors_count",
                "actors",
            ),
            (
                "dapr.proto.runtime.v1.GetMetadataResponse",
                "http_endpoints",
                "httpEndpoints",
            ),
            (
                "dapr.proto.runtime.v1.PubsubSubscription",
                "pubsub_name",
                "pubsubname",
            ),
            (
                "dapr.proto.runtime.v1.GetWorkflowRequest",
                "instance_id",
                "instanceID",
            ),
            (
                "dapr.proto.runtime.v1.RegisterActorReminderRequest",
                "failure_policy",
                "failure_policy",
            ),
            (
                "dapr.proto.runtime.v1.ExecuteStateTransactionRequest",
                "storeName",
                "storeName",
            ),
        ];
        let messages = messages();
        for (message, name, json_name) in expected {
            let field = messages[message]
                .field
                .iter()
                .find(|field| field.name() == name)
                .unwrap();
            assert_eq!(field.json_name(), json_name, "{message}.{name}");
        }
    }

    #[test]
    fn deprecation_marks_reach_reflection_clients() {
        let messages = messages();
        let host = &messages["dapr.proto.placement.v1.Host"];
        let load = host.field.iter().find(|field| field.name() == "load").unwrap();
        assert!(load.options.as_ref().unwrap().deprecated());
        assert!(
            messages["dapr.proto.runtime.v1.ConversationRequest"]
                .options
                .as_ref()
                .unwrap()
                .deprecated()
        );
    }

    #[test]
    fn gaps_in_the_numbers_stay_gaps() {
        let messages = messages();
        let numbers = |name: &str| {
            messages[name]
                .field
                .iter()
                .map(|field| field.number())
                .collect::<Vec<_>>()
        };
        assert_eq!(numbers("dapr.proto.runtime.v1.InvokeServiceRequest"), [1, 3]);
        assert_eq!(
            numbers("dapr.proto.runtime.v1.TopicSubscription"),
            [1, 2, 3, 5, 6, 7]
        );
        assert_eq!(numbers("dapr.proto.runtime.v1.ActorReminder"), [1, 2, 4, 5, 6, 7]);
    }

    #[test]
    fn services_answer_under_their_wire_names() {
        assert_eq!(runtime::dapr_server::SERVICE_NAME, "dapr.proto.runtime.v1.Dapr");
        assert_eq!(sentry::ca_server::SERVICE_NAME, "dapr.proto.sentry.v1.CA");
        assert_eq!(
            durabletask::task_hub_sidecar_service_server::SERVICE_NAME,
            "TaskHubSidecarService"
        );
    }

    #[test]
    fn messages_without_a_package_are_reached_from_the_backend_package() {
        let request = durabletask::backend::AddEventRequest {
            event: Some(durabletask::HistoryEvent {
                event_id: -1,
                ..Default::default()
            }),
            ..Default::default()
        };
        let decoded =
            durabletask::backend::AddEventRequest::decode(request.encode_to_vec().as_slice()).unwrap();
        assert_eq!(decoded, request);
    }

    #[test]
    fn payloads_are_slices() {
        let payload = &messages()["dapr.proto.common.v1.StreamPayload"];
        assert_eq!(payload.field.first().unwrap().r#type(), Type::Bytes);
        let _: bytes::Bytes = common::StreamPayload::default().data;
    }
}
