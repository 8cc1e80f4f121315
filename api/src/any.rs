//! `google.protobuf.Any` whose value is a slice of the message it came in, not a copy.

use bytes::Bytes;
use prost::{DecodeError, Message, Name};

/// A message of any type with the URL that names the type.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct Any {
    /// `type.googleapis.com/<full name>`; empty for a plain payload.
    #[prost(string, tag = "1")]
    pub type_url: String,
    /// The encoded message, or the plain payload.
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
}

// === impl Any ===

impl Any {
    /// Encodes `message` under its type's URL.
    pub fn pack<M: Name>(message: &M) -> Self {
        Self {
            type_url: format!("type.googleapis.com/{}", M::full_name()),
            value: message.encode_to_vec().into(),
        }
    }

    /// Decodes the message if it is of type `M`, whatever host the URL names.
    ///
    /// # Errors
    /// If the URL names `M` but the value is not one.
    pub fn unpack<M: Name + Default>(&self) -> Result<Option<M>, DecodeError> {
        let full_name = self.type_url.rsplit_once('/').map_or("", |(_, name)| name);
        if full_name != M::full_name() {
            return Ok(None);
        }
        M::decode(self.value.clone()).map(Some)
    }
}

impl Name for Any {
    const NAME: &'static str = "Any";
    const PACKAGE: &'static str = "google.protobuf";
}

impl From<prost_types::Any> for Any {
    fn from(any: prost_types::Any) -> Self {
        Self {
            type_url: any.type_url,
            value: any.value.into(),
        }
    }
}

impl From<Any> for prost_types::Any {
    fn from(any: Any) -> Self {
        Self {
            type_url: any.type_url,
            value: any.value.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc;

    #[test]
    fn a_message_is_unpacked_only_as_what_it_is() {
        let info = rpc::ErrorInfo {
            reason: "WHY".to_owned(),
            ..rpc::ErrorInfo::default()
        };
        let any = Any::pack(&info);
        assert_eq!(any.type_url, "type.googleapis.com/google.rpc.ErrorInfo");
        assert_eq!(any.unpack::<rpc::ErrorInfo>().unwrap(), Some(info));
        assert_eq!(any.unpack::<rpc::Help>().unwrap(), None);
    }

    #[test]
    fn a_value_that_is_not_what_its_url_says_is_an_error() {
        let any = Any {
            type_url: "x/google.rpc.ErrorInfo".to_owned(),
            value: Bytes::from_static(b"\xff"),
        };
        assert!(any.unpack::<rpc::ErrorInfo>().is_err());
    }

    #[test]
    fn the_value_is_not_copied_when_a_message_is_decoded() {
        let payload = Bytes::from(vec![7; 1024]);
        let wire = Bytes::from(
            Any {
                type_url: String::new(),
                value: payload,
            }
            .encode_to_vec(),
        );
        let any = Any::decode(wire.clone()).unwrap();
        assert!(wire.as_ptr_range().contains(&any.value.as_ptr()));
    }
}
