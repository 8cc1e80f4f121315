//! What requests say, read as Go's decoder reads them: names in any case, `null` as nothing, unknown members
//! ignored, and values of the wrong kind refused in its words.

use std::borrow::Cow;

use bytes::Bytes;
use outrigger_component::state::{
    Concurrency, Consistency, DeleteRequest, Json, Metadata, Options, SetRequest, Value,
};
use outrigger_error::Error;
use outrigger_kit::json::{self, Kind as JsonKind, Raw, ReadError, Reader};

use crate::state::{Write, etag};

/// A request for several values.
#[derive(Debug, Default)]
pub(super) struct BulkGet {
    pub(super) keys: Vec<String>,
    /// 0 is all at once.
    pub(super) parallelism: usize,
    pub(super) metadata: Metadata,
}

/// A request for several writes together.
#[derive(Debug, Default)]
pub(super) struct Transaction<'a> {
    pub(super) operations: Vec<Operation<'a>>,
    pub(super) metadata: Metadata,
}

/// One of them, as it is written.
#[derive(Debug, Default)]
pub(super) struct Operation<'a> {
    pub(super) kind: Cow<'a, str>,
    request: Option<Raw<'a>>,
}

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Upsert,
    Delete,
}

/// The members of a write.
#[derive(Debug, Default)]
struct Members<'a> {
    key: Option<Cow<'a, str>>,
    value: Option<Raw<'a>>,
    etag: Option<Cow<'a, str>>,
    metadata: Metadata,
    options: Options,
    content_type: Option<Cow<'a, str>>,
}

type Read<T = ()> = Result<T, ReadError>;

/// The values that are to be saved.
pub(super) fn save(body: &Bytes) -> Read<Vec<SetRequest>> {
    json::first(body, |reader| {
        let mut requests = Vec::new();
        let is_list = begin(reader, JsonKind::Array, "Go value of type []state.SetRequest")?;
        if is_list {
            reader.items(|reader| {
                let members = Members::read(reader, "Go value of type state.SetRequest")?;
                requests.push(members.set(body)?);
                Read::Ok(())
            })?;
        }
        Ok(requests)
    })
}

/// The keys whose values are asked for.
pub(super) fn bulk_get(body: &[u8]) -> Read<BulkGet> {
    json::first(body, |reader| {
        let mut request = BulkGet::default();
        if !begin(reader, JsonKind::Object, "Go value of type http.BulkGetRequest")? {
            return Ok(request);
        }
        reader.members(|reader, name| {
            if name.eq_ignore_ascii_case("keys") {
                let place = "Go struct field BulkGetRequest.keys of type []string";
                request.keys.clear();
                if begin(reader, JsonKind::Array, place)? {
                    reader.items(|reader| {
                        let key = reader.text("Go struct field BulkGetRequest.keys of type string")?;
                        request.keys.push(key.unwrap_or_default().into_owned());
                        Read::Ok(())
                    })?;
                }
            } else if name.eq_ignore_ascii_case("parallelism") {
                let place = "Go struct field BulkGetRequest.parallelism of type int";
                request.parallelism = parallelism(reader, place)?;
            } else if name.eq_ignore_ascii_case("metadata") {
                metadata(reader, &mut request.metadata, &BULK_METADATA)?;
            } else {
                reader.skip()?;
            }
            Ok(())
        })?;
        Ok(request)
    })
}

/// The writes that are to happen together.
pub(super) fn transaction(body: &[u8]) -> Read<Transaction<'_>> {
    json::first(body, |reader| {
        let mut request = Transaction::default();
        let place = "Go value of type http.stateTransactionRequestBody";
        if !begin(reader, JsonKind::Object, place)? {
            return Ok(request);
        }
        reader.members(|reader, name| {
            if name.eq_ignore_ascii_case("operations") {
                let place = "Go struct field stateTransactionRequestBody.operations of type \
                             []http.stateTransactionRequestBodyOperation";
                request.operations.clear();
                if begin(reader, JsonKind::Array, place)? {
                    reader.items(|reader| {
                        request.operations.push(Operation::read(reader)?);
                        Read::Ok(())
                    })?;
                }
            } else if name.eq_ignore_ascii_case("metadata") {
                metadata(reader, &mut request.metadata, &TRANSACTION_METADATA)?;
            } else {
                reader.skip()?;
            }
            Ok(())
        })?;
        Ok(request)
    })
}

// === impl Operation ===

impl<'a> Operation<'a> {
    fn read(reader: &mut Reader<'a>) -> Read<Self> {
        let mut operation = Self::default();
        let place = "Go struct field stateTransactionRequestBody.operations of type \
                     http.stateTransactionRequestBodyOperation";
        if !begin(reader, JsonKind::Object, place)? {
            return Ok(operation);
        }
        reader.members(|reader, name| {
            if name.eq_ignore_ascii_case("operation") {
                let place = "Go struct field stateTransactionRequestBodyOperation.operations.operation of type string";
                operation.kind = reader.text(place)?.unwrap_or_default();
            } else if name.eq_ignore_ascii_case("request") {
                operation.request = Some(reader.skip()?);
            } else {
                reader.skip()?;
            }
            Read::Ok(())
        })?;
        Ok(operation)
    }

    /// The write that it asks for; `body` is where it stands in.
    pub(super) fn write(&self, kind: Kind, body: &Bytes) -> Read<Write> {
        let read = |place| match self.request {
            Some(raw) => json::first(raw.text, |reader| Members::read(reader, place)),
            None => Ok(Members::default()),
        };
        Ok(match kind {
            Kind::Upsert => Write::Upsert(read("Go value of type state.SetRequest")?.set(body)?),
            Kind::Delete => Write::Delete(read("Go value of type state.DeleteRequest")?.delete()),
        })
    }
}

