//! Commands to the server that owns their key, tried again where that is right.

use std::sync::Arc;

use futures_util::future::{join_all, try_join_all};
use outrigger_component::Condition;
use redis::aio::PubSub;
use redis::{Cmd, Pipeline, Value};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::cluster::Cluster;
use super::connection::{Greeting, Question};
use super::dial::Dialer;
use super::health::Health;
use super::sentinel::Sentinels;
use super::server::{Common, MAX_LANES, Pace, Server, Target};
use crate::error::Error;
use crate::settings::{Retries, Settings, SettingsError, Shape};
use crate::value;

/// A component's way to Redis.
#[derive(Debug)]
pub(crate) struct Client {
    topology: Topology,
    retries: Retries,
    closed: CancellationToken,
    _close_on_drop: DropGuard,
}

#[derive(Debug)]
enum Topology {
    /// One server, or the master of sentinels.
    One(Arc<Server>),
    Cluster(Cluster),
}

/// Whether a command may be sent again though the first time may have done its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Again {
    /// It may.
    Yes,
    /// Doing it twice would say something else than doing it once.
    No,
}

/// What an answer asks for.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Done,
    /// The key has another owner now.
    Moved(String),
    /// The key is on its way to another owner.
    Ask(String),
    /// The server cannot do it now; whether another one might.
    Later {
        elsewhere: bool,
    },
}

// === impl Client ===

impl Client {
    /// A client of the servers of the settings; nothing is connected yet.
    ///
    /// # Errors
    /// A client certificate or key that is none.
    pub(crate) fn new(settings: &Settings, condition: Condition) -> Result<Self, SettingsError> {
        let dialer = Dialer::new(settings.dial_timeout, settings.tls.as_ref())?;
        Ok(Self::with(settings, dialer, condition))
    }

