//! The connections to a server.

use std::fmt;
use std::time::Duration;

use mysql_async::{Conn, DriverError, OptsBuilder, Pool, PoolConstraints, PoolOpts, SslOpts};
use outrigger_component::state::StateError;
use outrigger_svc::BoxError;
use tokio::time::timeout;

use crate::data_source::Encryption;
use crate::settings::Settings;

/// A pool of connections whose work has a time limit.
pub(crate) struct Database {
    pool: Pool,
    timeout: Duration,
}

/// Why work is not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DatabaseError {
    /// It took too long.
    #[error("context deadline exceeded")]
    Deadline,
    /// What the server says.
    #[error("Error {code} ({state}): {message}")]
    Server {
        code: u16,
        state: String,
        message: String,
    },
    /// What the library says.
    #[error(transparent)]
    Library(mysql_async::Error),
}

/// Connections that are kept, and the most of them.
const CONNECTIONS: (usize, usize) = (8, 64);

/// A statement was undone because it and others waited for each other.
const DEADLOCK: u16 = 1213;
/// What a deadlock over the next row's number is called; as with the other, nothing has been written.
const NUMBER_DEADLOCK: u16 = 1467;
/// There is a row with the key already.
const DUPLICATE: u16 = 1062;

// === impl Database ===

impl Database {
    /// Connects to the schema, which is made if it is not there.
    pub(crate) async fn connect(settings: &Settings) -> Result<Self, BoxError> {
        let connect = async {
            match Self::try_connect(settings, settings.source.encryption).await {
                Err(DatabaseError::Library(mysql_async::Error::Driver(
                    DriverError::NoClientSslFlagFromServer,
                ))) if settings.source.encryption == Encryption::Preferred => {
                    Self::try_connect(settings, Encryption::Off).await
                }
                outcome => outcome,
            }
        };
        let connected = timeout(settings.timeout, connect).await;
        Ok(connected.unwrap_or(Err(DatabaseError::Deadline))?)
    }

    async fn try_connect(settings: &Settings, encryption: Encryption) -> Result<Self, DatabaseError> {
        use mysql_async::prelude::Queryable as _;

        let options = options(settings, encryption);
        let mut connection = Conn::new(options.clone()).await?;
        let schema = &settings.schema;
        let select = "SELECT 1 FROM information_schema.schemata WHERE schema_name = ?";
        let found: Option<i64> = connection.exec_first(select, (schema,)).await?;
        if found.is_none() {
            let create = format!("CREATE DATABASE IF NOT EXISTS {schema} CHARACTER SET utf8mb4");
            connection.query_drop(create).await?;
        }
        connection.disconnect().await?;
        Ok(Self {
            pool: Pool::new(options.db_name(Some(schema))),
            timeout: settings.timeout,
        })
    }

    /// A connection of the pool.
    pub(crate) async fn connection(&self) -> Result<Conn, DatabaseError> {
        Ok(self.pool.get_conn().await?)
    }

    /// Does some work within the time limit.
    pub(crate) async fn limited<T, E: From<DatabaseError>>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let outcome = timeout(self.timeout, work).await;
        outcome.unwrap_or_else(|_| Err(DatabaseError::Deadline.into()))
    }

    pub(crate) async fn close(&self) -> Result<(), DatabaseError> {
        Ok(self.pool.clone().disconnect().await?)
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").finish_non_exhaustive()
    }
}

fn options(settings: &Settings, encryption: Encryption) -> OptsBuilder {
    let source = &settings.source;
    let verified = SslOpts::default();
    let tls = match encryption {
        Encryption::Off => None,
        Encryption::Verified => Some(verified),
        Encryption::Custom => Some(match &settings.roots {
            None => verified,
            Some(roots) => verified
                .with_root_certs(vec![roots.clone().into()])
                .with_disable_built_in_roots(true),
        }),
        Encryption::Preferred | Encryption::Unverified => Some(
            verified
                .with_danger_accept_invalid_certs(true)
                .with_danger_skip_domain_validation(true),
        ),
    };
    // Times of rows are UTC whatever the zone of the server.
    let mut session = vec!["SET time_zone = '+00:00'".to_owned()];
    let variables = source.variables.iter();
    session.extend(variables.map(|(name, value)| format!("SET {name} = {value}")));
    let (least, most) = CONNECTIONS;
    let constraints = PoolConstraints::new(least, most).unwrap_or_default();
    OptsBuilder::default()
        .ip_or_hostname(&source.host)
        .tcp_port(source.port)
        .user(source.user.clone())
        .pass(source.password.clone())
        .ssl_opts(tls)
        .setup(session)
        .prefer_socket(false)
        // Nothing is left behind in a session that the next user of it must not see.
        .pool_opts(
            PoolOpts::default()
                .with_constraints(constraints)
                .with_reset_connection(false),
        )
}

// === impl DatabaseError ===

impl DatabaseError {
    pub(crate) fn is_deadlock(&self) -> bool {
        matches!(
            self,
            Self::Server {
                code: DEADLOCK | NUMBER_DEADLOCK,
                ..
            }
        )
    }

    pub(crate) fn is_duplicate(&self) -> bool {
        matches!(self, Self::Server { code: DUPLICATE, .. })
    }
}

impl From<mysql_async::Error> for DatabaseError {
    fn from(error: mysql_async::Error) -> Self {
        match error {
            mysql_async::Error::Server(error) => Self::Server {
                code: error.code,
                state: error.state,
                message: error.message,
            },
            other => Self::Library(other),
        }
    }
}

impl From<DatabaseError> for StateError {
    fn from(error: DatabaseError) -> Self {
        Self::other(error)
    }
}
