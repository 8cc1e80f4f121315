//! State in blobs: one a key.
//!
//! Source: specification, state stores 13.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use outrigger_component::state::{
    DeleteRequest, GetRequest, Item, Metadata, SetRequest, StateError, StateStore,
};
use outrigger_component::{Feature, Init};
use outrigger_svc::{BoxError, BoxFuture};
use tokio::time::timeout_at;

use super::account::{Account, Place};
use super::names::{encoded, failed, parts, told};
use crate::service::{Ask, Patience};

/// Keeps state in the blobs of a container.
#[derive(Debug)]
pub struct BlobStorage {
    account: Account,
    /// Address of the container.
    container: String,
    naming: Naming,
}

/// The name of a key's blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Naming {
    /// The part of the key behind the app's: apps of one container share their blobs.
    Last,
    /// The whole key.
    Whole,
}

static FEATURES: [Feature; 1] = [Feature::ETAG];

const CONTAINER: &[&str] = &["containerName", "container", "storageAccountContainer"];

const X_BLOB_TYPE: HeaderName = HeaderName::from_static("x-ms-blob-type");
const X_ACCESS: HeaderName = HeaderName::from_static("x-ms-blob-public-access");

/// Request metadata that become headers of the blob.
const HEADERS: [(&str, &str); 6] = [
    ("contenttype", "x-ms-blob-content-type"),
    ("contentmd5", "x-ms-blob-content-md5"),
    ("contentencoding", "x-ms-blob-content-encoding"),
    ("contentlanguage", "x-ms-blob-content-language"),
    ("contentdisposition", "x-ms-blob-content-disposition"),
    ("cachecontrol", "x-ms-blob-cache-control"),
];

/// Version 1: blobs are named by the last part of the key.
pub(crate) async fn make_v1(init: Init) -> Result<Arc<dyn StateStore>, BoxError> {
    make(init, Naming::Last).await
}

/// Version 2: blobs are named by the whole key.
pub(crate) async fn make_v2(init: Init) -> Result<Arc<dyn StateStore>, BoxError> {
    make(init, Naming::Whole).await
}

async fn make(init: Init, naming: Naming) -> Result<Arc<dyn StateStore>, BoxError> {
    let connect = BlobStorage::connect(&init, naming);
    let store = timeout_at(init.deadline, connect).await;
    Ok(Arc::new(store.map_err(|_| "context deadline exceeded")??))
}

// === impl BlobStorage ===

impl BlobStorage {
    async fn connect(init: &Init, naming: Naming) -> Result<Self, BoxError> {
        let fields = init.properties.fields()?;
        let container = fields.text_of(CONTAINER).filter(|text| !text.is_empty());
        let container = container.ok_or("missing or empty containerName field from metadata")?;
        let retries = fields.integer("retryCount")?.unwrap_or(3);
        let patience = Patience {
            retries: u32::try_from(retries).unwrap_or_default(),
            limit: Duration::from_secs(60),
            ..Patience::default()
        };
        let place = Place::read(&fields, init, "blob", patience)?;
        let store = Self {
            container: format!("{}/{}", place.endpoint, encoded(container)),
            account: place.account,
            naming,
        };
        if fields.boolean("disableEntityManagement") != Some(true) {
            let access = fields.text("publicAccessLevel").unwrap_or_default();
            store.create(access).await?;
        }
        Ok(store)
    }

    /// Makes the container; one that is there is left as it is.
    async fn create(&self, access: &str) -> Result<(), BoxError> {
        let mut ask = Ask::new(Method::PUT, format!("{}?restype=container", self.container));
        match access {
            "" | "none" => {}
            "blob" | "container" => {
                ask.headers.insert(X_ACCESS, HeaderValue::from_str(access)?);
            }
            other => {
                return Err(
                    format!("invalid public access level: {other}; allowed: [blob container none]").into(),
                );
            }
        }
        let answer = self.account.send(ask).await?;
        match answer.status() {
            status if status.is_success() || status == StatusCode::CONFLICT => Ok(()),
            _ => Err(format!("error creating the container: {}", told(&answer)).into()),
        }
    }

    fn url(&self, key: &str) -> String {
        let name = match self.naming {
            Naming::Whole => key,
            Naming::Last => match parts(key) {
                (_, Some(second)) => second,
                (first, None) => first,
            },
        };
        format!("{}/{}", self.container, encoded(name))
    }

    async fn read(&self, request: &GetRequest) -> Result<Option<Item>, StateError> {
        let ask = Ask::new(Method::GET, self.url(&request.key));
        let answer = self.account.send(ask).await.map_err(StateError::Other)?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if !answer.status().is_success() {
            return Err(failed(&answer));
        }
        let header = |name: HeaderName| {
            let value = answer.headers().get(name)?;
            value.to_str().ok().map(str::to_owned)
        };
        Ok(Some(Item {
            etag: header(ETAG),
            content_type: header(CONTENT_TYPE),
            metadata: Metadata::new(),
            data: Some(answer.into_body()),
        }))
    }

