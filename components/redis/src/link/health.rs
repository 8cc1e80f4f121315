//! What the servers of a component do, told as the condition of the component.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use outrigger_component::Condition;

use crate::error::Error;

/// The servers that cannot be reached.
#[derive(Debug)]
pub(crate) struct Health {
    condition: Condition,
    failing: Mutex<BTreeSet<String>>,
}

// === impl Health ===

impl Health {
    pub(crate) fn new(condition: Condition) -> Self {
        Self {
            condition,
            failing: Mutex::default(),
        }
    }

    /// A server cannot be reached.
    pub(crate) fn failed(&self, server: &str, error: &Error) {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        if failing.insert(server.to_owned()) {
            drop(failing);
            self.condition.degraded(&error.to_string());
        }
    }

    /// A server has been reached, or is gone for good.
    pub(crate) fn well(&self, server: &str) {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        if failing.remove(server) && failing.is_empty() {
            drop(failing);
            self.condition.well();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_component_is_well_when_all_its_servers_are() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let telling = Arc::clone(&told);
        let health = Health::new(Condition::new(move |reason| {
            telling.lock().unwrap().push(reason.map(str::to_owned));
        }));
        health.well("a");
        health.failed("a", &Error::Ended);
        health.failed("a", &Error::Ended);
        health.failed("b", &Error::Full);
        health.well("a");
        health.well("b");
        let full = Error::Full.to_string();
        assert_eq!(*told.lock().unwrap(), [Some("EOF".to_owned()), Some(full), None]);
    }
}
