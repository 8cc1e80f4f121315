//! Multicast DNS: finds sidecars on the local network and lets them find this one.
//!
//! ```text
//! responder ── probes, announcements, answers, goodbye ──▶ 224.0.0.251 and ff02::fb, port 5353
//! miss ──▶ browse (1 s at most) ──▶ registry ──▶ live sets ◀── every call
//!                                      ▲
//! every 30 s: browse all known apps (3 s) ┘
//! ```
//!
//! The service type is the bare app id, without underscores, so this is no general DNS-SD. Names are
//! compared exactly. A goodbye does not evict: an address dies 60 s after it was last heard of, so
//! a dead instance may be called for about 90 s.
//!
//! Source: RFC 6762, RFC 6763, specification of name resolution, section 3.

mod browse;
mod network;
mod packet;
mod records;
mod registry;
mod responder;
mod sockets;
#[cfg(test)]
pub(crate) mod testing;

use std::net::IpAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use outrigger_svc::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::SCOPE;
use crate::component::Instance;
use crate::endpoint::{Endpoint, Endpoints, Request};
use crate::error::ResolveError;
use crate::flight::Flights;
use crate::resolver::{Answer, Keep, NameResolver};

use browse::browse;
use network::Network;
use records::Records;
use registry::Registry;
use sockets::Sockets;

/// Largest packet that is read in bytes.
const MAX_PACKET: usize = 65_536;

/// Pause after a failed read, so that a broken socket does not keep a core busy.
const RECEIVE_PAUSE: Duration = Duration::from_millis(100);

/// Longest search for an app that nothing is known of.
const FIRST_BROWSE: Duration = Duration::from_secs(1);

/// Length of a search in the background.
const REFRESH_BROWSE: Duration = Duration::from_secs(3);

/// Time between two searches for all known apps.
const REFRESH_INTERVAL: Duration = Duration::from_secs(30);

/// Longest wait for a search that somebody else started.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// Refreshes of single apps that may wait in line.
const REFRESH_QUEUE: usize = 36;

/// The default resolver outside Kubernetes.
///
/// Answers with live sets of IPv4 addresses, or of IPv6 addresses if there are no others. The first
/// call to an app takes as long as its answer needs on the network, 1 s at most.
#[derive(Debug)]
pub struct MdnsResolver {
    seeker: Arc<Seeker>,
    app_id: String,
    log_name: String,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// Why the own instance cannot be announced; the text of the init error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MdnsError {
    /// The host address is no IP address.
    #[error("Failed to parse given IP: {0}")]
    Address(String),
    /// A name does not fit in a DNS name.
    #[error("app id or host name is too long for a DNS name: {app_id}, {host_name}")]
    Name {
        /// Id of the own app.
        app_id: String,
        /// Name of the machine.
        host_name: String,
    },
    /// No interface carries multicast.
    #[error("No supported interface")]
    NoInterface,
}

/// Searches and remembers.
struct Seeker {
    network: Arc<dyn Network>,
    registry: Registry,
    flights: Flights<Arc<str>, Result<Arc<Endpoints>, ResolveError>>,
    refresh: mpsc::Sender<Arc<str>>,
}

/// Reads a packet as the responder and a search do; its answer is how many replies and instances
/// it led to. For fuzzing.
#[doc(hidden)]
#[must_use]
pub fn read_packet(bytes: &[u8]) -> usize {
    let Some(message) = packet::parse(bytes) else {
        return 0;
    };
    let Some(service) = packet::service_name("callee") else {
        return 0;
    };
    let records = Records::new("callee", "vm", 1, 50002, IpAddr::from([192, 0, 2, 2]));
    let replies = records.map_or(0, |records| records.replies(&message).len());
    replies + packet::instances(&message, &service, "callee").len()
}

// === impl MdnsResolver ===

