//! The string code of HPACK (RFC 7541, 5.2 and appendix B).
//!
//! The code is canonical: codes of one length go up with their symbols, and shorter codes come before longer
//! ones. So the lengths say everything.

use super::HpackError;

/// Length of the code of each byte, and of the end of a string (symbol 256).
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28,
    28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6,
    6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7,
    8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7,
    15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24,
    23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23,
    23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26,
    26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20,
    21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27,
    27, 27, 26, 30,
];

const SYMBOLS: usize = LENGTHS.len();
const LONGEST: usize = 30;
const END_OF_STRING: u16 = 256;

/// What is needed to read codes of one length from the upper bits of a word.
#[derive(Clone, Copy)]
struct Level {
    /// Words below this begin with a code of this length or a shorter one.
    limit: u64,
    /// The first code of this length, in the upper bits of a word.
    first: u32,
    /// Position of its symbol in `SORTED`.
    offset: u16,
}

/// The symbols in the order of their codes.
const SORTED: [u16; SYMBOLS] = sorted();
const LEVELS: [Level; LONGEST + 1] = levels();
/// Symbol and length of the codes that lie in the first byte; length 0 if there is none.
const SHORT: [(u8, u8); 256] = short();

/// Appends the decoded string to `out`.
pub(super) fn decode(code: &[u8], out: &mut Vec<u8>) -> Result<(), HpackError> {
    let mut input = code.iter();
    let (mut word, mut held) = (0_u64, 0_u32);
    loop {
        while held <= 56 {
            let Some(byte) = input.next() else { break };
            held += 8;
            word |= u64::from(*byte) << (64 - held);
        }
        let (symbol, len) = first_code((word >> 32) as u32);
        if len > held {
            break;
        }
        if symbol == END_OF_STRING {
            return Err(HpackError::Malformed);
        }
        out.push(symbol as u8);
        word <<= len;
        held -= len;
        if held == 0 {
            return Ok(());
        }
    }
    // What is left is padding: fewer than eight bits, all ones.
    let padding = !(u64::MAX >> held);
    if held < 8 && word == padding {
        Ok(())
    } else {
        Err(HpackError::Malformed)
    }
}

/// The first symbol of a word, and the length of its code.
fn first_code(word: u32) -> (u16, u32) {
    let (symbol, len) = SHORT[(word >> 24) as usize];
    if len > 0 {
        return (u16::from(symbol), u32::from(len));
    }
    for (len, level) in LEVELS.iter().enumerate().skip(9) {
        if u64::from(word) < level.limit {
            let index = usize::from(level.offset) + ((word - level.first) >> (32 - len)) as usize;
            return (SORTED[index], len as u32);
        }
    }
    (END_OF_STRING, LONGEST as u32)
}

const fn sorted() -> [u16; SYMBOLS] {
    let mut sorted = [0; SYMBOLS];
    let (mut len, mut at) = (1, 0);
    while len <= LONGEST {
        let mut symbol = 0;
        while symbol < SYMBOLS {
            if LENGTHS[symbol] as usize == len {
                sorted[at] = symbol as u16;
                at += 1;
            }
            symbol += 1;
        }
        len += 1;
    }
    sorted
}

const fn levels() -> [Level; LONGEST + 1] {
    let mut levels = [Level {
        limit: 0,
        first: 0,
        offset: 0,
    }; LONGEST + 1];
    let (mut len, mut next, mut offset) = (1, 0_u64, 0);
    while len <= LONGEST {
        let mut count = 0;
        let mut symbol = 0;
        while symbol < SYMBOLS {
            if LENGTHS[symbol] as usize == len {
                count += 1;
            }
            symbol += 1;
        }
        let first = next;
        next += (count as u64) << (32 - len);
        levels[len] = Level {
            limit: next,
            first: first as u32,
            offset,
        };
        offset += count;
        len += 1;
    }
    levels
}

const fn short() -> [(u8, u8); 256] {
    let levels = levels();
    let sorted = sorted();
    let mut table = [(0, 0); 256];
    let mut byte = 0;
    while byte < 256 {
        let word = (byte as u32) << 24;
        let mut len = 1;
        while len <= 8 {
            if (word as u64) < levels[len].limit {
                let index = levels[len].offset as usize + ((word - levels[len].first) >> (32 - len)) as usize;
                table[byte] = (sorted[index] as u8, len as u8);
                break;
            }
            len += 1;
        }
        byte += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, proptest};

    use super::*;

    /// The code of each symbol by its definition, in the lower bits.
    fn codes() -> Vec<(u32, u8)> {
        let mut codes = vec![(0, 0); SYMBOLS];
        let mut next = 0_u32;
        let mut last = 0;
        for symbol in SORTED {
            let len = LENGTHS[usize::from(symbol)];
            next <<= len - last;
            codes[usize::from(symbol)] = (next, len);
            next += 1;
            last = len;
        }
        codes
    }

    fn encode(text: &[u8]) -> Vec<u8> {
        let codes = codes();
        let mut bits: Vec<bool> = Vec::new();
        for byte in text {
            let (code, len) = codes[usize::from(*byte)];
            bits.extend((0..len).rev().map(|bit| code >> bit & 1 == 1));
        }
        while !bits.len().is_multiple_of(8) {
            bits.push(true);
        }
        bits.chunks(8)
            .map(|byte| byte.iter().fold(0, |sum, bit| sum << 1 | u8::from(*bit)))
            .collect()
    }

    #[test]
    fn the_codes_are_those_of_the_standard() {
        let codes = codes();
        for (symbol, code, len) in [
            (48, 0x0, 5),
            (97, 0x3, 5),
            (32, 0x14, 6),
            (58, 0x5c, 7),
            (0, 0x1ff8, 13),
            (10, 0x3fff_fffc, 30),
            (249, 0x0fff_fffe, 28),
            (256, 0x3fff_ffff, 30),
        ] {
            assert_eq!(codes[symbol], (code, len), "{symbol}");
        }
    }

    #[test]
    fn the_examples_of_the_standard_are_read() {
        let cases: [(&str, &[u8]); 4] = [
            (
                "www.example.com",
                b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff",
            ),
            ("no-cache", b"\xa8\xeb\x10\x64\x9c\xbf"),
            ("302", b"\x64\x02"),
            (
                "Mon, 21 Oct 2013 20:13:21 GMT",
                b"\xd0\x7a\xbe\x94\x10\x54\xd4\x44\xa8\x20\x05\x95\x04\x0b\x81\x66\xe0\x82\xa6\x2d\x1b\xff",
            ),
        ];
        for (text, code) in cases {
            let mut out = Vec::new();
            decode(code, &mut out).unwrap();
            assert_eq!(out, text.as_bytes());
        }
    }

    #[test]
    fn wrong_padding_and_the_end_symbol_are_errors() {
        for code in [&b"\xff"[..], b"\x07\xff\xff", b"\xff\xff\xff\xff", b"\x00"] {
            assert!(decode(code, &mut Vec::new()).is_err(), "{code:?}");
        }
    }

    proptest! {
        #[test]
        fn every_string_is_read_back(text in prop::collection::vec(any::<u8>(), 0..50)) {
            let mut out = Vec::new();
            decode(&encode(&text), &mut out).unwrap();
            assert_eq!(out, text);
        }

        #[test]
        fn noise_never_panics(code in prop::collection::vec(any::<u8>(), 0..50)) {
            let mut out = Vec::new();
            if decode(&code, &mut out).is_ok() {
                assert_eq!(encode(&out), code);
            }
        }
    }
}
