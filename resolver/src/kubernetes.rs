//! The headless service that Kubernetes keeps for every app.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use outrigger_svc::BoxFuture;
use serde_json::Value;

use crate::SCOPE;
use crate::component::text;
use crate::endpoint::{Endpoint, Request};
use crate::error::ResolveError;
use crate::resolver::{Answer, Keep, NameResolver};
use crate::template::Template;

/// How long a list of addresses holds.
const LIFETIME: Duration = Duration::from_secs(20);

const DEFAULT_CLUSTER_DOMAIN: &str = "cluster.local";

/// Looks up all addresses of a host name.
pub trait LookupAddresses: Send + Sync + 'static {
    /// All IPv4 and IPv6 addresses of `host`.
    ///
    /// # Errors
    /// What the DNS said, as text.
    fn lookup<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, String>>;
}

/// Resolves `<app id>-dapr.<namespace>.svc.<cluster domain>:<port>` to the addresses of all pods.
///
/// Configuration: `clusterDomain` (default `cluster.local`) and `template`, a Go text template over
/// `ID`, `Namespace`, `Port` and `Data`. Answers hold for 20 s.
#[derive(Clone, Debug)]
pub struct KubernetesResolver<L> {
    naming: Naming,
    lookup: L,
}

/// The DNS of the machine: servers of `/etc/resolv.conf`, names of `/etc/hosts`, nothing cached.
#[derive(Clone)]
pub struct DnsLookup(TokioResolver);

#[derive(Clone, Debug)]
enum Naming {
    Service { cluster_domain: String },
    Template(Template),
}

// === impl KubernetesResolver ===

impl<L: LookupAddresses> KubernetesResolver<L> {
    /// Reads the component's configuration; names are looked up by `lookup`.
    ///
    /// # Errors
    /// The text of the init error, if the template is not understood.
    pub fn new(configuration: &Value, lookup: L) -> Result<Self, String> {
        let naming = match text(configuration, "template") {
            Some(pattern) if !pattern.is_empty() => Naming::Template(Template::parse(pattern)?),
            _ => {
                let domain = text(configuration, "clusterDomain").filter(|domain| !domain.is_empty());
                Naming::Service {
                    cluster_domain: domain.unwrap_or(DEFAULT_CLUSTER_DOMAIN).to_owned(),
                }
            }
        };
        Ok(Self { naming, lookup })
    }

    async fn find(&self, request: Request<'_>) -> Result<Answer, ResolveError> {
        let name = self.naming.name(&request);
        let (host, port) = match name.rsplit_once(':') {
            Some((host, port)) => (host, port),
            None => (name.as_str(), ""),
        };
        let fail = |reason: String| ResolveError::Dns {
            host: host.into(),
            reason: reason.into(),
        };
        let port = match port {
            "" => request.port,
            port => port.parse().map_err(|_| fail(format!("invalid port {port}")))?,
        };
        // A cluster's resolver tries every name of fewer than five dots with each search domain first;
        // the name of a service is complete, and the final dot says so.
        let found = match &self.naming {
            Naming::Service { .. } => self.lookup.lookup(&format!("{host}.")).await,
            Naming::Template(_) => self.lookup.lookup(host).await,
        };
        let endpoints = found
            .map_err(fail)?
            .into_iter()
            .map(|ip| Endpoint::new(SocketAddr::new(ip, port).to_string()))
            .collect();
        Ok(Answer {
            endpoints: Arc::new(endpoints),
            keep: Keep::For(LIFETIME),
        })
    }
}

impl<L: LookupAddresses> NameResolver for KubernetesResolver<L> {
    fn resolve<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, ResolveError>> {
        Box::pin(self.find(request))
    }
}

// === impl Naming ===

impl Naming {
    fn name(&self, request: &Request<'_>) -> String {
        match self {
            Self::Service { cluster_domain } => {
                let Request {
                    app_id,
                    namespace,
                    port,
                } = request;
                format!("{app_id}-dapr.{namespace}.svc.{cluster_domain}:{port}")
            }
            Self::Template(template) => template.render(request),
        }
    }
}

// === impl DnsLookup ===

impl DnsLookup {
    /// Reads the machine's resolver configuration; without one, asks a server on the loopback.
    ///
    /// # Errors
    /// If the configuration cannot be used.
    pub fn from_system() -> Result<Self, String> {
        let (config, options) = hickory_resolver::system_conf::read_system_conf().unwrap_or_else(|error| {
            tracing::warn!(target: SCOPE, "no DNS configuration, asking 127.0.0.1: {error}");
            (
                servers([SocketAddr::from(([127, 0, 0, 1], 53))]),
                ResolverOpts::default(),
            )
        });
        Self::build(config, options)
    }

    /// Asks the given servers.
    ///
    /// # Errors
    /// If the configuration cannot be used.
    pub fn from_servers(addresses: impl IntoIterator<Item = SocketAddr>) -> Result<Self, String> {
        Self::build(servers(addresses), ResolverOpts::default())
    }