impl MdnsResolver {
    /// Joins the multicast groups, starts to announce `instance` and to refresh what is known.
    ///
    /// `log_name` is the component's name in log lines.
    ///
    /// # Errors
    /// See [`MdnsError`].
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(instance: &Instance, log_name: &str) -> Result<Self, MdnsError> {
        Self::start_on(Arc::new(Sockets), instance, log_name)
    }

    pub(crate) fn start_on(
        network: Arc<dyn Network>,
        instance: &Instance,
        log_name: &str,
    ) -> Result<Self, MdnsError> {
        let Instance {
            app_id,
            host_name,
            host_address,
            internal_port,
        } = instance;
        let address: IpAddr = host_address
            .parse()
            .map_err(|_| MdnsError::Address(host_address.clone()))?;
        let records = Records::new(app_id, host_name, std::process::id(), *internal_port, address)
            .ok_or_else(|| MdnsError::Name {
                app_id: app_id.clone(),
                host_name: host_name.clone(),
            })?;
        let channel = network.open().map_err(|_| MdnsError::NoInterface)?;
        tracing::info!(
            target: SCOPE,
            component = log_name,
            "local service entry announced: {app_id} -> {host_address}:{internal_port}"
        );

        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let (refresh, queue) = mpsc::channel(REFRESH_QUEUE);
        let seeker = Arc::new(Seeker {
            network,
            registry: Registry::default(),
            flights: Flights::new(),
            refresh,
        });
        tasks.spawn(responder::respond(channel, records, stop.clone()));
        tasks.spawn(
            stop.clone()
                .run_until_cancelled_owned(Arc::clone(&seeker).keep_fresh(queue)),
        );
        Ok(Self {
            seeker,
            app_id: app_id.clone(),
            log_name: log_name.to_owned(),
            tasks,
            stop,
        })
    }

    /// The instances of an app that are known by now.
    pub(crate) fn known(&self, app_id: &str) -> Vec<Endpoint> {
        let live = self.seeker.registry.live(app_id);
        live.map_or_else(Vec::new, |live| live.members().to_vec())
    }

    /// Told of each change of what is known.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.seeker.registry.changes()
    }

    /// Looks for an app in the background, now and with every refresh.
    pub(crate) fn look_for(&self, app_id: Arc<str>) {
        if self.seeker.registry.want(&app_id) {
            // Where the line is full the next round looks for it.
            self.seeker.refresh.try_send(app_id).ok();
        }
    }

    async fn find(&self, app_id: &str) -> Result<Answer, ResolveError> {
        let endpoints = match self.seeker.registry.live(app_id) {
            Some(live) => live,
            None => self.wait_for(app_id.into()).await?,
        };
        Ok(Answer {
            endpoints,
            keep: Keep::Live,
        })
    }

    /// Starts a search, or joins the one that runs.
    ///
    /// Whoever comes after a failed search starts a new one: a callee that has just come up is found.
    async fn wait_for(&self, app_id: Arc<str>) -> Result<Arc<Endpoints>, ResolveError> {
        let flight = self
            .seeker
            .flights
            .join(Arc::clone(&app_id), &Handle::current(), &self.tasks, || {
                let (seeker, app_id, stop) =
                    (Arc::clone(&self.seeker), Arc::clone(&app_id), self.stop.clone());
                async move {
                    let search = stop.run_until_cancelled_owned(seeker.search(app_id));
                    search.await.unwrap_or(Err(ResolveError::Closed))
                }
            });
        match tokio::time::timeout(LONGEST_WAIT, flight.outcome()).await {
            Ok(outcome) => outcome.unwrap_or(Err(ResolveError::Closed)),
            Err(_) => self
                .seeker
                .registry
                .live(&app_id)
                .ok_or(ResolveError::Timeout(app_id)),
        }
    }
}

impl Drop for MdnsResolver {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl NameResolver for MdnsResolver {
    fn resolve<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, ResolveError>> {
        Box::pin(self.find(request.app_id))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            tracing::info!(
                target: SCOPE,
                component = self.log_name,
                "stopping mDNS server for app id: {}",
                self.app_id
            );
            self.stop.cancel();
            self.tasks.close();
            self.tasks.wait().await;
        })
    }
}

