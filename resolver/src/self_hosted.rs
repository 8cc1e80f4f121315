//! What finds sidecars outside Kubernetes unless the Configuration says otherwise: the registry of the machine and
//! multicast DNS together.
//!
//! ```text
//! local registry ── at once ──────────┐
//!                                     ├──▶ one live set an app ◀── every call
//! multicast DNS ── as answers come ───┘
//! ```
//!
//! A sidecar of this machine that both know of is one instance, by the address that is good on this machine.
//! Multicast DNS knows no namespaces, and remembers the dead for a while; where the registry knows better, it is
//! believed.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use outrigger_svc::BoxFuture;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::SCOPE;
use crate::component::Instance;
use crate::endpoint::{Endpoint, Endpoints, Request};
use crate::error::ResolveError;
use crate::local::{LocalRegistry, Neighbour, Record};
use crate::mdns::{MdnsError, MdnsResolver};
use crate::resolver::{Answer, Keep, NameResolver};

/// The registry of the machine, and multicast DNS where there is a network that carries it.
pub(crate) struct SelfHosted {
    inner: Arc<Inner>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

struct Inner {
    local: LocalRegistry,
    multicast: Option<MdnsResolver>,
    /// The sets that calls read.
    sets: Mutex<Sets>,
    departed: Mutex<Departed>,
}

/// Live sets by app id and namespace.
type Sets = HashMap<(Arc<str>, Arc<str>), Live>;

/// The set of one app.
#[derive(Default)]
struct Live {
    endpoints: Arc<Endpoints>,
    /// Since when nobody is known any more; meanwhile the last ones stay.
    deserted: Option<Instant>,
}

/// Addresses of sidecars that have left the registry, which multicast DNS may still remember.
#[derive(Default)]
struct Departed {
    present: HashSet<SocketAddr>,
    left: HashMap<SocketAddr, Instant>,
}

/// How long multicast DNS may remember an address that nobody answers at: its lifetime and a round of refreshes.
const MEMORY: Duration = Duration::from_secs(100);

/// How long the last instance of an app is remembered, so that a call to one that restarts is tried again as calls
/// are, instead of being told that there is no such app. Multicast DNS does so as well.
const PATIENCE: Duration = Duration::from_secs(60);

/// Time between two looks for what is remembered too long.
const SWEEP: Duration = Duration::from_secs(30);

// === impl SelfHosted ===

impl SelfHosted {
    /// Enters the own sidecar in the registry and announces it; without a registry multicast DNS stands alone.
    ///
    /// # Errors
    /// If the own sidecar can be announced nowhere, or its address is none.
    pub(crate) fn start(
        instance: &Instance,
        neighbour: &Neighbour,
        log_name: &str,
    ) -> Result<Arc<dyn NameResolver>, MdnsError> {
        let announced = instance.host_address.parse().ok();
        let announced = announced.map(|address| SocketAddr::new(address, instance.internal_port));
        let local = LocalRegistry::start(&instance.app_id, neighbour, announced);
        let local = local.unwrap_or_else(|error| {
            tracing::warn!(target: SCOPE, "sidecars of this machine are found by multicast only: {error}");
            None
        });
        let multicast = MdnsResolver::start(instance, log_name);
        let Some(local) = local else {
            return Ok(Arc::new(multicast?));
        };
        tracing::info!(target: SCOPE, component = log_name, "local registry: {}", local.folder().display());
        let multicast = match multicast {
            Ok(multicast) => Some(multicast),
            Err(MdnsError::NoInterface) => {
                tracing::warn!(
                    target: SCOPE,
                    component = log_name,
                    "no interface carries multicast: only sidecars of this machine are found"
                );
                None
            }
            Err(error) => return Err(error),
        };
        Ok(Arc::new(Self::join(local, multicast)))
    }

    fn join(local: LocalRegistry, multicast: Option<MdnsResolver>) -> Self {
        let inner = Arc::new(Inner {
            local,
            multicast,
            sets: Mutex::default(),
            departed: Mutex::default(),
        });
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let watching = Arc::clone(&inner);
        tasks.spawn(stop.clone().run_until_cancelled_owned(async move {
            tokio::join!(watching.local.keep_up(), watching.keep_merged());
        }));
        Self { inner, tasks, stop }
    }
}

impl Drop for SelfHosted {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl NameResolver for SelfHosted {
    fn resolve<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, ResolveError>> {
        Box::pin(async move {
            Ok(Answer {
                endpoints: self.inner.find(request).await?,
                keep: Keep::Live,
            })
        })
    }

    fn doubt(&self, _: Request<'_>) {
        self.inner.local.doubt();
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.inner.local.leave();
            self.stop.cancel();
            self.tasks.close();
            self.tasks.wait().await;
            if let Some(multicast) = &self.inner.multicast {
                multicast.close().await;
            }
        })
    }
}

// === impl Inner ===

