//! The connection that hears of changes.
//!
//! ```text
//! subscribe, unsubscribe ─▶ ┐
//!                           ├─ one task ─▶ LISTEN, UNLISTEN
//! notifications ──────────▶ ┘      └─────▶ the subscriptions of the channel
//! ```
//!
//! If the connection breaks it is opened again, all channels are listened to again, and each subscription is told
//! what its keys are now, for nobody knows what was missed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use outrigger_component::Condition;
use outrigger_component::configuration::{ConfigurationItems, ConfigurationUpdate};
use outrigger_kit::id;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tokio_postgres::{Client, Notification};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::rows::ConfigurationRow;
use super::table::Table;
use crate::SCOPE;
use crate::database::{Connector, DatabaseError};

/// The way to the task that listens; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Listener(mpsc::UnboundedSender<Command>);

/// What the task is asked for.
#[derive(Debug)]
enum Command {
    Subscribe(
        Subscription,
        DropGuard,
        oneshot::Sender<Result<String, DatabaseError>>,
    ),
    /// Says whether there was such a subscription, if anybody wants to know.
    Unsubscribe(String, Option<oneshot::Sender<bool>>),
    /// The server told of a change, on a connection with this number.
    Heard(u64, Notification),
    /// A connection with this number ended.
    Ended(u64),
}

/// Who wants to hear of which keys; of all if none is named.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) channel: String,
    pub(crate) keys: Vec<String>,
    pub(crate) updates: mpsc::Sender<ConfigurationUpdate>,
}

/// What the task knows.
struct Task {
    connector: Connector,
    table: Arc<Table>,
    condition: Condition,
    commands: mpsc::WeakUnboundedSender<Command>,
    /// By id, each with what ends the watch over its receiver.
    subscriptions: BTreeMap<String, (Subscription, DropGuard)>,
    client: Option<Client>,
    /// Number of the newest connection; what older ones say is over.
    generation: u64,
    /// When the next attempt to connect is due, if the connection is lost.
    retry: Option<Instant>,
}

/// Pause before a lost connection is opened again.
const PAUSE: Duration = Duration::from_secs(1);

/// How long a subscriber may be too busy for an update before it is given up.
const PATIENCE: Duration = Duration::from_secs(5);

// === impl Listener ===

impl Listener {
    /// Starts the task. It connects with the first subscription, and ends with the token.
    pub(crate) fn start(
        connector: Connector,
        table: Arc<Table>,
        condition: Condition,
        stop: CancellationToken,
    ) -> Self {
        let (commands, received) = mpsc::unbounded_channel();
        let task = Task {
            connector,
            table,
            condition,
            commands: commands.downgrade(),
            subscriptions: BTreeMap::new(),
            client: None,
            generation: 0,
            retry: None,
        };
        tokio::spawn(async move {
            stop.run_until_cancelled(task.run(received)).await;
        });
        Self(commands)
    }

    /// Adds a subscription and gives its id once the server knows the channel.
    pub(crate) async fn subscribe(&self, subscription: Subscription) -> Result<String, DatabaseError> {
        let updates = subscription.updates.clone();
        let over = CancellationToken::new();
        let (tell, told) = oneshot::channel();
        let command = Command::Subscribe(subscription, over.clone().drop_guard(), tell);
        self.0.send(command).map_err(|_| DatabaseError::Closed)?;
        let id = told.await.map_err(|_| DatabaseError::Closed)??;
        let (commands, gone) = (self.0.clone(), id.clone());
        tokio::spawn(async move {
            if over.run_until_cancelled_owned(updates.closed()).await.is_some() {
                // The task may be gone too.
                commands.send(Command::Unsubscribe(gone, None)).ok();
            }
        });
        Ok(id)
    }

    /// Ends a subscription; false if there is none with this id.
    pub(crate) async fn unsubscribe(&self, id: &str) -> bool {
        let (tell, told) = oneshot::channel();
        let command = Command::Unsubscribe(id.to_owned(), Some(tell));
        self.0.send(command).is_ok() && told.await.unwrap_or(false)
    }
}

// === impl Task ===

