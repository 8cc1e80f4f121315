//! Requests to a container, and its answers.

use std::time::{Duration, SystemTime};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, IF_MATCH};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use outrigger_component::HttpClient;
use outrigger_component::state::Consistency;
use outrigger_kit::percent::encode_form;
use outrigger_svc::BoxError;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::Value;

use crate::credential::{Login, secret_header};
use crate::moment::http_date;
use crate::service::{Answer, Ask, Patience};

/// A client of one container.
#[derive(Debug)]
pub(super) struct Client {
    http: HttpClient,
    /// `https://<account>.documents.azure.com:443`
    account: String,
    /// `dbs/<database>/colls/<container>`
    container: String,
    access: Access,
}

/// Who asks. Its debug form has no secret.
pub(super) enum Access {
    /// Who has the account's key.
    Key(Box<hmac::Key>),
    /// Whom Microsoft Entra knows.
    Login { login: Login, scope: String },
}

/// What a request is about.
#[derive(Clone, Copy, Debug)]
enum Target<'a> {
    /// The container itself.
    Container,
    /// Its documents.
    Documents,
    /// One document.
    Document(&'a str),
}

/// Why the service did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    /// It was not reached.
    #[error(transparent)]
    Send(#[from] BoxError),
    /// It answered with an error.
    #[error("{status}{told}")]
    Status {
        /// Status of the answer.
        status: StatusCode,
        /// `: <code>: <message>` where it says so.
        told: String,
    },
    /// Its answer is none.
    #[error("the answer cannot be read: {0}")]
    Answer(#[from] serde_json::Error),
}

/// A part of the answer to a query.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) documents: Vec<Value>,
    /// Where the next part begins.
    pub(super) continuation: Option<String>,
}

