//! A double of a MongoDB server: the part of its protocol and of its commands that the store uses, with documents in
//! memory.
//!
//! It is **not** MongoDB: one replica, one database, no cursors that go on, no indexes but that of `_id`. What it does
//! it does as the documentation says: messages of kind `OP_MSG`, filters, updates that insert, duplicate keys,
//! transactions with a snapshot and conflicts of writes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mongodb::bson::{Bson, DateTime, Document, doc};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::filter::{computed, matches, order};

/// A double on a free port.
#[derive(Debug)]
pub(super) struct Double {
    port: u16,
    server: Arc<Server>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Server {
    port: u16,
    data: Mutex<Data>,
    /// A transaction is over.
    over: Notify,
}

#[derive(Debug, Default)]
struct Data {
    collections: BTreeMap<String, Documents>,
    /// By session.
    transactions: BTreeMap<Vec<u8>, Open>,
    commands: Vec<Document>,
    writes: u64,
}

/// Documents by key, each with the number of its write.
type Documents = BTreeMap<String, (u64, Document)>;

/// A transaction: what it saw at its begin, and what it wrote.
#[derive(Debug, Default)]
struct Open {
    number: i64,
    snapshot: BTreeMap<String, Documents>,
    written: Vec<(String, String)>,
}

/// What a statement did: to how many documents, and the key of one that was inserted.
type Done = Result<(i32, Option<Bson>), Refusal>;

/// How a statement is done, with the number of its write.
type Act = fn(&mut Documents, &Document, u64) -> Done;

/// An error as the server tells it.
struct Refusal(i32, &'static str, &'static str);

const DUPLICATE: Refusal = Refusal(11000, "DuplicateKey", "E11000 duplicate key error");
const CONFLICT: Refusal = Refusal(112, "WriteConflict", "Write conflict during plan execution");
const OP_MSG: i32 = 2013;

// === impl Double ===

impl Double {
    pub(super) async fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let server = Arc::new(Server {
            port,
            ..Server::default()
        });
        let serving = Arc::clone(&server);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let serving = Arc::clone(&serving);
                tokio::spawn(async move { serving.serve(stream).await.ok() });
            }
        });
        Ok(Self { port, server, task })
    }

    pub(super) fn uri(&self) -> String {
        format!("mongodb://127.0.0.1:{}/?replicaSet=double", self.port)
    }

    /// The document of a key, in the only collection.
    pub(super) fn document(&self, key: &str) -> Option<Document> {
        let data = self.server.data();
        let documents = data.collections.values().next()?;
        documents.get(key).map(|(_, document)| document.clone())
    }

    /// The commands of a name so far.
    pub(super) fn commands(&self, name: &str) -> Vec<Document> {
        let data = self.server.data();
        let commands = data
            .commands
            .iter()
            .filter(|command| command.keys().next().is_some_and(|first| first == name));
        commands.cloned().collect()
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        self.task.abort();
    }
}

// === impl Server ===