impl Inner {
    async fn find(&self, request: Request<'_>) -> Result<Arc<Endpoints>, ResolveError> {
        let mut changes = self.local.changes();
        self.local.scan();
        let app_id: Arc<str> = request.app_id.into();
        if let Some(set) = self.set(request) {
            // The instances on other machines come behind the first call.
            if let Some(multicast) = &self.multicast {
                multicast.look_for(app_id);
            }
            return Ok(set);
        }
        let Some(multicast) = &self.multicast else {
            return Err(ResolveError::NotFound(app_id));
        };
        // An app of this machine that comes up meanwhile is found at once.
        let enters = async {
            loop {
                if changes.changed().await.is_err() {
                    return std::future::pending().await;
                }
                if let Some(set) = self.set(request) {
                    return set;
                }
            }
        };
        tokio::select! {
            set = enters => Ok(set),
            answer = multicast.resolve(request) => {
                answer?;
                self.set(request).ok_or(ResolveError::NotFound(app_id))
            }
        }
    }

    /// The live set of an app of which an instance is known.
    fn set(&self, request: Request<'_>) -> Option<Arc<Endpoints>> {
        let merged = self.merged(request.app_id, request.namespace);
        if merged.is_empty() {
            return None;
        }
        let mut sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (request.app_id.into(), request.namespace.into());
        let live = sets.entry(key).or_default();
        live.update(merged);
        Some(Arc::clone(&live.endpoints))
    }

    /// All instances of an app that are known by now.
    fn merged(&self, app_id: &str, namespace: &str) -> Vec<Endpoint> {
        let local = self.local.known();
        let is_asked_for = |record: &&Record| record.app_id == app_id && record.namespace == namespace;
        let mut merged: Vec<_> = local
            .iter()
            .filter(is_asked_for)
            .map(|record| Endpoint::new(record.address.to_string()))
            .collect();
        if let Some(multicast) = &self.multicast {
            let mut departed = self.departed.lock().unwrap_or_else(PoisonError::into_inner);
            departed.note(&local);
            // Whoever is in the registry is known there by name: here, or as somebody else.
            let is_local = |endpoint: &Endpoint| {
                let address = endpoint.address.parse().ok();
                address.is_some_and(|address| departed.knows(&address))
            };
            let others = multicast.known(app_id).into_iter();
            merged.extend(others.filter(|endpoint| !is_local(endpoint)));
        }
        merged
    }

    /// Brings the sets up to date after each change.
    async fn keep_merged(&self) {
        let mut local = self.local.changes();
        let mut multicast = match &self.multicast {
            Some(multicast) => multicast.changes(),
            None => watch::channel(()).1,
        };
        loop {
            tokio::select! {
                changed = local.changed() => if changed.is_err() { return },
                Ok(()) = multicast.changed() => {}
                () = tokio::time::sleep(SWEEP) => {}
            }
            let mut sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
            for ((app_id, namespace), live) in &mut *sets {
                live.update(self.merged(app_id, namespace));
            }
        }
    }
}

// === impl Live ===

impl Live {
    fn update(&mut self, merged: Vec<Endpoint>) {
        if merged.is_empty() {
            let since = *self.deserted.get_or_insert_with(Instant::now);
            if since.elapsed() < PATIENCE {
                return;
            }
        } else {
            self.deserted = None;
        }
        self.endpoints.replace(merged);
    }
}

// === impl Departed ===

impl Departed {
    /// Compares with who is there now.
    fn note(&mut self, local: &[Record]) {
        let now = Instant::now();
        let addresses = local
            .iter()
            .flat_map(|record| [Some(record.address), record.announced]);
        let present: HashSet<_> = addresses.flatten().collect();
        self.left
            .extend(self.present.difference(&present).map(|&address| (address, now)));
        self.left.retain(|address, left| {
            now.saturating_duration_since(*left) < MEMORY && !present.contains(address)
        });
        self.present = present;
    }

