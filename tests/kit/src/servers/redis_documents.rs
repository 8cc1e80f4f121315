//! A fake of a Redis with documents and searches, in front of a real one without.
//!
//! It is **not** RedisJSON and not RediSearch. Documents are texts in the real server; what scripts say to
//! `JSON.GET` and `JSON.SET` goes to functions in Lua that are put in front of them, so scripts do run as they are.
//! Searches look at every document and know the expressions that this project writes: texts, ranges, `-`, `|`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, bail};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::Redis;
use crate::Result;

/// A fake server on a free port.
#[derive(Debug)]
pub struct RedisDocuments {
    /// The real server behind it.
    pub redis: Redis,
    port: u16,
    task: JoinHandle<()>,
}

/// Paths of indexes by the name of the variable.
type Index = BTreeMap<String, Vec<String>>;
type Indexes = Arc<Mutex<BTreeMap<String, Index>>>;

/// An answer, or a command.
#[derive(Clone, Debug, PartialEq)]
enum Resp {
    /// A line as it is, its first character included.
    Line(String),
    Bulk(Option<Vec<u8>>),
    Array(Vec<Self>),
}

/// One connection of a client.
struct Session {
    client: BufReader<TcpStream>,
    backend: BufReader<TcpStream>,
    /// Beside a transaction that is open on the other one.
    aside: BufReader<TcpStream>,
    indexes: Indexes,
    /// Scripts by their hash.
    scripts: BTreeMap<String, String>,
}

/// An expression of a search.
enum Expression {
    All,
    And(Vec<Self>),
    Or(Vec<Self>),
    Not(Box<Self>),
    /// A variable is one of these texts.
    Texts(String, Vec<String>),
    /// A variable is between two numbers, each of them excluded or not.
    Range(String, (f64, bool), (f64, bool)),
}

/// What stands for the commands in scripts.
const PRELUDE: &str = "local function json(command, key, path, value)
  local text = redis.call('GET', key)
  local document = text and cjson.decode(text)
  if command == 'JSON.GET' then
    if not document then return false end
    if not path then return text end
    local found = document[string.sub(path, 2)]
    if found == nil then return { err = 'ERR Path does not exist' } end
    return cjson.encode(found)
  end
  if path == '.' then
    return redis.call('SET', key, value, 'KEEPTTL')
  end
  local member = '\"' .. string.sub(path, 2) .. '\":'
  local rest = string.sub(text, 1, -2)
  return redis.call('SET', key, rest .. ',' .. member .. value .. '}', 'KEEPTTL')
end
local function pjson(...)
  local done, answer = pcall(json, ...)
  if done then return answer end
  return { err = tostring(answer) }
end
";

// === impl RedisDocuments ===

impl RedisDocuments {
    /// Starts the fake and the real server; none if that is not installed.
    ///
    /// # Errors
    /// If no port can be bound or the real server does not start.
    pub async fn start() -> Result<Option<Self>> {
        let Some(redis) = Redis::start().await? else {
            return Ok(None);
        };
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let (backend, indexes) = (redis.address(), Indexes::default());
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (backend, indexes) = (backend.clone(), Arc::clone(&indexes));
                tokio::spawn(async move {
                    let session = Session {
                        client: BufReader::new(client),
                        backend: BufReader::new(TcpStream::connect(&backend).await?),
                        aside: BufReader::new(TcpStream::connect(&backend).await?),
                        indexes,
                        scripts: BTreeMap::new(),
                    };
                    session.run().await
                });
            }
        });
        Ok(Some(Self { redis, port, task }))
    }

    /// `127.0.0.1:<port>`
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Drop for RedisDocuments {
    fn drop(&mut self) {
        self.task.abort();
    }
}

// === impl Session ===

impl Session {
    async fn run(mut self) -> Result<()> {
        loop {
            let Resp::Array(words) = Resp::read(&mut self.client).await? else {
                bail!("a command is an array");
            };
            let answer = self.answer(words).await?;
            self.client.get_mut().write_all(&answer.bytes()).await?;
        }
    }

