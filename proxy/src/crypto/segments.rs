//! The body of a document: segments that are sealed each for itself, in order, the last one marked.

use aws_lc_rs::aead::{self, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::hmac::{self, HMAC_SHA256};
use bytes::{Bytes, BytesMut};
use zeroize::Zeroizing;

use super::options::Cipher;
use super::{DocumentError, FILE_KEY};

/// Bytes of text in a full segment.
pub(super) const SEGMENT: usize = 65536;
/// Bytes of the tag behind each segment.
const TAG: usize = 16;
/// Bytes of a nonce that all segments share.
pub(super) const NONCE_PREFIX: usize = 7;
/// Most segments: they are counted in four bytes.
const MAX_SEGMENTS: u64 = 1 << 32;

/// The key of one document, of which the others are made.
#[derive(Debug)]
pub(super) struct FileKey(Zeroizing<[u8; FILE_KEY]>);

/// Seals or opens segments as their bytes arrive.
pub(super) struct Segments {
    direction: Direction,
    key: LessSafeKey,
    nonce_prefix: [u8; NONCE_PREFIX],
    /// Number of the next segment.
    next: u64,
    /// What has arrived of it.
    bytes: BytesMut,
}

/// What is done to segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Seal,
    Open,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Within,
    Last,
}

/// 32 bytes, as the length of a key that is derived.
struct ThirtyTwo;

// === impl FileKey ===

impl FileKey {
    pub(super) fn new(key: Zeroizing<[u8; FILE_KEY]>) -> Self {
        Self(key)
    }

    /// The bytes that are wrapped.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &*self.0
    }

    /// The key that signs the header.
    pub(super) fn header_key(&self) -> Result<hmac::Key, DocumentError> {
        let key = self.derive(&[0; 32], b"header")?;
        Ok(hmac::Key::new(HMAC_SHA256, &*key))
    }

    /// The key that seals the segments.
    fn payload_key(&self, nonce_prefix: &[u8]) -> Result<Zeroizing<[u8; 32]>, DocumentError> {
        self.derive(nonce_prefix, b"payload")
    }

    fn derive(&self, salt: &[u8], info: &[u8]) -> Result<Zeroizing<[u8; 32]>, DocumentError> {
        let mut key = Zeroizing::new([0; 32]);
        Salt::new(HKDF_SHA256, salt)
            .extract(&*self.0)
            .expand(&[info], ThirtyTwo)?
            .fill(&mut *key)?;
        Ok(key)
    }
}

// === impl ThirtyTwo ===

impl KeyType for ThirtyTwo {
    fn len(&self) -> usize {
        32
    }
}

// === impl Segments ===

impl Segments {
    /// The body of a document with this key.
    pub(super) fn new(
        direction: Direction,
        cipher: Cipher,
        file_key: &FileKey,
        nonce_prefix: [u8; NONCE_PREFIX],
    ) -> Result<Self, DocumentError> {
        let algorithm: &'static aead::Algorithm = match cipher {
            Cipher::AesGcm => &AES_256_GCM,
            Cipher::ChaCha20Poly1305 => &CHACHA20_POLY1305,
        };
        let key = UnboundKey::new(algorithm, &*file_key.payload_key(&nonce_prefix)?)?;
        Ok(Self {
            direction,
            key: LessSafeKey::new(key),
            nonce_prefix,
            next: 0,
            bytes: BytesMut::new(),
        })
    }

    /// Takes input and gives a segment when it is certain that more follow; without one all input is taken.
    ///
    /// # Errors
    /// A segment that does not open, or one too many.
    pub(super) fn next(&mut self, input: &mut Bytes) -> Result<Option<Bytes>, DocumentError> {
        let full = self.full();
        let taken = input.len().min(full - self.bytes.len());
        if taken > 0 {
            // A short document is held in little memory, a long one in a segment and no more.
            let whole = if self.bytes.is_empty() {
                taken + TAG
            } else {
                SEGMENT + TAG
            };
            self.bytes.reserve(whole - self.bytes.len());
            self.bytes.extend_from_slice(&input.split_to(taken));
        }
        if input.is_empty() {
            return Ok(None);
        }
        self.convert(Place::Within).map(Some)
    }

    /// Gives the last segment; none if there was no input.
    ///
    /// # Errors
    /// Those of [`next`](Self::next).
    pub(super) fn finish(&mut self) -> Result<Option<Bytes>, DocumentError> {
        match self.bytes.is_empty() {
            true => Ok(None),
            false => self.convert(Place::Last).map(Some),
        }
    }

    /// Bytes of input in a full segment.
    const fn full(&self) -> usize {
        match self.direction {
            Direction::Seal => SEGMENT,
            Direction::Open => SEGMENT + TAG,
        }
    }

    fn convert(&mut self, place: Place) -> Result<Bytes, DocumentError> {
        let nonce = self.nonce(place)?;
        let mut bytes = std::mem::take(&mut self.bytes);
        match self.direction {
            Direction::Seal => {
                let tag = self
                    .key
                    .seal_in_place_separate_tag(nonce, Aad::empty(), &mut bytes)?;
                bytes.extend_from_slice(tag.as_ref());
            }
            Direction::Open => {
                let opened = self.key.open_in_place(nonce, Aad::empty(), &mut bytes);
                let length = opened.map_err(|_| DocumentError::Segment(self.next))?.len();
                bytes.truncate(length);
            }
        }
        self.next += 1;
        Ok(bytes.freeze())
    }

    fn nonce(&self, place: Place) -> Result<Nonce, DocumentError> {
        if self.next >= MAX_SEGMENTS {
            return Err(DocumentError::TooLarge);
        }
        let mut nonce = [0; 12];
        let (prefix, rest) = nonce.split_at_mut(NONCE_PREFIX);
        prefix.copy_from_slice(&self.nonce_prefix);
        // Four bytes of the number, big-endian, then the flag.
        let number = self.next << 8 | u64::from(place == Place::Last);
        rest.copy_from_slice(
            number
                .to_be_bytes()
                .last_chunk::<5>()
                .expect("eight bytes have five"),
        );
        Ok(Nonce::assume_unique_for_key(nonce))
    }
}

impl std::fmt::Debug for Segments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Segments")
            .field("direction", &self.direction)
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_segments_than_four_bytes_can_count() {
        let key = FileKey::new(Zeroizing::new([1; 32]));
        let mut segments = Segments::new(Direction::Seal, Cipher::AesGcm, &key, [0; 7]).unwrap();
        segments.next = MAX_SEGMENTS - 1;
        let mut input = Bytes::from(vec![0; 2 * SEGMENT]);
        assert!(segments.next(&mut input).unwrap().is_some());
        assert_eq!(segments.next(&mut input), Ok(None));
        let refused = segments.finish().unwrap_err();
        assert_eq!(refused.to_string(), "input stream is too large");
    }
}