    /// Whether an address is that of a sidecar in the registry, or was so until a moment ago.
    fn knows(&self, address: &SocketAddr) -> bool {
        self.present.contains(address) || self.left.contains_key(address)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::facade::Resolver;
    use crate::local::testing::{Temporary, neighbour};
    use crate::mdns::testing::{Hub, Nowhere, start_on};

    const fn request<'a>(app_id: &'a str, namespace: &'a str) -> Request<'a> {
        Request {
            app_id,
            namespace,
            port: 1,
        }
    }

    fn local(place: &Temporary, app_id: &str, namespace: &str, port: u16) -> LocalRegistry {
        let announced = SocketAddr::from(([10, 0, 0, 1], port));
        let neighbour = neighbour(place, namespace, port);
        LocalRegistry::start(app_id, &neighbour, Some(announced))
            .unwrap()
            .unwrap()
    }

    async fn found(resolver: &Resolver, app_id: &str, namespace: &str) -> Result<Vec<String>, ResolveError> {
        let members = resolver.resolve(&request(app_id, namespace)).await?;
        Ok(members.iter().map(|member| member.address.to_string()).collect())
    }

    async fn until(resolver: &Resolver, app_id: &str, expected: &[&str]) {
        tokio::time::timeout(Duration::from_secs(30), async {
            loop {
                let known = resolver.with_known(&request(app_id, "default"), |members| {
                    members
                        .iter()
                        .map(|member| member.address.to_string())
                        .collect::<Vec<_>>()
                });
                if known.unwrap_or_default() == expected {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
        .unwrap();
    }

    #[tokio::test]
    async fn without_multicast_the_sidecars_of_a_machine_find_each_other_by_namespace() {
        let place = Temporary::new();
        let caller = SelfHosted::join(local(&place, "caller", "default", 1), None);
        let resolver = Resolver::new(Arc::new(caller));
        assert_eq!(
            found(&resolver, "callee", "default")
                .await
                .unwrap_err()
                .to_string(),
            "couldn't find service: callee"
        );
        let _other = local(&place, "callee", "other", 2);
        let callee = local(&place, "callee", "default", 3);
        assert_eq!(
            found(&resolver, "callee", "default").await.unwrap(),
            ["127.0.0.1:3"]
        );
        assert_eq!(
            found(&resolver, "callee", "other").await.unwrap(),
            ["127.0.0.1:2"]
        );

        let _second = local(&place, "callee", "default", 4);
        until(&resolver, "callee", &["127.0.0.1:3", "127.0.0.1:4"]).await;
        drop(callee);
        until(&resolver, "callee", &["127.0.0.1:4"]).await;
        resolver.close().await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_instance_is_remembered_for_a_minute_or_until_another_comes() {
        let place = Temporary::new();
        let caller = SelfHosted::join(local(&place, "caller", "default", 1), None);
        let resolver = Resolver::new(Arc::new(caller));
        let callee = local(&place, "callee", "default", 3);
        assert_eq!(
            found(&resolver, "callee", "default").await.unwrap(),
            ["127.0.0.1:3"]
        );
        drop(callee);
        tokio::time::sleep(PATIENCE / 2).await;
        assert_eq!(
            found(&resolver, "callee", "default").await.unwrap(),
            ["127.0.0.1:3"]
        );
        let second = local(&place, "callee", "default", 4);
        until(&resolver, "callee", &["127.0.0.1:4"]).await;
        drop(second);
        tokio::time::sleep(PATIENCE + 2 * SWEEP).await;
        until(&resolver, "callee", &[]).await;
        assert!(found(&resolver, "callee", "default").await.is_err());
        resolver.close().await;
    }

    #[tokio::test(start_paused = true)]
    async fn instances_elsewhere_join_those_of_the_machine_and_nobody_is_counted_twice() {
        let (place, hub) = (Temporary::new(), Hub::new());
        let multicast = start_on(&hub, "caller", "10.0.0.1", 1);
        let caller = SelfHosted::join(local(&place, "caller", "default", 1), Some(multicast));
        let resolver = Resolver::new(Arc::new(caller));

        let here = local(&place, "callee", "default", 2);
        let _here_too = start_on(&hub, "callee", "10.0.0.1", 2);
        let _other_namespace = local(&place, "callee", "other", 3);
        let _other_namespace_too = start_on(&hub, "callee", "10.0.0.1", 3);
        let _elsewhere = start_on(&hub, "callee", "10.0.0.9", 2);
        assert_eq!(
            found(&resolver, "callee", "default").await.unwrap()[0],
            "127.0.0.1:2"
        );
        until(&resolver, "callee", &["127.0.0.1:2", "10.0.0.9:2"]).await;
        assert_eq!(
            found(&resolver, "callee", "other").await.unwrap(),
            ["127.0.0.1:3", "10.0.0.9:2"]
        );
        // Multicast remembers it, but it has left for good.
        drop(here);
        until(&resolver, "callee", &["10.0.0.9:2"]).await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_of_this_machine_is_found_by_multicast() {
        let (place, hub) = (Temporary::new(), Hub::new());
        let multicast = start_on(&hub, "caller", "10.0.0.1", 1);
        let caller = SelfHosted::join(local(&place, "caller", "default", 1), Some(multicast));
        let resolver = Resolver::new(Arc::new(caller));
        let _callee = start_on(&hub, "callee", "10.0.0.2", 2);
        assert_eq!(
            found(&resolver, "callee", "default").await.unwrap(),
            ["10.0.0.2:2"]
        );
        let nobody = found(&resolver, "nobody", "default").await.unwrap_err();
        assert_eq!(nobody.to_string(), "couldn't find service: nobody");
    }

    #[tokio::test]
    async fn without_any_network_the_machine_is_enough_unless_the_registry_is_off() {
        let place = Temporary::new();
        let instance = Instance {
            app_id: "own".to_owned(),
            host_name: "vm".to_owned(),
            host_address: "127.0.0.1".to_owned(),
            internal_port: 1,
        };
        let nowhere = || MdnsResolver::start_on(Arc::new(Nowhere), &instance, "nr (mdns/v1)");
        assert!(matches!(nowhere(), Err(MdnsError::NoInterface)));
        let alone = SelfHosted::join(local(&place, "own", "default", 1), nowhere().ok());
        assert_eq!(
            found(&Resolver::new(Arc::new(alone)), "own", "default")
                .await
                .unwrap(),
            ["127.0.0.1:1"]
        );
    }
}
