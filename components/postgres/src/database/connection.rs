//! One connection and the statements that it has prepared.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::OnceCell;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, Row, Statement};

use super::Values;

/// How many statements a connection can prepare.
pub(crate) const SLOTS: usize = 12;

/// A statement that is sent often.
#[derive(Clone, Debug)]
pub(crate) struct Sql {
    /// Where a connection keeps it, below [`SLOTS`].
    pub(crate) slot: usize,
    /// The text.
    pub(crate) text: String,
    /// The types of its parameters.
    pub(crate) types: Vec<Type>,
}

/// How statements are sent.
///
/// What other clients tell apart as `cache_describe`, `describe_exec`, `exec` and `simple_protocol` is one thing
/// here: text, types and values in one message, and nothing is left on the server, so that poolers that change
/// servers between statements are safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExecMode {
    /// Prepared once a connection.
    Prepared,
    /// With its text each time.
    Unnamed,
}

/// A connection. It is closed with the last reference.
pub(crate) struct Connection {
    client: Client,
    mode: ExecMode,
    prepared: [OnceCell<Statement>; SLOTS],
    waiting: AtomicUsize,
    last_used: AtomicU64,
    _place: Place,
}

/// A place among the connections that there may be; free again once it is dropped.
#[derive(Debug)]
pub(crate) struct Place(Vec<Arc<AtomicUsize>>);

// === impl ExecMode ===

impl ExecMode {
    /// Reads the setting; an empty one is the default.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "" | "cache_statement" => Some(Self::Prepared),
            "cache_describe" | "describe_exec" | "exec" | "simple_protocol" => Some(Self::Unnamed),
            _ => None,
        }
    }
}

// === impl Connection ===

impl Connection {
    /// A connection that nobody uses, at a moment in milliseconds.
    pub(crate) fn new(client: Client, mode: ExecMode, place: Place, now: u64) -> Self {
        Self {
            client,
            mode,
            prepared: std::array::from_fn(|_| OnceCell::new()),
            waiting: AtomicUsize::new(0),
            last_used: AtomicU64::new(now),
            _place: place,
        }
    }

    /// Whether it is of no more use.
    pub(crate) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// How many use it now.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// One more uses it.
    pub(crate) fn enter(&self) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
    }

    /// One no longer uses it, at a moment in milliseconds.
    pub(crate) fn leave(&self, now: u64) {
        self.last_used.store(now, Ordering::Relaxed);
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    /// When it was last used.
    pub(crate) fn last_used(&self) -> u64 {
        self.last_used.load(Ordering::Relaxed)
    }

    /// Makes a statement ready, so that sending it needs no answer to anything else.
    pub(crate) async fn prepare(&self, sql: &Sql) -> Result<(), Error> {
        match self.mode {
            ExecMode::Prepared => self.statement(sql).await.map(drop),
            ExecMode::Unnamed => Ok(()),
        }
    }

    /// The rows that a statement finds.
    pub(crate) async fn query(&self, sql: &Sql, values: &Values<'_>) -> Result<Vec<Row>, Error> {
        match self.mode {
            ExecMode::Prepared => self.client.query(self.statement(sql).await?, values).await,
            ExecMode::Unnamed => self.client.query_typed(&sql.text, &typed(sql, values)).await,
        }
    }

    /// How many rows a statement changes.
    pub(crate) async fn execute(&self, sql: &Sql, values: &Values<'_>) -> Result<u64, Error> {
        match self.mode {
            ExecMode::Prepared => self.client.execute(self.statement(sql).await?, values).await,
            ExecMode::Unnamed => self.client.execute_typed(&sql.text, &typed(sql, values)).await,
        }
    }

    /// The rows that a statement finds whose parameters are texts; nothing of it is kept.
    pub(crate) async fn query_texts(&self, text: &str, values: &[String]) -> Result<Vec<Row>, Error> {
        let values: Vec<_> = values
            .iter()
            .map(|value| (value as &(dyn ToSql + Sync), Type::TEXT))
            .collect();
        self.client.query_typed(text, &values).await
    }

    /// Runs statements without parameters.
    pub(crate) async fn run(&self, text: &str) -> Result<(), Error> {
        self.client.batch_execute(text).await
    }

    async fn statement(&self, sql: &Sql) -> Result<&Statement, Error> {
        self.prepared[sql.slot]
            .get_or_try_init(|| self.client.prepare_typed(&sql.text, &sql.types))
            .await
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("waiting", &self.waiting())
            .field("is_closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

// === impl Place ===

impl Place {
    /// Takes a place where each count, with the most that it may be, has one free.
    pub(crate) fn take(counts: &[(&Arc<AtomicUsize>, usize)]) -> Option<Self> {
        let mut taken = Self(Vec::with_capacity(counts.len()));
        for &(count, most) in counts {
            let one_more = |now| (now < most).then_some(now + 1);
            count
                .fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more)
                .ok()?;
            taken.0.push(Arc::clone(count));
        }
        Some(taken)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for count in &self.0 {
            count.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

fn typed<'a>(sql: &Sql, values: &Values<'a>) -> Vec<(&'a (dyn ToSql + Sync), Type)> {
    values.iter().copied().zip(sql.types.iter().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_limited_by_each_count() {
        let (all, own) = (Arc::new(AtomicUsize::new(1)), Arc::new(AtomicUsize::new(0)));
        let first = Place::take(&[(&all, 3), (&own, 1)]).unwrap();
        assert!(Place::take(&[(&all, 3), (&own, 1)]).is_none());
        assert_eq!(
            all.load(Ordering::Relaxed),
            2,
            "what was taken in vain is given back"
        );
        drop(first);
        assert!(Place::take(&[(&all, 2), (&own, 1)]).is_some());
        assert!(Place::take(&[(&all, 1), (&own, 1)]).is_none());
    }

    #[test]
    fn modes_are_read_as_they_are_written() {
        assert_eq!(ExecMode::parse(""), Some(ExecMode::Prepared));
        assert_eq!(ExecMode::parse("simple_protocol"), Some(ExecMode::Unnamed));
        assert_eq!(ExecMode::parse("Exec"), None);
    }
}