    fn build(config: ResolverConfig, options: ResolverOpts) -> Result<Self, String> {
        let mut builder =
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()).with_options(options);
        let options = builder.options_mut();
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        options.use_hosts_file = ResolveHosts::Always;
        // The facade keeps what was found; two caches in a row would hold it for twice as long.
        options.cache_size = 0;
        builder.build().map(Self).map_err(|error| error.to_string())
    }
}

impl LookupAddresses for DnsLookup {
    fn lookup<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, String>> {
        Box::pin(async move {
            let found = self.0.lookup_ip(host).await;
            found
                .map(|addresses| addresses.iter().collect())
                .map_err(|error| error.to_string())
        })
    }
}

impl std::fmt::Debug for DnsLookup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DnsLookup").finish_non_exhaustive()
    }
}

fn servers(addresses: impl IntoIterator<Item = SocketAddr>) -> ResolverConfig {
    let servers = addresses.into_iter().map(|address| {
        let mut server = NameServerConfig::udp_and_tcp(address.ip());
        for connection in &mut server.connections {
            connection.port = address.port();
        }
        server
    });
    ResolverConfig::from_name_servers(servers.collect())
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::{Message, MessageType};
    use hickory_proto::rr::{RData, Record, RecordType};
    use serde_json::json;
    use tokio::net::UdpSocket;

    use super::*;

    const REQUEST: Request<'static> = Request {
        app_id: "callee",
        namespace: "shop",
        port: 50002,
    };

    /// A name server that knows one name: two IPv4 addresses and an IPv6 address.
    async fn name_server(known: &'static str) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut buffer = [0; 512];
            loop {
                let (length, sender) = socket.recv_from(&mut buffer).await.unwrap();
                let query = Message::from_vec(&buffer[..length]).unwrap();
                let question = query.queries[0].clone();
                let mut reply =
                    Message::new(query.metadata.id, MessageType::Response, query.metadata.op_code);
                reply.add_query(question.clone());
                let data: Vec<RData> = match (question.name().to_string() == known, question.query_type()) {
                    (true, RecordType::A) => ["10.0.0.1", "10.0.0.2"]
                        .map(|ip| RData::from(ip.parse::<IpAddr>().unwrap()))
                        .to_vec(),
                    (true, RecordType::AAAA) => vec![RData::from("fd00::1".parse::<IpAddr>().unwrap())],
                    _ => vec![],
                };
                for data in data {
                    reply.add_answer(Record::from_rdata(question.name().clone(), 5, data));
                }
                socket.send_to(&reply.to_vec().unwrap(), sender).await.unwrap();
            }
        });
        address
    }

    async fn resolve(configuration: Value, known: &'static str) -> Result<Vec<String>, ResolveError> {
        let lookup = DnsLookup::from_servers([name_server(known).await]).unwrap();
        let answer = KubernetesResolver::new(&configuration, lookup)
            .unwrap()
            .resolve(REQUEST)
            .await?;
        assert_eq!(answer.keep, Keep::For(LIFETIME));
        let mut found: Vec<_> = answer
            .endpoints
            .members()
            .iter()
            .map(|endpoint| endpoint.address.to_string())
            .collect();
        found.sort();
        Ok(found)
    }

    #[tokio::test]
    async fn every_address_of_the_headless_service_is_found() {
        let all = ["10.0.0.1:50002", "10.0.0.2:50002", "[fd00::1]:50002"];
        assert_eq!(
            resolve(json!(null), "callee-dapr.shop.svc.cluster.local.")
                .await
                .unwrap(),
            all
        );
        let other_domain = json!({ "ClusterDomain": "corp.example" });
        assert_eq!(
            resolve(other_domain, "callee-dapr.shop.svc.corp.example.")
                .await
                .unwrap(),
            all
        );
    }

    #[tokio::test]
    async fn a_template_names_host_and_port() {
        let template = json!({ "template": "{{.ID}}.{{.Namespace}}.internal.:7000" });
        let found = resolve(template, "callee.shop.internal.").await.unwrap();
        assert_eq!(found, ["10.0.0.1:7000", "10.0.0.2:7000", "[fd00::1]:7000"]);
    }

    #[tokio::test]
    async fn an_unknown_name_is_an_error_that_shows_it() {
        let failure = resolve(json!({}), "nobody.").await.unwrap_err().to_string();
        let head = "failed to resolve address for 'callee-dapr.shop.svc.cluster.local': ";
        assert!(failure.starts_with(head), "{failure}");
    }

    #[test]
    fn a_wrong_template_is_refused() {
        let lookup = || DnsLookup::from_servers([]).unwrap();
        assert!(KubernetesResolver::new(&json!({ "template": "{{.ID" }), lookup()).is_err());
    }
}