impl Task {
    async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        loop {
            let due = self.retry.unwrap_or_else(Instant::now);
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.obey(command).await,
                    None => return,
                },
                () = sleep_until(due), if self.retry.is_some() => self.recover().await,
            }
        }
    }

    async fn obey(&mut self, command: Command) {
        match command {
            Command::Subscribe(subscription, watch, tell) => {
                let outcome = self.subscribe(subscription, watch).await;
                // Whoever asked may have gone; then the receiver of the updates is gone too.
                drop(tell.send(outcome));
            }
            Command::Unsubscribe(id, tell) => {
                let gone = self.subscriptions.remove(&id);
                let was_known = gone.is_some();
                if let Some((gone, _)) = gone {
                    self.leave(&gone.channel).await;
                }
                if let Some(tell) = tell {
                    tell.send(was_known).ok();
                }
            }
            Command::Heard(generation, notification) if generation == self.generation => {
                self.hear(&notification).await;
            }
            Command::Ended(generation) if generation == self.generation => {
                self.client = None;
                if !self.subscriptions.is_empty() {
                    tracing::warn!(target: SCOPE, "The connection that listens for changes of the configuration is lost");
                    self.condition
                        .degraded("the connection that listens for changes is lost");
                    self.retry = Some(Instant::now());
                }
            }
            Command::Heard(..) | Command::Ended(_) => {}
        }
    }

    async fn subscribe(
        &mut self,
        subscription: Subscription,
        watch: DropGuard,
    ) -> Result<String, DatabaseError> {
        let is_heard = self
            .subscriptions
            .values()
            .any(|(other, _)| other.channel == subscription.channel);
        if self.client.is_none() {
            self.connect().await?;
        }
        if !is_heard {
            self.say("LISTEN", &subscription.channel).await?;
        }
        let id = id::uuid();
        self.subscriptions.insert(id.clone(), (subscription, watch));
        Ok(id)
    }

    /// Opens the connection and listens to all channels.
    async fn connect(&mut self) -> Result<(), DatabaseError> {
        self.generation += 1;
        let generation = self.generation;
        let (heard, ended) = (self.commands.clone(), self.commands.clone());
        let hear = move |notification| {
            if let Some(commands) = heard.upgrade() {
                commands.send(Command::Heard(generation, notification)).ok();
            }
        };
        let (client, carrier) = self.connector.connect_hearing(hear).await?;
        tokio::spawn(async move {
            carrier.await.ok();
            if let Some(commands) = ended.upgrade() {
                commands.send(Command::Ended(generation)).ok();
            }
        });
        self.client = Some(client);
        self.retry = None;
        let channels: std::collections::BTreeSet<_> = self
            .subscriptions
            .values()
            .map(|(subscription, _)| subscription.channel.clone())
            .collect();
        for channel in channels {
            self.say("LISTEN", &channel).await?;
        }
        Ok(())
    }

    /// Opens a lost connection again, and tells all what they may have missed.
    async fn recover(&mut self) {
        self.retry = None;
        if self.subscriptions.is_empty() {
            return;
        }
        let mut outcome = self.connect().await;
        let mut missed = Vec::new();
        if outcome.is_ok() {
            for (id, (subscription, _)) in &self.subscriptions {
                match self.table.get(&subscription.keys).await {
                    Ok(items) => missed.push((id.clone(), items)),
                    Err(error) => outcome = Err(error),
                }
            }
        }
        if let Err(error) = outcome {
            tracing::debug!(target: SCOPE, "The configuration cannot be listened to yet: {error}");
            self.retry = Some(Instant::now() + PAUSE);
            return;
        }
        self.condition.well();
        tracing::info!(target: SCOPE, "Changes of the configuration are heard again");
        for (id, items) in missed {
            self.tell(&id, items).await;
        }
    }

    /// No longer listens to a channel that nobody wants.
    async fn leave(&mut self, channel: &str) {
        if self
            .subscriptions
            .values()
            .any(|(other, _)| other.channel == channel)
        {
            return;
        }
        if self.subscriptions.is_empty() {
            self.client = None;
            self.retry = None;
            return;
        }
        // If the connection is lost, so is the channel.
        self.say("UNLISTEN", channel).await.ok();
    }

    async fn hear(&mut self, notification: &Notification) {
        let Some(row) = ConfigurationRow::from_notification(notification.payload()) else {
            tracing::error!(
                target: SCOPE,
                "Error decoding the notification on channel {}: it has no row",
                notification.channel()
            );
            return;
        };
        let key = row.key.clone();
        let item = match row.into_item() {
            Ok(item) => item,
            Err(error) => {
                tracing::error!(target: SCOPE, "Error decoding a notification: {error}");
                return;
            }
        };
        let wants = |subscription: &Subscription| {
            subscription.channel == notification.channel()
                && (subscription.keys.is_empty() || subscription.keys.contains(&key))
        };
        let wanting: Vec<_> = self
            .subscriptions
            .iter()
            .filter(|(_, (subscription, _))| wants(subscription))
            .map(|(id, _)| id.clone())
            .collect();
        for id in wanting {
            let items = ConfigurationItems::from([(key.clone(), item.clone())]);
            self.tell(&id, items).await;
        }
    }

    /// Sends an update; a subscriber that does not take it for long is given up.
    async fn tell(&mut self, id: &str, items: ConfigurationItems) {
        let Some((subscription, _)) = self.subscriptions.get(id).filter(|_| !items.is_empty()) else {
            return;
        };
        let update = ConfigurationUpdate {
            id: id.to_owned(),
            items,
        };
        if subscription.updates.send_timeout(update, PATIENCE).await.is_err() {
            tracing::warn!(target: SCOPE, "The subscription {id} takes no updates and is ended");
            if let Some((gone, _)) = self.subscriptions.remove(id) {
                self.leave(&gone.channel).await;
            }
        }
    }

    async fn say(&self, verb: &str, channel: &str) -> Result<(), DatabaseError> {
        match &self.client {
            // The name has no quotes: it was looked at before.
            Some(client) => Ok(client.batch_execute(&format!("{verb} \"{channel}\"")).await?),
            None => Ok(()),
        }
    }
}
