//! A connection and the thread that it lives on.

use std::sync::mpsc;
use std::thread;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::oneshot;

use crate::connection::ConnectionSettings;

/// An open database; cheap to clone. It is closed with the last clone, when its jobs are done.
#[derive(Clone, Debug)]
pub(crate) struct Database(mpsc::Sender<Job>);

/// Why a job has no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DatabaseError {
    /// What the library says.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// The row with the level of the tables is none.
    #[error("invalid migration level found in metadata table: {0}")]
    Level(String),
    /// The thread is gone.
    #[error("sql: database is closed")]
    Closed,
    /// The thread cannot be started.
    #[error("failed to start the database thread: {0}")]
    Thread(std::io::Error),
}

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

// === impl Database ===

impl Database {
    /// Starts the thread and opens the file on it.
    pub(crate) async fn open(settings: ConnectionSettings) -> Result<Self, DatabaseError> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let (tell, told) = oneshot::channel();
        thread::Builder::new()
            .name("sqlite".to_owned())
            .spawn(move || {
                let mut connection = match settings.open() {
                    Ok(connection) => connection,
                    Err(error) => return drop(tell.send(Err(error))),
                };
                if tell.send(Ok(())).is_err() {
                    return;
                }
                for job in queue {
                    job(&mut connection);
                }
            })
            .map_err(DatabaseError::Thread)?;
        told.await.map_err(|_| DatabaseError::Closed)??;
        Ok(Self(jobs))
    }

    /// Runs a job on the thread.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, DatabaseError> {
        self.run_as(|connection| Ok(job(connection)?)).await
    }

    /// Runs a job on the thread that has errors of its own. A job whose caller has gone meanwhile is not begun.
    pub(crate) async fn run_as<T, E>(
        &self,
        job: impl FnOnce(&mut Connection) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<DatabaseError> + Send + 'static,
    {
        let (tell, told) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            if !tell.is_closed() {
                // Whoever asked may have gone.
                drop(tell.send(job(connection)));
            }
        });
        self.0.send(job).map_err(|_| DatabaseError::Closed)?;
        told.await.map_err(|_| DatabaseError::Closed)?
    }

    /// Runs a job as one transaction, which holds the right to write from its begin on.
    pub(crate) async fn transact<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, DatabaseError> {
        let job = |transaction: &Transaction<'_>| Ok(job(transaction)?);
        self.transact_as(TransactionBehavior::Immediate, job).await
    }

    /// Runs a job as one transaction of any kind. An error of the job undoes it.
    pub(crate) async fn transact_as<T, E>(
        &self,
        behavior: TransactionBehavior,
        job: impl FnOnce(&Transaction<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<DatabaseError> + Send + 'static,
    {
        self.run_as(move |connection| {
            let transaction = connection
                .transaction_with_behavior(behavior)
                .map_err(DatabaseError::Sqlite)?;
            let outcome = job(&transaction)?;
            transaction.commit().map_err(DatabaseError::Sqlite)?;
            Ok(outcome)
        })
        .await
    }
}
