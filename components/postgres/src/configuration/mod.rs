//! Configuration in a table, and news of its changes by `LISTEN`.
//!
//! Source: specification, configuration B3.

mod listener;
mod rows;
mod settings;
mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use outrigger_component::configuration::{ConfigurationItems, ConfigurationStore, ConfigurationUpdate};
use outrigger_component::state::Metadata;
use outrigger_component::{Catalogue, Init};
use outrigger_kit::quote::go_quote;
use outrigger_svc::{BoxError, BoxFuture};
use tokio::sync::mpsc;
use tokio::time::timeout_at;
use tokio_util::sync::{CancellationToken, DropGuard};

use self::listener::{Listener, Subscription};
use self::settings::{ConfigurationSettings, checked};
use self::table::Table;
use crate::database::{Database, Pool};

/// A configuration store on a table of a PostgreSQL server.
#[derive(Debug)]
pub(crate) struct PostgresConfiguration {
    table: Arc<Table>,
    name: String,
    channel: Option<String>,
    listener: Listener,
    /// Ends what runs in the background.
    stop: CancellationToken,
    _running: DropGuard,
}

/// Name of the request metadata that name a channel, whatever its case.
const CHANNEL: &str = "pgNotifyChannel";

/// Adds the types.
pub(crate) fn register(catalogue: &mut Catalogue) {
    for kind in ["configuration.postgresql", "configuration.postgres"] {
        let make = |init| async { open(init).await.map(|store| store as Arc<dyn ConfigurationStore>) };
        catalogue.configuration.register(kind, make);
    }
}

/// Opens a store whose table is there.
pub(crate) async fn open(init: Init) -> Result<Arc<PostgresConfiguration>, BoxError> {
    let settings = ConfigurationSettings::read(&init.properties.fields()?)?;
    let connection = settings.connection;
    let pool = Pool::new(&connection, init.condition.clone());
    let stop = CancellationToken::new();
    let running = stop.clone().drop_guard();
    tokio::spawn(pool.clone().close_idle_until(connection.idle_time, stop.clone()));
    let table = Arc::new(Table::new(
        Database::new(pool, connection.timeout),
        &settings.table,
    ));
    let exists = timeout_at(init.deadline, table.exists()).await;
    if !exists.map_err(|_| "context deadline exceeded")?? {
        return Err(format!(
            "postgreSQL configuration table '{}' does not exist",
            settings.table
        )
        .into());
    }
    let listener = Listener::start(
        connection.connector,
        Arc::clone(&table),
        init.condition,
        stop.clone(),
    );
    Ok(Arc::new(PostgresConfiguration {
        table,
        name: settings.table,
        channel: settings.channel,
        listener,
        stop,
        _running: running,
    }))
}

// === impl PostgresConfiguration ===

impl PostgresConfiguration {
    async fn listen(
        &self,
        keys: &[String],
        metadata: &Metadata,
        updates: mpsc::Sender<ConfigurationUpdate>,
    ) -> Result<String, BoxError> {
        let named = metadata
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(CHANNEL));
        let named = named
            .map(|(_, channel)| channel)
            .filter(|channel| !channel.is_empty());
        let channel = match (&self.channel, named) {
            (Some(channel), _) => channel.clone(),
            (None, Some(channel)) => checked("channel", channel)?,
            (None, None) => {
                let table = go_quote(&self.name);
                return Err(format!(
                    "unable to subscribe to {table}. notifyChannel must be set in component metadata or request metadata"
                )
                .into());
            }
        };
        check(keys)?;
        let subscription = Subscription {
            channel,
            keys: keys.to_vec(),
            updates,
        };
        Ok(self.listener.subscribe(subscription).await?)
    }
}

impl ConfigurationStore for PostgresConfiguration {
    fn get<'a>(
        &'a self,
        keys: &'a [String],
        _: &'a Metadata,
    ) -> BoxFuture<'a, Result<ConfigurationItems, BoxError>> {
        Box::pin(async {
            check(keys)?;
            Ok(self.table.get(keys).await?)
        })
    }

    fn subscribe<'a>(
        &'a self,
        keys: &'a [String],
        metadata: &'a Metadata,
        updates: mpsc::Sender<ConfigurationUpdate>,
    ) -> BoxFuture<'a, Result<String, BoxError>> {
        Box::pin(self.listen(keys, metadata, updates))
    }

    fn unsubscribe<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), BoxError>> {
        Box::pin(async move {
            match self.listener.unsubscribe(id).await {
                true => Ok(()),
                false => Err(format!("unable to find subscription with ID : {id}").into()),
            }
        })
    }

    fn close(&self) -> BoxFuture<'_, Result<(), BoxError>> {
        self.stop.cancel();
        self.table.database().pool().close();
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Refuses keys of other characters than there may be.
fn check(keys: &[String]) -> Result<(), BoxError> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"./_".contains(&byte);
    match keys.iter().find(|key| !key.bytes().all(is_allowed)) {
        Some(key) => Err(format!("invalid key : '{key}'").into()),
        None => Ok(()),
    }
}
