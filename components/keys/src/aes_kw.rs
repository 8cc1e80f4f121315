//! AES key wrap.
//!
//! AWS-LC has it for two of the three key sizes; to have one code for all it is built here on its AES.
//!
//! Source: RFC 3394 2.2, in the form with an index.

use aws_lc_rs::cipher::{DecryptingKey, DecryptionContext, EncryptingKey, UnboundCipherKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use zeroize::{Zeroize, Zeroizing};

use crate::algorithm::AesSize;
use crate::error::KeyError;
use crate::symmetric::aes;

/// Half a block of AES, the unit that keys are wrapped in.
type Half = [u8; 8];

/// What unwrapping must bring to light.
const CHECK: Half = [0xa6; 8];
const ROUNDS: u64 = 6;

/// Wraps a text of whole half blocks; the result is one half block longer.
pub(crate) fn wrap(size: AesSize, key: &[u8], text: &[u8]) -> Result<Vec<u8>, KeyError> {
    let mut halves = halves(text)?;
    let key = EncryptingKey::ecb(UnboundCipherKey::new(aes(size), key)?)?;
    let mut check = CHECK;
    let mut step = 0_u64;
    for _ in 0..ROUNDS {
        for half in halves.iter_mut() {
            step += 1;
            let mut block = joined(check, *half);
            key.encrypt(&mut block)?;
            (check, *half) = parted(block);
            count(&mut check, step);
        }
    }
    let mut wrapped = check.to_vec();
    wrapped.extend(halves.as_flattened());
    Ok(wrapped)
}

/// Unwraps a text.
pub(crate) fn unwrap(size: AesSize, key: &[u8], wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let Some((mut check, rest)) = wrapped.split_first_chunk().map(|(check, rest)| (*check, rest)) else {
        return Err(KeyError::KeyBlocks);
    };
    let mut halves = halves(rest)?;
    let key = DecryptingKey::ecb(UnboundCipherKey::new(aes(size), key)?)?;
    let mut step = ROUNDS * halves.len() as u64;
    for _ in 0..ROUNDS {
        for half in halves.iter_mut().rev() {
            count(&mut check, step);
            let mut block = joined(check, *half);
            key.decrypt(&mut block, DecryptionContext::None)?;
            (check, *half) = parted(block);
            block.zeroize();
            step -= 1;
        }
    }
    verify_slices_are_equal(&check, &CHECK).map_err(|_| KeyError::Integrity)?;
    Ok(Zeroizing::new(halves.as_flattened().to_vec()))
}

fn halves(text: &[u8]) -> Result<Zeroizing<Vec<Half>>, KeyError> {
    match text.as_chunks() {
        (halves, []) if !halves.is_empty() => Ok(Zeroizing::new(halves.to_vec())),
        _ => Err(KeyError::KeyBlocks),
    }
}

fn joined(left: Half, right: Half) -> [u8; 16] {
    (u128::from(u64::from_be_bytes(left)) << 64 | u128::from(u64::from_be_bytes(right))).to_be_bytes()
}

fn parted(block: [u8; 16]) -> (Half, Half) {
    let (left, right) = block.split_at(8);
    let half = |bytes: &[u8]| bytes.try_into().expect("half a block has eight bytes");
    (half(left), half(right))
}

fn count(check: &mut Half, step: u64) {
    *check = (u64::from_be_bytes(*check) ^ step).to_be_bytes();
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrap};

    use super::*;
    use crate::testing::hex;

    #[test]
    fn keys_are_wrapped_as_in_the_standard() {
        // RFC 3394 4.1 to 4.6.
        let table = [
            (
                AesSize::Aes128,
                "00112233445566778899AABBCCDDEEFF",
                "1FA68B0A8112B447AEF34BD8FB5A7B829D3E862371D2CFE5",
            ),
            (
                AesSize::Aes192,
                "00112233445566778899AABBCCDDEEFF",
                "96778B25AE6CA435F92B5B97C050AED2468AB8A17AD84E5D",
            ),
            (
                AesSize::Aes256,
                "00112233445566778899AABBCCDDEEFF",
                "64E8C3F9CE0F5BA263E9777905818A2A93C8191E7D6E8AE7",
            ),
            (
                AesSize::Aes192,
                "00112233445566778899AABBCCDDEEFF0001020304050607",
                "031D33264E15D33268F24EC260743EDCE1C6C7DDEE725A936BA814915C6762D2",
            ),
            (
                AesSize::Aes256,
                "00112233445566778899AABBCCDDEEFF000102030405060708090A0B0C0D0E0F",
                "28C9F404C4B810F4CBCCB35CFB87F8263F5786E2D80ED326CBC7F0E71A99F43BFB988B9B7A02DD21",
            ),
        ];
        for (size, text, wrapped) in table {
            let key: Vec<u8> = (0..u8::try_from(size.key_length()).unwrap()).collect();
            let (text, wrapped) = (hex(text), hex(wrapped));
            assert_eq!(wrap(size, &key, &text).unwrap(), wrapped);
            assert_eq!(*unwrap(size, &key, &wrapped).unwrap(), text);
            let mut changed = wrapped;
            changed[9] ^= 1;
            assert_eq!(unwrap(size, &key, &changed), Err(KeyError::Integrity));
        }
    }

    #[test]
    fn only_whole_blocks_are_wrapped() {
        let key = [7; 16];
        for length in [0, 1, 7, 9, 15] {
            assert_eq!(
                wrap(AesSize::Aes128, &key, &vec![1; length]),
                Err(KeyError::KeyBlocks)
            );
            assert_eq!(
                unwrap(AesSize::Aes128, &key, &vec![1; length]),
                Err(KeyError::KeyBlocks)
            );
        }
        assert_eq!(unwrap(AesSize::Aes128, &key, &[1; 8]), Err(KeyError::KeyBlocks));
        assert_eq!(KeyError::KeyBlocks.to_string(), "cek must be in 8-byte blocks");
    }

    #[test]
    fn the_library_wraps_in_the_same_way() {
        let text: Vec<u8> = (0..64).collect();
        let mut wrapped = [0; 72];
        let kek = AesKek::new(&AES_256, &[3; 32]).unwrap();
        let wrapped = kek.wrap(&text, &mut wrapped).unwrap();
        assert_eq!(wrap(AesSize::Aes256, &[3; 32], &text).unwrap(), *wrapped);
    }
}
