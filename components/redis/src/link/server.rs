//! The connections to one server: one for each thread that asks, opened when it first does.
//!
//! A thread of the sidecar runs its own tasks only, so a connection that is opened in a thread and used by it
//! wakes nobody else. Commands of concurrent callers share packets.

use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use redis::Value;
use redis::aio::PubSub;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::connection::{Connection, Greeting, Question, listen};
use super::dial::Dialer;
use super::health::Health;
use super::sentinel::Sentinels;
use crate::error::Error;

/// A server and the connections to it.
pub(crate) struct Server {
    target: Target,
    common: Arc<Common>,
    /// Those for commands that are answered at once, then as many for those that wait.
    lanes: Box<[Lane]>,
    probing: AtomicBool,
    /// Since when it cannot be reached.
    failing: Mutex<Option<Instant>>,
    /// Whether anybody needs it; only then its troubles are the component's.
    needed: AtomicBool,
    own: Weak<Self>,
}

/// Where a server is.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// At an address.
    Fixed(Arc<str>),
    /// Where the sentinels say.
    Master(Arc<Sentinels>),
}

/// What all servers of a component have in common.
#[derive(Debug)]
pub(crate) struct Common {
    pub(crate) dialer: Dialer,
    pub(crate) greeting: Greeting,
    pub(crate) max_age: Option<Duration>,
    pub(crate) lanes: usize,
    pub(crate) health: Health,
    pub(crate) closed: CancellationToken,
}

/// Whether a command is answered at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// It is.
    Quick,
    /// The server may wait before it answers, and all that follows on the connection with it.
    Waiting,
}

/// One connection at a time.
struct Lane {
    current: ArcSwapOption<Connection>,
    /// One opens; the others wait and share what comes of it.
    opening: Semaphore,
    failed: Mutex<Option<(Instant, Error)>>,
    under_way: AtomicUsize,
}

/// A command that is under way.
struct Place<'a>(&'a AtomicUsize);

/// Most lanes of a pace.
pub(crate) const MAX_LANES: usize = 64;

/// Most commands under way on one lane; beyond them callers are told so at once.
const MAX_UNDER_WAY: usize = 4096;

/// How long a server is gone before calls are no longer tried again: as long as they would be with usual settings.
const PATIENCE: Duration = Duration::from_secs(2);

/// Pauses between the attempts to reach a server that nobody asks.
const PROBE: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(5)];

thread_local! {
    static THREAD: Cell<Option<usize>> = const { Cell::new(None) };
}

// === impl Server ===

impl Server {
    pub(crate) fn new(target: Target, common: &Arc<Common>) -> Arc<Self> {
        let lanes = (0..2 * common.lanes).map(|_| Lane::new()).collect();
        Arc::new_cyclic(|own| Self {
            target,
            common: Arc::clone(common),
            lanes,
            probing: AtomicBool::new(false),
            failing: Mutex::new(None),
            needed: AtomicBool::new(true),
            own: Weak::clone(own),
        })
    }

    /// Asks on the connection of this thread, and gives the answer, which may be an error of the server.
    pub(crate) async fn ask(&self, pace: Pace, question: Question<'_>) -> Result<Value, Error> {
        let lane = self.lane(pace);
        let _place = lane.place()?;
        let connection = self.connection(lane).await?;
        let answer = connection.ask(question).await;
        if let Err(error) = &answer
            && error.is_of_connection()
        {
            lane.forget(&connection);
        }
        answer
    }

    /// A connection of its own for the messages of channels.
    pub(crate) async fn listen(&self) -> Result<PubSub, Error> {
        let address = self.resolve().await?;
        let stream = self.common.dialer.dial(&address).await?;
        listen(stream, &address, &self.common.greeting.login).await
    }

    /// Whether it is gone for so long that those who ask need not be patient.
    pub(crate) fn is_long_gone(&self) -> bool {
        self.failing().is_some_and(|since| since.elapsed() > PATIENCE)
    }

    /// Gives all connections up; new ones go where the server is then.
    pub(crate) fn renew(&self) {
        for lane in &self.lanes {
            lane.current.store(None);
        }
    }

    /// Whether a connection leads elsewhere.
    pub(crate) fn leads_elsewhere(&self, address: &str) -> bool {
        let mut connections = self.lanes.iter().filter_map(|lane| lane.current.load_full());
        connections.any(|connection| **connection.address() != *address)
    }

    /// Says whether anybody needs the server.
    pub(crate) fn set_needed(&self, needed: bool) {
        self.needed.store(needed, Ordering::Release);
        if !needed {
            self.common.health.well(self.name());
        }
    }

    /// The address, if it has one of its own.
    pub(crate) const fn address(&self) -> Option<&Arc<str>> {
        match &self.target {
            Target::Fixed(address) => Some(address),
            Target::Master(_) => None,
        }
    }

    fn lane(&self, pace: Pace) -> &Lane {
        let quick = self.common.lanes;
        let first = if pace == Pace::Quick { 0 } else { quick };
        &self.lanes[first + thread_number() % quick]
    }

