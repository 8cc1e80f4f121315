//! One connection, on which many callers have commands under way at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use outrigger_svc::BoxConnection;
use redis::aio::{MultiplexedConnection, PubSub};
use redis::{AsyncConnectionConfig, Cmd, Pipeline, RedisConnectionInfo, Value};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::error::Error;
use crate::settings::Login;

/// A connection that is logged in; its task ends with it.
#[derive(Debug)]
pub(crate) struct Connection {
    redis: MultiplexedConnection,
    address: Arc<str>,
    driver: AbortHandle,
    ended: Arc<AtomicBool>,
    born: Instant,
}

/// One command, or several that are written together and answered by an array.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Question<'a> {
    One(&'a Cmd),
    All(&'a Pipeline),
}

/// What a new connection says first, and how long it waits for answers.
#[derive(Clone, Debug)]
pub(crate) struct Greeting {
    pub(crate) login: Login,
    pub(crate) database: i64,
    pub(crate) answer_timeout: Option<Duration>,
}

/// Notes that the task of a connection is over, however it came to that.
struct Ending(Arc<AtomicBool>);

/// Commands that wait for the task of a connection; beyond them callers wait.
const QUEUE: usize = 256;

// === impl Connection ===

impl Connection {
    /// Speaks Redis on a stream. `lost` is called once when the other side ends the connection.
    pub(crate) async fn open(
        stream: BoxConnection,
        address: Arc<str>,
        greeting: &Greeting,
        lost: impl FnOnce() + Send + 'static,
    ) -> Result<Self, Error> {
        // The library logs in with words of its own for what may go wrong, so that is done below.
        let silent = RedisConnectionInfo::default().set_skip_set_lib_name();
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(greeting.answer_timeout)
            .set_pipeline_buffer_size(QUEUE);
        let opened = MultiplexedConnection::new_with_config(&silent, stream, config).await;
        let (redis, driver) = opened.map_err(|error| Error::of_connection(&error, &address))?;
        let ended = Arc::new(AtomicBool::new(false));
        let ending = Ending(Arc::clone(&ended));
        let driver = tokio::spawn(async move {
            let ending = ending;
            driver.await;
            drop(ending);
            lost();
        });
        let own = Self {
            redis,
            address,
            driver: driver.abort_handle(),
            ended,
            born: Instant::now(),
        };
        own.greet(greeting).await?;
        Ok(own)
    }

    /// Asks, and gives the answer, which may be an error of the server.
    pub(crate) async fn ask(&self, question: Question<'_>) -> Result<Value, Error> {
        let mut redis = self.redis.clone();
        let answer = match question {
            Question::One(command) => redis.send_packed_command(command).await,
            Question::All(commands) => {
                let answers = redis.send_packed_commands(commands, 0, commands.len()).await;
                answers.map(Value::Array)
            }
        };
        answer.map_err(|error| Error::of_connection(&error, &self.address))
    }

    /// The address that it leads to.
    pub(crate) const fn address(&self) -> &Arc<str> {
        &self.address
    }

    /// Whether it is over.
    pub(crate) fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// How old it is.
    pub(crate) fn age(&self) -> Duration {
        self.born.elapsed()
    }

    async fn greet(&self, greeting: &Greeting) -> Result<(), Error> {
        let mut words = Pipeline::new();
        let Login { user, password } = &greeting.login;
        match (user.as_str(), password.as_str()) {
            ("", "") => {}
            ("", password) => {
                words.cmd("AUTH").arg(password);
            }
            (user, password) => {
                words.cmd("AUTH").arg(user).arg(password);
            }
        }
        if greeting.database != 0 {
            words.cmd("SELECT").arg(greeting.database);
        }
        if words.is_empty() {
            return Ok(());
        }
        match self.ask(Question::All(&words)).await? {
            Value::Array(answers) => answers.iter().try_for_each(|answer| match answer {
                Value::ServerError(error) => Err(Error::of_server(error)),
                _ => Ok(()),
            }),
            _ => Ok(()),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

// === impl Ending ===

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// A connection for the messages of channels.
pub(crate) async fn listen(
    stream: BoxConnection,
    address: &Arc<str>,
    login: &Login,
) -> Result<PubSub, Error> {
    let mut info = RedisConnectionInfo::default().set_skip_set_lib_name();
    if !login.user.is_empty() {
        info = info.set_username(&login.user);
    }
    if !login.password.is_empty() {
        info = info.set_password(&login.password);
    }
    let opened = PubSub::new(&info, stream).await;
    opened.map_err(|error| Error::of_connection(&error, address))
}
