//! One write: its script, its arguments, and what its failure is called.

use std::borrow::Cow;

use outrigger_component::state::{
    Concurrency, DeleteRequest, Metadata, SetRequest, StateError, TTL_IN_SECONDS, Value,
};
use outrigger_kit::json;
use outrigger_kit::number::atoi;
use redis::Cmd;

use super::Layout;
use crate::error::Error;
use crate::link::Again;
use crate::script::{By, DELETE, DELETE_DOCUMENT, SET, SET_DOCUMENT, Script};

/// A write that has been checked.
#[derive(Debug)]
pub(super) struct Write<'a> {
    pub(super) key: &'a str,
    script: &'static Script,
    /// Version that is expected, `0` for none.
    version: Cow<'a, str>,
    kind: Kind<'a>,
}

#[derive(Debug)]
enum Kind<'a> {
    Set {
        value: Cow<'a, [u8]>,
        is_first_write: bool,
        ttl: Option<i64>,
        has_etag: bool,
    },
    Delete,
}

/// The version of which nothing is expected.
const ANY: &str = "0";

// === impl Write ===

impl<'a> Write<'a> {
    /// A save; `ttl` is that of saves that name none.
    ///
    /// # Errors
    /// Options without a meaning, a tag or a time to live that is no number.
    pub(super) fn of_set(
        request: &'a SetRequest,
        layout: Layout,
        ttl: Option<i64>,
    ) -> Result<Self, StateError> {
        request.options.check()?;
        let mut own = Self::of_set_in_transaction(request, layout, ttl)?;
        if let Kind::Set { is_first_write, .. } = &mut own.kind {
            *is_first_write = request.options.is_first_write();
        }
        Ok(own)
    }

    /// A save as part of a transaction, which marks nothing as written by the first.
    ///
    /// # Errors
    /// A tag or a time to live that is no number.
    pub(super) fn of_set_in_transaction(
        request: &'a SetRequest,
        layout: Layout,
        ttl: Option<i64>,
    ) -> Result<Self, StateError> {
        let version = match &request.etag {
            Some(etag) if request.options.concurrency != Concurrency::LastWrite => {
                let version = atoi(etag).map_err(|error| StateError::invalid(error.to_string()))?;
                Cow::Owned(version.to_string())
            }
            _ => Cow::Borrowed(ANY),
        };
        let kind = Kind::Set {
            value: value(&request.value, layout),
            is_first_write: false,
            ttl: time_to_live(&request.metadata)?.or(ttl),
            has_etag: request.etag.is_some(),
        };
        let script = match layout {
            Layout::Hash => &SET,
            Layout::Document => &SET_DOCUMENT,
        };
        Ok(Self {
            key: &request.key,
            script,
            version,
            kind,
        })
    }

    /// A deletion.
    pub(super) fn of_delete(request: &'a DeleteRequest, layout: Layout) -> Self {
        Self {
            key: &request.key,
            script: match layout {
                Layout::Hash => &DELETE,
                Layout::Document => &DELETE_DOCUMENT,
            },
            version: Cow::Borrowed(request.etag.as_deref().unwrap_or(ANY)),
            kind: Kind::Delete,
        }
    }

    /// The script that does it.
    pub(super) const fn script(&self) -> &'static Script {
        self.script
    }

    /// The command that does it.
    pub(super) fn command(&self, by: By) -> Cmd {
        let mut command = self.script.call(by, self.key);
        command.arg(&*self.version);
        if let Kind::Set {
            value,
            is_first_write,
            ttl,
            ..
        } = &self.kind
        {
            command.arg(&**value).arg(if *is_first_write { "0" } else { "1" });
            match ttl {
                Some(seconds) => command.arg(*seconds),
                None => command.arg(""),
            };
        }
        command
    }

    /// Whether it may be done twice: only if it expects nothing, for the first time would change that.
    pub(super) fn again(&self) -> Again {
        let is_first_write = matches!(
            self.kind,
            Kind::Set {
                is_first_write: true,
                ..
            }
        );
        match self.version == ANY && !is_first_write {
            true => Again::Yes,
            false => Again::No,
        }
    }

    /// Whether all of them may be done twice.
    pub(super) fn again_all(writes: &[Self]) -> Again {
        match writes.iter().all(|write| write.again() == Again::Yes) {
            true => Again::Yes,
            false => Again::No,
        }
    }

    /// What the caller is told of a failure. Failures of a write with a tag, and of every deletion, are about the
    /// tag whatever they are, as they are in other sidecars.
    pub(super) fn failure(&self, error: &Error) -> StateError {
        match &self.kind {
            Kind::Delete | Kind::Set { has_etag: true, .. } => StateError::mismatch(error.clone()),
            Kind::Set { .. } => StateError::other(format!("failed to set key {}: {error}", self.key)),
        }
    }
}

