//! A cluster: which node owns which keys.
//!
//! Source: Redis cluster specification.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use redis::{Cmd, Value};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::connection::Question;
use super::server::{Common, Pace, Server, Target};
use crate::error::Error;
use crate::value::text;

/// The nodes of a cluster, and the keys of each.
#[derive(Debug)]
pub(crate) struct Cluster {
    seeds: Vec<Arc<Server>>,
    map: ArcSwap<Map>,
    /// One asks; the others wait and share what comes of it.
    asking: Semaphore,
    common: Arc<Common>,
    /// Nodes that only a redirection has named so far.
    strangers: Mutex<BTreeMap<Arc<str>, Arc<Server>>>,
}

#[derive(Debug)]
struct Map {
    born: Instant,
    /// By their first slot.
    ranges: Vec<Range>,
    masters: BTreeMap<Arc<str>, Arc<Server>>,
}

#[derive(Debug)]
struct Range {
    first: u16,
    last: u16,
    server: Arc<Server>,
}

/// Slots of a cluster.
const SLOTS: u16 = 16384;

/// Redirections to strangers are few; more of them come from a cluster that changes all the time.
const MAX_STRANGERS: usize = 64;

// === impl Cluster ===

impl Cluster {
    pub(crate) fn new(seeds: &[Arc<str>], common: Arc<Common>) -> Self {
        let seed = |address: &Arc<str>| Server::new(Target::Fixed(Arc::clone(address)), &common);
        Self {
            seeds: seeds.iter().map(seed).collect(),
            map: ArcSwap::from_pointee(Map {
                born: Instant::now(),
                ranges: Vec::new(),
                masters: BTreeMap::new(),
            }),
            asking: Semaphore::new(1),
            common,
            strangers: Mutex::default(),
        }
    }

    /// The node that owns a key.
    pub(crate) async fn owner(&self, key: &str) -> Result<Arc<Server>, Error> {
        let slot = slot(key.as_bytes());
        if let Some(server) = self.map.load().owner(slot) {
            return Ok(server);
        }
        self.refresh(Instant::now()).await?;
        let found = self.map.load().owner(slot);
        found.ok_or_else(|| Error::NoNode(format!("nobody owns slot {slot}").into()))
    }

    /// All masters.
    pub(crate) async fn masters(&self) -> Result<Vec<Arc<Server>>, Error> {
        if self.map.load().masters.is_empty() {
            self.refresh(Instant::now()).await?;
        }
        Ok(self.map.load().masters.values().cloned().collect())
    }

    /// The node at an address, known or not.
    pub(crate) fn at(&self, address: &str) -> Arc<Server> {
        if let Some(server) = self.map.load().masters.get(address) {
            return Arc::clone(server);
        }
        let mut seeds = self.seeds.iter();
        if let Some(seed) = seeds.find(|seed| seed.address().is_some_and(|known| **known == *address)) {
            return Arc::clone(seed);
        }
        let mut strangers = self.strangers.lock().unwrap_or_else(PoisonError::into_inner);
        if strangers.len() >= MAX_STRANGERS {
            strangers.clear();
        }
        let new = || Server::new(Target::Fixed(address.into()), &self.common);
        Arc::clone(strangers.entry(address.into()).or_insert_with(new))
    }

