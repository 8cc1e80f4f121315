//! Sidecars that find each other through a shared file. Source: specification, name resolution 6.
//!
//! Each sidecar has a row and renews it; a row that is older than the interval of updates belongs to nobody. The
//! tables are those of the reference, so sidecars of both kinds share a file.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use outrigger_component::name_resolution::{
    Addresses, Fatal, Instance, Lookup, NameResolution, NameResolutionInit,
};
use outrigger_component::sql::is_identifier;
use outrigger_component::{Fields, Properties};
use outrigger_kit::id::uuid;
use outrigger_svc::{BoxError, BoxFuture};
use rusqlite::params;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::SCOPE;
use crate::connection::ConnectionSettings;
use crate::database::{Database, DatabaseError};
use crate::migrations::Migrations;

/// Finds sidecars in a table, and keeps the own one there.
#[derive(Debug)]
pub struct SqliteResolver {
    table: Arc<Table>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// The table, and the own row in it.
#[derive(Debug)]
struct Table {
    database: Database,
    settings: Settings,
    registration: String,
    address: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Settings {
    connection: ConnectionSettings,
    table: String,
    metadata_table: String,
    update_interval: Duration,
    /// None for no clean-up.
    cleanup_interval: Option<Duration>,
    timeout: Duration,
}

/// How long an answer is used again; the next one is there before that, so new rows are seen within this time.
const KEPT: Duration = Duration::from_secs(1);

/// Pause before a renewal that failed is tried again.
const RENEWAL_PAUSE: Duration = Duration::from_millis(50);

/// Keys of rows that are shared with the reference.
const LEVEL_KEY: &str = "nr-migrations";
const CLEANUP_KEY: &str = "nr-last-cleanup";

/// The time as the rows have it: whole seconds from the epoch.
const NOW: &str = "CAST(strftime('%s', 'now') AS INTEGER)";

/// Opens the file, enters the own sidecar and begins to renew it.
pub(crate) async fn make(init: NameResolutionInit) -> Result<Arc<dyn NameResolution>, BoxError> {
    let settings = Settings::parse(&init.properties())?;
    let resolver = SqliteResolver::start(settings, &init.instance, init.fatal).await?;
    Ok(Arc::new(resolver))
}

// === impl SqliteResolver ===

impl SqliteResolver {
    async fn start(settings: Settings, instance: &Instance, fatal: Fatal) -> Result<Self, BoxError> {
        let database = Database::open(settings.connection.clone()).await?;
        let table = Arc::new(Table {
            database,
            registration: uuid(),
            address: address(&instance.host_address, instance.internal_port),
            settings,
        });
        table.migrate().await?;
        let app_id = instance.app_id.clone();
        let registered = table.register(app_id).await;
        registered.map_err(|error| format!("failed to register host: {error}"))?;

        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let renewed = Arc::clone(&table);
        tasks.spawn(
            stop.clone()
                .run_until_cancelled_owned(async move { renewed.keep_renewed(&fatal).await }),
        );
        if let Some(every) = table.settings.cleanup_interval {
            let cleaned = Arc::clone(&table);
            tasks.spawn(
                stop.clone()
                    .run_until_cancelled_owned(async move { cleaned.keep_clean(every).await }),
            );
        }
        Ok(Self { table, tasks, stop })
    }
}

impl Drop for SqliteResolver {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl NameResolution for SqliteResolver {
    fn resolve<'a>(&'a self, lookup: Lookup<'a>) -> BoxFuture<'a, Result<Addresses, String>> {
        Box::pin(async {
            let found = self.table.look_up(lookup.app_id.to_owned());
            let found = match timeout(self.table.settings.timeout, found).await {
                Ok(found) => found.map_err(|error| error.to_string()),
                Err(_) => Err("context deadline exceeded".to_owned()),
            };
            match found {
                Ok(list) if list.is_empty() => Err("no host found with the given ID".to_owned()),
                Ok(list) => Ok(Addresses::kept_for(KEPT, list)),
                Err(error) => Err(format!("failed to look up address: {error}")),
            }
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.stop.cancel();
            self.tasks.close();
            self.tasks.wait().await;
            if let Err(error) = self.table.leave().await {
                tracing::error!(target: SCOPE, "failed to unregister host: {error}");
            }
        })
    }
}

// === impl Table ===

impl Table {
    /// Makes the tables if they are not there.
    async fn migrate(&self) -> Result<(), DatabaseError> {
        let table = &self.settings.table;
        let step = format!(
            "CREATE TABLE {table} (
                registration_id TEXT NOT NULL PRIMARY KEY,
                address TEXT NOT NULL,
                app_id TEXT NOT NULL,
                namespace TEXT NOT NULL,
                last_update INTEGER NOT NULL
            );
            CREATE UNIQUE INDEX {table}_address_idx ON {table} (address);
            CREATE INDEX {table}_last_update_idx ON {table} (last_update);"
        );
        let migrations = Migrations {
            metadata_table: &self.settings.metadata_table,
            key: LEVEL_KEY,
            steps: &[step],
        };
        migrations.run(&self.database).await
    }

