//! Which file is opened, and how. Source: specification, state stores 6.

use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

/// How a database is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConnectionSettings {
    /// A path, a `file:` URI or `:memory:`.
    address: String,
    /// Statements of `_pragma` parameters, such as `cache_size(-2000)`.
    pragmas: Vec<String>,
    /// Longest wait for another process that writes.
    busy_timeout: Duration,
    /// Whether the file is kept without a log beside it.
    journal: Journal,
}

/// What keeps a file whole when a writer dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Journal {
    Memory,
    Delete,
    Wal,
}

/// Parameters of the connection string that have settings of their own.
const FORBIDDEN: [&str; 3] = ["busy_timeout", "journal_mode", "foreign_keys"];

// === impl ConnectionSettings ===

impl ConnectionSettings {
    /// Reads a connection string.
    ///
    /// # Errors
    /// The text of the init error: none is given, or an option that is not its business.
    pub(crate) fn parse(text: &str, busy_timeout: Duration, disable_wal: bool) -> Result<Self, String> {
        if text.is_empty() {
            return Err("missing connection string".to_owned());
        }
        let (path, query) = text.split_once('?').unwrap_or((text, ""));
        let mut pragmas = Vec::new();
        let mut kept = Vec::new();
        let mut is_read_only = false;
        let mut is_memory = matches!(path, ":memory:" | "file::memory:");
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            match parameter.split_once('=').unwrap_or((parameter, "")) {
                ("_pragma", pragma) => {
                    let name = pragma.split(['(', '=']).next().unwrap_or_default();
                    if FORBIDDEN.contains(&name.to_lowercase().as_str()) {
                        return Err(format!(
                            "found forbidden option '_pragma={pragma}' in the connection string"
                        ));
                    }
                    pragmas.push(pragma.to_owned());
                }
                // Transactions are begun as `immediate` here whatever is asked for.
                ("_txlock", _) => {}
                (name, value) => {
                    is_read_only |= matches!((name, value), ("mode", "ro") | ("immutable", "1"));
                    is_memory |= (name, value) == ("mode", "memory");
                    kept.push(parameter);
                }
            }
        }
        if let Some(pragma) = pragmas.iter().find(|pragma| !is_plain(pragma)) {
            return Err(format!(
                "invalid option '_pragma={pragma}' in the connection string"
            ));
        }
        let mut address = match path.strip_prefix("file:") {
            Some(_) => path.to_owned(),
            None => format!("file:{path}"),
        };
        // What is in memory is there for all connections of the process.
        if is_memory && !kept.iter().any(|parameter| parameter.starts_with("cache=")) {
            kept.push("cache=shared");
        }
        if !kept.is_empty() {
            address.push('?');
            address.push_str(&kept.join("&"));
        }
        let journal = match (is_memory, disable_wal || is_read_only) {
            (true, _) => Journal::Memory,
            (false, true) => Journal::Delete,
            (false, false) => Journal::Wal,
        };
        Ok(Self {
            address,
            pragmas,
            busy_timeout: Duration::from_millis(u64::try_from(busy_timeout.as_millis()).unwrap_or(u64::MAX)),
            journal,
        })
    }

    /// Opens the file.
    pub(crate) fn open(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::default() | OpenFlags::SQLITE_OPEN_URI;
        let connection = Connection::open_with_flags(&self.address, flags)?;
        connection.busy_timeout(self.busy_timeout)?;
        for pragma in &self.pragmas {
            run(&connection, &format!("PRAGMA {pragma}"))?;
        }
        // Setting it again is a write that waits for others, so it is looked at first.
        let wanted = self.journal.name();
        let present: String = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
        if !present.eq_ignore_ascii_case(wanted) {
            run(&connection, &format!("PRAGMA journal_mode({wanted})"))?;
        }
        Ok(connection)
    }
}

// === impl Journal ===

impl Journal {
    fn name(self) -> &'static str {
        match self {
            Self::Memory => "MEMORY",
            Self::Delete => "DELETE",
            Self::Wal => "WAL",
        }
    }
}

/// Runs a statement that may or may not have an answer.
fn run(connection: &Connection, statement: &str) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(statement)?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    Ok(())
}

/// Whether a pragma is one, and nothing is hidden behind it.
fn is_plain(pragma: &str) -> bool {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "_-.()='".contains(character);
    !pragma.is_empty() && pragma.chars().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ConnectionSettings, String> {
        ConnectionSettings::parse(text, Duration::from_micros(800_500), false)
    }

    #[test]
    fn a_connection_string_is_a_path_or_a_uri_with_options() {
        let table = [
            ("a.db", "file:a.db", Journal::Wal),
            ("/x/a.db?cache=shared", "file:/x/a.db?cache=shared", Journal::Wal),
            (
                "file:a.db?_txlock=deferred&mode=ro",
                "file:a.db?mode=ro",
                Journal::Delete,
            ),
            ("file:a.db?immutable=1", "file:a.db?immutable=1", Journal::Delete),
            (":memory:", "file::memory:?cache=shared", Journal::Memory),
            (
                "file:x?mode=memory&cache=private",
                "file:x?mode=memory&cache=private",
                Journal::Memory,
            ),
        ];
        for (text, address, journal) in table {
            let parsed = parse(text).unwrap();
            assert_eq!((parsed.address.as_str(), parsed.journal), (address, journal));
            assert_eq!(parsed.busy_timeout, Duration::from_millis(800));
        }
        let without_wal = ConnectionSettings::parse("a.db", Duration::ZERO, true).unwrap();
        assert_eq!(without_wal.journal, Journal::Delete);
        let pragmas = parse("a.db?_pragma=cache_size(-2000)&_pragma=synchronous=1")
            .unwrap()
            .pragmas;
        assert_eq!(pragmas, ["cache_size(-2000)", "synchronous=1"]);
    }

    #[test]
    fn options_with_settings_of_their_own_are_refused() {
        assert_eq!(parse("").unwrap_err(), "missing connection string");
        for pragma in ["busy_timeout(1)", "Journal_Mode=WAL", "foreign_keys(1)"] {
            assert_eq!(
                parse(&format!("a.db?_pragma={pragma}")).unwrap_err(),
                format!("found forbidden option '_pragma={pragma}' in the connection string")
            );
        }
        assert!(parse("a.db?_pragma=x;DROP TABLE y").is_err());
    }

    #[test]
    fn a_database_in_memory_opens() {
        let settings = parse("file::memory:?_pragma=cache_size(-2000)").unwrap();
        let connection = settings.open().unwrap();
        let size: i64 = connection
            .query_row("PRAGMA cache_size", [], |row| row.get(0))
            .unwrap();
        assert_eq!(size, -2000);
    }
}