    /// Asks the nodes who owns what, unless somebody has done so since a time.
    pub(crate) async fn refresh(&self, since: Instant) -> Result<(), Error> {
        let _turn = self.asking.acquire().await.map_err(|_| Error::Closed)?;
        let map = self.map.load_full();
        if map.born > since && !map.ranges.is_empty() {
            return Ok(());
        }
        let begun = Instant::now();
        let mut last = Error::NoNode("none is configured".into());
        for server in map.masters.values().chain(&self.seeds) {
            match self.ask(server, &map, begun).await {
                Ok(new) => {
                    self.map.store(Arc::new(new));
                    return Ok(());
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn ask(&self, server: &Server, known: &Map, born: Instant) -> Result<Map, Error> {
        let mut command = Cmd::new();
        command.arg("CLUSTER").arg("SLOTS");
        let answer = server.ask(Pace::Quick, Question::One(&command)).await?;
        let Value::Array(rows) = answer else {
            return Err(Error::unexpected(&answer));
        };
        let asked = server.address().map_or("", |address| &**address);
        let asked = asked.rsplit_once(':').map_or(asked, |(host, _)| host);
        let mut map = Map {
            born,
            ranges: Vec::with_capacity(rows.len()),
            masters: BTreeMap::new(),
        };
        for row in &rows {
            let (first, last, address) = range(row, asked)?;
            let master = map.masters.entry(Arc::clone(&address)).or_insert_with(|| {
                let known = known.masters.get(&address).cloned();
                known.unwrap_or_else(|| self.at(&address))
            });
            map.ranges.push(Range {
                first,
                last,
                server: Arc::clone(master),
            });
        }
        if map.ranges.is_empty() {
            return Err(Error::NoNode("no slot has an owner".into()));
        }
        map.ranges.sort_by_key(|range| range.first);
        for seed in &self.seeds {
            seed.set_needed(
                seed.address()
                    .is_some_and(|address| map.masters.contains_key(address)),
            );
        }
        let mut strangers = self.strangers.lock().unwrap_or_else(PoisonError::into_inner);
        strangers.retain(|address, _| !map.masters.contains_key(address));
        Ok(map)
    }
}

// === impl Map ===

impl Map {
    fn owner(&self, slot: u16) -> Option<Arc<Server>> {
        let after = self.ranges.partition_point(|range| range.first <= slot);
        let range = self.ranges.get(after.checked_sub(1)?)?;
        (slot <= range.last).then(|| Arc::clone(&range.server))
    }
}

/// First and last slot of a row, and the address of its master. A node that does not know its own host leaves
/// it out; then it is the one that was asked.
pub(super) fn range(row: &Value, asked: &str) -> Result<(u16, u16, Arc<str>), Error> {
    let unexpected = || Error::Unexpected("slots".into());
    let Value::Array(row) = row else {
        return Err(unexpected());
    };
    let [Value::Int(first), Value::Int(last), Value::Array(master), ..] = row.as_slice() else {
        return Err(unexpected());
    };
    let [host, Value::Int(port), ..] = master.as_slice() else {
        return Err(unexpected());
    };
    let host = match host {
        Value::Nil => asked.to_owned(),
        host => match text(host)? {
            empty if empty.is_empty() || empty == "?" => asked.to_owned(),
            host if host.contains(':') && !host.starts_with('[') => format!("[{host}]"),
            host => host,
        },
    };
    let slot = |number: &i64| u16::try_from(*number).map_err(|_| unexpected());
    Ok((slot(first)?, slot(last)?, format!("{host}:{port}").into()))
}

/// The slot of a key: of what stands between its first `{` and the next `}`, if that is anything.
pub(crate) fn slot(key: &[u8]) -> u16 {
    let tag = key.iter().position(|&byte| byte == b'{').and_then(|open| {
        let rest = &key[open + 1..];
        let close = rest.iter().position(|&byte| byte == b'}')?;
        (close > 0).then(|| &rest[..close])
    });
    crc16(tag.unwrap_or(key)) % SLOTS
}

/// CRC-16/XMODEM, bit by bit: keys are short.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, &byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| match crc & 0x8000 {
            0 => crc << 1,
            _ => (crc << 1) ^ 0x1021,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_the_slots_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        let table = [("foo", 12182), ("{foo}bar", 12182), ("a{foo}{b}", 12182), ("", 0)];
        for (key, expected) in table {
            assert_eq!(slot(key.as_bytes()), expected, "{key}");
        }
        assert_eq!(slot(b"{}foo"), crc16(b"{}foo") % SLOTS);
        assert_eq!(slot(b"{foo"), crc16(b"{foo") % SLOTS);
    }

    #[test]
    fn a_row_names_slots_and_master() {
        let text = |text: &str| Value::BulkString(text.into());
        let row = |host: Value| {
            let node = |host, port| Value::Array(vec![host, Value::Int(port), text("id")]);
            Value::Array(vec![
                Value::Int(0),
                Value::Int(99),
                node(host, 7000),
                node(text("replica"), 1),
            ])
        };
        let address = |host| range(&row(host), "asked").unwrap().2;
        assert_eq!(
            range(&row(text("10.0.0.1")), "asked").unwrap(),
            (0, 99, "10.0.0.1:7000".into())
        );
        assert_eq!(&*address(text("")), "asked:7000");
        assert_eq!(&*address(Value::Nil), "asked:7000");
        assert_eq!(&*address(text("::1")), "[::1]:7000");
        assert!(range(&Value::Int(1), "asked").is_err());
        assert!(
            range(
                &Value::Array(vec![Value::Int(-1), Value::Int(1), Value::Array(vec![])]),
                ""
            )
            .is_err()
        );
    }
}
