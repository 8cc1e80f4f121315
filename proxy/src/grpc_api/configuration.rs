//! Configuration over gRPC.
//!
//! Source: specification, gRPC API 5.

use std::collections::HashMap;

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use outrigger_api::{common, runtime as api};
use outrigger_component::configuration::{ConfigurationItem, ConfigurationItems};
use tonic::{Response, Status};

use super::Backend;
use super::dapr::{Answer, DaprApi};
use crate::configuration::Subscription;

/// The messages of a subscription.
pub(super) type Updates = BoxStream<'static, Result<api::SubscribeConfigurationResponse, Status>>;

// === impl DaprApi ===

impl<B: Backend> DaprApi<B> {
    pub(super) async fn configuration(
        &self,
        request: api::GetConfigurationRequest,
    ) -> Answer<api::GetConfigurationResponse> {
        let configurations = &self.backend.building_blocks().configurations;
        let items = configurations
            .get(&request.store_name, &request.keys, &request.metadata)
            .await;
        let items = items.or_else(|error| self.fail(&error))?;
        Ok(Response::new(api::GetConfigurationResponse { items: all(items) }))
    }

    pub(super) async fn configuration_updates(
        &self,
        request: api::SubscribeConfigurationRequest,
    ) -> Answer<Updates> {
        let configurations = &self.backend.building_blocks().configurations;
        let subscription = configurations
            .subscribe(&request.store_name, request.keys, &request.metadata)
            .await;
        Ok(Response::new(updates(
            subscription.or_else(|error| self.fail(&error))?,
        )))
    }

    pub(super) async fn end_configuration_updates(
        &self,
        request: api::UnsubscribeConfigurationRequest,
    ) -> Answer<api::UnsubscribeConfigurationResponse> {
        tracing::warn!(
            target: "dapr.runtime.grpc.api",
            "UnsubscribeConfiguration is called: to close the stream of the subscription is preferred"
        );
        let outcome = self
            .backend
            .building_blocks()
            .configurations
            .end_stream(&request.id)
            .await;
        let message = outcome
            .as_ref()
            .map_or_else(ToString::to_string, |()| String::new());
        Ok(Response::new(api::UnsubscribeConfigurationResponse {
            ok: outcome.is_ok(),
            message,
        }))
    }
}

/// The id, then what is new.
fn updates(subscription: Subscription) -> Updates {
    let begun = api::SubscribeConfigurationResponse {
        id: subscription.id().to_owned(),
        items: HashMap::new(),
    };
    let news = stream::unfold(subscription, |mut subscription| async {
        let update = subscription.next().await?;
        let message = api::SubscribeConfigurationResponse {
            id: subscription.id().to_owned(),
            items: all(update.items),
        };
        Some((Ok(message), subscription))
    });
    stream::once(std::future::ready(Ok(begun))).chain(news).boxed()
}

fn all(items: ConfigurationItems) -> HashMap<String, common::ConfigurationItem> {
    let item = |(key, item)| {
        let ConfigurationItem {
            value,
            version,
            metadata,
        } = item;
        let item = common::ConfigurationItem {
            value,
            version,
            metadata,
        };
        (key, item)
    };
    items.into_iter().map(item).collect()
}