/// Which documents a query sees.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scope<'a> {
    /// Those of a partition.
    Partition(&'a str),
    /// All.
    All,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Told {
    code: String,
    message: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Documents {
    documents: Vec<Value>,
}

const VERSION: HeaderValue = HeaderValue::from_static("2020-11-05");
const TRUE: HeaderValue = HeaderValue::from_static("True");
const QUERY: HeaderValue = HeaderValue::from_static("application/query+json");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

const X_DATE: HeaderName = HeaderName::from_static("x-ms-date");
const X_VERSION: HeaderName = HeaderName::from_static("x-ms-version");
const X_PARTITION: HeaderName = HeaderName::from_static("x-ms-documentdb-partitionkey");
const X_CONSISTENCY: HeaderName = HeaderName::from_static("x-ms-consistency-level");
const X_CONTINUATION: HeaderName = HeaderName::from_static("x-ms-continuation");
const X_MAX_ITEMS: HeaderName = HeaderName::from_static("x-ms-max-item-count");
const X_IS_QUERY: HeaderName = HeaderName::from_static("x-ms-documentdb-isquery");
const X_IS_UPSERT: HeaderName = HeaderName::from_static("x-ms-documentdb-is-upsert");
const X_IS_BATCH: HeaderName = HeaderName::from_static("x-ms-cosmos-is-batch-request");
const X_IS_ATOMIC: HeaderName = HeaderName::from_static("x-ms-cosmos-batch-atomic");
const X_CROSS: HeaderName = HeaderName::from_static("x-ms-documentdb-query-enablecrosspartition");

/// What stands in a path as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

const PATIENCE: Patience = Patience {
    retries: 9,
    pause: Duration::from_millis(100),
    max_pause: Duration::from_secs(10),
    limit: Duration::from_secs(20),
};

// === impl Client ===

impl Client {
    pub(super) fn new(http: HttpClient, url: &str, database: &str, container: &str, access: Access) -> Self {
        Self {
            http,
            account: url.trim_end_matches('/').to_owned(),
            container: format!("dbs/{database}/colls/{container}"),
            access,
        }
    }

    /// Asks for the container.
    pub(super) async fn container(&self) -> Result<(), ClientError> {
        let ask = self.ask(Method::GET, Target::Container);
        self.send(ask, Target::Container).await?;
        Ok(())
    }

    /// A document; none if it is not there.
    pub(super) async fn read(
        &self,
        id: &str,
        partition: &str,
        consistency: &Consistency,
    ) -> Result<Option<Value>, ClientError> {
        let target = Target::Document(id);
        let mut ask = self.ask(Method::GET, target);
        set_partition(&mut ask.headers, partition)?;
        set_consistency(&mut ask.headers, level(consistency));
        match self.send(ask, target).await {
            Ok(answer) => Ok(Some(serde_json::from_slice(answer.body())?)),
            Err(error) if error.is(StatusCode::NOT_FOUND) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes a document, if what is there has the tag.
    pub(super) async fn upsert(
        &self,
        document: &Value,
        partition: &str,
        etag: Option<&str>,
        consistency: &Consistency,
    ) -> Result<(), ClientError> {
        let mut ask = self.ask(Method::POST, Target::Documents);
        ask.headers.insert(X_IS_UPSERT, TRUE);
        ask.headers.insert(CONTENT_TYPE, JSON);
        set_partition(&mut ask.headers, partition)?;
        set_etag(&mut ask.headers, etag)?;
        set_consistency(&mut ask.headers, level(consistency));
        ask.body = serde_json::to_vec(document)?.into();
        self.send(ask, Target::Documents).await?;
        Ok(())
    }

    /// Deletes a document, if it has the tag; one that is not there is deleted.
    pub(super) async fn delete(
        &self,
        id: &str,
        partition: &str,
        etag: Option<&str>,
        consistency: &Consistency,
    ) -> Result<(), ClientError> {
        let target = Target::Document(id);
        let mut ask = self.ask(Method::DELETE, target);
        set_partition(&mut ask.headers, partition)?;
        set_etag(&mut ask.headers, etag)?;
        set_consistency(&mut ask.headers, level(consistency));
        match self.send(ask, target).await {
            Err(error) if !error.is(StatusCode::NOT_FOUND) => Err(error),
            _ => Ok(()),
        }
    }

    /// Does operations of one partition together; the status of each, in their order.
    pub(super) async fn batch(&self, operations: &[Value], partition: &str) -> Result<Vec<u16>, ClientError> {
        let mut ask = self.ask(Method::POST, Target::Documents);
        ask.headers.insert(X_IS_BATCH, TRUE);
        ask.headers.insert(X_IS_ATOMIC, TRUE);
        ask.headers.insert(CONTENT_TYPE, JSON);
        set_partition(&mut ask.headers, partition)?;
        ask.body = serde_json::to_vec(operations)?.into();
        let answer = self.send(ask, Target::Documents).await?;
        let results: Vec<Value> = serde_json::from_slice(answer.body())?;
        let status = |result: &Value| {
            result["statusCode"]
                .as_u64()
                .and_then(|status| u16::try_from(status).ok())
        };
        Ok(results
            .iter()
            .map(|result| status(result).unwrap_or_default())
            .collect())
    }

    /// A part of the documents that a query finds, at most `limit` (0 is as the service likes).
    pub(super) async fn query(
        &self,
        query: &Value,
        scope: Scope<'_>,
        limit: u32,
        continuation: Option<&str>,
        consistency: Option<&'static str>,
    ) -> Result<Page, ClientError> {
        let mut ask = self.ask(Method::POST, Target::Documents);
        ask.headers.insert(X_IS_QUERY, TRUE);
        ask.headers.insert(CONTENT_TYPE, QUERY);
        match scope {
            Scope::Partition(partition) => set_partition(&mut ask.headers, partition)?,
            Scope::All => {
                ask.headers.insert(X_CROSS, TRUE);
            }
        }
        if limit > 0 {
            ask.headers.insert(X_MAX_ITEMS, HeaderValue::from(limit));
        }
        if let Some(continuation) = continuation {
            let value = HeaderValue::from_str(continuation);
            ask.headers.insert(
                X_CONTINUATION,
                value.map_err(|_| "the token of the page is none")?,
            );
        }
        set_consistency(&mut ask.headers, consistency);
        ask.body = serde_json::to_vec(query)?.into();
        let answer = self.send(ask, Target::Documents).await?;
        let documents: Documents = serde_json::from_slice(answer.body())?;
        let next = answer.headers().get(X_CONTINUATION);
        let next = next
            .and_then(|next| next.to_str().ok())
            .filter(|next| !next.is_empty());
        Ok(Page {
            documents: documents.documents,
            continuation: next.map(str::to_owned),
        })
    }

    fn ask(&self, method: Method, target: Target<'_>) -> Ask {
        let path: Vec<_> = self.container.split('/').map(encoded).collect();
        let path = path.join("/");
        let mut ask = match target {
            Target::Container => Ask::new(method, format!("{}/{path}", self.account)),
            Target::Documents => Ask::new(method, format!("{}/{path}/docs", self.account)),
            Target::Document(id) => Ask::new(method, format!("{}/{path}/docs/{}", self.account, encoded(id))),
        };
        ask.headers.insert(X_VERSION, VERSION);
        ask
    }

    async fn send(&self, mut ask: Ask, target: Target<'_>) -> Result<Answer, ClientError> {
        if let Access::Login { login, scope } = &self.access {
            let token = login.token(scope).await.map_err(BoxError::from)?;
            let text = encode_form(&format!("type=aad&ver=1.0&sig={token}"));
            ask.headers
                .insert(AUTHORIZATION, secret_header(&text).map_err(BoxError::from)?);
        }
        let answer = ask
            .send(&self.http, PATIENCE, |ask| self.sign(ask, target))
            .await?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        Err(ClientError::Status {
            status: answer.status(),
            told: told(answer.body()),
        })
    }

    /// Signs a request with the account's key, which takes the time into account.
    fn sign(&self, ask: &mut Ask, target: Target<'_>) -> Result<(), BoxError> {
        let date = http_date(SystemTime::now());
        if let Access::Key(key) = &self.access {
            let (kind, link) = match target {
                Target::Container => ("colls", self.container.clone()),
                Target::Documents => ("docs", self.container.clone()),
                Target::Document(id) => ("docs", format!("{}/docs/{id}", self.container)),
            };
            let text = signature(key, &ask.method, kind, &link, &date);
            ask.headers.insert(AUTHORIZATION, secret_header(&text)?);
        }
        ask.headers.insert(X_DATE, HeaderValue::try_from(date)?);
        Ok(())
    }
}

// === impl Access ===

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Key(_) => "Key",
            Self::Login { .. } => "Login",
        })
    }
}

