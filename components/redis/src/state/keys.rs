//! Keys by a pattern.

use std::fmt::Write as _;

use futures_util::future::try_join_all;
use outrigger_component::state::{KeysLike, KeysPage, Like, LikePart, StateError};
use redis::{Cmd, Value};

use crate::error::Error;
use crate::link::{Client, Pace, Question, Server};
use crate::value;

/// Keys that a server looks at for one answer.
const COUNT: u32 = 1000;

/// A page of the keys that are like a pattern, sorted. Keys of all types are found.
pub(super) async fn page(client: &Client, request: &KeysLike) -> Result<KeysPage, StateError> {
    let like = Like::parse(&request.pattern)?;
    let pattern = glob(&like);
    let offset = match &request.token {
        Some(token) => token
            .parse::<usize>()
            .map_err(|_| StateError::other(format!("invalid continue token: {token}")))?,
        None => 0,
    };
    let servers = client.servers().await.map_err(StateError::other)?;
    let found = try_join_all(servers.iter().map(|server| scan(server, &pattern))).await;
    let mut keys: Vec<String> = found.map_err(StateError::other)?.into_iter().flatten().collect();
    keys.retain(|key| like.matches(key));
    keys.sort_unstable();
    keys.dedup();
    let rest = keys.split_off(offset.min(keys.len()));
    let size = request.page_size.filter(|&size| size > 0);
    let size = size.map_or(rest.len(), |size| usize::try_from(size).unwrap_or(usize::MAX));
    let token = (rest.len() > size).then(|| (offset + size).to_string());
    let mut keys = rest;
    keys.truncate(size);
    Ok(KeysPage { keys, token })
}

/// All keys of a server that are like a pattern, some perhaps twice.
async fn scan(server: &Server, pattern: &str) -> Result<Vec<String>, Error> {
    let mut keys = Vec::new();
    let mut cursor = "0".to_owned();
    loop {
        let mut command = Cmd::new();
        command
            .arg("SCAN")
            .arg(&cursor)
            .arg("MATCH")
            .arg(pattern)
            .arg("COUNT")
            .arg(COUNT);
        let answer = value::answer(server.ask(Pace::Quick, Question::One(&command)).await?)?;
        let mut answer = value::elements(answer)?.into_iter();
        cursor = value::text(&answer.next().unwrap_or(Value::Nil))?;
        keys.extend(value::texts(answer.next().unwrap_or(Value::Nil))?);
        if cursor == "0" {
            return Ok(keys);
        }
    }
}

/// The pattern as servers know it, or one that finds more: to them `?` is a byte, not a character.
fn glob(like: &Like) -> String {
    let mut glob = String::new();
    for part in like.parts() {
        match part {
            LikePart::AnyText => glob.push('*'),
            LikePart::AnyOne => glob.push_str("?*"),
            LikePart::Literal(char @ ('*' | '?' | '[' | ']' | '\\' | '^' | '-')) => {
                write!(glob, "\\{char}").expect("a string takes all text");
            }
            LikePart::Literal(char) => glob.push(*char),
        }
    }
    glob
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_become_those_of_the_server() {
        let table = [
            ("app||%", "app||*"),
            ("a_c", "a?*c"),
            (r"100\%", "100%"),
            ("a*b?[c]", r"a\*b\?\[c\]"),
            (r"back\\slash", r"back\\slash"),
        ];
        for (like, expected) in table {
            assert_eq!(glob(&Like::parse(like).unwrap()), expected, "{like}");
        }
    }
}