    pub(super) fn with(settings: &Settings, dialer: Dialer, condition: Condition) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let closed = CancellationToken::new();
        let greeting = Greeting {
            login: settings.login.clone(),
            database: settings.database,
            answer_timeout: settings.answer_timeout,
        };
        let common = Arc::new(Common {
            dialer: dialer.clone(),
            greeting: greeting.clone(),
            max_age: settings.max_age,
            // The workers and the thread of background tasks.
            lanes: settings.pool_size.unwrap_or(threads + 2).min(MAX_LANES),
            health: Health::new(condition),
            closed: closed.clone(),
        });
        let addresses = &settings.addresses;
        let topology = match &settings.shape {
            Shape::Node => {
                let address = addresses.first().cloned().unwrap_or_default();
                Topology::One(Server::new(Target::Fixed(address), &common))
            }
            Shape::Sentinel { master, login } => {
                let greeting = Greeting {
                    login: login.clone(),
                    database: 0,
                    ..greeting
                };
                let sentinels = Sentinels::new(master.clone(), addresses.clone(), dialer, greeting);
                let sentinels = Arc::new(sentinels);
                let server = Server::new(Target::Master(Arc::clone(&sentinels)), &common);
                let watch = sentinels.watch(Arc::downgrade(&server));
                tokio::spawn(closed.clone().run_until_cancelled_owned(watch));
                Topology::One(server)
            }
            Shape::Cluster => Topology::Cluster(Cluster::new(addresses, common)),
        };
        Self {
            topology,
            retries: settings.retries,
            _close_on_drop: closed.clone().drop_guard(),
            closed,
        }
    }

    /// Sends a command to the owner of a key, and gives the answer; an error of the server is an error.
    pub(crate) async fn one(&self, key: &str, command: &Cmd, again: Again) -> Result<Value, Error> {
        let answer = self
            .exchange(key, Pace::Quick, Question::One(command), again)
            .await?;
        value::answer(answer)
    }

    /// Sends commands together to the owner of a key, and gives their answers, errors of the server among them.
    pub(crate) async fn together(
        &self,
        key: &str,
        pace: Pace,
        commands: &Pipeline,
        again: Again,
    ) -> Result<Vec<Value>, Error> {
        let answer = self.exchange(key, pace, Question::All(commands), again).await?;
        value::elements(answer)
    }

    /// Sends each command to the owner of its key, those of one owner together, and gives their answers in order.
    pub(crate) async fn each(&self, commands: &[(&str, Cmd)], again: Again) -> Vec<Result<Value, Error>> {
        let mut answers: Vec<Option<Value>> = commands.iter().map(|_| None).collect();
        let groups = self.groups(commands).await;
        let asked = groups.iter().map(|(server, places)| async move {
            let mut pipeline = Pipeline::with_capacity(places.len());
            for &place in places {
                pipeline.add_command(commands[place].1.clone());
            }
            server.ask(Pace::Quick, Question::All(&pipeline)).await
        });
        let mut failed = None;
        for ((_, places), answer) in groups.iter().zip(join_all(asked).await) {
            match answer.and_then(value::elements) {
                Ok(values) => places.iter().zip(values).for_each(|(&place, value)| {
                    answers[place] = (Next::of(&value) == Next::Done).then_some(value);
                }),
                Err(error) if error.is_unsent() || again == Again::Yes => {}
                Err(error) => failed = Some(error),
            }
        }
        // What is left is asked for again, each by itself and with all its retries.
        join_all(
            commands
                .iter()
                .zip(answers)
                .map(async |((key, command), answer)| match (answer, &failed) {
                    (Some(answer), _) => value::answer(answer),
                    (None, Some(error)) => Err(error.clone()),
                    (None, None) => self.one(key, command, again).await,
                }),
        )
        .await
    }

    /// Sends a command to every server that owns keys.
    pub(crate) async fn everywhere(&self, command: &Cmd) -> Result<Vec<Value>, Error> {
        let servers = self.servers().await?;
        let answers = join_all(
            servers
                .iter()
                .map(|server| server.ask(Pace::Quick, Question::One(command))),
        );
        let answers = answers.await.into_iter();
        answers.map(|answer| answer.and_then(value::answer)).collect()
    }

    /// Every server that owns keys.
    pub(crate) async fn servers(&self) -> Result<Vec<Arc<Server>>, Error> {
        match &self.topology {
            Topology::One(server) => Ok(vec![Arc::clone(server)]),
            Topology::Cluster(cluster) => cluster.masters().await,
        }
    }

    /// Whether keys are shared between servers.
    pub(crate) const fn is_cluster(&self) -> bool {
        matches!(self.topology, Topology::Cluster(_))
    }

    /// Gives all connections up and opens no more.
    pub(crate) async fn close(&self) {
        self.closed.cancel();
        for server in self.servers().await.unwrap_or_default() {
            server.renew();
        }
    }

    /// Cancelled when the client is closed.
    pub(crate) const fn closed(&self) -> &CancellationToken {
        &self.closed
    }

    async fn exchange(
        &self,
        key: &str,
        pace: Pace,
        question: Question<'_>,
        again: Again,
    ) -> Result<Value, Error> {
        let mut server = self.owner(key).await;
        let mut asking = false;
        let mut retry = 0;
        loop {
            let begun = Instant::now();
            let answer = match &server {
                Ok(server) => Self::ask(server, pace, question, asking).await,
                Err(error) => Err(error.clone()),
            };
            asking = false;
            let next = match &answer {
                Ok(answer) => Next::of(answer),
                Err(error) => Next::after(error, again),
            };
            retry += 1;
            // Another node may have taken over in a cluster; a single server is either there or not.
            let is_hopeless = match (&self.topology, &answer) {
                (Topology::One(server), Err(error)) => !error.is_of_connection() && server.is_long_gone(),
                _ => false,
            };
            if next == Next::Done || is_hopeless || retry > self.retries.limit || self.closed.is_cancelled() {
                return answer;
            }
            server = match (next, &self.topology) {
                (Next::Moved(address), Topology::Cluster(cluster)) => {
                    // The answer names the new owner; the other keys of the old one are asked for anew.
                    cluster.refresh(begun).await.ok();
                    Ok(cluster.at(&address))
                }
                (Next::Ask(address), Topology::Cluster(cluster)) => {
                    asking = true;
                    Ok(cluster.at(&address))
                }
                (next, topology) => {
                    tokio::time::sleep(self.retries.pause(retry)).await;
                    match (topology, next) {
                        (Topology::Cluster(cluster), _) => {
                            cluster.refresh(begun).await.ok();
                        }
                        (Topology::One(server), Next::Later { elsewhere: true }) => server.renew(),
                        (Topology::One(_), _) => {}
                    }
                    self.owner(key).await
                }
            };
        }
    }

    async fn ask(server: &Server, pace: Pace, question: Question<'_>, asking: bool) -> Result<Value, Error> {
        match (question, asking) {
            (Question::One(command), true) => {
                let mut both = Pipeline::with_capacity(2);
                both.cmd("ASKING").add_command(command.clone());
                let answers = server.ask(pace, Question::All(&both)).await?;
                let last = value::elements(answers)?.pop();
                last.ok_or(Error::Nil)
            }
            (question, _) => server.ask(pace, question).await,
        }
    }

    async fn owner(&self, key: &str) -> Result<Arc<Server>, Error> {
        match &self.topology {
            Topology::One(server) => Ok(Arc::clone(server)),
            Topology::Cluster(cluster) => cluster.owner(key).await,
        }
    }

    /// The places of commands by the owner of their key; those whose owner is not known are left out.
    async fn groups(&self, commands: &[(&str, Cmd)]) -> Vec<(Arc<Server>, Vec<usize>)> {
        let mut groups: Vec<(Arc<Server>, Vec<usize>)> = Vec::new();
        for (place, (key, _)) in commands.iter().enumerate() {
            let Ok(owner) = self.owner(key).await else {
                continue;
            };
            match groups.iter_mut().find(|(server, _)| Arc::ptr_eq(server, &owner)) {
                Some((_, places)) => places.push(place),
                None => groups.push((owner, vec![place])),
            }
        }
        groups
    }

    /// A connection of its own to every server that owns keys, for the messages of channels.
    pub(crate) async fn listen(&self) -> Result<Vec<PubSub>, Error> {
        try_join_all(self.servers().await?.iter().map(|server| server.listen())).await
    }
}