    /// Enters the own sidecar, in place of one that had its address.
    async fn register(&self, app_id: String) -> Result<(), DatabaseError> {
        let statement = format!(
            "REPLACE INTO {} (registration_id, address, app_id, namespace, last_update) VALUES (?, ?, ?, '', {NOW})",
            self.settings.table
        );
        let (registration, address) = (self.registration.clone(), self.address.clone());
        self.database
            .run(move |connection| connection.execute(&statement, params![registration, address, app_id]))
            .await
            .map(drop)
    }

    async fn look_up(&self, app_id: String) -> Result<Vec<String>, DatabaseError> {
        let statement = format!(
            "SELECT address FROM {} WHERE app_id = ? AND {NOW} - last_update < ?",
            self.settings.table
        );
        let age = seconds(self.settings.update_interval);
        self.database
            .run(move |connection| {
                let mut statement = connection.prepare_cached(&statement)?;
                let rows = statement.query_map(params![app_id, age], |row| row.get(0))?;
                rows.collect()
            })
            .await
    }

    /// Renews the own row in time; without it there is nothing left to do.
    async fn keep_renewed(&self, fatal: &Fatal) {
        let Settings {
            update_interval,
            timeout,
            ..
        } = self.settings;
        let pause = update_interval.saturating_sub(timeout + Duration::from_nanos(1));
        let mut next = Instant::now() + pause;
        loop {
            tokio::time::sleep_until(next).await;
            next += pause;
            let until = Instant::now() + timeout;
            loop {
                match self.renew().await {
                    Ok(0) => {
                        tracing::error!(target: SCOPE, "Host registration lost");
                        return fatal.end("Host registration lost");
                    }
                    Ok(_) => break,
                    Err(error) if Instant::now() + RENEWAL_PAUSE >= until => {
                        tracing::error!(target: SCOPE, "failed to renew host registration: {error}");
                        break;
                    }
                    Err(_) => tokio::time::sleep(RENEWAL_PAUSE).await,
                }
            }
        }
    }

    async fn renew(&self) -> Result<usize, DatabaseError> {
        let statement = format!(
            "UPDATE {} SET last_update = {NOW} WHERE registration_id = ? AND address = ?",
            self.settings.table
        );
        let (registration, address) = (self.registration.clone(), self.address.clone());
        self.database
            .run(move |connection| connection.execute(&statement, params![registration, address]))
            .await
    }

    async fn keep_clean(&self, every: Duration) {
        loop {
            tokio::time::sleep(every).await;
            if let Err(error) = self.clean(every).await {
                tracing::error!(target: SCOPE, "failed to clean up old hosts: {error}");
            }
        }
    }

