//! The three lines that a document begins with: the scheme, the manifest, and a signature of both.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf, Bytes, BytesMut};
use outrigger_kit::json;
use serde::{Deserialize, Serialize};

use super::DocumentError;
use super::options::{Cipher, WrapAlgorithm};
use super::segments::{FileKey, NONCE_PREFIX};

/// The first line of every document.
pub(super) const SCHEME: &[u8] = b"dapr.io/enc/v1";
/// Most bytes of a header, its line ends among them.
pub(super) const MAX_HEADER: usize = 65536;

/// What a document says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    /// Name of the key that opens the document; empty if it says none.
    pub(crate) key_name: String,
    pub(super) algorithm: WrapAlgorithm,
    pub(super) wrapped_key: Vec<u8>,
    pub(super) cipher: Cipher,
    pub(super) nonce_prefix: [u8; NONCE_PREFIX],
}

/// A header that was read, and whose signature is still to be checked.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) manifest: Manifest,
    /// The bytes that are signed, as they were received.
    signed: Bytes,
    signature: Bytes,
}

/// Reads a header as it arrives.
#[derive(Debug, Default)]
pub(super) struct Reader {
    bytes: BytesMut,
    /// Where the lines that are complete end.
    ends: Vec<usize>,
}

/// The members of a manifest in their order.
#[derive(Serialize)]
struct Written<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    k: &'a str,
    kw: u8,
    wfk: String,
    cph: u8,
    np: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Read {
    k: String,
    kw: i64,
    wfk: String,
    cph: i64,
    np: String,
}

/// What is missing when the input ends in the first, second or third line.
const MISSING: [&str; 3] = [
    "scheme name not found",
    "manifest not found",
    "message authentication code not found",
];

/// The name of the key that opens a document which comes in pieces of a size; the error is that of its header.
#[cfg(feature = "bench")]
pub(crate) fn key_name(document: &[u8], piece: usize) -> Result<String, DocumentError> {
    let mut reader = Reader::default();
    for piece in document.chunks(piece.max(1)) {
        let mut input = Bytes::copy_from_slice(piece);
        if let Some(header) = reader.read(&mut input)? {
            // Whatever is signed, nobody has signed it with this key.
            let file_key = FileKey::new(zeroize::Zeroizing::new([0x5a; super::FILE_KEY]));
            assert!(
                header.verify(&file_key).is_err(),
                "a signature fits a key that nobody has"
            );
            return Ok(header.manifest.key_name);
        }
    }
    Err(reader.end())
}

// === impl Manifest ===

impl Manifest {
    /// Reads the second line of a header.
    ///
    /// # Errors
    /// Anything that is not a complete manifest of known algorithms.
    pub(crate) fn parse(line: &[u8]) -> Result<Self, DocumentError> {
        Self::read(line).ok_or(DocumentError::Header("invalid manifest"))
    }

    fn read(line: &[u8]) -> Option<Self> {
        let read: Read = json::from_str_ignoring_case(std::str::from_utf8(line).ok()?).ok()?;
        Some(Self {
            key_name: read.k,
            algorithm: WrapAlgorithm::of_id(read.kw)?,
            wrapped_key: STANDARD.decode(read.wfk).ok().filter(|key| !key.is_empty())?,
            cipher: Cipher::of_id(read.cph)?,
            nonce_prefix: STANDARD.decode(read.np).ok()?.try_into().ok()?,
        })
    }

    /// Writes the header of a document.
    ///
    /// # Errors
    /// A header that would be too long.
    pub(super) fn sign(&self, file_key: &FileKey) -> Result<Bytes, DocumentError> {
        let manifest = json::to_go_vec(&Written {
            k: &self.key_name,
            kw: self.algorithm.id(),
            wfk: STANDARD.encode(&self.wrapped_key),
            cph: self.cipher.id(),
            np: STANDARD.encode(self.nonce_prefix),
        });
        let mut header = [SCHEME, b"\n", &manifest, b"\n"].concat();
        let signature = hmac::sign(&file_key.header_key()?, &header);
        header.extend(STANDARD.encode(signature).as_bytes());
        header.push(b'\n');
        if header.len() > MAX_HEADER {
            return Err(DocumentError::HeaderTooLong);
        }
        Ok(header.into())
    }
}

// === impl Header ===

impl Header {
    /// Checks that the header was written with the key of the document, over the bytes as they were received.
    pub(super) fn verify(&self, file_key: &FileKey) -> Result<(), DocumentError> {
        let signature = STANDARD
            .decode(&self.signature)
            .map_err(|error| DocumentError::SignatureEncoding(go_text(&error, &self.signature)))?;
        hmac::verify(&file_key.header_key()?, &self.signed, &signature).map_err(|_| DocumentError::Signature)
    }
}

/// What Go says of base64 that is none.
fn go_text(error: &base64::DecodeError, text: &[u8]) -> String {
    let position = match error {
        base64::DecodeError::InvalidByte(position, _) => *position,
        base64::DecodeError::InvalidLastSymbol { .. }
        | base64::DecodeError::InvalidLength(_)
        | base64::DecodeError::InvalidPadding => text.len(),
    };
    format!("illegal base64 data at input byte {position}")
}

// === impl Reader ===

impl Reader {
    /// Takes the header, as far as it is there, off the input.
    ///
    /// # Errors
    /// As soon as it cannot be a header any more.
    pub(super) fn read(&mut self, input: &mut Bytes) -> Result<Option<Header>, DocumentError> {
        while !input.is_empty() {
            let room = MAX_HEADER - self.bytes.len();
            if room == 0 {
                return Err(self.end());
            }
            let seen = input.get(..room).unwrap_or(input);
            match seen.iter().position(|byte| *byte == b'\n') {
                Some(position) => {
                    self.bytes.extend_from_slice(&input.split_to(position));
                    self.end_line()?;
                    self.bytes.extend_from_slice(b"\n");
                    input.advance(1);
                    if let [scheme, manifest, signature] = *self.ends {
                        return self.header(scheme, manifest, signature).map(Some);
                    }
                }
                None => {
                    let taken = seen.len();
                    self.bytes.extend_from_slice(&input.split_to(taken));
                }
            }
        }
        Ok(None)
    }

    /// What it means that the input ends before the header does.
    pub(super) fn end(&self) -> DocumentError {
        DocumentError::Header(MISSING.get(self.ends.len()).unwrap_or(&MISSING[2]))
    }

    fn end_line(&mut self) -> Result<(), DocumentError> {
        let begin = self.ends.last().map_or(0, |end| end + 1);
        let line = self.bytes.get(begin..).unwrap_or_default();
        if line.is_empty() {
            return Err(DocumentError::Header("invalid format"));
        }
        if begin == 0 && line != SCHEME {
            return Err(DocumentError::Header("unsupported scheme"));
        }
        self.ends.push(self.bytes.len());
        Ok(())
    }

    fn header(&mut self, scheme: usize, manifest: usize, signature: usize) -> Result<Header, DocumentError> {
        let bytes = std::mem::take(&mut self.bytes).freeze();
        Ok(Header {
            manifest: Manifest::parse(&bytes.slice(scheme + 1..manifest))?,
            signed: bytes.slice(..=manifest),
            signature: bytes.slice(manifest + 1..signature),
        })
    }
}
