//! What is kept of each target that was called: its names as shared text, its address, its metrics.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use outrigger_link::PeerAddress;
use outrigger_telemetry::metrics::{Invocation, Target};

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
    peer: Mutex<Option<Arc<PeerAddress>>>,
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
    pub(super) fn get(&self, app_id: &str, namespace: &str, metrics: &Invocation) -> Arc<Known> {
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
            series: metrics.target(app_id),
            namespace: namespace.into(),
            peer: Mutex::default(),
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
    /// The target's sidecar at a resolved address; made anew only when the address has changed.
    pub(super) fn peer_at(&self, address: &Arc<str>) -> Arc<PeerAddress> {
        let mut peer = self.peer.lock().unwrap_or_else(PoisonError::into_inner);
        match &*peer {
            Some(peer) if peer.address == *address => Arc::clone(peer),
            _ => {
                let fresh = Arc::new(PeerAddress {
                    // A copy of its own: the resolver's is counted by all workers.
                    address: Arc::from(&**address),
                    app_id: Arc::clone(&self.app_id),
                    namespace: Arc::clone(&self.namespace),
                });
                *peer = Some(Arc::clone(&fresh));
                fresh
            }
        }
    }
}
