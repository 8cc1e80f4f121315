//! Links by worker and peer.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use futures_util::FutureExt;
use futures_util::future::Shared;
use outrigger_svc::{BoxFuture, Connect};

use super::dial::dial;
use super::{Checked, PeerAddress, Security};
use crate::{Link, PeerSettings, Status, worker};

/// The links of all workers.
pub(super) struct Pool {
    settings: PeerSettings,
    security: Security,
    connect: Arc<dyn Connect>,
    slots: Box<[Mutex<Slot>]>,
}

/// The links of one worker. Nobody else takes this lock, so it is never waited for.
#[derive(Default)]
struct Slot {
    peers: HashMap<PeerAddress, Entry>,
    /// Whether a task looks for idle links.
    is_purged: bool,
}

#[derive(Default)]
struct Entry {
    links: Vec<Arc<Link>>,
    dialing: Option<Dialing>,
}

/// A connection that several calls wait for.
type Dialing = Shared<BoxFuture<'static, Result<Arc<Link>, Status>>>;

const LOG: &str = "dapr.runtime.grpc.manager";

// === impl Pool ===

impl Pool {
    pub(super) fn new(settings: PeerSettings, security: Security, connect: Arc<dyn Connect>) -> Arc<Self> {
        let slots = (0..settings.workers.max(1)).map(|_| Mutex::default()).collect();
        Arc::new(Self {
            settings,
            security,
            connect,
            slots,
        })
    }

    /// A link of the current worker with room for a call; opens one if there is none.
    pub(super) async fn link(self: &Arc<Self>, peer: &PeerAddress) -> Result<Checked, Status> {
        loop {
            let dialing = {
                let index = worker::index() % self.slots.len();
                let mut slot = self.slot(index);
                if let Some(entry) = slot.peers.get(peer)
                    && let Some(found) = self.find(entry)
                {
                    return Ok(found);
                }
                self.dialing(&mut slot, index, peer)
            };
            // A link that was opened for this call takes it, whatever has become of it: a peer that hangs up at
            // once is not dialled over and over.
            let link = dialing.await?;
            if link.calls() < self.settings.max_calls.max(1) {
                return Ok((Arc::clone(&link), link.checkout()));
            }
        }
    }

    /// Takes the links to a peer out of the pool of the current worker.
    pub(super) fn discard(&self, peer: &PeerAddress) {
        let mut slot = self.slot(worker::index() % self.slots.len());
        if let Some(entry) = slot.peers.get_mut(peer) {
            entry.links.clear();
        }
    }

    pub(super) fn links(&self) -> usize {
        let slot = self.slot(worker::index() % self.slots.len());
        slot.peers.values().map(|entry| entry.links.len()).sum()
    }

    fn find(&self, entry: &Entry) -> Option<Checked> {
        let has_room = |link: &&Arc<Link>| link.is_open() && link.calls() < self.settings.max_calls;
        let link = entry.links.iter().find(has_room)?;
        Some((Arc::clone(link), link.checkout()))
    }

    /// The connection that is being opened to a peer, or the start of one.
    fn dialing(self: &Arc<Self>, slot: &mut Slot, index: usize, peer: &PeerAddress) -> Dialing {
        if !slot.is_purged {
            slot.is_purged = true;
            tokio::spawn(purge(Arc::downgrade(self), index));
        }
        let entry = slot.peers.entry(peer.clone()).or_default();
        if let Some(dialing) = &entry.dialing {
            return dialing.clone();
        }
        // A task of its own, so that a call that is given up does not take the others with it.
        let pool = Arc::clone(self);
        let peer = peer.clone();
        let task = tokio::spawn(async move {
            let outcome = dial(&peer, &pool.settings, &pool.security, &*pool.connect).await;
            let mut slot = pool.slot(index);
            let entry = slot.peers.entry(peer).or_default();
            entry.dialing = None;
            let link = Arc::new(outcome?);
            entry.links.push(Arc::clone(&link));
            Ok(link)
        });
        let dialing = async move {
            task.await
                .unwrap_or_else(|_| Err(Status::unavailable("the runtime is shutting down")))
        };
        let dialing = dialing.boxed().shared();
        entry.dialing = Some(dialing.clone());
        dialing
    }

    fn slot(&self, index: usize) -> MutexGuard<'_, Slot> {
        self.slots[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("settings", &self.settings)
            .field("security", &self.security)
            .finish_non_exhaustive()
    }
}

/// Drops links that are closed or idle, until the pool is gone or the worker has none left.
async fn purge(pool: Weak<Pool>, index: usize) {
    loop {
        let Some(every) = pool.upgrade().map(|pool| pool.settings.purge_every) else {
            return;
        };
        tokio::time::sleep(every).await;
        let Some(pool) = pool.upgrade() else { return };
        let mut slot = pool.slot(index);
        slot.peers.retain(|peer, entry| {
            let before = entry.links.len();
            entry.links.retain(|link| link.is_open() && link.idle() < pool.settings.max_idle);
            let purged = before - entry.links.len();
            if purged > 0 {
                tracing::debug!(target: LOG, "Purged {purged} expired gRPC connection(s) to {}", peer.address);
            }
            !entry.links.is_empty() || entry.dialing.is_some()
        });
        if slot.peers.is_empty() {
            slot.is_purged = false;
            return;
        }
    }
}
