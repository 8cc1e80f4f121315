//! Values as hashes: `data`, `version` and perhaps `first-write`.

use bytes::Bytes;
use outrigger_component::state::{GetRequest, Item};
use redis::{Cmd, Value};

use super::{Layout, search};
use crate::error::Error;
use crate::link::{Again, Client};
use crate::value;

/// The value of a key. What is no hash is read as a text, which has no tag.
pub(super) async fn get(client: &Client, key: &str) -> Result<Option<Item>, Error> {
    match client.one(key, &command("HGETALL", key), Again::Yes).await {
        Err(error @ Error::Server(_)) if error.code() == Some("WRONGTYPE") => {
            let answer = client.one(key, &command("GET", key), Again::Yes).await?;
            text(answer)
        }
        answer => item(answer?),
    }
}

/// The values of several keys in one round trip, and those that are no hashes in a second one.
pub(super) async fn get_all(
    client: &Client,
    requests: &[GetRequest],
    layouts: &[Layout],
) -> Vec<Result<Option<Item>, Error>> {
    let commands: Vec<_> = requests
        .iter()
        .zip(layouts)
        .map(|(request, layout)| match layout {
            Layout::Hash => (request.key.as_str(), command("HGETALL", &request.key)),
            Layout::Document => (request.key.as_str(), search::read(&request.key)),
        })
        .collect();
    let answers = client.each(&commands, Again::Yes).await;
    let mut items = Vec::with_capacity(answers.len());
    for ((request, layout), answer) in requests.iter().zip(layouts).zip(answers) {
        items.push(match (layout, answer) {
            (Layout::Hash, Ok(answer)) => item(answer),
            (Layout::Document, Ok(answer)) => search::document(answer),
            (Layout::Hash, Err(error)) if error.code() == Some("WRONGTYPE") => {
                get(client, &request.key).await
            }
            (_, Err(error)) => Err(error),
        });
    }
    items
}

/// A command of a name and a key.
pub(super) fn command(name: &str, key: &str) -> Cmd {
    let mut command = Cmd::with_capacity(2, name.len() + key.len());
    command.arg(name).arg(key);
    command
}

/// The fields of a hash as a value; a hash without fields is none.
pub(super) fn item(answer: Value) -> Result<Option<Item>, Error> {
    let (mut data, mut version) = (None, None);
    let pairs = match answer {
        Value::Map(pairs) => pairs,
        other => {
            let mut fields = value::elements(other)?.into_iter();
            std::iter::from_fn(|| Some((fields.next()?, fields.next()?))).collect()
        }
    };
    if pairs.is_empty() {
        return Ok(None);
    }
    for (name, field) in pairs {
        match &name {
            Value::BulkString(name) if name == b"data" => data = Some(value::bytes(field)?),
            Value::BulkString(name) if name == b"version" => version = Some(value::text(&field)?),
            _ => {}
        }
    }
    let (Some(data), Some(version)) = (data, version) else {
        let line = "required hash field 'data' or 'version' was not found";
        return Err(Error::Server(line.into()));
    };
    Ok(Some(Item {
        data: Some(data),
        etag: Some(version),
        ..Item::default()
    }))
}

fn text(answer: Value) -> Result<Option<Item>, Error> {
    let data: Bytes = match answer {
        Value::Nil => return Ok(None),
        answer => value::bytes(answer)?,
    };
    Ok(Some(Item {
        data: Some(data),
        ..Item::default()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(answer: &str) -> Result<Option<Item>, String> {
        let answer = redis::parse_redis_value(answer.as_bytes()).unwrap();
        item(answer).map_err(|error| error.to_string())
    }

    #[test]
    fn a_hash_is_a_value_with_its_version() {
        let found =
            "*6\r\n$7\r\nversion\r\n$1\r\n3\r\n$4\r\ndata\r\n$2\r\nxy\r\n$11\r\nfirst-write\r\n$1\r\n0\r\n";
        let found = parsed(found).unwrap().unwrap();
        assert_eq!(
            (found.data.as_deref(), found.etag.as_deref()),
            (Some(&b"xy"[..]), Some("3"))
        );
        assert_eq!(parsed("*0\r\n"), Ok(None));
        assert_eq!(
            parsed("*2\r\n$4\r\ndata\r\n$1\r\nx\r\n"),
            Err("required hash field 'data' or 'version' was not found".to_owned())
        );
        let resp3 = parsed("%2\r\n$4\r\ndata\r\n$1\r\nx\r\n$7\r\nversion\r\n$1\r\n1\r\n");
        assert!(resp3.unwrap().is_some());
        assert!(parsed(":1\r\n").is_err());
    }
}
