//! The cache in front of every resolver.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::endpoint::{Endpoints, Members, Request};
use crate::error::ResolveError;
use crate::flight::Flights;
use crate::resolver::{Answer, Keep, NameResolver};
use crate::table::{Key, Table};

/// Further attempts after an empty answer.
const EMPTY_RETRIES: u32 = 5;

/// Pause before each of them.
const EMPTY_PAUSE: Duration = Duration::from_millis(100);

/// Least time between two refreshes that failed calls ask for.
const DOUBT_PAUSE: Duration = Duration::from_secs(1);

/// Finds the address for a call: from memory if it can, by its resolver if it must.
///
/// Cheap to clone. Searches and refreshes run on the runtime that it was made on, never on the
/// request's worker, so a request that gives up does not end a search that others wait for.
#[derive(Clone)]
pub struct Resolver(Arc<Shared>);

struct Shared {
    resolver: Arc<dyn NameResolver>,
    table: Table<Entry>,
    flights: Flights<Key, Outcome>,
    runtime: Handle,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// What is kept for one callee.
struct Entry {
    endpoints: Arc<Endpoints>,
    /// Set by every hit, cleared by every refresh: what nobody asks for is not refreshed.
    used: AtomicBool,
    /// Ends the refresh of an answer with a time limit; none for a live set.
    refresh: Option<CancellationToken>,
    /// Asks for a refresh before its time.
    doubted: Notify,
}

type Outcome = Result<Arc<Endpoints>, ResolveError>;

// === impl Resolver ===

impl Resolver {
    /// Puts the cache in front of `resolver`.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn new(resolver: Arc<dyn NameResolver>) -> Self {
        Self(Arc::new(Shared {
            resolver,
            table: Table::new(),
            flights: Flights::new(),
            runtime: Handle::current(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        }))
    }

    /// Shows the addresses that are known to `read`: no lock, no allocation, no waiting, and no counter that
    /// cores share is touched.
    pub fn with_known<R>(&self, request: &Request<'_>, read: impl FnOnce(&Members) -> R) -> Option<R> {
        let snapshot = self.0.table.load();
        let entry = snapshot.get(request)?;
        entry.mark_used();
        entry
            .endpoints
            .with(|members| (!members.is_empty()).then(|| read(members)))
    }

    /// The addresses from memory, else by a search that all who ask for the same callee share; at least one.
    ///
    /// An empty answer is asked for again, five times at most and 100 ms apart.
    ///
    /// # Errors
    /// What the resolver says, [`ResolveError::Empty`] if it keeps answering with nothing, and
    /// [`ResolveError::Closed`] during the shutdown.
    pub async fn resolve(&self, request: &Request<'_>) -> Result<Members, ResolveError> {
        if let Some(members) = self.with_known(request, Members::clone) {
            return Ok(members);
        }
        if self.0.stop.is_cancelled() {
            return Err(ResolveError::Closed);
        }
        let key = Key::from(request);
        let flight = self
            .0
            .flights
            .join(key.clone(), &self.0.runtime, &self.0.tasks, || {
                let shared = Arc::clone(&self.0);
                async move { shared.search(key).await }
            });
        let endpoints = flight.outcome().await.unwrap_or(Err(ResolveError::Closed))?;
        let members = endpoints.members();
        match members.is_empty() {
            false => Ok(members),
            true => Err(empty(request)),
        }
    }

    /// Drops what is kept for a callee whose connection failed as unavailable or unauthenticated.
    ///
    /// An answer with several addresses goes on to be used while it is renewed: one of them failed, and calls
    /// need not wait for that. A live set stays: its resolver is told, and knows best.
    pub fn forget(&self, request: &Request<'_>) {
        let snapshot = self.0.table.load();
        let Some(entry) = snapshot.get(request) else {
            return;
        };
        let Some(refresh) = &entry.refresh else {
            return self.0.resolver.doubt(*request);
        };
        if entry.endpoints.with(|members| members.len() > 1) {
            entry.doubted.notify_one();
        } else {
            refresh.cancel();
            self.0.table.remove(&Key::from(request), entry);
        }
    }

    /// Ends background work and withdraws the own instance from the network.
    pub async fn close(&self) {
        self.0.stop.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
        self.0.resolver.close().await;
    }
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolver").finish_non_exhaustive()
    }
}

// === impl Shared ===

impl Shared {
    async fn search(self: Arc<Self>, key: Key) -> Outcome {
        let answer = tokio::select! {
            answer = self.ask(&key) => answer?,
            () = self.stop.cancelled() => return Err(ResolveError::Closed),
        };
        let endpoints = Arc::clone(&answer.endpoints);
        self.keep(key, answer);
        Ok(endpoints)
    }

    async fn ask(&self, key: &Key) -> Result<Answer, ResolveError> {
        for _ in 0..EMPTY_RETRIES {
            let answer = self.resolver.resolve(key.request()).await?;
            if !answer.endpoints.is_empty() {
                return Ok(answer);
            }
            tokio::time::sleep(EMPTY_PAUSE).await;
        }
        let answer = self.resolver.resolve(key.request()).await?;
        if answer.endpoints.is_empty() {
            return Err(empty(&key.request()));
        }
        Ok(answer)
    }