    async fn write(&self, request: &SetRequest) -> Result<(), StateError> {
        let mut ask = Ask::new(Method::PUT, self.url(&request.key));
        ask.body = request.value.as_bytes().clone();
        ask.headers
            .insert(X_BLOB_TYPE, HeaderValue::from_static("BlockBlob"));
        describe(&mut ask.headers, request)?;
        match &request.etag {
            Some(etag) => {
                ask.headers.insert(IF_MATCH, tag(etag)?);
            }
            None if request.options.is_first_write() => {
                ask.headers.insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
            }
            None => {}
        }
        let answer = self.account.send(ask).await.map_err(StateError::Other)?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            StatusCode::PRECONDITION_FAILED if request.etag.is_some() => {
                Err(StateError::mismatch(told(&answer)))
            }
            _ => Err(StateError::other(format!(
                "error during write to the blob: {}",
                told(&answer)
            ))),
        }
    }

    async fn remove(&self, request: &DeleteRequest) -> Result<(), StateError> {
        let mut ask = Ask::new(Method::DELETE, self.url(&request.key));
        if let Some(etag) = &request.etag {
            ask.headers.insert(IF_MATCH, tag(etag)?);
        }
        let answer = self.account.send(ask).await.map_err(StateError::Other)?;
        match (answer.status(), &request.etag) {
            (status, _) if status.is_success() => Ok(()),
            (StatusCode::NOT_FOUND, None) => Ok(()),
            (StatusCode::NOT_FOUND | StatusCode::PRECONDITION_FAILED, Some(_)) => {
                Err(StateError::mismatch(told(&answer)))
            }
            _ => Err(failed(&answer)),
        }
    }
}

impl StateStore for BlobStorage {
    fn features(&self) -> &[Feature] {
        &FEATURES
    }

    fn get<'a>(&'a self, request: &'a GetRequest) -> BoxFuture<'a, Result<Option<Item>, StateError>> {
        Box::pin(self.read(request))
    }

    fn set<'a>(&'a self, request: &'a SetRequest) -> BoxFuture<'a, Result<(), StateError>> {
        Box::pin(self.write(request))
    }

    fn delete<'a>(&'a self, request: &'a DeleteRequest) -> BoxFuture<'a, Result<(), StateError>> {
        Box::pin(self.remove(request))
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), BoxError>> {
        Box::pin(async {
            let url = format!("{}?restype=container", self.container);
            let answer = self.account.send(Ask::new(Method::GET, url)).await?;
            match answer.status().is_success() {
                true => Ok(()),
                false => Err(told(&answer).into()),
            }
        })
    }
}

/// Puts request metadata on the blob: known names as its headers, others as its metadata.
fn describe(headers: &mut HeaderMap, request: &SetRequest) -> Result<(), StateError> {
    let mut media_type = request.content_type.as_deref();
    for (name, value) in &request.metadata {
        let lower = name.to_ascii_lowercase();
        if let Some((_, header)) = HEADERS.iter().find(|(known, _)| *known == lower) {
            if *header == "x-ms-blob-content-type" {
                media_type = Some(value);
                continue;
            }
            // The service wants the sum in base64, and callers may give it so only.
            let is_sum = *header == "x-ms-blob-content-md5";
            if is_sum && STANDARD.decode(value).is_err() {
                return Err(StateError::other("the metadata contentMD5 is not base64"));
            }
            headers.insert(HeaderName::from_static(header), ascii(value)?);
            continue;
        }
        let name: String = lower
            .chars()
            .filter(|character| character.is_ascii_alphanumeric() || *character == '_')
            .collect();
        if name.is_empty() || name.starts_with(|first: char| first.is_ascii_digit()) {
            continue;
        }
        let name = HeaderName::try_from(format!("x-ms-meta-{name}")).map_err(StateError::other)?;
        let value: String = value
            .chars()
            .filter(char::is_ascii)
            .filter(|character| !character.is_control())
            .collect();
        headers.insert(
            name,
            HeaderValue::try_from(value.trim()).map_err(StateError::other)?,
        );
    }
    if let Some(media_type) = media_type {
        headers.insert("x-ms-blob-content-type", ascii(media_type)?);
    }
    Ok(())
}

fn ascii(text: &str) -> Result<HeaderValue, StateError> {
    HeaderValue::from_str(text).map_err(StateError::other)
}

fn tag(etag: &str) -> Result<HeaderValue, StateError> {
    HeaderValue::from_str(etag).map_err(|_| StateError::mismatch("the etag cannot stand in a header"))
}
