//! How a server is named: `user:password@tcp(host:port)/?option=value`, as programs of Go have it.
//!
//! Source: specification, state stores 7; Go MySQL Driver, DSN.

use std::fmt;
use std::str::FromStr;

use outrigger_component::sql::is_identifier;
use percent_encoding::percent_decode_str;

/// Where a server is, who wants to talk to it, and how.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct DataSource {
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) encryption: Encryption,
    /// Variables of the session, with their values as SQL.
    pub(crate) variables: Vec<(String, String)>,
}

/// Whether a connection is secure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Encryption {
    /// No.
    #[default]
    Off,
    /// If the server can, whoever it is.
    Preferred,
    /// Yes, whoever the server is.
    Unverified,
    /// Yes, with a server that the public roots vouch for.
    Verified,
    /// Yes, with a server that the own roots vouch for.
    Custom,
}

/// A text that names no server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DataSourceError {
    /// There is no slash, or several.
    #[error("invalid connection string: it must contain exactly one slash")]
    Slash,
    /// Something else than TCP.
    #[error("invalid connection string: only tcp addresses are supported, found {0}")]
    Protocol(String),
    /// No address in brackets.
    #[error("invalid connection string: invalid address {0}")]
    Address(String),
    /// An unknown kind of TLS.
    #[error("invalid connection string: invalid value / unknown config name: {0}")]
    Tls(String),
    /// An option that is none.
    #[error("invalid connection string: invalid option {0}")]
    Option(String),
}

const PORT: u16 = 3306;

/// Options of the Go driver that say nothing to the server; their like is done in another way here.
const OPTIONS: [&str; 23] = [
    "allowAllFiles",
    "allowCleartextPasswords",
    "allowFallbackToPlaintext",
    "allowNativePasswords",
    "allowOldPasswords",
    "charset",
    "checkConnLiveness",
    "clientFoundRows",
    "collation",
    "columnsWithAlias",
    "compress",
    "connectionAttributes",
    "interpolateParams",
    "loc",
    "maxAllowedPacket",
    "multiStatements",
    "parseTime",
    "readTimeout",
    "rejectReadOnly",
    "serverPubKey",
    "timeout",
    "timeTruncate",
    "writeTimeout",
];

// === impl DataSource ===

impl FromStr for DataSource {
    type Err = DataSourceError;

    fn from_str(text: &str) -> Result<Self, DataSourceError> {
        let (server, rest) = text.split_once('/').ok_or(DataSourceError::Slash)?;
        if rest.contains('/') {
            return Err(DataSourceError::Slash);
        }
        let (credentials, address) = match server.rsplit_once('@') {
            Some((credentials, address)) => (Some(credentials), address),
            None => (None, server),
        };
        let (user, password) = match credentials.map(|text| text.split_once(':').unwrap_or((text, ""))) {
            Some((user, password)) => (Some(user.to_owned()), Some(password.to_owned())),
            None => (None, None),
        };
        let (host, port) = host_and_port(address)?;
        let mut source = Self {
            user,
            password: password.filter(|password| !password.is_empty()),
            host,
            port,
            encryption: Encryption::default(),
            variables: Vec::new(),
        };
        let (_, options) = rest.split_once('?').unwrap_or((rest, ""));
        for option in options.split('&').filter(|option| !option.is_empty()) {
            source.set(option)?;
        }
        Ok(source)
    }
}

impl DataSource {
    fn set(&mut self, option: &str) -> Result<(), DataSourceError> {
        let (name, value) = option
            .split_once('=')
            .ok_or_else(|| DataSourceError::Option(option.to_owned()))?;
        let value = percent_decode_str(value).decode_utf8_lossy().into_owned();
        match name {
            "tls" => self.encryption = Encryption::parse(&value)?,
            known if OPTIONS.contains(&known) => {}
            variable if is_identifier(variable) && !value.contains(';') => {
                self.variables.push((variable.to_owned(), value));
            }
            _ => return Err(DataSourceError::Option(name.to_owned())),
        }
        Ok(())
    }
}

impl fmt::Debug for DataSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataSource")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("encryption", &self.encryption)
            .finish_non_exhaustive()
    }
}

// === impl Encryption ===

impl Encryption {
    fn parse(text: &str) -> Result<Self, DataSourceError> {
        Ok(match text.to_lowercase().as_str() {
            "" | "false" | "0" => Self::Off,
            "true" | "1" => Self::Verified,
            "skip-verify" => Self::Unverified,
            "preferred" => Self::Preferred,
            "custom" => Self::Custom,
            _ => return Err(DataSourceError::Tls(text.to_owned())),
        })
    }
}

/// Reads `tcp(host:port)`; what is left out is `127.0.0.1:3306`.
fn host_and_port(text: &str) -> Result<(String, u16), DataSourceError> {
    let wrong = || DataSourceError::Address(text.to_owned());
    let (protocol, address) = match text.split_once('(') {
        Some((protocol, address)) => (protocol, address.strip_suffix(')').ok_or_else(wrong)?),
        None => (text, ""),
    };
    if !matches!(protocol, "" | "tcp") {
        return Err(DataSourceError::Protocol(protocol.to_owned()));
    }
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| wrong())?),
        _ => (address, PORT),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let host = if host.is_empty() { "127.0.0.1" } else { host };
    Ok((host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_named_as_programs_of_go_do() {
        let table = [
            ("/", (None, None), ("127.0.0.1", 3306)),
            ("root@tcp(db:3307)/", (Some("root"), None), ("db", 3307)),
            ("u:p:a@ss@tcp(db)/", (Some("u"), Some("p:a@ss")), ("db", 3306)),
            (
                "u:p@tcp([::1]:1)/?parseTime=true",
                (Some("u"), Some("p")),
                ("::1", 1),
            ),
            ("u:p@tcp([::1])/", (Some("u"), Some("p")), ("::1", 3306)),
            ("u@/ignored", (Some("u"), None), ("127.0.0.1", 3306)),
        ];
        for (text, (user, password), (host, port)) in table {
            let source: DataSource = text.parse().unwrap();
            assert_eq!(
                (source.user.as_deref(), source.password.as_deref()),
                (user, password),
                "{text}"
            );
            assert_eq!((source.host.as_str(), source.port), (host, port), "{text}");
        }
    }

    #[test]
    fn options_are_about_tls_and_the_session() {
        let source: DataSource = "/?tls=skip-verify&timeout=5s&sql_mode=%27ANSI%27"
            .parse()
            .unwrap();
        assert_eq!(source.encryption, Encryption::Unverified);
        assert_eq!(source.variables, [("sql_mode".to_owned(), "'ANSI'".to_owned())]);
        for (value, encryption) in [("custom", Encryption::Custom), ("TRUE", Encryption::Verified)] {
            let source: DataSource = format!("/?tls={value}").parse().unwrap();
            assert_eq!(source.encryption, encryption);
        }
    }

    #[test]
    fn texts_that_name_no_server_are_refused() {
        for text in ["", "root@tcp(db:1)", "u@unix(/tmp/socket)/", "a/b/c"] {
            assert_eq!(text.parse::<DataSource>(), Err(DataSourceError::Slash), "{text}");
        }
        for text in [
            "pipe(x)/",
            "tcp(db:x)/",
            "tcp(db:1/",
            "/?tls=other",
            "/?x",
            "/?a b=1",
            "/?a=1;b",
        ] {
            assert!(text.parse::<DataSource>().is_err(), "{text}");
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        let source: DataSource = "u:hidden@/".parse().unwrap();
        assert!(!format!("{source:?}").contains("hidden"));
    }
}
