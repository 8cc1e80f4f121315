//! Which connection a statement takes.

use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::FutureExt as _;
use futures_util::future::Shared;
use outrigger_component::Condition;
use outrigger_svc::BoxFuture;
use tokio::runtime::{Handle, Id};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::connect::Connector;
use super::connection::{Connection, Place};
use super::error::DatabaseError;
use super::settings::{ConnectionSettings, processors};

/// The connections to a server; cheap to clone.
///
/// Each runtime has its own, opened when those it has are busy, as far as there may be more. A runtime that may open
/// none takes one of another.
#[derive(Clone)]
pub(crate) struct Pool(Arc<Inner>);

/// The use of a connection beside others.
#[derive(Debug)]
pub(crate) struct Lease {
    connection: Arc<Connection>,
    shelf: Arc<Shelf>,
    pool: Pool,
}

/// The use of a connection alone. Dropped before it is [finished](Self::finish) it is closed, and the server undoes
/// what was not committed.
#[derive(Debug)]
pub(crate) struct Exclusive {
    connection: Option<Arc<Connection>>,
    shelf: Arc<Shelf>,
    pool: Pool,
}

struct Inner {
    connector: Connector,
    /// The most connections of all, and of one runtime.
    most: (usize, usize),
    open: Arc<AtomicUsize>,
    shelves: ArcSwap<Vec<Arc<Shelf>>>,
    /// A connection is free that was used alone, or there is room for another.
    returned: Notify,
    condition: Condition,
    is_closed: AtomicBool,
    start: Instant,
}

/// The connections of one runtime.
#[derive(Debug)]
struct Shelf {
    runtime: Id,
    open: Arc<AtomicUsize>,
    books: Mutex<Books>,
}

#[derive(Default)]
struct Books {
    connections: Vec<Arc<Connection>>,
    opening: Option<Opening>,
    /// No further connection is tried before this, as long as there is one.
    patience: Option<Instant>,
}

/// A connection that is being opened, for all who wait for one. It goes to the shelf.
type Opening = Shared<BoxFuture<'static, Result<(), DatabaseError>>>;

/// What a look at the shelf says.
enum Choice<T> {
    Take(T),
    Open(Opening),
    /// There is none here, and there may be no more.
    None,
}

/// The most statements under way on one connection.
const DEPTH: usize = 512;

/// How long after a failure to open a further connection the next is tried.
const PATIENCE: Duration = Duration::from_secs(1);

// === impl Pool ===

impl Pool {
    /// No connection is open yet. Whether the server can be reached is told to `condition`.
    pub(crate) fn new(settings: &ConnectionSettings, condition: Condition) -> Self {
        let most = settings.connections;
        Self(Arc::new(Inner {
            connector: settings.connector.clone(),
            most: (most, most.div_ceil(processors()).max(2)),
            open: Arc::default(),
            shelves: ArcSwap::default(),
            returned: Notify::new(),
            condition,
            is_closed: AtomicBool::new(false),
            start: Instant::now(),
        }))
    }

    /// A connection to be used beside others, the least busy one.
    pub(crate) async fn lease(&self) -> Result<Lease, DatabaseError> {
        let own = self.own_shelf();
        let (connection, shelf) = self.find(&own, Self::choose).await?;
        if connection.waiting() >= DEPTH {
            return Err(DatabaseError::Busy);
        }
        connection.enter();
        let pool = self.clone();
        Ok(Lease {
            connection,
            shelf,
            pool,
        })
    }

    /// A connection to be used alone. What others have sent on it before is answered before.
    pub(crate) async fn exclusive(&self) -> Result<Exclusive, DatabaseError> {
        let own = self.own_shelf();
        let (connection, shelf) = self.find(&own, Self::take).await?;
        Ok(Exclusive {
            connection: Some(connection),
            shelf,
            pool: self.clone(),
        })
    }