/// The bytes that are stored.
fn value(value: &Value, layout: Layout) -> Cow<'_, [u8]> {
    match layout {
        Layout::Hash => Cow::Borrowed(value.as_bytes()),
        Layout::Document => {
            // Bytes that are JSON are the document; others become one, as a text.
            let bytes = value.as_bytes();
            let data = match serde_json::from_slice::<serde_json::Value>(bytes) {
                Ok(data) => json::to_go_vec(&json::sorted(data)),
                Err(_) => json::to_go_vec(&String::from_utf8_lossy(bytes)),
            };
            let mut document = Vec::with_capacity(data.len() + 9);
            document.extend_from_slice(b"{\"data\":");
            document.extend_from_slice(&data);
            document.push(b'}');
            Cow::Owned(document)
        }
    }
}

/// The seconds that the value is to live; any decimal number, and an empty text is none.
fn time_to_live(metadata: &Metadata) -> Result<Option<i64>, StateError> {
    let Some(text) = metadata.get(TTL_IN_SECONDS).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    atoi(text).map(Some).map_err(|error| {
        let error = error.to_string().replace("Atoi", "ParseInt");
        StateError::other(format!("failed to parse ttl from metadata: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use outrigger_component::state::Options;

    use super::*;

    fn arguments(write: &Write<'_>) -> Vec<String> {
        let packed = write.command(By::Text).get_packed_command();
        let redis::Value::Array(words) = redis::parse_redis_value(&packed).unwrap() else {
            panic!("a command is an array");
        };
        let words = words.iter().map(|word| crate::value::text(word).unwrap());
        words.skip(2).collect()
    }

    fn request(etag: Option<&str>, concurrency: &str, ttl: Option<&str>) -> SetRequest {
        let mut request = SetRequest::new("k", Value::from(serde_json::json!({"b": 1, "a": "<"})));
        request.etag = etag.map(str::to_owned);
        request.options = Options {
            concurrency: concurrency.into(),
            consistency: "".into(),
        };
        let ttl = ttl.map(|ttl| (TTL_IN_SECONDS.to_owned(), ttl.to_owned()));
        request.metadata.extend(ttl);
        request
    }

    #[test]
    fn a_save_expects_the_version_that_it_names() {
        let value = r#"{"a":"\u003c","b":1}"#;
        let table = [
            (request(None, "", None), ["0", value, "1", ""], Again::Yes),
            (request(Some("7"), "", None), ["7", value, "1", ""], Again::No),
            (
                request(Some("+07"), "first-write", None),
                ["7", value, "0", ""],
                Again::No,
            ),
            (
                request(Some("x"), "last-write", Some("-1")),
                ["0", value, "1", "-1"],
                Again::Yes,
            ),
            (
                request(None, "first-write", Some("60")),
                ["0", value, "0", "60"],
                Again::No,
            ),
            (request(None, "", Some("")), ["0", value, "1", ""], Again::Yes),
        ];
        for (request, expected, again) in table {
            let write = Write::of_set(&request, Layout::Hash, None).unwrap();
            assert_eq!(
                arguments(&write),
                [&["1", "k"], &expected[..]].concat(),
                "{request:?}"
            );
            assert_eq!(write.again(), again, "{request:?}");
        }
        let write_request = request(None, "", None);
        let own = Write::of_set(&write_request, Layout::Hash, Some(9)).unwrap();
        assert_eq!(arguments(&own).last().map(String::as_str), Some("9"));
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        let error = |request: SetRequest| {
            Write::of_set(&request, Layout::Hash, None)
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            error(request(Some("x"), "", None)),
            "invalid etag value: strconv.Atoi: parsing \"x\": invalid syntax"
        );
        assert_eq!(
            error(request(None, "", Some("soon"))),
            "failed to parse ttl from metadata: strconv.ParseInt: parsing \"soon\": invalid syntax"
        );
        assert_eq!(
            error(request(None, "often", None)),
            "unrecognized concurrency model 'often'"
        );
    }

    #[test]
    fn failures_are_about_the_tag_where_there_is_one() {
        let plain = request(None, "", None);
        let tagged = request(Some("1"), "", None);
        let failure = |request: &SetRequest| {
            let write = Write::of_set(request, Layout::Hash, None).unwrap();
            write.failure(&Error::Ended).to_string()
        };
        assert_eq!(failure(&plain), "failed to set key k: EOF");
        assert_eq!(
            failure(&tagged),
            "possible etag mismatch. error from state store: EOF"
        );
        let delete = DeleteRequest::new("k");
        let failure = Write::of_delete(&delete, Layout::Hash).failure(&Error::Ended);
        assert_eq!(
            failure.to_string(),
            "possible etag mismatch. error from state store: EOF"
        );
    }

    #[test]
    fn documents_hold_json_and_what_is_none_as_text() {
        let document =
            |value: Value| String::from_utf8(super::value(&value, Layout::Document).into_owned()).unwrap();
        assert_eq!(
            document(bytes::Bytes::from(r#" {"b": 1} "#).into()),
            r#"{"data":{"b":1}}"#
        );
        assert_eq!(document(serde_json::json!([1]).into()), r#"{"data":[1]}"#);
        assert_eq!(
            document(bytes::Bytes::from("no json").into()),
            r#"{"data":"no json"}"#
        );
    }
}
