//! Keeps the instances of all apps that were asked for, by one query that waits for changes.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::client::{Client, HealthCheck};
use crate::config::QueryOptions;
use crate::{SCOPE, address};

/// What is known of the apps that were asked for.
#[derive(Debug)]
pub(crate) struct Watcher {
    client: Arc<Client>,
    options: QueryOptions,
    port_key: String,
    state: Mutex<State>,
    /// Another app is to be watched.
    wanted: Notify,
}

#[derive(Debug, Default)]
struct State {
    watched: BTreeSet<String>,
    /// Addresses of healthy instances; apps without an entry are asked for each time.
    known: HashMap<String, Vec<String>>,
}

/// An instance of a service on a node.
type Place = (String, String, String);

/// Pause after a query that failed, and the longest one.
const PAUSES: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(180));

/// Least time from a query that told nothing new to the next.
const LEAST_PAUSE: Duration = Duration::from_secs(1);

/// Apps that are watched at most; the others are asked for each time.
const MAX_WATCHED: usize = 1024;

// === impl Watcher ===

impl Watcher {
    pub(crate) fn new(client: Arc<Client>, options: QueryOptions, port_key: String) -> Self {
        Self {
            client,
            // What has just changed is not yet in the agent's cache.
            options: QueryOptions {
                use_cache: false,
                ..options
            },
            port_key,
            state: Mutex::default(),
            wanted: Notify::new(),
        }
    }

    /// The healthy instances of a watched app; of any other none, but it is watched from now on.
    pub(crate) fn known(&self, app_id: &str) -> Option<Vec<String>> {
        let mut state = self.state();
        if let Some(known) = state.known.get(app_id).filter(|known| !known.is_empty()) {
            return Some(known.clone());
        }
        if !state.watched.contains(app_id) && state.watched.len() < MAX_WATCHED {
            state.watched.insert(app_id.to_owned());
            self.wanted.notify_one();
        }
        None
    }

    /// Watches until it is dropped.
    pub(crate) async fn watch(&self) {
        let mut index = 0;
        let mut before = HashMap::new();
        let mut pause = PAUSES.0;
        loop {
            let Some(filter) = self.filter() else {
                self.wanted.notified().await;
                continue;
            };
            let asked = Instant::now();
            let answer = tokio::select! {
                answer = self.client.checks(&filter, index, &self.options) => answer,
                () = self.wanted.notified() => {
                    index = 0;
                    continue;
                }
            };
            let answer = match answer {
                Ok(answer) => answer,
                Err(error) => {
                    tracing::error!(target: SCOPE, "consul service-watcher error: {error}");
                    self.state().known.clear();
                    before.clear();
                    index = 0;
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSES.1);
                    continue;
                }
            };
            pause = PAUSES.0;
            if answer.index != 0 && answer.index == index {
                // A server that does not wait is not to be asked all the time.
                tokio::time::sleep_until(asked + LEAST_PAUSE).await;
                continue;
            }
            let now = health_of(&answer.value);
            self.refresh(&before, &now).await;
            before = now;
            // An index that goes back, or stands still at nothing, is that of another world.
            index = if answer.index < index { 0 } else { answer.index };
            if index == 0 {
                // Without an index a query does not wait.
                tokio::time::sleep(PAUSES.0).await;
            }
        }
    }

    /// Asks for the instances of each app of which one has changed.
    async fn refresh(&self, before: &HashMap<Place, bool>, now: &HashMap<Place, bool>) {
        let places = before.keys().chain(now.keys());
        let mut changed: BTreeSet<&str> = places
            .filter(|place| before.get(*place) != now.get(*place))
            .map(|(service, ..)| service.as_str())
            .collect();
        let missing: Vec<String> = {
            let state = self.state();
            let missing = state
                .watched
                .iter()
                .filter(|app_id| !state.known.contains_key(*app_id));
            missing.cloned().collect()
        };
        changed.extend(missing.iter().map(String::as_str));
        for app_id in changed {
            let list = match self.client.healthy(app_id, &self.options).await {
                Ok(entries) => address::list(&entries, app_id, &self.port_key).await,
                Err(error) => Err(error.to_string()),
            };
            let mut state = self.state();
            match list {
                Ok(list) if !list.is_empty() => {
                    state.known.insert(app_id.to_owned(), list);
                }
                Ok(_) => {
                    state.known.remove(app_id);
                }
                Err(error) => {
                    state.known.remove(app_id);
                    tracing::debug!(target: SCOPE, "no instances of {app_id}: {error}");
                }
            }
        }
    }

    /// Selects the checks of all watched apps; none if there are none.
    fn filter(&self) -> Option<String> {
        let state = self.state();
        let terms: Vec<_> = state
            .watched
            .iter()
            .map(|app_id| format!("ServiceName=={}", quoted(app_id)))
            .collect();
        (!terms.is_empty()).then(|| terms.join(" or "))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether all checks of an instance pass, by service, id and node.
pub(crate) fn health_of(checks: &[HealthCheck]) -> HashMap<Place, bool> {
    let mut health = HashMap::new();
    for check in checks {
        let place = (
            check.service_name.clone(),
            check.service_id.clone(),
            check.node.clone(),
        );
        let is_passing = check.status == "passing";
        *health.entry(place).or_insert(true) &= is_passing;
    }
    health
}

/// A text of the filter language; what would end it is left out.
fn quoted(text: &str) -> String {
    let plain: String = text
        .chars()
        .filter(|character| !matches!(character, '"' | '\\'))
        .collect();
    format!("\"{plain}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(service: &str, id: &str, status: &str) -> HealthCheck {
        HealthCheck {
            node: "n".to_owned(),
            status: status.to_owned(),
            service_id: id.to_owned(),
            service_name: service.to_owned(),
        }
    }

    #[test]
    fn an_instance_is_healthy_if_all_its_checks_pass() {
        let health = health_of(&[
            check("a", "a1", "passing"),
            check("a", "a1", "critical"),
            check("a", "a2", "passing"),
            check("b", "b1", "warning"),
        ]);
        let place = |service: &str, id: &str| (service.to_owned(), id.to_owned(), "n".to_owned());
        assert!(!health[&place("a", "a1")]);
        assert!(health[&place("a", "a2")]);
        assert!(!health[&place("b", "b1")]);
    }

    #[test]
    fn no_name_gets_out_of_its_quotes() {
        assert_eq!(quoted("a-b"), "\"a-b\"");
        assert_eq!(quoted("a\" or \"\" == \"\\"), "\"a or  == \"");
    }
}
