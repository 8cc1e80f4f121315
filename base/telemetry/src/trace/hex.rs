//! Bytes as lower-case hex digits.

use std::fmt;

/// At most 16 bytes, printed as lower-case hex digits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hex<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0; 32];
        let length = 2 * self.0.len();
        write_hex(self.0, &mut digits);
        f.write_str(str::from_utf8(&digits[..length]).expect("hex digits are ASCII"))
    }
}

/// Writes bytes as lower-case hex digits into the beginning of `out`.
pub(super) fn write_hex(bytes: &[u8], out: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (byte, pair) in bytes.iter().zip(out.chunks_exact_mut(2)) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
}
