//! The functions of the http-wasm handler ABI that a module may import.
//!
//! Texts go through the module's memory: the module names a place and how long it is, the sidecar writes what fits
//! as a whole and answers with the true length.

use std::fmt;

use bytes::BytesMut;
use http::{HeaderName, HeaderValue, Method, StatusCode, Version};
use wasmi::{Caller, Error, Extern, Linker, Memory, errors::LinkerError};

use crate::host::{Host, Wanted};

/// Says that a module waits for a body; it is not seen outside of this crate.
#[derive(Debug)]
struct Waits;

const MODULE: &str = "http_handler";
const SCOPE: &str = "dapr.contrib";

// === impl Waits ===

impl fmt::Display for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the module waits for a body")
    }
}

impl wasmi::errors::HostError for Waits {}

/// Defines all functions.
pub(crate) fn define(linker: &mut Linker<Host>) -> Result<(), LinkerError> {
    about_the_host(linker)?;
    about_the_request(linker)?;
    about_headers(linker)?;
    about_bodies(linker)
}

fn about_the_host(linker: &mut Linker<Host>) -> Result<(), LinkerError> {
    linker.func_wrap(
        MODULE,
        "enable_features",
        |mut caller: Caller<'_, Host>, features: i32| {
            caller
                .data_mut()
                .features
                .enable(features.cast_unsigned())
                .cast_signed()
        },
    )?;
    linker.func_wrap(
        MODULE,
        "get_config",
        |mut caller: Caller<'_, Host>, address: i32, limit: i32| {
            let config = caller.data().settings.guest_config.clone();
            put(&mut caller, address, limit, config.as_bytes())
        },
    )?;
    linker.func_wrap(MODULE, "log_enabled", |level: i32| {
        i32::from((-1..=2).contains(&level))
    })?;
    linker.func_wrap(
        MODULE,
        "log",
        |caller: Caller<'_, Host>, level: i32, address: i32, length: i32| -> Result<(), Error> {
            let text = text(&caller, address, length)?;
            let component = &*caller.data().settings.log_name;
            match level {
                -1 => tracing::debug!(target: SCOPE, component, "{text}"),
                0 => tracing::info!(target: SCOPE, component, "{text}"),
                1 => tracing::warn!(target: SCOPE, component, "{text}"),
                2 => tracing::error!(target: SCOPE, component, "{text}"),
                _ => {}
            }
            Ok(())
        },
    )?;
    Ok(())
}

fn about_the_request(linker: &mut Linker<Host>) -> Result<(), LinkerError> {
    linker.func_wrap(
        MODULE,
        "get_method",
        |mut caller: Caller<'_, Host>, address: i32, limit: i32| {
            let method = caller.data().method.clone();
            put(&mut caller, address, limit, method.as_str().as_bytes())
        },
    )?;
    linker.func_wrap(
        MODULE,
        "set_method",
        |mut caller: Caller<'_, Host>, address: i32, length: i32| -> Result<(), Error> {
            let method = text(&caller, address, length)?;
            let method = Method::from_bytes(method.as_bytes());
            caller.data_mut().method = method.map_err(|_| Error::new("invalid method"))?;
            Ok(())
        },
    )?;
    linker.func_wrap(
        MODULE,
        "get_uri",
        |mut caller: Caller<'_, Host>, address: i32, limit: i32| {
            let uri = &caller.data().uri;
            let target = uri
                .path_and_query()
                .map_or("/", |target| target.as_str())
                .to_owned();
            put(&mut caller, address, limit, target.as_bytes())
        },
    )?;
    linker.func_wrap(
        MODULE,
        "set_uri",
        |mut caller: Caller<'_, Host>, address: i32, length: i32| -> Result<(), Error> {
            let target = text(&caller, address, length)?;
            let target = if target.is_empty() { "/" } else { &target };
            let target = target.parse().map_err(|_| Error::new("invalid URI"))?;
            let mut parts = caller.data().uri.clone().into_parts();
            parts.path_and_query = Some(target);
            caller.data_mut().uri = parts.try_into().map_err(|_| Error::new("invalid URI"))?;
            Ok(())
        },
    )?;
    linker.func_wrap(
        MODULE,
        "get_protocol_version",
        |mut caller: Caller<'_, Host>, address: i32, limit: i32| {
            let version = match caller.data().version {
                Version::HTTP_2 => "HTTP/2.0",
                Version::HTTP_10 => "HTTP/1.0",
                _ => "HTTP/1.1",
            };
            put(&mut caller, address, limit, version.as_bytes())
        },
    )?;
    linker.func_wrap(
        MODULE,
        "get_source_addr",
        |mut caller: Caller<'_, Host>, address: i32, limit: i32| {
            let source = caller.data().source.map(|source| source.to_string());
            put(&mut caller, address, limit, source.unwrap_or_default().as_bytes())
        },
    )?;
    linker.func_wrap(MODULE, "get_status_code", |caller: Caller<'_, Host>| {
        i32::from(caller.data().status.as_u16())
    })?;
    linker.func_wrap(
        MODULE,
        "set_status_code",
        |mut caller: Caller<'_, Host>, status: i32| -> Result<(), Error> {
            let status = u16::try_from(status)
                .ok()
                .and_then(|status| StatusCode::from_u16(status).ok());
            caller.data_mut().status = status.ok_or_else(|| Error::new("invalid status code"))?;
            Ok(())
        },
    )?;
    Ok(())
}

