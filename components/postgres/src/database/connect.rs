//! Opening a connection.

use std::time::Duration;

use tokio_postgres::config::SslNegotiation;
use tokio_postgres::{AsyncMessage, Client, Config, Notification, Socket};

use super::connection::ExecMode;
use super::error::{DatabaseError, text};
use super::keywords::Keywords;
use super::tls::{Secure, Tls, TlsError};

/// Opens connections to a server; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    config: Config,
    tls: Tls,
    mode: ExecMode,
}

/// Keywords that cannot be followed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// A keyword with a value that is none.
    #[error("{}", text(.0))]
    Config(#[from] tokio_postgres::Error),
    /// A keyword about TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// What carries the bytes of a connection, for a task of its own.
pub(crate) type Carrier = tokio_postgres::Connection<Socket, Secure>;

/// Keywords that mean something to the library.
const KNOWN: [&str; 16] = [
    "user",
    "password",
    "dbname",
    "options",
    "application_name",
    "host",
    "hostaddr",
    "port",
    "connect_timeout",
    "tcp_user_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "channel_binding",
    "load_balance_hosts",
];

/// Keywords of other clients that mean nothing here.
const IGNORED: [&str; 18] = [
    "passfile",
    "service",
    "servicefile",
    "krbsrvname",
    "krbspn",
    "gssencmode",
    "sslcompression",
    "sslpassword",
    "sslsni",
    "pool_max_conns",
    "pool_min_conns",
    "pool_max_conn_lifetime",
    "pool_max_conn_lifetime_jitter",
    "pool_max_conn_idle_time",
    "pool_health_check_period",
    "default_query_exec_mode",
    "statement_cache_capacity",
    "description_cache_capacity",
];

/// A dead server is noticed after this long without a word.
const KEEPALIVE: Duration = Duration::from_secs(15);

// === impl Connector ===

impl Connector {
    /// Follows the keywords of a connection. Those that neither the library nor this sidecar know are settings of
    /// the session, such as `search_path`.
    pub(crate) fn new(
        mut keywords: Keywords,
        mode: ExecMode,
        timeout: Duration,
    ) -> Result<Self, ConnectError> {
        let (ssl_mode, mut tls) = Tls::from_keywords(&mut keywords)?;
        let is_direct = keywords.remove("sslnegotiation").as_deref() == Some("direct");
        let server_kind = keywords.remove("target_session_attrs");
        let has_keepalive = keywords.get("keepalives_idle").is_some();
        if keywords.get("host").is_none_or(str::is_empty) {
            let host = keywords.get("hostaddr").unwrap_or("localhost").to_owned();
            keywords.set("host", host);
        }
        let mut known = String::new();
        let mut options = keywords.remove("options").unwrap_or_default();
        for (name, value) in keywords.into_pairs() {
            if KNOWN.contains(&name.as_str()) {
                push(&mut known, &name, &value);
            } else if !IGNORED.contains(&name.as_str()) && is_setting(&name) {
                let value = value.replace('\\', "\\\\").replace(' ', "\\ ");
                options.push_str(&format!(" -c {name}={value}"));
            }
        }
        if let Some(kind) = server_kind {
            let kind = match kind.as_str() {
                "primary" => "read-write",
                "standby" => "read-only",
                "prefer-standby" => "any",
                other => other,
            };
            push(&mut known, "target_session_attrs", kind);
        }
        let mut config: Config = known.parse()?;
        config.ssl_mode(ssl_mode);
        if is_direct {
            config.ssl_negotiation(SslNegotiation::Direct);
            tls = tls.with_alpn();
        }
        if !options.is_empty() {
            config.options(options.trim());
        }
        if !has_keepalive {
            config.keepalives_idle(KEEPALIVE).keepalives_interval(KEEPALIVE);
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(timeout);
        }
        Ok(Self { config, tls, mode })
    }

    /// What the library is told.
    #[cfg(test)]
    pub(crate) const fn config(&self) -> &Config {
        &self.config
    }

    /// How statements are sent.
    pub(crate) const fn mode(&self) -> ExecMode {
        self.mode
    }

    /// Opens a connection, whose bytes a task of this runtime carries.
    pub(crate) async fn connect(&self) -> Result<Client, DatabaseError> {
        let (client, carrier) = self.open().await?;
        tokio::spawn(async move {
            if let Err(error) = carrier.await {
                tracing::debug!(target: crate::SCOPE, "a connection to the server ended: {}", text(&error));
            }
        });
        Ok(client)
    }

    /// Opens a connection that hears what the server has to tell; `heard` is called with each, until it ends.
    pub(crate) async fn connect_hearing(
        &self,
        mut heard: impl FnMut(Notification) + Send + 'static,
    ) -> Result<(Client, tokio::task::JoinHandle<()>), DatabaseError> {
        let (client, mut carrier) = self.open().await?;
        let task = tokio::spawn(async move {
            while let Some(Ok(message)) = std::future::poll_fn(|cx| carrier.poll_message(cx)).await {
                if let AsyncMessage::Notification(notification) = message {
                    heard(notification);
                }
            }
        });
        Ok((client, task))
    }

    async fn open(&self) -> Result<(Client, Carrier), DatabaseError> {
        let opened = self.config.connect(self.tls.clone()).await;
        opened.map_err(|error| DatabaseError::Connect(text(&error)))
    }
}

/// Adds `name='value'`.
fn push(out: &mut String, name: &str, value: &str) {
    let value = value.replace('\\', "\\\\").replace('\'', "\\'");
    out.push_str(&format!("{name}='{value}' "));
}

/// Whether a name can be one of a setting of the session.
fn is_setting(name: &str) -> bool {
    name.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"_.".contains(&byte))
}