impl Server {
    async fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        loop {
            let length = stream.read_i32_le().await?;
            let request = stream.read_i32_le().await?;
            let (_, kind) = (stream.read_i32_le().await?, stream.read_i32_le().await?);
            let mut body = vec![0; usize::try_from(length - 16).unwrap_or(0)];
            stream.read_exact(&mut body).await?;
            assert_eq!(kind, OP_MSG, "the driver speaks OP_MSG only");
            let answer = self.answer(command(&body)).await.to_vec().unwrap();
            let mut frame = Vec::with_capacity(answer.len() + 21);
            let length = i32::try_from(answer.len() + 21).unwrap();
            for number in [length, 0, request, OP_MSG, 0] {
                frame.extend(number.to_le_bytes());
            }
            frame.push(0);
            frame.extend(answer);
            stream.write_all(&frame).await?;
        }
    }

    async fn answer(&self, command: Document) -> Document {
        let name = command.keys().next().cloned().unwrap_or_default();
        self.data().commands.push(command.clone());
        let outcome = match name.as_str() {
            "hello" | "isMaster" | "ismaster" => Ok(self.hello()),
            "find" => Ok(self.find(&command)),
            "update" => self.each(&command, "updates", update).await,
            "delete" => self.each(&command, "deletes", delete).await,
            "commitTransaction" => {
                self.data().end(&command, true);
                Ok(doc! {})
            }
            "abortTransaction" => {
                self.data().end(&command, false);
                Ok(doc! {})
            }
            "ping" | "createIndexes" | "endSessions" => Ok(doc! {}),
            other => Err(Refusal(
                59,
                "CommandNotFound",
                match other {
                    "aggregate" => "no such command: 'aggregate'",
                    _ => "no such command",
                },
            )),
        };
        self.over.notify_waiters();
        match outcome {
            Ok(mut answer) => {
                answer.insert("ok", 1.0);
                answer
            }
            Err(Refusal(code, name, text)) => {
                let mut answer = doc! { "ok": 0.0, "code": code, "codeName": name, "errmsg": text };
                if code == CONFLICT.0 && command.contains_key("txnNumber") {
                    self.data().end(&command, false);
                    answer.insert("errorLabels", ["TransientTransactionError"]);
                }
                answer
            }
        }
    }

    fn hello(&self) -> Document {
        let address = format!("127.0.0.1:{}", self.port);
        doc! {
            "helloOk": true,
            "isWritablePrimary": true,
            "ismaster": true,
            "setName": "double",
            "setVersion": 1,
            "hosts": [&address],
            "primary": &address,
            "me": &address,
            "maxBsonObjectSize": 16 << 20,
            "maxMessageSizeBytes": 48_000_000,
            "maxWriteBatchSize": 100_000,
            "localTime": DateTime::now(),
            "logicalSessionTimeoutMinutes": 30,
            "minWireVersion": 0,
            "maxWireVersion": 21,
            "readOnly": false,
        }
    }

    fn find(&self, command: &Document) -> Document {
        let name = command.get_str("find").unwrap_or_default();
        let none = doc! {};
        let filter = command.get_document("filter").unwrap_or(&none);
        let mut data = self.data();
        let documents = data.seen(command, name);
        let mut found: Vec<_> = documents
            .values()
            .map(|(_, document)| document)
            .filter(|document| matches(document, filter))
            .cloned()
            .collect();
        if let Ok(sort) = command.get_document("sort") {
            found.sort_by(|a, b| order(a, b, sort));
        }
        let number = |name: &str| match command.get(name) {
            Some(Bson::Int32(number)) => usize::try_from(*number).unwrap_or(0),
            Some(Bson::Int64(number)) => usize::try_from(*number).unwrap_or(0),
            _ => 0,
        };
        let limit = match number("limit") {
            0 => usize::MAX,
            limit => limit,
        };
        let found: Vec<_> = found.into_iter().skip(number("skip")).take(limit).collect();
        doc! { "cursor": { "id": 0_i64, "ns": format!("db.{name}"), "firstBatch": found } }
    }

    /// Does each statement of a command; outside of transactions it waits for those that hold its document.
    async fn each(&self, command: &Document, list: &str, act: Act) -> Result<Document, Refusal> {
        let name = command
            .keys()
            .next()
            .and_then(|first| command.get_str(first).ok())
            .unwrap_or_default();
        let mut answer = doc! { "n": 0 };
        for (index, statement) in command.get_array(list).into_iter().flatten().enumerate() {
            let statement = statement.as_document().expect("a statement is a document");
            loop {
                let freed = self.over.notified();
                tokio::pin!(freed);
                freed.as_mut().enable();
                let outcome = self.data().act(command, name, statement, act);
                match outcome {
                    Err(Refusal(112, ..)) if !command.contains_key("autocommit") => freed.await,
                    Err(refusal) if refusal.0 == DUPLICATE.0 => {
                        let error = doc! { "index": i32::try_from(index).unwrap(), "code": refusal.0, "errmsg": refusal.2 };
                        answer.insert("writeErrors", [error]);
                        return Ok(answer);
                    }
                    Err(refusal) => return Err(refusal),
                    Ok((count, inserted)) => {
                        answer.insert("n", count);
                        answer.insert("nModified", count);
                        if let Some(id) = inserted {
                            answer.insert("upserted", [doc! { "index": 0, "_id": id }]);
                        }
                        break;
                    }
                }
            }
        }
        Ok(answer)
    }

    fn data(&self) -> MutexGuard<'_, Data> {
        self.data.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Data ===

impl Data {
    /// The documents that a command sees: those of its transaction, or all that are committed.
    fn seen(&mut self, command: &Document, name: &str) -> Documents {
        match self.transaction(command) {
            Some(open) => open.snapshot.get(name).cloned().unwrap_or_default(),
            None => self.collections.get(name).cloned().unwrap_or_default(),
        }
    }

    fn transaction(&mut self, command: &Document) -> Option<&mut Open> {
        command.get("autocommit")?;
        let (session, number) = (session(command)?, command.get_i64("txnNumber").ok()?);
        if command.get_bool("startTransaction").unwrap_or(false) {
            let open = Open {
                number,
                snapshot: self.collections.clone(),
                written: Vec::new(),
            };
            self.transactions.insert(session.clone(), open);
        }
        self.transactions
            .get_mut(&session)
            .filter(|open| open.number == number)
    }

