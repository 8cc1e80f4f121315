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
        let (tell, told) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            // Whoever asked may have gone.
            drop(tell.send(job(connection)));
        });
        self.0.send(job).map_err(|_| DatabaseError::Closed)?;
        Ok(told.await.map_err(|_| DatabaseError::Closed)??)
    }

    /// Runs a job as one transaction, which holds the right to write from its begin on.
    pub(crate) async fn transact<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, DatabaseError> {
        self.run(|connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let outcome = job(&transaction)?;
            transaction.commit()?;
            Ok(outcome)
        })
        .await
    }
}
