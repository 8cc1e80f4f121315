//! Cryptography over HTTP: a whole document a request.
//!
//! Source: specification, HTTP API 5.7.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use http_body_util::BodyExt;
use outrigger_error::Error;
use outrigger_kit::boolean::is_truthy;
use outrigger_svc::{Body, Request, Response};

use super::Blocks;
use crate::crypto::{Conversion, EncryptOptions, EncryptRequest};

const KEY_NAME: &str = "dapr-key-name";
const ALGORITHM: &str = "dapr-key-wrap-algorithm";
const OMIT_KEY_NAME: &str = "dapr-omit-decryption-key-name";
const DECRYPTION_KEY_NAME: &str = "dapr-decryption-key-name";
const CIPHER: &str = "dapr-data-encryption-cipher";
const DOCUMENT: HeaderValue = HeaderValue::from_static("application/octet-stream");

// === impl Blocks ===

impl Blocks {
    /// Makes a document of the body.
    pub(super) async fn encrypt(&self, provider: &str, request: Request) -> Result<Response, Error> {
        let keys = self.building_blocks.crypto.find(provider)?;
        let (head, body) = request.into_parts();
        let options = EncryptOptions::try_from(EncryptRequest {
            key_name: &required(&head.headers, KEY_NAME)?,
            algorithm: &required(&head.headers, ALGORITHM)?,
            cipher: &text(&head.headers, CIPHER),
            omits_key_name: is_truthy(&text(&head.headers, OMIT_KEY_NAME)),
            decryption_key_name: &text(&head.headers, DECRYPTION_KEY_NAME),
        })?;
        convert(Conversion::encrypt(&keys, options).await?, body).await
    }

    /// Reads the document that the body is.
    pub(super) async fn decrypt(&self, provider: &str, request: Request) -> Result<Response, Error> {
        let keys = self.building_blocks.crypto.find(provider)?;
        let key_name = text(request.headers(), KEY_NAME).into_owned();
        convert(Conversion::decrypt(keys, key_name), request.into_body()).await
    }
}

/// Answers with all that a conversion makes of a body; only a whole document is an answer.
async fn convert(mut conversion: Conversion, mut body: Body) -> Result<Response, Error> {
    let mut output = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Error::Crypto(error.to_string()))?;
        let mut input = frame.into_data().unwrap_or_default();
        while let Some(piece) = conversion.next(&mut input).await? {
            output.extend_from_slice(&piece);
        }
    }
    while let Some(piece) = conversion.finish()? {
        output.extend_from_slice(&piece);
    }
    let mut response = Response::new(Body::from(Bytes::from(output)));
    response.headers_mut().insert(CONTENT_TYPE, DOCUMENT);
    Ok(response)
}

fn required<'a>(headers: &'a HeaderMap, name: &str) -> Result<Cow<'a, str>, Error> {
    let value = text(headers, name);
    match value.is_empty() {
        true => Err(Error::BadRequest(format!("missing header '{name}'"))),
        false => Ok(value),
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Cow<'a, str> {
    let value = headers.get(name).map(HeaderValue::as_bytes);
    String::from_utf8_lossy(value.unwrap_or_default())
}
