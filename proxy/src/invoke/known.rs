//! What is kept of each target that was called: its names as shared text, its instances, its metrics.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use outrigger_kit::duration::format_go;
use outrigger_link::PeerAddress;
use outrigger_resolver::balance::{Balance, Change, Ending, Ticket};
use outrigger_resolver::{Endpoint, Members};
use outrigger_telemetry::metrics::{Metrics, Target};

use super::way::Way;

/// The targets that one worker has called. The lock is the worker's own and never contended.
#[derive(Debug, Default)]
pub(super) struct KnownTargets(Mutex<Table>);

/// One target.
#[derive(Debug)]
pub(super) struct Known {
    /// Its app id.
    pub(super) app_id: Arc<str>,
    /// Its metrics.
    pub(super) series: Target,
    namespace: Arc<str>,
    metrics: Metrics,
    instances: Mutex<Instances>,
}

/// The sidecars of one target.
#[derive(Debug, Default)]
struct Instances {
    /// The one that was called last while there was no other.
    only: Option<Arc<PeerAddress>>,
    /// Made when there are several for the first time.
    balance: Option<Box<Balance<Arc<PeerAddress>>>>,
    /// Number of ejected ones that the metrics show.
    shown: usize,
}

/// Targets by app id; those of one id differ in their namespaces.
#[derive(Debug, Default)]
struct Table {
    by_app: HashMap<Box<str>, Vec<Arc<Known>>>,
    count: usize,
}

/// Targets that are remembered; a client that invents names must not fill the memory.
const MAX_TARGETS: usize = 4096;

// === impl KnownTargets ===

impl KnownTargets {
    /// The entry of a target.
    pub(super) fn get(&self, app_id: &str, namespace: &str, metrics: &Metrics) -> Arc<Known> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(same_name) = table.by_app.get(app_id)
            && let Some(known) = same_name.iter().find(|known| &*known.namespace == namespace)
        {
            return Arc::clone(known);
        }
        if table.count >= MAX_TARGETS {
            *table = Table::default();
        }
        let known = Arc::new(Known {
            app_id: app_id.into(),
            series: metrics.invocation().target(app_id),
            namespace: namespace.into(),
            metrics: metrics.clone(),
            instances: Mutex::default(),
        });
        table
            .by_app
            .entry(app_id.into())
            .or_default()
            .push(Arc::clone(&known));
        table.count += 1;
        known
    }
}

// === impl Known ===

impl Known {
    /// The way of a call to one of the target's sidecars.
    pub(super) fn way(self: &Arc<Self>, members: &Members) -> Way {
        let mut instances = self.instances();
        if let [only] = &members[..] {
            return Way::single(Arc::clone(self), instances.only(only, self));
        }
        let balance = instances
            .balance
            .get_or_insert_with(|| Box::new(Balance::new(fastrand::Rng::new())));
        if balance.update(members, |member| Arc::new(self.peer(member))) {
            instances.show(self);
        }
        match instances.choose() {
            Some(chosen) => Way::chosen(Arc::clone(self), chosen),
            None => Way::single(Arc::clone(self), Arc::new(self.peer(&members[0]))),
        }
    }

    /// One of several sidecars.
    pub(super) fn choose(&self) -> Option<(Arc<PeerAddress>, Ticket)> {
        self.instances().choose()
    }

    /// One of several sidecars that is not in `tried`.
    pub(super) fn choose_other(&self, tried: &[Arc<PeerAddress>]) -> Option<(Arc<PeerAddress>, Ticket)> {
        self.instances().balance.as_mut()?.choose_other(tried)
    }

    /// Notes how a call to one of several sidecars ended.
    pub(super) fn end(&self, ticket: &Ticket, ending: Ending) {
        let mut instances = self.instances();
        let change = instances
            .balance
            .as_mut()
            .and_then(|balance| balance.end(ticket, ending));
        let Some(change) = change else { return };
        instances.show(self);
        drop(instances);
        let (balance, app_id) = (self.metrics.balance(), &self.app_id);
        match change {
            Change::Ejected { address, pause } => {
                balance.ejected(app_id);
                let pause = format_go(pause);
                tracing::warn!(target: super::LOG, "instance {address} of app {app_id} failed and is left out for {pause}");
            }
            Change::Returned { address } => {
                balance.returned(app_id);
                tracing::info!(target: super::LOG, "instance {address} of app {app_id} takes calls again");
            }
        }
    }

    fn peer(&self, member: &Endpoint) -> PeerAddress {
        PeerAddress {
            // A copy of its own: the resolver's is counted by all workers.
            address: Arc::from(&*member.address),
            app_id: Arc::clone(&self.app_id),
            namespace: Arc::clone(&self.namespace),
        }
    }

    fn instances(&self) -> MutexGuard<'_, Instances> {
        self.instances.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Instances ===

impl Instances {
    /// The only instance; made anew only when the address has changed.
    fn only(&mut self, member: &Endpoint, target: &Known) -> Arc<PeerAddress> {
        match &self.only {
            Some(peer) if peer.address == member.address => Arc::clone(peer),
            _ => Arc::clone(self.only.insert(Arc::new(target.peer(member)))),
        }
    }

    fn choose(&mut self) -> Option<(Arc<PeerAddress>, Ticket)> {
        self.balance.as_mut()?.choose()
    }

    /// Brings the metrics in line with the number of ejected instances.
    fn show(&mut self, target: &Known) {
        let ejected = self.balance.as_ref().map_or(0, |balance| balance.ejected());
        if ejected != self.shown {
            target
                .metrics
                .balance()
                .change_ejected(&target.app_id, self.shown, ejected);
            self.shown = ejected;
        }
    }
}