// === impl ClientError ===

impl ClientError {
    /// Whether the service answered with this status.
    pub(super) fn is(&self, wanted: StatusCode) -> bool {
        matches!(self, Self::Status { status, .. } if *status == wanted)
    }
}

impl From<&'static str> for ClientError {
    fn from(reason: &'static str) -> Self {
        Self::Send(reason.into())
    }
}

/// What proves that a request comes from who has the key.
///
/// Source: "Access control on Azure Cosmos DB resources", the part on tokens of a master key.
fn signature(key: &hmac::Key, method: &Method, kind: &str, link: &str, date: &str) -> String {
    let text = format!(
        "{}\n{kind}\n{link}\n{}\n\n",
        method.as_str().to_ascii_lowercase(),
        date.to_ascii_lowercase()
    );
    let signature = STANDARD.encode(hmac::sign(key, text.as_bytes()));
    encode_form(&format!("type=master&ver=1.0&sig={signature}"))
}

/// `: <code>: <message>` of an answer that is an error.
fn told(body: &Bytes) -> String {
    let told: Told = serde_json::from_slice(body).unwrap_or_default();
    let message = told.message.lines().next().unwrap_or_default();
    match (told.code.as_str(), message) {
        ("", "") => String::new(),
        (text, "") | ("", text) => format!(": {text}"),
        (code, message) => format!(": {code}: {message}"),
    }
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string()
}

/// The partition of a request: a JSON list of one text, in ASCII, for it stands in a header.
fn set_partition(headers: &mut HeaderMap, partition: &str) -> Result<(), ClientError> {
    let text = ascii(&serde_json::to_string(&[partition])?);
    let value = HeaderValue::try_from(text).map_err(|_| "the partition key cannot stand in a header")?;
    headers.insert(X_PARTITION, value);
    Ok(())
}

fn set_etag(headers: &mut HeaderMap, etag: Option<&str>) -> Result<(), ClientError> {
    if let Some(etag) = etag {
        let value = HeaderValue::from_str(etag).map_err(|_| "the etag cannot stand in a header")?;
        headers.insert(IF_MATCH, value);
    }
    Ok(())
}

fn set_consistency(headers: &mut HeaderMap, level: Option<&'static str>) {
    if let Some(level) = level {
        headers.insert(X_CONSISTENCY, HeaderValue::from_static(level));
    }
}

/// The level of a consistency in the service's words.
const fn level(consistency: &Consistency) -> Option<&'static str> {
    match consistency {
        Consistency::Strong => Some("Session"),
        Consistency::Eventual => Some("Eventual"),
        _ => None,
    }
}

/// JSON with all that is not ASCII escaped.
fn ascii(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for character in json.chars() {
        if character.is_ascii() {
            text.push(character);
        } else {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                text.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_that_of_the_service() {
        // The example of the service's documentation.
        let key = "dsZQi3KtZmCv1ljt3VNWNm7sQUF1y5rJfC6kv5JiwvW0EndXdDku/dkKBp8/ufDToSxLzR4y+O/0H/t4bQtVNw==";
        let key = hmac::Key::new(hmac::HMAC_SHA256, &STANDARD.decode(key).unwrap());
        let date = "Thu, 27 Apr 2017 00:51:12 GMT";
        let text = signature(&key, &Method::GET, "dbs", "dbs/ToDoList", date);
        let expected = "type%3Dmaster%26ver%3D1.0%26sig%3Dc09PEVJrgp2uQRkr934kFbTqhByc7TVr3OHyqlu%2Bc%2Bc%3D";
        assert_eq!(text, expected);
    }

    #[test]
    fn partitions_stand_in_headers() {
        let mut headers = HeaderMap::new();
        set_partition(&mut headers, "a\"b\u{e9}\u{1f600}").unwrap();
        assert_eq!(headers[X_PARTITION], r#"["a\"b\u00e9\ud83d\ude00"]"#);
    }

    #[test]
    fn errors_say_what_the_service_says() {
        let body = Bytes::from_static(br#"{"code":"BadRequest","message":"no\r\nActivityId: 1"}"#);
        let status = StatusCode::BAD_REQUEST;
        let error = ClientError::Status {
            status,
            told: told(&body),
        };
        assert_eq!(error.to_string(), "400 Bad Request: BadRequest: no");
        assert_eq!(told(&Bytes::from_static(b"<html>")), "");
    }
}
