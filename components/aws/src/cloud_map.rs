//! Name resolution by Cloud Map: who registered the apps is not the sidecar's business.
//!
//! Source: specification, name resolution 8.

use std::collections::HashMap;
use std::net::Ipv6Addr;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_servicediscovery::Client;
use aws_sdk_servicediscovery::types::HealthStatusFilter;
use outrigger_component::name_resolution::{Addresses, Lookup, NameResolution, NameResolutionInit};
use outrigger_svc::{BoxError, BoxFuture};

use crate::access::Access;
use crate::failure;

/// Finds sidecars among the instances of services that are named as their apps.
#[derive(Debug)]
pub struct CloudMap {
    client: Client,
    /// Name of the namespace.
    namespace: String,
    /// Port of instances that say none.
    port: u16,
}

const SERVICE: &str = "ServiceDiscovery";
const PORT: &str = "DAPR_PORT";
const DEFAULT_PORT: u16 = 50002;

/// Attributes with the address of an instance, the most wanted first.
const ADDRESSES: [&str; 3] = ["AWS_INSTANCE_IPV4", "AWS_INSTANCE_IPV6", "AWS_INSTANCE_CNAME"];

/// How long the service may take at start.
const PATIENCE: Duration = Duration::from_secs(10);

/// Reads the configuration, and asks for the namespace.
pub(crate) async fn make(init: NameResolutionInit) -> Result<Arc<dyn NameResolution>, BoxError> {
    let connect = tokio::time::timeout(PATIENCE, CloudMap::connect(&init)).await;
    Ok(Arc::new(connect.map_err(|_| "context deadline exceeded")??))
}

// === impl CloudMap ===

impl CloudMap {
    async fn connect(init: &NameResolutionInit) -> Result<Self, BoxError> {
        let properties = init.properties();
        let fields = properties.fields()?;
        let filled = |name: &str| fields.text(name).filter(|text| !text.is_empty());
        let (name, id) = (filled("namespaceName"), filled("namespaceId"));
        if name.is_none() && id.is_none() {
            return Err("either namespaceName or namespaceId must be provided".into());
        }
        let port = match fields.integer("defaultDaprPort")? {
            None | Some(0) => DEFAULT_PORT,
            Some(port) => u16::try_from(port).map_err(|_| format!("defaultDaprPort {port} is no port"))?,
        };
        let client = Client::new(&Access::read(&fields)?.config(init.http.clone()).await);
        let namespace = match (id, name) {
            (Some(id), _) => by_id(&client, id).await?,
            (None, name) => by_name(&client, name.unwrap_or_default()).await?,
        };
        Ok(Self {
            client,
            namespace,
            port,
        })
    }

    async fn find(&self, app_id: &str) -> Result<Addresses, String> {
        let answer = self
            .client
            .discover_instances()
            .namespace_name(&self.namespace)
            .service_name(app_id)
            .health_status(HealthStatusFilter::Healthy)
            .send()
            .await;
        let answer = answer.map_err(|error| {
            let text = failure::text(SERVICE, "DiscoverInstances", &error);
            format!("failed to discover CloudMap service: {text}")
        })?;
        let instances = answer.instances().iter();
        let list: Vec<_> = instances
            .filter_map(|instance| address(instance.attributes()?, self.port))
            .collect();
        if list.is_empty() {
            return Err(format!("no healthy instances found for service {app_id}"));
        }
        Ok(Addresses::once(list))
    }
}

impl NameResolution for CloudMap {
    fn resolve<'a>(&'a self, lookup: Lookup<'a>) -> BoxFuture<'a, Result<Addresses, String>> {
        Box::pin(self.find(lookup.app_id))
    }
}

/// The name of a namespace that is there.
async fn by_id(client: &Client, id: &str) -> Result<String, BoxError> {
    let answer = client.get_namespace().id(id).send().await;
    let answer = answer.map_err(|error| failure::text(SERVICE, "GetNamespace", &error))?;
    let name = answer.namespace().and_then(|namespace| namespace.name());
    Ok(name
        .ok_or_else(|| format!("namespace not found: {id}"))?
        .to_owned())
}

/// A name that a namespace of the first page has.
async fn by_name(client: &Client, name: &str) -> Result<String, BoxError> {
    let answer = client.list_namespaces().send().await;
    let answer = answer.map_err(|error| failure::text(SERVICE, "ListNamespaces", &error))?;
    let is_there = answer
        .namespaces()
        .iter()
        .any(|namespace| namespace.name() == Some(name));
    match is_there {
        true => Ok(name.to_owned()),
        false => Err(format!("namespace not found: {name}").into()),
    }
}

/// `host:port` of an instance; none if it says no address.
fn address(attributes: &HashMap<String, String>, default_port: u16) -> Option<String> {
    let text = |name: &str| attributes.get(name).filter(|text| !text.is_empty());
    let host = ADDRESSES.into_iter().find_map(text)?;
    let port = text(PORT)
        .and_then(|port| port.parse::<u16>().ok())
        .unwrap_or(default_port);
    Some(match host.parse::<Ipv6Addr>() {
        Ok(_) => format!("[{host}]:{port}"),
        Err(_) => format!("{host}:{port}"),
    })
}

#[cfg(test)]
mod tests;