    fn keep(self: Arc<Self>, key: Key, answer: Answer) {
        let (limit, refresh) = match answer.keep {
            Keep::Not => return,
            Keep::Live => (None, None),
            Keep::For(limit) => (Some(limit), Some(self.stop.child_token())),
        };
        let entry = Arc::new(Entry {
            endpoints: answer.endpoints,
            used: AtomicBool::new(false),
            refresh,
            doubted: Notify::new(),
        });
        self.table.insert(&key, &entry);
        if let Some(limit) = limit {
            let runtime = self.runtime.clone();
            let tasks = self.tasks.clone();
            tasks.spawn_on(self.refresh(key, entry, limit), &runtime);
        }
    }

    /// Renews an answer at three quarters of its time while calls use it, sooner if an address of it failed, else
    /// lets it run out.
    async fn refresh(self: Arc<Self>, key: Key, entry: Arc<Entry>, mut limit: Duration) {
        let ended = entry.refresh.clone().unwrap_or_default();
        let life = async {
            loop {
                let kept = Instant::now();
                let doubt = async {
                    entry.doubted.notified().await;
                    tokio::time::sleep_until(kept + DOUBT_PAUSE).await;
                };
                let is_wanted = tokio::select! {
                    () = tokio::time::sleep_until(kept + limit * 3 / 4) => entry.used.swap(false, Ordering::Relaxed),
                    () = doubt => true,
                };
                let renewed = match is_wanted {
                    true => self.resolver.resolve(key.request()).await.ok(),
                    false => None,
                };
                match renewed {
                    Some(Answer {
                        endpoints,
                        keep: Keep::For(next),
                    }) if !endpoints.is_empty() => {
                        entry.endpoints.replace(endpoints.members().to_vec());
                        limit = next;
                    }
                    _ => {
                        tokio::time::sleep_until(kept + limit).await;
                        break;
                    }
                }
            }
        };
        tokio::select! {
            () = life => self.table.remove(&key, &entry),
            () = ended.cancelled() => {}
        }
    }
}

// === impl Entry ===

impl Entry {
    fn mark_used(&self) {
        // Reading first keeps the cache line shared between cores.
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
    }
}