    /// Closes connections that nobody has used for so long, until the token is cancelled.
    pub(crate) async fn close_idle_until(self, idle_time: Duration, stop: CancellationToken) {
        let pause = (idle_time / 4).clamp(Duration::from_secs(1), Duration::from_secs(60));
        let rounds = async {
            loop {
                sleep(pause).await;
                self.close_idle(idle_time);
            }
        };
        stop.run_until_cancelled(rounds).await;
    }

    /// Closes connections that nobody has used for so long.
    fn close_idle(&self, idle_time: Duration) {
        let idle = u64::try_from(idle_time.as_millis()).unwrap_or(u64::MAX);
        let oldest = self.now().saturating_sub(idle);
        for shelf in self.0.shelves.load().iter() {
            let mut books = shelf.books();
            books
                .connections
                .retain(|connection| connection.waiting() > 0 || connection.last_used() >= oldest);
        }
        self.0.returned.notify_waiters();
    }

    /// Closes all connections once what is under way is answered; there are no more afterwards.
    pub(crate) fn close(&self) {
        self.0.is_closed.store(true, Ordering::Release);
        self.0.shelves.store(Arc::default());
        self.0.returned.notify_waiters();
    }

    async fn find(
        &self,
        own: &Arc<Shelf>,
        choose: fn(&Self, &Arc<Shelf>, bool) -> Choice<Arc<Connection>>,
    ) -> Result<(Arc<Connection>, Arc<Shelf>), DatabaseError> {
        loop {
            if self.is_closed() {
                return Err(DatabaseError::Closed);
            }
            // Listening begins before looking, lest a return in between is missed.
            let returned = self.0.returned.notified();
            tokio::pin!(returned);
            returned.as_mut().enable();
            match choose(self, own, true) {
                Choice::Take(connection) => return Ok((connection, Arc::clone(own))),
                Choice::Open(opening) => {
                    opening.await?;
                    continue;
                }
                Choice::None => {}
            }
            for shelf in self.0.shelves.load().iter() {
                if let Choice::Take(connection) = choose(self, shelf, false) {
                    return Ok((connection, Arc::clone(shelf)));
                }
            }
            returned.await;
        }
    }

    /// The least busy connection of a shelf; where it is busy and may have company, that is opened beside.
    fn choose(&self, shelf: &Arc<Shelf>, is_own: bool) -> Choice<Arc<Connection>> {
        let mut books = shelf.books();
        let Some(place) = books.least_busy() else {
            return self.grow(shelf, &mut books, is_own);
        };
        let connection = Arc::clone(&books.connections[place]);
        if connection.waiting() > 0 && books.is_patient() {
            self.grow(shelf, &mut books, is_own);
        }
        Choice::Take(connection)
    }

    /// The least busy connection of a shelf, taken off it; another is opened first if there may be one.
    fn take(&self, shelf: &Arc<Shelf>, is_own: bool) -> Choice<Arc<Connection>> {
        let mut books = shelf.books();
        let least = books.least_busy();
        let is_idle = least.is_some_and(|place| books.connections[place].waiting() == 0);
        if least.is_none() || (!is_idle && books.is_patient()) {
            let grown = self.grow(shelf, &mut books, is_own);
            if least.is_none() || matches!(grown, Choice::Open(_)) {
                return grown;
            }
        }
        match least {
            Some(place) => Choice::Take(books.connections.swap_remove(place)),
            None => Choice::None,
        }
    }

    /// Opens a connection for a shelf, unless one is being opened or there may be no more.
    fn grow(&self, shelf: &Arc<Shelf>, books: &mut Books, is_own: bool) -> Choice<Arc<Connection>> {
        if let Some(opening) = &books.opening {
            return Choice::Open(opening.clone());
        }
        let (most, most_own) = self.0.most;
        let take = || Place::take(&[(&self.0.open, most), (&shelf.open, most_own)]);
        let Some(place) = is_own.then(take).flatten() else {
            return Choice::None;
        };
        let opening: BoxFuture<'static, _> = Box::pin(self.clone().open(Arc::clone(shelf), place));
        let opening = opening.shared();
        books.opening = Some(opening.clone());
        // Whoever asks may leave.
        tokio::spawn(opening.clone());
        Choice::Open(opening)
    }