    fn act(&mut self, command: &Document, name: &str, statement: &Document, act: Act) -> Done {
        self.writes += 1;
        let number = self.writes;
        let key = statement
            .get_document("q")
            .ok()
            .and_then(|filter| filter.get_str("_id").ok())
            .unwrap_or_default()
            .to_owned();
        let place = (name.to_owned(), key.clone());
        let own = session(command);
        let is_held = self
            .transactions
            .iter()
            .any(|(session, open)| Some(session) != own.as_ref() && open.written.contains(&place));
        let committed = self
            .collections
            .get(name)
            .and_then(|all| all.get(&key))
            .map(|(number, _)| *number);
        match self.transaction(command) {
            Some(open) => {
                let documents = open.snapshot.entry(name.to_owned()).or_default();
                let is_own = open.written.contains(&place);
                let seen = documents.get(&key).map(|(number, _)| *number);
                if is_held || (!is_own && seen != committed) {
                    return Err(CONFLICT);
                }
                let done = act(documents, statement, number)?;
                open.written.push(place);
                Ok(done)
            }
            None if command.contains_key("autocommit") => {
                Err(Refusal(251, "NoSuchTransaction", "there is no such transaction"))
            }
            None if is_held => Err(CONFLICT),
            None => {
                let documents = self.collections.entry(name.to_owned()).or_default();
                act(documents, statement, number)
            }
        }
    }

    /// Ends the transaction of a session.
    fn end(&mut self, command: &Document, commits: bool) {
        let Some(open) = session(command).and_then(|session| self.transactions.remove(&session)) else {
            return;
        };
        for (name, key) in open.written.iter().filter(|_| commits) {
            let documents = self.collections.entry(name.clone()).or_default();
            match open.snapshot.get(name).and_then(|all| all.get(key)).cloned() {
                Some(document) => drop(documents.insert(key.clone(), document)),
                None => drop(documents.remove(key)),
            }
        }
    }
}

fn update(documents: &mut Documents, statement: &Document, number: u64) -> Done {
    let filter = statement.get_document("q").expect("an update has a filter");
    let found = documents
        .iter()
        .find(|(_, (_, document))| matches(document, filter));
    let (key, mut document, is_new) = match found {
        Some((key, (_, document))) => (key.clone(), document.clone(), false),
        None => {
            let fields = filter.iter().filter(|(name, _)| !name.starts_with('$'));
            let document: Document = fields
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect();
            (
                document.get_str("_id").unwrap_or_default().to_owned(),
                document,
                true,
            )
        }
    };
    if is_new && documents.contains_key(&key) {
        return Err(DUPLICATE);
    }
    let is_upsert = statement.get_bool("upsert").unwrap_or(false);
    if is_new && !is_upsert {
        return Ok((0, None));
    }
    match statement.get("u") {
        Some(Bson::Document(update)) => {
            for (name, value) in update.get_document("$set").expect("an update sets") {
                document.insert(name.clone(), value.clone());
            }
        }
        Some(Bson::Array(stages)) => {
            for stage in stages.iter().filter_map(Bson::as_document) {
                for (name, value) in stage.get_document("$set").expect("a stage sets") {
                    document.insert(name.clone(), computed(value));
                }
            }
        }
        _ => panic!("an update is a document or a list of stages"),
    }
    documents.insert(key.clone(), (number, document));
    let inserted = is_new.then(|| Bson::String(key.clone()));
    Ok((1, inserted))
}

fn delete(documents: &mut Documents, statement: &Document, _: u64) -> Done {
    let filter = statement.get_document("q").expect("a delete has a filter");
    let found = documents
        .iter()
        .find(|(_, (_, document))| matches(document, filter));
    match found.map(|(key, _)| key.clone()) {
        Some(key) => {
            documents.remove(&key);
            Ok((1, None))
        }
        None => Ok((0, None)),
    }
}

fn session(command: &Document) -> Option<Vec<u8>> {
    command.get_document("lsid").ok()?.to_vec().ok()
}

/// The command of a message: its document, and the lists that follow it.
fn command(body: &[u8]) -> Document {
    let mut rest = &body[4..];
    let mut command = Document::new();
    let mut lists = Vec::new();
    while let Some((&kind, after)) = rest.split_first() {
        rest = after;
        if kind == 0 {
            command = Document::from_reader(&mut rest).expect("a document");
            continue;
        }
        let size =
            usize::try_from(i32::from_le_bytes(rest[..4].try_into().expect("a size"))).expect("a size");
        let (mut section, after) = (&rest[4..size], &rest[size..]);
        rest = after;
        let end = section.iter().position(|&byte| byte == 0).expect("a name");
        let name = String::from_utf8(section[..end].to_vec()).expect("a name");
        section = &section[end + 1..];
        let mut documents = Vec::new();
        while !section.is_empty() {
            documents.push(Document::from_reader(&mut section).expect("a document"));
        }
        lists.push((name, documents));
    }
    command.extend(
        lists
            .into_iter()
            .map(|(name, documents)| (name, Bson::from(documents))),
    );
    command
}
