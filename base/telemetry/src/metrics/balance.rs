//! How calls are spread over the instances of other apps. Names of our own.

use super::instrument::{Counter, Gauge};
use super::registry::{Description, Fixed, Registry};

/// Instances of other apps that are left out because they failed.
#[derive(Debug)]
pub struct Balance {
    ejected: Counter,
    returned: Counter,
    now: Gauge,
}

// === impl Balance ===

impl Balance {
    pub(super) fn new(registry: &Registry) -> Self {
        let describe = |name, help| Description {
            name,
            help,
            labels: &["dst_app_id"],
            fixed: Fixed::AppId,
        };
        Self {
            ejected: registry.counter(describe(
                "outrigger_balance_ejections_total",
                "The number of times that an instance of an app was left out because it failed.",
            )),
            returned: registry.counter(describe(
                "outrigger_balance_returns_total",
                "The number of times that an instance that was left out took calls again.",
            )),
            now: registry.gauge(describe(
                "outrigger_balance_ejected",
                "The number of instances that are left out now, summed over the workers.",
            )),
        }
    }

    /// Counts an instance that is left out from now on.
    pub fn ejected(&self, app_id: &str) {
        self.ejected.increment(&[app_id]);
    }

    /// Counts an instance that takes calls again.
    pub fn returned(&self, app_id: &str) {
        self.returned.increment(&[app_id]);
    }

    /// Notes that of an app's instances a worker leaves out `now` instead of `before`.
    pub fn change_ejected(&self, app_id: &str, before: usize, now: usize) {
        self.now.add(&[app_id], now as f64 - before as f64);
    }
}
