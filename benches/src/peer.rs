//! The hot messages in the hands of a generated codec: what the hand-written one is compared with.

use std::collections::HashMap;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use outrigger_api::common::http_extension::Verb;
use outrigger_api::common::{HttpExtension, InvokeRequest, InvokeResponse, StreamPayload};
use outrigger_api::internals::{
    InternalInvokeRequest, InternalInvokeRequestStream, InternalInvokeResponse, InternalInvokeResponseStream,
    ListStringValue, Status,
};
use outrigger_kit::header::canonical;

use crate::samples::{self, FORWARDING};

type Map = HashMap<String, ListStringValue>;

/// [`samples::call`] with these headers of the client and this body.
pub(crate) fn request(headers: &HeaderMap, body: Bytes) -> InternalInvokeRequestStream {
    let mut metadata = to_map(headers);
    for (name, value) in FORWARDING {
        metadata.insert(
            name.to_owned(),
            ListStringValue {
                values: vec![value.to_owned()],
            },
        );
    }
    let message = InvokeRequest {
        method: "neworder".to_owned(),
        data: None,
        content_type: "application/json".to_owned(),
        http_extension: Some(HttpExtension {
            verb: Verb::Post.into(),
            querystring: "page=2&size=50".to_owned(),
        }),
    };
    let request = InternalInvokeRequest {
        ver: 1,
        metadata,
        message: Some(message),
        actor: None,
    };
    InternalInvokeRequestStream {
        request: Some(request),
        payload: payload(body),
    }
}

/// [`samples::reply`] with this body.
pub(crate) fn response(body: Bytes) -> InternalInvokeResponseStream {
    let mut headers = samples::app_headers();
    headers.remove("content-length");
    let response = InternalInvokeResponse {
        status: Some(Status {
            code: 200,
            ..Status::default()
        }),
        headers: to_map(&headers),
        trailers: HashMap::new(),
        message: Some(InvokeResponse {
            data: None,
            content_type: "application/json".to_owned(),
        }),
    };
    InternalInvokeResponseStream {
        response: Some(response),
        payload: payload(body),
    }
}

/// The headers of a received map, without the rules of a sidecar.
pub(crate) fn to_headers(map: &Map) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(map.len());
    for (name, list) in map {
        for value in &list.values {
            let name = HeaderName::from_bytes(name.as_bytes());
            if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value)) {
                headers.append(name, value);
            }
        }
    }
    headers
}

fn to_map(headers: &HeaderMap) -> Map {
    let mut map = Map::with_capacity(headers.len() + FORWARDING.len());
    for (name, value) in headers.iter().filter(|(name, _)| *name != http::header::HOST) {
        let list = map.entry(canonical(name.as_str()).into_owned()).or_default();
        list.values
            .push(String::from_utf8_lossy(value.as_bytes()).into_owned());
    }
    map
}

fn payload(data: Bytes) -> Option<StreamPayload> {
    (!data.is_empty()).then_some(StreamPayload { data, seq: 0 })
}
