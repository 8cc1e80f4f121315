//! What was heard of, app by app.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::packet::Found;
use crate::endpoint::{Endpoint, Endpoints};

/// How long an address lives without being heard of again.
pub(crate) const LIFETIME: Duration = Duration::from_secs(60);

/// The addresses of every known app; calls read them out of the live sets.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    known: Mutex<HashMap<Arc<str>, Known>>,
    changed: watch::Sender<()>,
}

/// The addresses of one app.
#[derive(Debug, Default)]
struct Known {
    ipv4: Vec<Address>,
    ipv6: Vec<Address>,
    /// The IPv4 addresses if there are any, else the IPv6 addresses.
    live: Arc<Endpoints>,
    /// Whether it is looked for though nothing is known of it.
    is_wanted: bool,
}

#[derive(Debug)]
struct Address {
    socket: SocketAddr,
    endpoint: Endpoint,
    expires: Instant,
}

// === impl Registry ===

impl Registry {
    /// The live set of an app of which an address is known.
    pub(crate) fn live(&self, app_id: &str) -> Option<Arc<Endpoints>> {
        let known = self.lock();
        let live = &known.get(app_id)?.live;
        (!live.is_empty()).then(|| Arc::clone(live))
    }

    /// Adds the addresses of an instance, or renews them.
    pub(crate) fn add(&self, app_id: &Arc<str>, found: &Found) {
        let mut known = self.lock();
        let known = known.entry(Arc::clone(app_id)).or_default();
        let expires = Instant::now() + LIFETIME;
        for (list, address) in [(&mut known.ipv4, found.ipv4), (&mut known.ipv6, found.ipv6)] {
            let Some(address) = address else { continue };
            match list.iter_mut().find(|entry| entry.socket == address) {
                Some(entry) => entry.expires = expires,
                None => list.push(Address::new(address, expires)),
            }
        }
        if known.publish() {
            self.changed.send_replace(());
        }
    }

    /// Has an app looked for from now on, and tells whether it was not before.
    pub(crate) fn want(&self, app_id: &Arc<str>) -> bool {
        let mut known = self.lock();
        !std::mem::replace(&mut known.entry(Arc::clone(app_id)).or_default().is_wanted, true)
    }

    /// Told of each change of a live set.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// All known apps. Those that had no address left at the last call are dropped, unless they are wanted.
    pub(crate) fn app_ids(&self) -> Vec<Arc<str>> {
        let mut known = self.lock();
        known.retain(|_, known| known.is_wanted || !known.live.is_empty());
        known.keys().cloned().collect()
    }

    /// Drops addresses that were not heard of in time.
    pub(crate) fn expire(&self) {
        let now = Instant::now();
        let mut changed = false;
        for known in self.lock().values_mut() {
            known.ipv4.retain(|address| address.expires > now);
            known.ipv6.retain(|address| address.expires > now);
            changed |= known.publish();
        }
        if changed {
            self.changed.send_replace(());
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Known ===

impl Known {
    /// Shows what is known; whether that is something else than before.
    fn publish(&self) -> bool {
        let family = if self.ipv4.is_empty() {
            &self.ipv6
        } else {
            &self.ipv4
        };
        self.live
            .replace(family.iter().map(|address| address.endpoint.clone()).collect())
    }
}

// === impl Address ===

impl Address {
    fn new(socket: SocketAddr, expires: Instant) -> Self {
        Self {
            socket,
            endpoint: Endpoint::new(socket.to_string()),
            expires,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;
    use crate::mdns::packet::service_name;

    fn found(ipv4: Option<&str>, ipv6: Option<&str>) -> Found {
        Found {
            instance: service_name("instance").unwrap(),
            ipv4: ipv4.map(|address| address.parse().unwrap()),
            ipv6: ipv6.map(|address| address.parse().unwrap()),
        }
    }

    fn addresses(registry: &Registry, app_id: &str) -> Option<Vec<String>> {
        let live = registry.live(app_id)?;
        Some(
            live.members()
                .iter()
                .map(|endpoint| endpoint.address.to_string())
                .collect(),
        )
    }

    #[tokio::test(start_paused = true)]
    async fn ipv4_comes_before_ipv6() {
        let registry = Registry::default();
        let app_id = Arc::from("a");
        assert_eq!(addresses(&registry, "a"), None);
        registry.add(&app_id, &found(None, Some("[fd00::1]:2")));
        assert_eq!(addresses(&registry, "a").unwrap(), ["[fd00::1]:2"]);
        registry.add(&app_id, &found(Some("10.0.0.1:2"), Some("[fd00::1]:2")));
        registry.add(&app_id, &found(Some("10.0.0.2:2"), None));
        assert_eq!(addresses(&registry, "a").unwrap(), ["10.0.0.1:2", "10.0.0.2:2"]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_dies_a_minute_after_it_was_last_heard_of() {
        let registry = Registry::default();
        let app_id = Arc::from("a");
        registry.add(&app_id, &found(Some("10.0.0.1:2"), None));
        registry.add(&app_id, &found(Some("10.0.0.2:2"), None));
        advance(LIFETIME / 2).await;
        registry.add(&app_id, &found(Some("10.0.0.2:2"), None));
        advance(LIFETIME / 2).await;
        assert_eq!(addresses(&registry, "a").unwrap().len(), 2);
        registry.expire();
        assert_eq!(addresses(&registry, "a").unwrap(), ["10.0.0.2:2"]);
        assert_eq!(registry.app_ids(), [Arc::from("a")]);
        advance(LIFETIME).await;
        registry.expire();
        assert_eq!(addresses(&registry, "a"), None);
        assert!(registry.app_ids().is_empty());
    }
}