fn about_headers(linker: &mut Linker<Host>) -> Result<(), LinkerError> {
    linker.func_wrap(
        MODULE,
        "get_header_names",
        |mut caller: Caller<'_, Host>, kind: i32, address: i32, limit: i32| {
            let headers = caller.data_mut().headers(kind);
            let names: Vec<_> = headers
                .map(|headers| {
                    headers
                        .keys()
                        .map(|name| name.as_str().as_bytes().to_vec())
                        .collect()
                })
                .unwrap_or_default();
            put_list(&mut caller, address, limit, &names)
        },
    )?;
    linker.func_wrap(
        MODULE,
        "get_header_values",
        |mut caller: Caller<'_, Host>, kind: i32, name: i32, length: i32, address: i32, limit: i32| {
            let name = header_name(&caller, name, length)?;
            let headers = caller.data_mut().headers(kind);
            let values: Vec<_> = headers
                .map(|headers| {
                    let values = headers.get_all(&name).iter();
                    values.map(|value| value.as_bytes().to_vec()).collect()
                })
                .unwrap_or_default();
            put_list(&mut caller, address, limit, &values)
        },
    )?;
    for (function, adds) in [("set_header_value", false), ("add_header_value", true)] {
        linker.func_wrap(
            MODULE,
            function,
            move |mut caller: Caller<'_, Host>,
                  kind: i32,
                  name: i32,
                  name_length: i32,
                  value: i32,
                  value_length: i32|
                  -> Result<(), Error> {
                let name = header_name(&caller, name, name_length)?;
                let value = bytes(&caller, value, value_length)?;
                let value =
                    HeaderValue::from_bytes(&value).map_err(|_| Error::new("invalid header value"))?;
                if let Some(headers) = caller.data_mut().headers(kind) {
                    if adds {
                        headers.append(name, value);
                    } else {
                        headers.insert(name, value);
                    }
                }
                Ok(())
            },
        )?;
    }
    linker.func_wrap(
        MODULE,
        "remove_header",
        |mut caller: Caller<'_, Host>, kind: i32, name: i32, length: i32| -> Result<(), Error> {
            let name = header_name(&caller, name, length)?;
            if let Some(headers) = caller.data_mut().headers(kind) {
                headers.remove(name);
            }
            Ok(())
        },
    )?;
    Ok(())
}

fn about_bodies(linker: &mut Linker<Host>) -> Result<(), LinkerError> {
    linker.func_wrap(
        MODULE,
        "read_body",
        |mut caller: Caller<'_, Host>, _kind: i32, address: i32, limit: i32| -> Result<i64, Error> {
            // Bodies are awaited outside of the module: this call is resumed when there is something.
            caller.data_mut().wanted = Some(Wanted {
                address: place(address),
                limit: place(limit),
            });
            Err(Error::host(Waits))
        },
    )?;
    linker.func_wrap(
        MODULE,
        "write_body",
        |mut caller: Caller<'_, Host>, kind: i32, address: i32, length: i32| -> Result<(), Error> {
            let piece = bytes(&caller, address, length)?;
            let written = caller.data_mut().written.get_mut(place(kind));
            let written = written.ok_or_else(|| Error::new("unknown kind of body"))?;
            written
                .get_or_insert_with(BytesMut::new)
                .extend_from_slice(&piece);
            Ok(())
        },
    )?;
    Ok(())
}

/// Addresses and lengths are unsigned.
pub(crate) fn place(number: i32) -> usize {
    usize::try_from(number.cast_unsigned()).unwrap_or(usize::MAX)
}

/// The module's memory.
pub(crate) fn memory(caller: &Caller<'_, Host>) -> Result<Memory, Error> {
    let memory = caller.get_export("memory").and_then(Extern::into_memory);
    memory.ok_or_else(|| Error::new("the module has no memory"))
}

/// Bytes of the module's memory.
pub(crate) fn bytes(caller: &Caller<'_, Host>, address: i32, length: i32) -> Result<Vec<u8>, Error> {
    let (start, length) = (place(address), place(length));
    let memory = memory(caller)?;
    let all = memory.data(caller);
    let found = start.checked_add(length).and_then(|end| all.get(start..end));
    found
        .map(<[u8]>::to_vec)
        .ok_or_else(|| Error::new("out of memory range"))
}

fn text(caller: &Caller<'_, Host>, address: i32, length: i32) -> Result<String, Error> {
    let bytes = bytes(caller, address, length)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn header_name(caller: &Caller<'_, Host>, address: i32, length: i32) -> Result<HeaderName, Error> {
    let name = bytes(caller, address, length)?;
    HeaderName::from_bytes(&name).map_err(|_| Error::new("invalid header name"))
}

/// Writes what fits as a whole; the result is how long it is.
fn put(caller: &mut Caller<'_, Host>, address: i32, limit: i32, bytes: &[u8]) -> Result<i32, Error> {
    if bytes.len() <= place(limit) {
        let memory = memory(caller)?;
        memory.write(&mut *caller, place(address), bytes)?;
    }
    i32::try_from(bytes.len()).map_err(|_| Error::new("too long"))
}

/// Writes texts, each with a NUL behind it, if all fit; the result is how many and how long they are.
fn put_list(
    caller: &mut Caller<'_, Host>,
    address: i32,
    limit: i32,
    texts: &[Vec<u8>],
) -> Result<i64, Error> {
    let joined: Vec<u8> = texts
        .iter()
        .flat_map(|text| text.iter().copied().chain([0]))
        .collect();
    let length = put(caller, address, limit, &joined)?;
    let count = i64::try_from(texts.len()).map_err(|_| Error::new("too many"))?;
    Ok(count << 32 | i64::from(length))
}