    async fn answer(&mut self, mut words: Vec<Resp>) -> Result<Resp> {
        let texts: Vec<String> = words.iter().map(Resp::text).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        match texts.as_slice() {
            ["JSON.GET"] => Ok(error("ERR wrong number of arguments for 'json.get' command")),
            ["JSON.GET", key] => {
                let script = format!("{PRELUDE}return json('JSON.GET', KEYS[1])");
                self.ask(&["EVAL", &script, "1", key]).await
            }
            ["EVALSHA", hash, ..] => {
                let Some(script) = self.scripts.get(*hash) else {
                    return Ok(error("NOSCRIPT No matching script. Please use EVAL."));
                };
                words[0] = Resp::bulk("EVAL");
                words[1] = Resp::bulk(script);
                self.forward(Resp::Array(words)).await
            }
            ["EVAL", text, ..] => {
                let script = text.replace("redis.pcall('JSON.", "pjson('JSON.");
                let script = script.replace("redis.call('JSON.", "json('JSON.");
                let script = format!("{PRELUDE}{script}");
                let hash = self.hash(text).await?;
                self.scripts.insert(hash, script.clone());
                words[1] = Resp::bulk(script);
                self.forward(Resp::Array(words)).await
            }
            ["FT.CREATE", name, "ON", "JSON", "SCHEMA", fields @ ..] => {
                let mut indexes = self.indexes();
                if indexes.contains_key(*name) {
                    return Ok(error("Index already exists"));
                }
                let fields = fields.chunks(5).filter_map(|field| {
                    let path = field.first()?.strip_prefix("$.")?.split('.').map(str::to_owned);
                    Some(((*field.get(2)?).to_owned(), path.collect()))
                });
                indexes.insert((*name).to_owned(), fields.collect());
                Ok(Resp::Line("+OK".to_owned()))
            }
            ["FT.DROPINDEX", name] => {
                let known = self.indexes().remove(*name);
                Ok(known.map_or_else(|| error("Unknown Index name"), |_| Resp::Line("+OK".to_owned())))
            }
            ["FT.SEARCH", name, expression, options @ ..] => {
                let Some(index) = self.indexes().get(*name).cloned() else {
                    return Ok(error(&format!("{name}: no such index")));
                };
                self.search(&index, expression, options).await
            }
            _ => self.forward(Resp::Array(words)).await,
        }
    }

    async fn search(&mut self, index: &Index, expression: &str, options: &[&str]) -> Result<Resp> {
        let Ok(expression) = Expression::parse(expression) else {
            return Ok(error("Syntax error"));
        };
        let Resp::Array(keys) = self.ask(&["KEYS", "*"]).await? else {
            bail!("keys are an array");
        };
        let mut found: Vec<(String, Value)> = Vec::new();
        for key in keys {
            let key = key.text();
            if let Resp::Bulk(Some(text)) = self.ask(&["GET", &key]).await?
                && let Ok(document) = serde_json::from_slice(&text)
                && expression.holds(index, &document)
            {
                found.push((key, document));
            }
        }
        let after = |name: &str| options.iter().position(|option| *option == name);
        if let Some(place) = after("SORTBY") {
            let variable = options.get(place + 1).context("SORTBY needs a variable")?;
            let sort_key = |document: &Value| lookup(index, variable, document).map(ToString::to_string);
            found.sort_by_key(|(_, document)| sort_key(document));
            if options.get(place + 2) == Some(&"DESC") {
                found.reverse();
            }
        }
        let total = found.len();
        let (mut offset, mut limit) = (0, 10);
        if let Some(place) = after("LIMIT") {
            offset = options.get(place + 1).context("LIMIT needs an offset")?.parse()?;
            limit = options.get(place + 2).context("LIMIT needs a number")?.parse()?;
        }
        let mut answer = vec![Resp::Line(format!(":{total}"))];
        for (key, document) in found.into_iter().skip(offset).take(limit) {
            let member = |name: &str| Resp::bulk(document[name].to_string());
            let fields = [
                Resp::bulk("$.data"),
                member("data"),
                Resp::bulk("$.version"),
                member("version"),
            ];
            answer.extend([Resp::bulk(key), Resp::Array(fields.into())]);
        }
        Ok(Resp::Array(answer))
    }

    async fn ask(&mut self, words: &[&str]) -> Result<Resp> {
        self.forward(Resp::Array(words.iter().map(|word| Resp::bulk(*word)).collect()))
            .await
    }

    /// The hash of a script that clients know it by, which is not that of the script that is run.
    async fn hash(&mut self, script: &str) -> Result<String> {
        let words = ["EVAL", "return redis.sha1hex(ARGV[1])", "0", script];
        let command = Resp::Array(words.map(Resp::bulk).into());
        self.aside.get_mut().write_all(&command.bytes()).await?;
        Ok(Resp::read(&mut self.aside).await?.text())
    }

    async fn forward(&mut self, command: Resp) -> Result<Resp> {
        self.backend.get_mut().write_all(&command.bytes()).await?;
        Resp::read(&mut self.backend).await
    }

