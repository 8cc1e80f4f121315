//! One sidecar in the registry: a small file in JSON.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;

use serde::{Deserialize, Serialize};

/// What a sidecar tells the others of its machine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    /// Id of its app.
    pub(crate) app_id: String,
    /// Namespace of its app.
    pub(crate) namespace: String,
    /// Where its internal port is reached on this machine.
    pub(crate) address: SocketAddr,
    /// Where other machines are told that it is, to know it again in their words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) announced: Option<SocketAddr>,
    /// Number of the process, for people.
    pub(crate) pid: u32,
    /// Which ports the numbers above are of: containers have others.
    pub(crate) scope: String,
}

/// Longest file in bytes.
pub(crate) const MAX_LENGTH: u64 = 4096;

/// End of the names of files in the registry.
pub(crate) const EXTENSION: &str = "sidecar";

/// Longest part of a name that is made of an app id.
const MAX_NAME: usize = 64;

// === impl Record ===

impl Record {
    /// Reads a file; none if it is no record.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let record: Self = serde_json::from_slice(bytes).ok()?;
        let is_sound = !record.app_id.is_empty() && record.address.port() != 0;
        is_sound.then_some(record)
    }

    /// The text of the file.
    pub(crate) fn to_text(&self) -> String {
        serde_json::to_string(self).expect("a record has nothing that JSON has not")
    }

    /// The name of the file: that of the app for people, numbers so that no other sidecar has it.
    pub(crate) fn file_name(&self) -> String {
        let plain = |character: char| match character {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' => character,
            _ => '_',
        };
        let app_id: String = self.app_id.chars().take(MAX_NAME).map(plain).collect();
        let (scope, pid, port) = (&self.scope, self.pid, self.address.port());
        let scope: String = scope.chars().take(MAX_NAME).map(plain).collect();
        format!("{app_id}.{pid}.{port}.{scope}.{EXTENSION}")
    }
}

/// Names the network that this process sees; that of a container is another, and a port of it means nothing here.
pub(crate) fn scope() -> String {
    let found = fs::metadata("/proc/self/ns/net");
    format!("net-{}", found.map_or(0, |found| found.ino()))
}

/// Reads a file of the registry; whether it is a record. For fuzzing.
#[doc(hidden)]
#[must_use]
pub fn read_record(bytes: &[u8]) -> bool {
    let Some(record) = Record::parse(bytes) else {
        return false;
    };
    let name = record.file_name();
    assert!(name.len() < 255 && !name.contains(['/', '\0']) && !name.starts_with('.'));
    assert_eq!(Record::parse(record.to_text().as_bytes()), Some(record));
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(app_id: &str) -> Record {
        Record {
            app_id: app_id.to_owned(),
            namespace: "default".to_owned(),
            address: "127.0.0.1:50002".parse().unwrap(),
            announced: Some("10.0.0.5:50002".parse().unwrap()),
            pid: 4711,
            scope: "net-1".to_owned(),
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let record = record("orders");
        assert_eq!(
            record.to_text(),
            r#"{"appId":"orders","namespace":"default","address":"127.0.0.1:50002","announced":"10.0.0.5:50002","pid":4711,"scope":"net-1"}"#
        );
        assert_eq!(Record::parse(record.to_text().as_bytes()), Some(record));
    }

    #[test]
    fn what_a_later_version_adds_is_ignored() {
        let text = record("a").to_text().replace("{", r#"{"zone":"z1","#);
        assert_eq!(Record::parse(text.as_bytes()), Some(record("a")));
    }

    #[test]
    fn what_is_no_record_is_not_read() {
        let whole = record("a").to_text();
        let table = [
            String::new(),
            "[]".to_owned(),
            whole.replace(r#""a""#, r#""""#),
            whole.replace("127.0.0.1:50002", "host:50002"),
            whole.replace("127.0.0.1:50002", "127.0.0.1:0"),
            whole.replace("4711", "-1"),
            whole.replace("4711", "99999999999"),
            whole.replace(r#""namespace":"default","#, ""),
            whole.trim_end_matches('}').to_owned(),
        ];
        for text in table {
            assert_eq!(Record::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn no_app_id_leaves_the_folder() {
        let table = [
            ("orders", "orders.4711.50002.net-1.sidecar"),
            ("../../etc/passwd", "______etc_passwd.4711.50002.net-1.sidecar"),
            (".hidden", "_hidden.4711.50002.net-1.sidecar"),
            ("a\0b/c\n", "a_b_c_.4711.50002.net-1.sidecar"),
        ];
        for (app_id, expected) in table {
            assert_eq!(record(app_id).file_name(), expected);
        }
        assert!(record(&"é".repeat(1000)).file_name().len() < 255);
        for app_id in ["a/b", "."] {
            assert!(read_record(record(app_id).to_text().as_bytes()));
        }
    }
}
