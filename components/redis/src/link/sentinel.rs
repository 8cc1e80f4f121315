//! Sentinels: who the master is, and news of another one.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures_util::StreamExt as _;
use redis::{Cmd, Value};

use super::connection::{Connection, Greeting, Question, listen};
use super::dial::Dialer;
use super::server::Server;
use crate::SCOPE;
use crate::error::Error;
use crate::value::text;

/// The sentinels of one master.
#[derive(Debug)]
pub(crate) struct Sentinels {
    master: String,
    /// The one that answered last comes first.
    addresses: Mutex<Vec<Arc<str>>>,
    dialer: Dialer,
    greeting: Greeting,
}

/// Between attempts to hear from a sentinel.
const PAUSE: Duration = Duration::from_secs(1);

// === impl Sentinels ===

impl Sentinels {
    pub(crate) fn new(master: String, addresses: Vec<Arc<str>>, dialer: Dialer, greeting: Greeting) -> Self {
        Self {
            master,
            addresses: Mutex::new(addresses),
            dialer,
            greeting,
        }
    }

    /// The address of the master, from the first sentinel that knows.
    pub(crate) async fn master(&self) -> Result<Arc<str>, Error> {
        let mut failures = Vec::new();
        for address in self.addresses() {
            match self.master_from(&address).await {
                Ok(master) => {
                    self.prefer(&address);
                    return Ok(master);
                }
                Err(error) => failures.push(error.to_string()),
            }
        }
        Err(Error::NoSentinel(failures.join("\n").into()))
    }

    async fn master_from(&self, address: &Arc<str>) -> Result<Arc<str>, Error> {
        let stream = self.dialer.dial(address).await?;
        let sentinel = Connection::open(stream, Arc::clone(address), &self.greeting, || {}).await?;
        let mut command = Cmd::new();
        command
            .arg("SENTINEL")
            .arg("get-master-addr-by-name")
            .arg(&self.master);
        match sentinel.ask(Question::One(&command)).await? {
            Value::Array(pair) => match pair.as_slice() {
                [host, port] => {
                    let (host, port) = (text(host)?, text(port)?);
                    Ok(match host.contains(':') {
                        true => format!("[{host}]:{port}").into(),
                        false => format!("{host}:{port}").into(),
                    })
                }
                _ => Err(Error::Unexpected("array".into())),
            },
            other => Err(Error::unexpected(&other)),
        }
    }

    /// Gives the connections to a master up when the sentinels name another one.
    pub(crate) async fn watch(self: Arc<Self>, server: Weak<Server>) {
        loop {
            if let Err(error) = self.follow(&server).await {
                tracing::debug!(target: SCOPE, "no news of the master {}: {error}", self.master);
            }
            if server.strong_count() == 0 {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn follow(&self, server: &Weak<Server>) -> Result<(), Error> {
        let address = self.addresses().into_iter().next().ok_or(Error::Nil)?;
        let failed = |error: &redis::RedisError| Error::of_connection(error, &address);
        let followed = async {
            let stream = self.dialer.dial(&address).await?;
            let mut news = listen(stream, &address, &self.greeting.login).await?;
            news.subscribe("+switch-master")
                .await
                .map_err(|error| failed(&error))?;
            Ok(news)
        };
        let mut news = match followed.await {
            Ok(news) => news,
            Err(error) => {
                self.postpone(&address);
                return Err(error);
            }
        };
        // What changed while nobody listened is not told again.
        let master = self.master().await?;
        match server.upgrade() {
            Some(server) if server.leads_elsewhere(&master) => server.renew(),
            Some(_) => {}
            None => return Ok(()),
        }
        let mut messages = news.on_message();
        while let Some(message) = messages.next().await {
            let payload: String = message.get_payload().unwrap_or_default();
            let Some(server) = server.upgrade() else {
                return Ok(());
            };
            if payload.split(' ').next() == Some(&self.master) {
                tracing::info!(target: SCOPE, "redis: the master is another one: {payload}");
                server.renew();
            }
        }
        Err(Error::Ended)
    }

    fn addresses(&self) -> Vec<Arc<str>> {
        self.addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn prefer(&self, address: &Arc<str>) {
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = addresses.iter().position(|known| known == address) {
            addresses[..=place].rotate_right(1);
        }
    }

    fn postpone(&self, address: &Arc<str>) {
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if addresses.first() == Some(address) {
            addresses.rotate_left(1);
        }
    }
}