    /// Removes what nobody renews; one of all sidecars does so in each interval.
    async fn clean(&self, every: Duration) -> Result<(), DatabaseError> {
        let Settings {
            table,
            metadata_table,
            update_interval,
            ..
        } = &self.settings;
        let turn = format!(
            "INSERT INTO {metadata_table} (key, value) VALUES ('{CLEANUP_KEY}', CURRENT_TIMESTAMP) \
             ON CONFLICT (key) DO UPDATE SET value = CURRENT_TIMESTAMP \
             WHERE (julianday(CURRENT_TIMESTAMP) - julianday(value)) * 86400 >= ?"
        );
        let delete = format!("DELETE FROM {table} WHERE {NOW} - last_update >= ?");
        let age = seconds(*update_interval);
        // Timestamps are whole seconds: a turn must not be missed for a fraction of one.
        let every = every.as_secs_f64().floor() - 0.5;
        self.database
            .transact(move |transaction| {
                if transaction.execute(&turn, params![every])? > 0 {
                    transaction.execute(&delete, params![age])?;
                }
                Ok(())
            })
            .await
    }

    /// Takes the own row away.
    async fn leave(&self) -> Result<(), String> {
        let statement = format!(
            "DELETE FROM {} WHERE registration_id = ? AND address = ?",
            self.settings.table
        );
        let (registration, address) = (self.registration.clone(), self.address.clone());
        let deleted = self
            .database
            .run(move |connection| connection.execute(&statement, params![registration, address]))
            .await;
        match deleted {
            Ok(0) => Err("no row deleted".to_owned()),
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }
}

// === impl Settings ===

impl Settings {
    fn parse(properties: &Properties) -> Result<Self, BoxError> {
        let fields = properties.fields()?;
        let name = |field: &str, default: &str| {
            let name = fields.text(field).unwrap_or(default);
            match is_identifier(name) {
                true => Ok(name.to_owned()),
                false => Err(format!("invalid identifier for table name: {name}")),
            }
        };
        let duration = |names: &[&str], default: Duration| -> Result<Duration, BoxError> {
            Ok(signed(&fields, names)?.map_or(
                default,
                |(is_negative, span)| {
                    if is_negative { Duration::ZERO } else { span }
                },
            ))
        };
        let timeout = duration(&["timeout", "timeoutInSeconds"], Duration::from_secs(1))?;
        let timeout = timeout.max(Duration::from_secs(1));
        let update_interval = duration(&["updateInterval"], Duration::from_secs(5))?;
        if update_interval.subsec_nanos() != 0 {
            return Err("update interval must not contain fractions of seconds".into());
        }
        if update_interval < timeout + Duration::from_secs(1) {
            return Err("update interval must be at least 1s greater than timeout".into());
        }
        let cleanup = duration(
            &["cleanupInterval", "cleanupIntervalInSeconds"],
            Duration::from_secs(3600),
        )?;
        let busy_timeout = duration(&["busyTimeout"], Duration::from_millis(800))?;
        let address = fields.text_of(&["connectionString", "url"]).unwrap_or_default();
        let disable_wal = fields.boolean("disableWAL").unwrap_or_default();
        Ok(Self {
            connection: ConnectionSettings::parse(address, busy_timeout, disable_wal)?,
            table: name("tableName", "hosts")?,
            metadata_table: name("metadataTableName", "metadata")?,
            update_interval,
            cleanup_interval: (!cleanup.is_zero()).then_some(cleanup),
            timeout,
        })
    }
}

/// The first of the fields that is there, and whether it is below zero.
fn signed(fields: &Fields<'_>, names: &[&str]) -> Result<Option<(bool, Duration)>, BoxError> {
    for name in names {
        if let Some(span) = fields.duration(name)? {
            let is_negative = !span.is_positive();
            return Ok(Some((is_negative, span.to_std())));
        }
    }
    Ok(None)
}

/// Whole seconds as the database has them.
fn seconds(span: Duration) -> i64 {
    i64::try_from(span.as_secs()).unwrap_or(i64::MAX)
}

/// `host:port`; an IPv6 host stands in brackets.
fn address(host: &str, port: u16) -> String {
    match host.parse() {
        Ok(IpAddr::V6(ip)) => format!("[{ip}]:{port}"),
        _ => format!("{host}:{port}"),
    }
}

#[cfg(test)]
mod tests;