// === impl Next ===

impl Next {
    /// What an answer asks for: itself, or the first of several that is an error to act on.
    fn of(answer: &Value) -> Self {
        match answer {
            Value::ServerError(_) => Self::of_one(answer),
            Value::Array(answers) => answers
                .iter()
                .map(Self::of_one)
                .find(|next| *next != Self::Done)
                .unwrap_or(Self::Done),
            _ => Self::Done,
        }
    }

    fn of_one(answer: &Value) -> Self {
        let Value::ServerError(error) = answer else {
            return Self::Done;
        };
        let target = || {
            let mut words = error.details().unwrap_or_default().split(' ');
            words.nth(1).unwrap_or_default().to_owned()
        };
        match error.code() {
            "MOVED" => Self::Moved(target()),
            "ASK" => Self::Ask(target()),
            "READONLY" | "MASTERDOWN" => Self::Later { elsewhere: true },
            "LOADING" | "CLUSTERDOWN" | "TRYAGAIN" => Self::Later { elsewhere: false },
            "ERR" if error.details() == Some("max number of clients reached") => {
                Self::Later { elsewhere: false }
            }
            _ => Self::Done,
        }
    }

    fn after(error: &Error, again: Again) -> Self {
        match error {
            // Who did not answer in time once will hardly do so now.
            Error::DialTimeout(_) | Error::Timeout(_) => Self::Done,
            error if error.is_unsent() => Self::Later { elsewhere: false },
            Error::NoSentinel(_) | Error::NoNode(_) => Self::Later { elsewhere: false },
            error if error.is_of_connection() && again == Again::Yes => Self::Later { elsewhere: false },
            Error::Server(_) if matches!(error.code(), Some("LOADING" | "MASTERDOWN")) => {
                Self::Later { elsewhere: true }
            }
            _ => Self::Done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_say_what_to_do_next() {
        let later = |elsewhere| Next::Later { elsewhere };
        let table = [
            (
                "-MOVED 3999 127.0.0.1:6381\r\n",
                Next::Moved("127.0.0.1:6381".to_owned()),
            ),
            (
                "-ASK 3999 127.0.0.1:6381\r\n",
                Next::Ask("127.0.0.1:6381".to_owned()),
            ),
            ("-READONLY You can't write\r\n", later(true)),
            ("-LOADING Redis is loading\r\n", later(false)),
            ("-ERR max number of clients reached\r\n", later(false)),
            ("-ERR other\r\n", Next::Done),
            ("-WRONGTYPE x\r\n", Next::Done),
            ("+OK\r\n", Next::Done),
            ("*2\r\n+OK\r\n-TRYAGAIN x\r\n", later(false)),
        ];
        for (answer, expected) in table {
            let value = redis::parse_redis_value(answer.as_bytes()).unwrap();
            assert_eq!(Next::of(&value), expected, "{answer}");
        }
    }

    #[test]
    fn what_may_have_been_done_is_not_done_again_unless_it_may() {
        let later = Next::Later { elsewhere: false };
        assert_eq!(Next::after(&Error::Ended, Again::No), Next::Done);
        assert_eq!(Next::after(&Error::Ended, Again::Yes), later);
        assert_eq!(
            Next::after(&Error::Dial("a".into(), "b".into()), Again::No),
            later
        );
        assert_eq!(Next::after(&Error::Timeout("a".into()), Again::Yes), Next::Done);
        assert_eq!(Next::after(&Error::Full, Again::Yes), Next::Done);
    }
}
