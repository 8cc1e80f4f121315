//! One search at a time for each key; everybody who asks meanwhile shares its outcome.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

/// The searches that run at this moment.
#[derive(Debug)]
pub(crate) struct Flights<K, V>(Arc<Mutex<Running<K, V>>>);

/// The outcome of a search, once there is one.
#[derive(Debug)]
pub(crate) struct Flight<V>(watch::Receiver<Option<V>>);

type Running<K, V> = HashMap<K, watch::Receiver<Option<V>>>;

/// Takes a search off the list however it ends.
struct Landing<K: Eq + Hash, V> {
    key: K,
    running: Arc<Mutex<Running<K, V>>>,
}

// === impl Flights ===

impl<K, V> Flights<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    /// Joins the search for `key`, or starts `search` as a task of `runtime`.
    ///
    /// The search goes on when those who wait for it give up.
    pub(crate) fn join<F>(
        &self,
        key: K,
        runtime: &Handle,
        tasks: &TaskTracker,
        search: impl FnOnce() -> F,
    ) -> Flight<V>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(outcome) = running.get(&key) {
            return Flight(outcome.clone());
        }
        let (publish, outcome) = watch::channel(None);
        running.insert(key.clone(), outcome.clone());
        drop(running);

        let landing = Landing {
            key,
            running: Arc::clone(&self.0),
        };
        let search = search();
        tasks.spawn_on(
            async move {
                let value = search.await;
                drop(landing);
                publish.send_replace(Some(value));
            },
            runtime,
        );
        Flight(outcome)
    }
}

// === impl Flight ===

impl<V: Clone> Flight<V> {
    /// Waits for the outcome; none if the search was broken off.
    pub(crate) async fn outcome(mut self) -> Option<V> {
        let outcome = self.0.wait_for(Option::is_some).await.ok()?;
        outcome.clone()
    }
}

// === impl Landing ===

impl<K: Eq + Hash, V> Drop for Landing<K, V> {
    fn drop(&mut self) {
        self.running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn those_who_come_meanwhile_share_one_search() {
        let (flights, tasks, searches) = (Flights::new(), TaskTracker::new(), Arc::new(AtomicUsize::new(0)));
        let join = || {
            let searches = Arc::clone(&searches);
            flights.join("key", &Handle::current(), &tasks, || async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                searches.fetch_add(1, Ordering::Relaxed) + 1
            })
        };
        let (first, second) = (join(), join());
        assert_eq!(first.outcome().await, Some(1));
        assert_eq!(second.outcome().await, Some(1));
        assert_eq!(join().outcome().await, Some(2));
    }

    #[tokio::test]
    async fn a_search_that_panics_is_not_waited_for() {
        let (flights, tasks) = (Flights::<_, u8>::new(), TaskTracker::new());
        let join = |panics: bool| {
            flights.join("key", &Handle::current(), &tasks, move || async move {
                assert!(!panics, "planned");
                7
            })
        };
        assert_eq!(join(true).outcome().await, None);
        assert_eq!(join(false).outcome().await, Some(7));
    }
}
