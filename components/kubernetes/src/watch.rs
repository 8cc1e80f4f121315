//! One object, followed as it changes.
//!
//! The object is listed, then watched until the server ends the watch, then listed again, which also brings to light
//! what the watch has missed. Servers may leave out resource versions, ignore selectors, end watches at once and put no
//! line ends between events.
//!
//! Source: specification, Kubernetes API traffic 3 and 4.

use std::time::Duration;

use bytes::{Buf, BytesMut};
use http::Request;
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use outrigger_svc::BoxError;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;

use crate::client::text;

/// An object of a collection, by its name.
#[derive(Debug)]
pub(crate) struct Followed {
    /// Path of the collection, such as `/api/v1/namespaces/default/configmaps`.
    pub(crate) collection: String,
    /// Name of the object.
    pub(crate) name: String,
    /// The longest that one watch lasts.
    pub(crate) at_most: Duration,
}

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    metadata: Option<ListMetadata>,
    #[serde(default)]
    items: Option<Vec<Value>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ListMetadata {
    resource_version: Option<String>,
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    object: Value,
}

/// Events that have arrived in part.
#[derive(Debug, Default)]
struct Events(BytesMut);

/// Most bytes of one event; no object is as large.
const MAX_EVENT: usize = 16 << 20;
/// The pause after a watch that ended, and how far it grows while nothing changes.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));
/// The longest pause while the server fails.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A watch that lasted this long did not end at once.
const LASTING: Duration = Duration::from_secs(10);

// === impl Followed ===

impl Followed {
    /// The object as it is, if there is one, and the version of the list.
    ///
    /// # Errors
    /// If the server does not answer, or with something else.
    pub(crate) async fn list(&self, client: &Client) -> Result<(Option<Value>, String), BoxError> {
        let request = self.request("limit=500&resourceVersion=0")?.map(|_| Vec::new());
        let list: List = client.request(request).await.map_err(|error| text(&error))?;
        let version = list.metadata.and_then(|metadata| metadata.resource_version);
        let object = list
            .items
            .unwrap_or_default()
            .into_iter()
            .find(|object| self.is(object));
        Ok((object, version.unwrap_or_default()))
    }

    /// Tells of the object, none if it is gone, each time that it may have changed; `is_well` tells whether the server
    /// can be asked, or why not. Never ends; drop it.
    pub(crate) async fn follow(
        &self,
        client: &Client,
        mut version: String,
        mut changed: impl FnMut(Option<Value>) -> bool,
        mut is_well: impl FnMut(Option<&str>),
    ) {
        let mut pause = PAUSE.0;
        loop {
            let begun = Instant::now();
            let watched = self.watch(client, &version, &mut changed).await;
            let has_changed = matches!(watched, Ok(true));
            if has_changed || begun.elapsed() >= LASTING {
                pause = PAUSE.0;
            }
            tokio::time::sleep(pause.mul_f64(1.0 + fastrand::f64() / 2.0)).await;
            match self.list(client).await {
                Ok((object, listed)) => {
                    is_well(None);
                    version = listed;
                    pause = match changed(object) {
                        true => PAUSE.0,
                        false => (2 * pause).min(PAUSE.1),
                    };
                }
                Err(error) => {
                    is_well(Some(&error.to_string()));
                    pause = (2 * pause).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// Watches until the server ends it; tells whether anything changed.
    async fn watch(
        &self,
        client: &Client,
        version: &str,
        changed: &mut impl FnMut(Option<Value>) -> bool,
    ) -> Result<bool, BoxError> {
        let seconds = self.at_most.as_secs().max(1);
        let query =
            format!("allowWatchBookmarks=true&resourceVersion={version}&timeoutSeconds={seconds}&watch=true");
        let response = client.send(self.request(&query)?).await?;
        if !response.status().is_success() {
            return Err(format!("watch refused with status {}", response.status()).into());
        }
        let mut body = response.into_body();
        let mut events = Events::default();
        let mut has_changed = false;
        while let Some(frame) = body.frame().await {
            events
                .0
                .extend_from_slice(&frame?.into_data().unwrap_or_default());
            while let Some(event) = events.next()? {
                let object = match event.kind.as_str() {
                    "ADDED" | "MODIFIED" if self.is(&event.object) => Some(event.object),
                    "DELETED" if self.is(&event.object) => None,
                    "ERROR" => return Ok(has_changed),
                    _ => continue,
                };
                has_changed |= changed(object);
            }
        }
        Ok(has_changed)
    }

    fn request(&self, query: &str) -> Result<Request<Body>, BoxError> {
        let Self { collection, name, .. } = self;
        let target = format!("{collection}?fieldSelector=metadata.name%3D{name}&{query}");
        let request = Request::get(target).header("Accept", "application/json");
        Ok(request.body(Body::empty())?)
    }

    /// Whether this is the object: a server may answer with others.
    fn is(&self, object: &Value) -> bool {
        object["metadata"]["name"] == self.name
    }
}

// === impl Events ===

impl Events {
    /// Takes the next event off what has arrived, if it is whole.
    fn next(&mut self) -> Result<Option<Event>, BoxError> {
        let mut values = serde_json::Deserializer::from_slice(&self.0).into_iter::<Event>();
        match values.next() {
            Some(Ok(event)) => {
                let length = values.byte_offset();
                self.0.advance(length);
                Ok(Some(event))
            }
            Some(Err(error)) if error.is_eof() && self.0.len() <= MAX_EVENT => Ok(None),
            Some(Err(error)) => Err(error.into()),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_any_pieces() {
        let text = br#"{"type":"ADDED","object":{"a":"}{"}}{"type":"DELETED","object":{}}
            {"type":"BOOKMARK"}"#;
        for size in 1..text.len() {
            let mut events = Events::default();
            let mut kinds = Vec::new();
            for piece in text.chunks(size) {
                events.0.extend_from_slice(piece);
                while let Some(event) = events.next().unwrap() {
                    kinds.push(event.kind);
                }
            }
            assert_eq!(kinds, ["ADDED", "DELETED", "BOOKMARK"], "{size}");
        }
        let mut events = Events(BytesMut::from(&b"<html>"[..]));
        assert!(events.next().is_err());
    }
}