// === impl Seeker ===

impl Seeker {
    /// Searches for an app that nothing is known of, until its first address.
    async fn search(self: Arc<Self>, app_id: Arc<str>) -> Result<Arc<Endpoints>, ResolveError> {
        tracing::debug!(target: SCOPE, "searching the local network for app {app_id}");
        let channel = self.network.open().map_err(|error| {
            tracing::debug!(target: SCOPE, "no network for a search: {error}");
            ResolveError::Browse
        })?;
        browse(channel, [Arc::clone(&app_id)], FIRST_BROWSE, |app_id, found| {
            self.registry.add(app_id, found);
            ControlFlow::Break(())
        })
        .await;
        let live = self
            .registry
            .live(&app_id)
            .ok_or_else(|| ResolveError::NotFound(Arc::clone(&app_id)))?;
        // The search ended at the first answer; this one finds the other instances. Where the line is
        // full the next round finds them.
        self.refresh.try_send(app_id).ok();
        Ok(live)
    }

    /// Looks for new instances and drops dead ones until it is dropped itself.
    async fn keep_fresh(self: Arc<Self>, mut queue: mpsc::Receiver<Arc<str>>) {
        let mut ticks =
            tokio::time::interval_at(tokio::time::Instant::now() + REFRESH_INTERVAL, REFRESH_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut waiting = Vec::new();
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    let app_ids = self.registry.app_ids();
                    self.registry.expire();
                    self.refresh(app_ids).await;
                }
                _ = queue.recv_many(&mut waiting, REFRESH_QUEUE) => {
                    self.refresh(std::mem::take(&mut waiting)).await;
                }
            }
        }
    }

    /// Hears who is there of `app_ids`.
    async fn refresh(&self, app_ids: Vec<Arc<str>>) {
        if app_ids.is_empty() {
            return;
        }
        match self.network.open() {
            Ok(channel) => {
                browse(channel, app_ids, REFRESH_BROWSE, |app_id, found| {
                    self.registry.add(app_id, found);
                    ControlFlow::Continue(())
                })
                .await;
            }
            Err(error) => tracing::warn!(target: SCOPE, "mDNS refresh failed: {error}"),
        }
    }
}