    fn indexes(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Index>> {
        self.indexes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Resp ===

impl Resp {
    fn bulk(text: impl Into<String>) -> Self {
        Self::Bulk(Some(text.into().into_bytes()))
    }

    fn text(&self) -> String {
        match self {
            Self::Bulk(Some(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
            _ => String::new(),
        }
    }

    async fn read(stream: &mut BufReader<TcpStream>) -> Result<Self> {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            bail!("the connection has ended");
        }
        let line = line.trim_end();
        let (kind, rest) = line.split_at_checked(1).unwrap_or_default();
        match kind {
            "$" => {
                let Ok(size) = rest.parse::<usize>() else {
                    return Ok(Self::Bulk(None));
                };
                let mut bytes = vec![0; size + 2];
                stream.read_exact(&mut bytes).await?;
                bytes.truncate(size);
                Ok(Self::Bulk(Some(bytes)))
            }
            "*" => {
                let Ok(count) = rest.parse::<usize>() else {
                    return Ok(Self::Line(line.to_owned()));
                };
                let mut elements = Vec::with_capacity(count);
                for _ in 0..count {
                    elements.push(Box::pin(Self::read(stream)).await?);
                }
                Ok(Self::Array(elements))
            }
            _ => Ok(Self::Line(line.to_owned())),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Line(line) => format!("{line}\r\n").into_bytes(),
            Self::Bulk(None) => b"$-1\r\n".to_vec(),
            Self::Bulk(Some(bytes)) => {
                let head = format!("${}\r\n", bytes.len());
                [head.as_bytes(), bytes, b"\r\n"].concat()
            }
            Self::Array(elements) => {
                let head = format!("*{}\r\n", elements.len()).into_bytes();
                elements
                    .iter()
                    .fold(head, |all, element| [all, element.bytes()].concat())
            }
        }
    }
}

// === impl Expression ===

impl Expression {
    fn parse(text: &str) -> Result<Self> {
        let mut rest = text.trim();
        if rest == "*" {
            return Ok(Self::All);
        }
        let parsed = Self::alternatives(&mut rest)?;
        if !rest.is_empty() {
            bail!("{rest:?} is left");
        }
        Ok(parsed)
    }

    /// Operands with `|` between, and a space where all must hold.
    fn alternatives(rest: &mut &str) -> Result<Self> {
        let mut all = vec![Vec::new()];
        loop {
            *rest = rest.trim_start();
            if rest.is_empty() || rest.starts_with(')') {
                break;
            }
            if let Some(after) = rest.strip_prefix('|') {
                *rest = after;
                all.push(Vec::new());
                continue;
            }
            let operand = Self::operand(rest)?;
            all.last_mut().context("there is one")?.push(operand);
        }
        Ok(Self::Or(all.into_iter().map(Self::And).collect()))
    }

    fn operand(rest: &mut &str) -> Result<Self> {
        if let Some(inner) = rest.strip_prefix('-') {
            *rest = inner;
            return Ok(Self::Not(Box::new(Self::operand(rest)?)));
        }
        if let Some(inner) = rest.strip_prefix('(') {
            *rest = inner;
            let parsed = Self::alternatives(rest)?;
            *rest = rest.strip_prefix(')').context("a parenthesis is open")?;
            return Ok(parsed);
        }
        let named = rest.strip_prefix('@').context("a variable begins with @")?;
        let (variable, value) = named.split_once(':').context("a variable has a value")?;
        let variable = variable.to_owned();
        if let Some(texts) = value.strip_prefix('(') {
            let (texts, after) = texts.split_once(')').context("a parenthesis is open")?;
            *rest = after;
            return Ok(Self::Texts(
                variable,
                texts.split('|').map(str::to_owned).collect(),
            ));
        }
        let range = value.strip_prefix('[').context("a value is a text or a range")?;
        let (range, after) = range.split_once(']').context("a range is open")?;
        *rest = after;
        let (low, high) = range.split_once(' ').context("a range has two ends")?;
        let end = |text: &str| -> Result<(f64, bool)> {
            let excluded = text.strip_prefix('(');
            Ok((excluded.unwrap_or(text).parse()?, excluded.is_some()))
        };
        Ok(Self::Range(variable, end(low)?, end(high)?))
    }

    fn holds(&self, index: &Index, document: &Value) -> bool {
        match self {
            Self::All => true,
            Self::And(operands) => operands.iter().all(|operand| operand.holds(index, document)),
            Self::Or(operands) => operands.iter().any(|operand| operand.holds(index, document)),
            Self::Not(operand) => !operand.holds(index, document),
            Self::Texts(variable, texts) => {
                let found = lookup(index, variable, document).and_then(Value::as_str);
                found.is_some_and(|found| texts.iter().any(|text| text == found))
            }
            Self::Range(variable, low, high) => {
                let found = lookup(index, variable, document).and_then(Value::as_f64);
                let above = |number| if low.1 { number > low.0 } else { number >= low.0 };
                let below = |number| if high.1 { number < high.0 } else { number <= high.0 };
                found.is_some_and(|found| above(found) && below(found))
            }
        }
    }
}

fn lookup<'a>(index: &Index, variable: &str, document: &'a Value) -> Option<&'a Value> {
    let path = index.get(variable)?;
    path.iter().try_fold(document, |value, name| value.get(name))
}

fn error(line: &str) -> Resp {
    Resp::Line(format!("-{line}"))
}
