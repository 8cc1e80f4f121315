//! Cryptography over gRPC: documents of any length, streamed both ways.
//!
//! The next message is read when the client has room for what was made of the last one, so a stream holds a message
//! and a segment, however long it is.
//!
//! Source: specification, cryptography 1.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use outrigger_api::common::StreamPayload;
use outrigger_api::runtime as api;
use outrigger_error::Error;
use tonic::{Response, Status, Streaming};

use super::Backend;
use super::dapr::{Answer, DaprApi};
use crate::crypto::{Conversion, EncryptOptions, EncryptRequest};

/// The pieces of a document as they are made.
pub(super) type Pieces<T> = BoxStream<'static, Result<T, Status>>;

/// Time that a client has to send the first message.
const FIRST_MESSAGE: Duration = Duration::from_secs(5);

/// A message of a client: the first one has options, each may have a piece.
trait Part: Send + 'static {
    type Options;
    /// The message that a piece goes out in.
    type Reply: Send + 'static;

    fn into_parts(self) -> (Option<Self::Options>, Option<StreamPayload>);
    fn reply(payload: StreamPayload) -> Self::Reply;
}

/// A document under way.
struct Converting<M, B> {
    backend: B,
    parts: Streaming<M>,
    conversion: Conversion,
    /// What has arrived and is not converted.
    input: Bytes,
    has_ended: bool,
    /// Number of the next piece that arrives.
    expected: u64,
    /// Number of the next piece that is sent.
    sent: u64,
}

// === impl DaprApi ===

impl<B: Backend> DaprApi<B> {
    pub(super) async fn encrypt(
        &self,
        mut parts: Streaming<api::EncryptRequest>,
    ) -> Answer<Pieces<api::EncryptResponse>> {
        let (options, payload) = self.first_part(&mut parts).await?;
        let missing =
            |property| Error::BadRequest(format!("missing property '{property}' in the options message"));
        if options.key_name.is_empty() {
            return self.fail(&missing("keyName"));
        }
        if options.key_wrap_algorithm.is_empty() {
            return self.fail(&missing("keyWrapAlgorithm"));
        }
        let conversion = self.begin(&options).await.or_else(|error| self.fail(&error))?;
        self.convert(parts, payload, conversion)
    }

    pub(super) async fn decrypt(
        &self,
        mut parts: Streaming<api::DecryptRequest>,
    ) -> Answer<Pieces<api::DecryptResponse>> {
        let (options, payload) = self.first_part(&mut parts).await?;
        let keys = self
            .backend
            .building_blocks()
            .crypto
            .find(&options.component_name);
        let keys = keys.or_else(|error| self.fail(&error))?;
        self.convert(parts, payload, Conversion::decrypt(keys, options.key_name))
    }

    async fn begin(&self, options: &api::EncryptRequestOptions) -> Result<Conversion, Error> {
        let keys = self
            .backend
            .building_blocks()
            .crypto
            .find(&options.component_name)?;
        let options = EncryptOptions::try_from(EncryptRequest {
            key_name: &options.key_name,
            algorithm: &options.key_wrap_algorithm,
            cipher: &options.data_encryption_cipher,
            omits_key_name: options.omit_decryption_key_name,
            decryption_key_name: &options.decryption_key_name,
        })?;
        Ok(Conversion::encrypt(&keys, options).await?)
    }

    /// The options of a stream, and the first piece if it came with them.
    async fn first_part<M: Part>(
        &self,
        parts: &mut Streaming<M>,
    ) -> Result<(M::Options, Option<StreamPayload>), Status> {
        let refused = |text: &str| self.fail(&Error::BadRequest(text.to_owned()));
        let Ok(first) = tokio::time::timeout(FIRST_MESSAGE, parts.message()).await else {
            return refused("error waiting for first message: context deadline exceeded");
        };
        let Some(first) = first? else {
            return refused("error waiting for first message: EOF");
        };
        match first.into_parts() {
            (Some(options), payload) => Ok((options, payload)),
            (None, _) => refused("first message does not contain the required options"),
        }
    }

    fn convert<M: Part>(
        &self,
        parts: Streaming<M>,
        payload: Option<StreamPayload>,
        conversion: Conversion,
    ) -> Answer<Pieces<M::Reply>> {
        let mut converting = Converting {
            backend: self.backend.clone(),
            parts,
            conversion,
            input: Bytes::new(),
            has_ended: false,
            expected: 0,
            sent: 0,
        };
        if let Some(payload) = payload {
            converting.accept(payload).or_else(|error| self.fail(&error))?;
        }
        let pieces = stream::try_unfold(converting, |mut converting| async move {
            let reply = converting.reply().await?;
            Ok(reply.map(|reply| (reply, converting)))
        });
        Ok(Response::new(pieces.boxed()))
    }
}

// === impl Converting ===

impl<M: Part, B: Backend> Converting<M, B> {
    /// The next message to the client; none at the end of the document.
    async fn reply(&mut self) -> Result<Option<M::Reply>, Status> {
        loop {
            let piece = match self.has_ended {
                false => self.conversion.next(&mut self.input).await,
                true => self.conversion.finish(),
            };
            match piece.map_err(|error| self.fail(&error.into()))? {
                Some(piece) if piece.is_empty() => {}
                Some(data) => {
                    let seq = self.sent;
                    self.sent += 1;
                    return Ok(Some(M::reply(StreamPayload { data, seq })));
                }
                None if self.has_ended => return Ok(None),
                None => self.read().await?,
            }
        }
    }

    async fn read(&mut self) -> Result<(), Status> {
        let Some(part) = self.parts.message().await? else {
            self.has_ended = true;
            return Ok(());
        };
        let accepted = match part.into_parts() {
            (Some(_), _) => Err(Error::Crypto("options found in non-leading message".to_owned())),
            (None, Some(payload)) => self.accept(payload),
            (None, None) => Ok(()),
        };
        accepted.map_err(|error| self.fail(&error))
    }

    fn accept(&mut self, StreamPayload { data, seq }: StreamPayload) -> Result<(), Error> {
        if seq != self.expected {
            return Err(Error::Crypto(format!(
                "invalid sequence number received: {seq} (expected: {})",
                self.expected
            )));
        }
        self.expected += 1;
        self.input = data;
        Ok(())
    }

    fn fail(&self, error: &Error) -> Status {
        self.backend.count_error(error);
        error.into()
    }
}

// === impl Part ===

impl Part for api::EncryptRequest {
    type Options = api::EncryptRequestOptions;
    type Reply = api::EncryptResponse;

    fn into_parts(self) -> (Option<Self::Options>, Option<StreamPayload>) {
        (self.options, self.payload)
    }

    fn reply(payload: StreamPayload) -> Self::Reply {
        api::EncryptResponse {
            payload: Some(payload),
        }
    }
}

impl Part for api::DecryptRequest {
    type Options = api::DecryptRequestOptions;
    type Reply = api::DecryptResponse;

    fn into_parts(self) -> (Option<Self::Options>, Option<StreamPayload>) {
        (self.options, self.payload)
    }

    fn reply(payload: StreamPayload) -> Self::Reply {
        api::DecryptResponse {
            payload: Some(payload),
        }
    }
}