    async fn open(self, shelf: Arc<Shelf>, place: Place) -> Result<(), DatabaseError> {
        let opened = self.0.connector.connect().await;
        match &opened {
            Ok(_) => self.0.condition.well(),
            Err(error) => self.0.condition.degraded(&error.to_string()),
        }
        let outcome = {
            let mut books = shelf.books();
            books.opening = None;
            match opened {
                Ok(client) => {
                    let now = self.now();
                    let connection = Connection::new(client, self.0.connector.mode(), place, now);
                    books.connections.push(Arc::new(connection));
                    Ok(())
                }
                Err(error) => {
                    books.patience = Some(Instant::now() + PATIENCE);
                    Err(error)
                }
            }
        };
        self.0.returned.notify_waiters();
        outcome
    }

    /// The shelf of the runtime that asks.
    fn own_shelf(&self) -> Arc<Shelf> {
        let runtime = Handle::current().id();
        let known = self.0.shelves.load();
        if let Some(shelf) = known.iter().find(|shelf| shelf.runtime == runtime) {
            return Arc::clone(shelf);
        }
        let shelf = Arc::new(Shelf {
            runtime,
            open: Arc::default(),
            books: Mutex::default(),
        });
        self.0.shelves.rcu(|shelves| {
            let mut shelves = Vec::clone(shelves);
            if !shelves.iter().any(|shelf| shelf.runtime == runtime) {
                shelves.push(Arc::clone(&shelf));
            }
            shelves
        });
        shelf
    }

    fn is_closed(&self) -> bool {
        self.0.is_closed.load(Ordering::Acquire)
    }

    /// Milliseconds since the pool was made.
    fn now(&self) -> u64 {
        u64::try_from(self.0.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("open", &self.0.open)
            .field("most", &self.0.most)
            .finish_non_exhaustive()
    }
}

// === impl Lease ===

impl Lease {
    /// Lets nobody else use the connection from now on.
    pub(crate) fn discard(&self) {
        let mut books = self.shelf.books();
        books
            .connections
            .retain(|connection| !Arc::ptr_eq(connection, &self.connection));
    }
}

impl Deref for Lease {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.connection.leave(self.pool.now());
    }
}

// === impl Exclusive ===

impl Exclusive {
    /// Gives the connection back: nothing is under way on it.
    pub(crate) fn finish(mut self) {
        if let Some(connection) = self.connection.take().filter(|_| !self.pool.is_closed()) {
            self.shelf.books().connections.push(connection);
        }
    }
}

impl Deref for Exclusive {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection
            .as_ref()
            .expect("it is taken when it is dropped only")
    }
}

impl Drop for Exclusive {
    fn drop(&mut self) {
        // Its place is free before others look.
        drop(self.connection.take());
        self.pool.0.returned.notify_waiters();
    }
}

// === impl Shelf ===

impl Shelf {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Books ===

impl Books {
    /// Where the least busy connection is; closed ones are forgotten.
    fn least_busy(&mut self) -> Option<usize> {
        self.connections.retain(|connection| !connection.is_closed());
        let waiting = self.connections.iter().map(|connection| connection.waiting());
        waiting
            .enumerate()
            .min_by_key(|&(_, waiting)| waiting)
            .map(|(place, _)| place)
    }

    /// Whether a further connection may be tried.
    fn is_patient(&self) -> bool {
        self.patience.is_none_or(|until| Instant::now() >= until)
    }
}

impl fmt::Debug for Books {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Books")
            .field("connections", &self.connections)
            .field("is_opening", &self.opening.is_some())
            .finish_non_exhaustive()
    }
}