impl std::fmt::Debug for Seeker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seeker")
            .field("registry", &self.registry)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::testing::{Hub, Nowhere, instance, start};
    use super::*;
    use crate::facade::Resolver;

    fn request(app_id: &str) -> Request<'_> {
        Request {
            app_id,
            namespace: "default",
            port: 26202,
        }
    }

    async fn addresses(resolver: &MdnsResolver, app_id: &str) -> Result<Vec<String>, ResolveError> {
        let list = resolver.resolve(request(app_id)).await?.endpoints.members();
        let mut list: Vec<_> = list.iter().map(|endpoint| endpoint.address.to_string()).collect();
        list.sort();
        Ok(list)
    }

    /// Number of addresses of `callee` in memory.
    fn known(resolver: &Resolver) -> usize {
        resolver
            .with_known(&request("callee"), |members| members.len())
            .unwrap_or_default()
    }

    #[tokio::test(start_paused = true)]
    async fn two_sidecars_find_each_other() {
        let hub = Hub::new();
        let (caller, callee) = (
            start(&hub, "caller", "10.0.0.1"),
            start(&hub, "callee", "fd00::2"),
        );
        assert_eq!(addresses(&caller, "callee").await.unwrap(), ["[fd00::2]:26102"]);
        assert_eq!(addresses(&callee, "caller").await.unwrap(), ["10.0.0.1:26102"]);
        assert_eq!(addresses(&callee, "callee").await.unwrap(), ["[fd00::2]:26102"]);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_answers_within_a_second() {
        let hub = Hub::new();
        let caller = start(&hub, "caller", "10.0.0.1");
        let begin = Instant::now();
        let (first, second) = tokio::join!(addresses(&caller, "nobody"), addresses(&caller, "nobody"));
        assert_eq!(first.unwrap_err().to_string(), "couldn't find service: nobody");
        assert!(second.is_err());
        assert_eq!(begin.elapsed().as_millis() / 10, 100);

        let _nobody = start(&hub, "nobody", "10.0.0.2");
        assert_eq!(addresses(&caller, "nobody").await.unwrap(), ["10.0.0.2:26102"]);
    }

    #[tokio::test(start_paused = true)]
    async fn further_instances_come_with_the_refresh() {
        let hub = Hub::new();
        let caller = start(&hub, "caller", "10.0.0.1");
        let _callees = [
            start(&hub, "callee", "10.0.0.2"),
            start(&hub, "callee", "10.0.0.3"),
        ];
        let resolver = Resolver::new(Arc::new(caller));
        resolver.resolve(&request("callee")).await.unwrap();
        tokio::time::sleep(REFRESH_BROWSE).await;
        assert_eq!(known(&resolver), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_instance_is_dropped_within_ninety_seconds() {
        let hub = Hub::new();
        let resolver = Resolver::new(Arc::new(start(&hub, "caller", "10.0.0.1")));
        let callee = start(&hub, "callee", "10.0.0.2");
        resolver.resolve(&request("callee")).await.unwrap();
        callee.close().await;
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert_eq!(known(&resolver), 1);
        tokio::time::sleep(Duration::from_secs(66)).await;
        assert_eq!(known(&resolver), 0);
        let failure = resolver.resolve(&request("callee")).await.unwrap_err();
        assert_eq!(failure, ResolveError::NotFound("callee".into()));

        let _again = start(&hub, "callee", "10.0.0.4");
        let found = resolver.resolve(&request("callee")).await.unwrap();
        assert_eq!(*found, [Endpoint::new("10.0.0.4:26102")]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_living_instance_stays_for_ever() {
        let hub = Hub::new();
        let resolver = Resolver::new(Arc::new(start(&hub, "caller", "10.0.0.1")));
        let _callee = start(&hub, "callee", "10.0.0.2");
        resolver.resolve(&request("callee")).await.unwrap();
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_secs(30)).await;
            assert_eq!(known(&resolver), 1);
        }
    }

    #[tokio::test]
    async fn without_a_network_nothing_is_announced_or_found() {
        let instance = instance("caller", "vm", "10.0.0.1");
        let failure = MdnsResolver::start_on(Arc::new(Nowhere), &instance, "nr (mdns/v1)").unwrap_err();
        assert_eq!(failure.to_string(), "No supported interface");

        let seeker = Seeker {
            network: Arc::new(Nowhere),
            registry: Registry::default(),
            flights: Flights::new(),
            refresh: mpsc::channel(1).0,
        };
        let failure = Arc::new(seeker).search("callee".into()).await.unwrap_err();
        assert_eq!(
            failure.to_string(),
            "failed to initialize resolver after attempting IPv4+IPv6, IPv4-only, and IPv6-only"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_resolver_has_said_goodbye() {
        let hub = Hub::new();
        let mut ear = hub.ear();
        let callee = start(&hub, "callee", "10.0.0.2");
        ear.hear().await;
        callee.close().await;
        let last = async {
            let mut last = Vec::new();
            while let Ok(packet) = tokio::time::timeout(Duration::from_secs(1), ear.hear()).await {
                last = packet;
            }
            last
        };
        let goodbye = packet::parse(&last.await).unwrap();
        assert!(goodbye.answers.len() == 5 && goodbye.answers.iter().all(|record| record.ttl == 0));
        assert_eq!(
            callee.resolve(request("callee")).await.unwrap_err(),
            ResolveError::Closed
        );
    }

    #[test]
    fn noise_is_read_without_harm() {
        assert_eq!(read_packet(b"\0\0"), 0);
        let announcement = Records::new("callee", "other", 2, 1, IpAddr::from([10, 0, 0, 1])).unwrap();
        assert_eq!(read_packet(&announcement.announcement().unwrap()), 1);
    }
}
