//! PEM text: certificates, keys and certificate requests in files and messages.
//!
//! Reading is lenient as the peers are: text between blocks, header lines and white space within a block are
//! skipped, and a block that does not decode is passed over. Source: RFC 7468, RFC 1421.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;

/// Label of a certificate.
pub const CERTIFICATE: &str = "CERTIFICATE";

/// Label of a certificate request.
pub const CERTIFICATE_REQUEST: &str = "CERTIFICATE REQUEST";

/// Label of a private key in PKCS#8 form.
pub const PRIVATE_KEY: &str = "PRIVATE KEY";

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";
const LINE_LENGTH: usize = 64;

/// One block of PEM text.
#[derive(Clone, PartialEq, Eq)]
pub struct Block {
    /// What the block holds, such as `CERTIFICATE`.
    pub label: String,
    /// The bytes of the block.
    pub contents: Vec<u8>,
}

/// The blocks of a text, in order.
#[derive(Clone, Debug)]
pub struct Blocks<'a> {
    lines: Lines<'a>,
}

#[derive(Clone, Debug)]
struct Lines<'a>(std::slice::Split<'a, u8, fn(&u8) -> bool>);

/// Finds the blocks of a text. It need not be UTF-8 outside the blocks.
#[must_use]
pub fn blocks(text: &[u8]) -> Blocks<'_> {
    Blocks {
        lines: Lines(text.split(|byte| *byte == b'\n')),
    }
}

/// Reads the certificates at the start of a text, up to the first block of another kind.
#[must_use]
pub fn certificates(text: &[u8]) -> Vec<CertificateDer<'static>> {
    blocks(text)
        .take_while(|block| block.label == CERTIFICATE)
        .map(|block| CertificateDer::from(block.contents))
        .collect()
}

/// Writes one block, with lines of 64 characters and a newline at its end.
#[must_use]
pub fn encode(label: &str, contents: &[u8]) -> String {
    let encoded = STANDARD.encode(contents);
    let mut text = String::with_capacity(encoded.len() + encoded.len() / LINE_LENGTH + 2 * label.len() + 40);
    text.extend([BEGIN, label, DASHES, "\n"]);
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, next) = rest.split_at(rest.len().min(LINE_LENGTH));
        text.extend([line, "\n"]);
        rest = next;
    }
    text.extend([END, label, DASHES, "\n"]);
    text
}

/// Writes one block a certificate.
#[must_use]
pub fn encode_certificates<'a>(certificates: impl IntoIterator<Item = &'a CertificateDer<'a>>) -> String {
    certificates
        .into_iter()
        .map(|certificate| encode(CERTIFICATE, certificate))
        .collect()
}

// === impl Block ===

impl std::fmt::Debug for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The contents may be a private key.
        f.debug_struct("Block")
            .field("label", &self.label)
            .finish_non_exhaustive()
    }
}

// === impl Lines ===

impl<'a> Iterator for Lines<'a> {
    type Item = &'a str;

    /// The next line; one that is not UTF-8 reads as empty.
    fn next(&mut self) -> Option<&'a str> {
        self.0
            .next()
            .map(|line| std::str::from_utf8(line).unwrap_or_default())
    }
}

// === impl Blocks ===

impl Iterator for Blocks<'_> {
    type Item = Block;

    fn next(&mut self) -> Option<Block> {
        loop {
            let label = self.lines.by_ref().find_map(|line| marker(line, BEGIN))?;
            // A block that does not decode hides nothing behind its first line.
            let mut lines = self.lines.clone();
            if let Some(contents) = read_contents(&mut lines, label) {
                self.lines = lines;
                return Some(Block {
                    label: label.to_owned(),
                    contents,
                });
            }
        }
    }
}

/// The label of a `-----BEGIN label-----` or `-----END label-----` line.
fn marker<'a>(line: &'a str, kind: &str) -> Option<&'a str> {
    line.trim_end().strip_prefix(kind)?.strip_suffix(DASHES)
}

fn read_contents(lines: &mut Lines<'_>, label: &str) -> Option<Vec<u8>> {
    let mut encoded = String::new();
    for line in lines {
        if let Some(end) = marker(line, END) {
            return (end == label).then(|| STANDARD.decode(&encoded).ok()).flatten();
        }
        if line.starts_with(DASHES) {
            return None;
        }
        if encoded.is_empty() && line.contains(':') {
            continue;
        }
        encoded.extend(line.split_ascii_whitespace());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_survives_encoding_and_decoding() {
        for length in [0, 1, 47, 48, 49, 200] {
            let contents: Vec<u8> = (0..length).collect();
            let text = encode("THING", &contents);
            assert!(text.lines().all(|line| line.len() <= 64));
            let found: Vec<_> = blocks(text.as_bytes()).collect();
            assert_eq!(
                found,
                [Block {
                    label: "THING".to_owned(),
                    contents
                }]
            );
        }
    }

    #[test]
    fn text_headers_and_white_space_around_a_block_are_skipped() {
        let text =
            "comment\r\n-----BEGIN A-----\r\nProc-Type: 4\r\n\r\n aG Vs\r\nbG8= \r\n-----END A-----\r\nmore";
        let found: Vec<_> = blocks(text.as_bytes()).collect();
        assert_eq!(
            found,
            [Block {
                label: "A".to_owned(),
                contents: b"hello".to_vec()
            }]
        );
    }

    #[test]
    fn a_block_that_does_not_decode_is_passed_over() {
        for bad in [
            "-----BEGIN A-----\n!!\n-----END A-----\n",
            "-----BEGIN A-----\naGk=\n-----END B-----\n",
            "-----BEGIN A-----\naGk=\n",
        ] {
            let text = format!("{bad}{}", encode("B", b"hi"));
            let labels: Vec<_> = blocks(text.as_bytes()).map(|block| block.label).collect();
            assert_eq!(labels, ["B"], "{bad}");
        }
    }

    #[test]
    fn text_between_blocks_need_not_be_utf8() {
        let text = [b"caf\xe9\n".as_slice(), encode("A", b"hi").as_bytes(), b"\xff"].concat();
        assert_eq!(blocks(&text).count(), 1);
    }

    #[test]
    fn certificates_end_at_a_block_of_another_kind() {
        let text = [
            encode(CERTIFICATE, b"1"),
            encode(CERTIFICATE, b"2"),
            encode(PRIVATE_KEY, b"k"),
            encode(CERTIFICATE, b"3"),
        ]
        .concat();
        let found = certificates(text.as_bytes());
        assert_eq!(
            found,
            [CertificateDer::from(&b"1"[..]), CertificateDer::from(&b"2"[..])]
        );
        assert_eq!(
            encode_certificates(&found),
            [encode(CERTIFICATE, b"1"), encode(CERTIFICATE, b"2")].concat()
        );
    }
}