    async fn connection(&self, lane: &Lane) -> Result<Arc<Connection>, Error> {
        if let Some(connection) = self.usable(lane) {
            return Ok(connection);
        }
        let waiting_since = Instant::now();
        let _turn = lane.opening.acquire().await.map_err(|_| Error::Closed)?;
        if let Some(connection) = self.usable(lane) {
            return Ok(connection);
        }
        if self.common.closed.is_cancelled() {
            return Err(Error::Closed);
        }
        if let Some(error) = lane.failed_since(waiting_since) {
            return Err(error);
        }
        let begun = Instant::now();
        match self.open().await {
            Ok(connection) => {
                let connection = Arc::new(connection);
                lane.current.store(Some(Arc::clone(&connection)));
                Ok(connection)
            }
            Err(error) => {
                *lane.failed() = Some((begun, error.clone()));
                self.probe();
                Err(error)
            }
        }
    }

    fn usable(&self, lane: &Lane) -> Option<Arc<Connection>> {
        let connection = lane.current.load_full()?;
        let is_old = self.common.max_age.is_some_and(|limit| connection.age() > limit);
        (!is_old && !connection.is_ended()).then_some(connection)
    }

    async fn open(&self) -> Result<Connection, Error> {
        let opened = match self.resolve().await {
            Ok(address) => self.open_at(&address).await,
            Err(error) => Err(error),
        };
        let name = self.name();
        match &opened {
            Ok(_) => {
                *self.failing() = None;
                self.common.health.well(name);
            }
            Err(error) => {
                self.failing().get_or_insert_with(Instant::now);
                if self.is_needed() {
                    self.common.health.failed(name, error);
                }
            }
        }
        opened
    }

    async fn resolve(&self) -> Result<Arc<str>, Error> {
        match &self.target {
            Target::Fixed(address) => Ok(Arc::clone(address)),
            Target::Master(sentinels) => sentinels.master().await,
        }
    }

    async fn open_at(&self, address: &Arc<str>) -> Result<Connection, Error> {
        let stream = self.common.dialer.dial(address).await?;
        let own = Weak::clone(&self.own);
        let lost = move || {
            if let Some(own) = own.upgrade() {
                own.probe();
            }
        };
        Connection::open(stream, Arc::clone(address), &self.common.greeting, lost).await
    }

    /// Tries to reach the server until it is there, so that its state is known though nobody asks.
    fn probe(&self) {
        if !self.is_needed() || self.probing.swap(true, Ordering::AcqRel) {
            return;
        }
        let own = Weak::clone(&self.own);
        let closed = self.common.closed.clone();
        tokio::spawn(closed.run_until_cancelled_owned(async move {
            let [mut pause, longest] = PROBE;
            loop {
                let Some(server) = own.upgrade() else {
                    return;
                };
                let there = server.connection(server.lane(Pace::Quick)).await.is_ok();
                if there || !server.is_needed() {
                    server.probing.store(false, Ordering::Release);
                    return;
                }
                drop(server);
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(longest);
            }
        }));
    }

    fn failing(&self) -> MutexGuard<'_, Option<Instant>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_needed(&self) -> bool {
        self.needed.load(Ordering::Acquire)
    }

    /// Its name in the books of health.
    fn name(&self) -> &str {
        match &self.target {
            Target::Fixed(address) => address,
            Target::Master(_) => "master",
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A node that has left the cluster is nobody's trouble any more.
        self.common.health.well(self.name());
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

// === impl Lane ===

impl Lane {
    fn new() -> Self {
        Self {
            current: ArcSwapOption::empty(),
            opening: Semaphore::new(1),
            failed: Mutex::new(None),
            under_way: AtomicUsize::new(0),
        }
    }

    fn place(&self) -> Result<Place<'_>, Error> {
        let place = Place(&self.under_way);
        if self.under_way.fetch_add(1, Ordering::Relaxed) >= MAX_UNDER_WAY {
            return Err(Error::Full);
        }
        Ok(place)
    }

    /// Drops a connection unless another has taken its place.
    fn forget(&self, connection: &Arc<Connection>) {
        let current = self.current.load();
        if current
            .as_ref()
            .is_some_and(|current| Arc::ptr_eq(current, connection))
        {
            self.current.compare_and_swap(&current, None);
        }
    }

    /// Why the last attempt to connect failed, if it began after a time.
    fn failed_since(&self, time: Instant) -> Option<Error> {
        let failed = self.failed();
        let (begun, error) = failed.as_ref()?;
        (*begun >= time).then(|| error.clone())
    }

    fn failed(&self) -> MutexGuard<'_, Option<(Instant, Error)>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Place ===

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A number of this thread, counted up by the threads that ask.
fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    THREAD.with(|number| {
        number.get().unwrap_or_else(|| {
            let new = NEXT.fetch_add(1, Ordering::Relaxed);
            number.set(Some(new));
            new
        })
    })
}