fn empty(request: &Request<'_>) -> ResolveError {
    ResolveError::Empty {
        namespace: request.namespace.into(),
        app_id: request.app_id.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Mutex;

    use outrigger_svc::BoxFuture;
    use tokio::time::advance;

    use super::*;
    use crate::endpoint::Endpoint;

    const REQUEST: Request<'static> = Request {
        app_id: "callee",
        namespace: "default",
        port: 50002,
    };
    const LIMIT: Duration = Duration::from_secs(20);

    /// Answers by a script; the last line of it is repeated.
    struct Script {
        lines: Mutex<VecDeque<Result<Vec<&'static str>, ResolveError>>>,
        asked: Mutex<usize>,
        keep: Keep,
    }

    impl Script {
        fn new(
            keep: Keep,
            lines: impl IntoIterator<Item = Result<Vec<&'static str>, ResolveError>>,
        ) -> Arc<Self> {
            Arc::new(Self {
                lines: Mutex::new(lines.into_iter().collect()),
                asked: Mutex::new(0),
                keep,
            })
        }

        fn asked(&self) -> usize {
            *self.asked.lock().unwrap()
        }
    }

    impl NameResolver for Script {
        fn resolve<'a>(&'a self, _request: Request<'a>) -> BoxFuture<'a, Result<Answer, ResolveError>> {
            Box::pin(async {
                *self.asked.lock().unwrap() += 1;
                tokio::task::yield_now().await;
                let line = {
                    let mut lines = self.lines.lock().unwrap();
                    if lines.len() > 1 {
                        lines.pop_front().unwrap()
                    } else {
                        lines[0].clone()
                    }
                };
                let endpoints = Arc::new(line?.into_iter().map(Endpoint::new).collect());
                Ok(Answer {
                    endpoints,
                    keep: self.keep,
                })
            })
        }
    }

    /// The addresses in memory, if any.
    fn known(resolver: &Resolver) -> Option<String> {
        resolver.with_known(&REQUEST, addresses)
    }

    fn addresses(members: &Members) -> String {
        let addresses: Vec<_> = members.iter().map(|member| &*member.address).collect();
        addresses.join(" ")
    }

    /// Lets the tasks that the clock woke run.
    async fn settle() {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_kept_for_its_time_and_no_longer() {
        let script = Script::new(Keep::For(LIMIT), [Ok(vec!["10.0.0.1:50002"])]);
        let resolver = Resolver::new(script.clone());
        assert_eq!(known(&resolver), None);
        let found = resolver.resolve(&REQUEST).await.unwrap();
        assert_eq!(addresses(&found), "10.0.0.1:50002");
        settle().await;
        advance(LIMIT - Duration::from_millis(1)).await;
        settle().await;
        advance(Duration::from_millis(2)).await;
        settle().await;
        assert_eq!(known(&resolver), None);
        assert_eq!(script.asked(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_in_use_is_renewed_behind_the_calls() {
        let script = Script::new(
            Keep::For(LIMIT),
            [Ok(vec!["10.0.0.1:50002"]), Ok(vec!["10.0.0.2:50002"])],
        );
        let resolver = Resolver::new(script.clone());
        resolver.resolve(&REQUEST).await.unwrap();
        assert_eq!(known(&resolver).unwrap(), "10.0.0.1:50002");
        settle().await;
        advance(LIMIT * 3 / 4).await;
        settle().await;
        assert_eq!(known(&resolver).unwrap(), "10.0.0.2:50002");
        assert_eq!(script.asked(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_cannot_be_renewed_runs_out_at_its_limit() {
        let failure = ResolveError::Other("down".into());
        let script = Script::new(
            Keep::For(LIMIT),
            [Ok(vec!["10.0.0.1:50002"]), Err(failure.clone())],
        );
        let resolver = Resolver::new(script);
        resolver.resolve(&REQUEST).await.unwrap();
        assert!(known(&resolver).is_some());
        settle().await;
        advance(LIMIT * 3 / 4).await;
        settle().await;
        assert!(known(&resolver).is_some());
        advance(LIMIT / 4).await;
        settle().await;
        assert_eq!(resolver.resolve(&REQUEST).await, Err(failure));
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_fails_the_call_at_once() {
        let failure = ResolveError::NotFound("callee".into());
        let script = Script::new(Keep::Live, [Err(failure.clone())]);
        let resolver = Resolver::new(script.clone());
        assert_eq!(resolver.resolve(&REQUEST).await, Err(failure));
        assert_eq!(script.asked(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_empty_answer_is_asked_for_five_times_more() {
        let script = Script::new(Keep::Not, [Ok(vec![])]);
        let resolver = Resolver::new(script.clone());
        let begin = Instant::now();
        let failure = resolver.resolve(&REQUEST).await.unwrap_err();
        assert_eq!(
            failure.to_string(),
            "resolver returned empty address for app id default/callee"
        );
        assert_eq!(script.asked(), 6);
        assert_eq!(begin.elapsed().as_millis() / 100, 5);
    }

    #[tokio::test(start_paused = true)]
    async fn concurrent_misses_share_one_search() {
        let script = Script::new(Keep::For(LIMIT), [Ok(vec!["10.0.0.1:50002"])]);
        let resolver = Resolver::new(script.clone());
        let (first, second) = tokio::join!(resolver.resolve(&REQUEST), resolver.resolve(&REQUEST));
        assert_eq!(first.unwrap(), second.unwrap());
        assert_eq!(script.asked(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_forgotten_callee_is_searched_again() {
        let script = Script::new(
            Keep::For(LIMIT),
            [Ok(vec!["10.0.0.1:50002"]), Ok(vec!["10.0.0.2:50002"])],
        );
        let resolver = Resolver::new(script);
        resolver.resolve(&REQUEST).await.unwrap();
        resolver.forget(&REQUEST);
        assert_eq!(known(&resolver), None);
        let found = resolver.resolve(&REQUEST).await.unwrap();
        assert_eq!(addresses(&found), "10.0.0.2:50002");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_with_a_failed_address_is_renewed_behind_the_calls() {
        let script = Script::new(Keep::For(LIMIT), [Ok(vec!["a:1", "b:1"]), Ok(vec!["b:1", "c:1"])]);
        let resolver = Resolver::new(script.clone());
        resolver.resolve(&REQUEST).await.unwrap();
        settle().await;
        resolver.forget(&REQUEST);
        resolver.forget(&REQUEST);
        settle().await;
        assert_eq!(known(&resolver).unwrap(), "a:1 b:1");
        advance(DOUBT_PAUSE).await;
        settle().await;
        assert_eq!(known(&resolver).unwrap(), "b:1 c:1");
        assert_eq!(script.asked(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_live_set_is_never_forgotten_but_may_empty_itself() {
        let script = Script::new(Keep::Live, [Ok(vec!["a:1", "b:1"])]);
        let resolver = Resolver::new(script.clone());
        resolver.resolve(&REQUEST).await.unwrap();
        resolver.forget(&REQUEST);
        assert_eq!(known(&resolver).unwrap(), "a:1 b:1");

        resolver
            .0
            .table
            .load()
            .get(&REQUEST)
            .unwrap()
            .endpoints
            .replace(vec![]);
        assert_eq!(known(&resolver), None);
        resolver.resolve(&REQUEST).await.unwrap();
        assert_eq!(script.asked(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_resolver_answers_from_memory_only() {
        let script = Script::new(Keep::Live, [Ok(vec!["a:1"])]);
        let resolver = Resolver::new(script);
        resolver.resolve(&REQUEST).await.unwrap();
        resolver.close().await;
        assert!(resolver.resolve(&REQUEST).await.is_ok());
        let other = Request {
            app_id: "other",
            ..REQUEST
        };
        assert_eq!(resolver.resolve(&other).await, Err(ResolveError::Closed));
    }
}