// === impl Kind ===

impl Kind {
    /// What the operation of this name does.
    pub(super) fn of(name: &str) -> Result<Self, Error> {
        match name {
            "upsert" => Ok(Self::Upsert),
            "delete" => Ok(Self::Delete),
            other => Err(Error::StateOperation(other.to_owned())),
        }
    }
}

// === impl Members ===

impl<'a> Members<'a> {
    fn read(reader: &mut Reader<'a>, place: &'static str) -> Read<Self> {
        let mut members = Self::default();
        if !begin(reader, JsonKind::Object, place)? {
            return Ok(members);
        }
        reader.members(|reader, name| {
            if name.eq_ignore_ascii_case("key") {
                members.key = reader.text("Go struct field SetRequest.key of type string")?;
            } else if name.eq_ignore_ascii_case("value") {
                members.value = Some(reader.skip()?);
            } else if name.eq_ignore_ascii_case("etag") {
                members.etag = reader.text("Go struct field SetRequest.etag of type string")?;
            } else if name.eq_ignore_ascii_case("metadata") {
                metadata(reader, &mut members.metadata, &SET_METADATA)?;
            } else if name.eq_ignore_ascii_case("options") {
                members.options = options(reader)?;
            } else if name.eq_ignore_ascii_case("contentType") {
                members.content_type =
                    reader.text("Go struct field SetRequest.contentType of type string")?;
            } else {
                reader.skip()?;
            }
            Read::Ok(())
        })?;
        Ok(members)
    }

    fn set(self, body: &Bytes) -> Read<SetRequest> {
        let value = match self.value {
            Some(raw) => Json::read(body, raw).map_err(|error| match error {
                ReadError::Mismatch { found, .. } => ReadError::Mismatch {
                    found,
                    place: "Go struct field SetRequest.value of type float64".into(),
                },
                other => other,
            })?,
            None => Json::null(),
        };
        Ok(SetRequest {
            key: self.key.unwrap_or_default().into_owned(),
            value: Value::Json(value),
            etag: etag(self.etag.map(Cow::into_owned)),
            metadata: self.metadata,
            options: self.options,
            content_type: self.content_type.map(Cow::into_owned),
        })
    }

    fn delete(self) -> DeleteRequest {
        DeleteRequest {
            key: self.key.unwrap_or_default().into_owned(),
            etag: etag(self.etag.map(Cow::into_owned)),
            metadata: self.metadata,
            options: self.options,
        }
    }
}

/// Places of a map and of its values.
type Places = [&'static str; 2];

const SET_METADATA: Places = [
    "Go struct field SetRequest.metadata of type map[string]string",
    "Go struct field SetRequest.metadata of type string",
];
const BULK_METADATA: Places = [
    "Go struct field BulkGetRequest.metadata of type map[string]string",
    "Go struct field BulkGetRequest.metadata of type string",
];
const TRANSACTION_METADATA: Places = [
    "Go struct field stateTransactionRequestBody.metadata of type map[string]string",
    "Go struct field stateTransactionRequestBody.metadata of type string",
];

/// Whether a value of this kind comes next; `null` is read over.
fn begin(reader: &mut Reader<'_>, kind: JsonKind, place: &'static str) -> Read<bool> {
    match reader.kind()? {
        found if found == kind => Ok(true),
        JsonKind::Null => reader.skip().map(|_| false),
        found => Err(reader.mismatch(found, place)),
    }
}

fn metadata(reader: &mut Reader<'_>, metadata: &mut Metadata, places: &Places) -> Read {
    let [of_map, of_value] = *places;
    if !begin(reader, JsonKind::Object, of_map)? {
        return Ok(());
    }
    reader.members(|reader, name| {
        let value = reader.text(of_value)?.unwrap_or_default();
        metadata.insert(name.into_owned(), value.into_owned());
        Ok(())
    })
}

fn options(reader: &mut Reader<'_>) -> Read<Options> {
    let mut options = Options::default();
    let place = "Go struct field SetRequest.options of type state.SetStateOption";
    if !begin(reader, JsonKind::Object, place)? {
        return Ok(options);
    }
    reader.members(|reader, name| {
        if name.eq_ignore_ascii_case("concurrency") {
            let place = "Go struct field SetStateOption.options.concurrency of type string";
            options.concurrency = Concurrency::from(&*reader.text(place)?.unwrap_or_default());
        } else if name.eq_ignore_ascii_case("consistency") {
            let place = "Go struct field SetStateOption.options.consistency of type string";
            options.consistency = Consistency::from(&*reader.text(place)?.unwrap_or_default());
        } else {
            reader.skip()?;
        }
        Read::Ok(())
    })?;
    Ok(options)
}

fn parallelism(reader: &mut Reader<'_>, place: &'static str) -> Read<usize> {
    match reader.kind()? {
        JsonKind::Null => reader.skip().map(|_| 0),
        JsonKind::Number => {
            let mut at_number = reader.clone();
            let text = String::from_utf8_lossy(reader.skip()?.text);
            match text.parse::<i64>() {
                Ok(limit) => Ok(usize::try_from(limit).unwrap_or(0)),
                Err(_) => Err(at_number.mismatch(JsonKind::Number, place)),
            }
        }
        found => Err(reader.mismatch(found, place)),
    }
}
