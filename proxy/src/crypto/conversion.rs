//! A document on its way from text to sealed bytes, or back.

use aws_lc_rs::rand;
use bytes::Bytes;
use zeroize::Zeroizing;

use super::header::{Header, Manifest, Reader};
use super::options::EncryptOptions;
use super::segments::{Direction, FileKey, NONCE_PREFIX, Segments};
use super::{DocumentError, FILE_KEY, Keys};

/// Turns the bytes that arrive into those of the other form, piece by piece.
///
/// It holds what cannot be turned yet, one segment at most, and never reads ahead: who feeds it decides how much is
/// under way.
#[derive(Debug)]
pub(crate) struct Conversion(State);

#[derive(Debug)]
enum State {
    /// The header is to be given before the first segment.
    Begun(Bytes, Segments),
    /// The header is being read.
    Reading(Reader, Box<(Keys, String)>),
    Body(Segments),
}

// === impl Conversion ===

impl Conversion {
    /// Begins a document with a key of its own.
    ///
    /// # Errors
    /// If that key cannot be wrapped or is too long to write down.
    pub(crate) async fn encrypt(keys: &Keys, options: EncryptOptions) -> Result<Self, DocumentError> {
        let mut file_key = Zeroizing::new([0; FILE_KEY]);
        let mut nonce_prefix = [0; NONCE_PREFIX];
        rand::fill(&mut *file_key)?;
        rand::fill(&mut nonce_prefix)?;
        Self::encrypt_with(keys, options, FileKey::new(file_key), nonce_prefix).await
    }

    /// Begins a document with a given key and nonce, neither of which was ever used.
    pub(super) async fn encrypt_with(
        keys: &Keys,
        options: EncryptOptions,
        file_key: FileKey,
        nonce_prefix: [u8; NONCE_PREFIX],
    ) -> Result<Self, DocumentError> {
        let algorithm = options.algorithm;
        let wrapped_key = keys
            .wrap(file_key.as_bytes(), algorithm.name(), &options.key_name)
            .await?;
        let manifest = Manifest {
            key_name: options.named,
            algorithm,
            wrapped_key,
            cipher: options.cipher,
            nonce_prefix,
        };
        let header = manifest.sign(&file_key)?;
        let segments = Segments::new(Direction::Seal, options.cipher, &file_key, nonce_prefix)?;
        Ok(Self(State::Begun(header, segments)))
    }

    /// Begins to read a document; `key_name` is the key to use if it is not the one that the document names.
    pub(crate) fn decrypt(keys: Keys, key_name: String) -> Self {
        Self(State::Reading(Reader::default(), Box::new((keys, key_name))))
    }

    /// Takes input and gives the next piece of output; without one all input is taken.
    ///
    /// # Errors
    /// If the document cannot be made or read. What was given before stays valid.
    pub(crate) async fn next(&mut self, input: &mut Bytes) -> Result<Option<Bytes>, DocumentError> {
        loop {
            match &mut self.0 {
                State::Begun(header, _) if !header.is_empty() => return Ok(Some(std::mem::take(header))),
                State::Begun(_, segments) | State::Body(segments) => return segments.next(input),
                State::Reading(reader, with) => {
                    let Some(header) = reader.read(input)? else {
                        return Ok(None);
                    };
                    let segments = open(header, &with.0, &with.1).await?;
                    self.0 = State::Body(segments);
                }
            }
        }
    }

    /// Gives what is left when the input has ended, until there is nothing more.
    ///
    /// # Errors
    /// Those of [`next`](Self::next), and a document without an end.
    pub(crate) fn finish(&mut self) -> Result<Option<Bytes>, DocumentError> {
        match &mut self.0 {
            State::Begun(header, _) if !header.is_empty() => Ok(Some(std::mem::take(header))),
            State::Begun(_, segments) | State::Body(segments) => segments.finish(),
            State::Reading(reader, _) => Err(reader.end()),
        }
    }
}

async fn open(header: Header, keys: &Keys, key_name: &str) -> Result<Segments, DocumentError> {
    let manifest = &header.manifest;
    let key_name = match (key_name, manifest.key_name.as_str()) {
        ("", "") => return Err(DocumentError::NoKeyName),
        ("", named) => named,
        (given, _) => given,
    };
    let unwrapped = keys
        .unwrap(&manifest.wrapped_key, manifest.algorithm.name(), key_name)
        .await;
    // A key that cannot be unwrapped looks like a signature that is wrong: a key of zeros stands in for it. That one
    // is known to everybody, so what is signed with it is refused all the same.
    let is_unwrapped = unwrapped.is_some();
    let file_key = FileKey::new(unwrapped.unwrap_or_default());
    header.verify(&file_key)?;
    if !is_unwrapped {
        return Err(DocumentError::Signature);
    }
    Segments::new(Direction::Open, manifest.cipher, &file_key, manifest.nonce_prefix)
}
