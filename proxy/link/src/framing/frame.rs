//! The frames of HTTP/2 (RFC 9113, 4 and 6).

/// What clients send first.
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes in front of each frame.
pub(super) const HEAD: usize = 9;

/// Most bytes of a frame until a peer allows more.
pub(super) const DEFAULT_FRAME: usize = 16_384;

/// Most bytes of a frame that any peer can allow.
pub(super) const LARGEST_FRAME: usize = (1 << 24) - 1;

/// Bytes that may be sent on a stream or connection until a peer allows more.
pub(super) const DEFAULT_WINDOW: u32 = 65_535;

/// Most bytes that a window may grow to.
pub(super) const LARGEST_WINDOW: u32 = (1 << 31) - 1;

/// Kinds of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Data,
    Headers,
    Priority,
    Reset,
    Settings,
    Push,
    Ping,
    GoAway,
    WindowUpdate,
    Continuation,
    Unknown,
}

/// Flags of frames; their meaning depends on the kind.
pub(super) mod flag {
    pub(in super::super) const END_STREAM: u8 = 0x1;
    pub(in super::super) const ACK: u8 = 0x1;
    pub(in super::super) const END_HEADERS: u8 = 0x4;
    pub(in super::super) const PADDED: u8 = 0x8;
    pub(in super::super) const PRIORITY: u8 = 0x20;
}

/// Error codes (RFC 9113, 7).
pub(super) mod reason {
    pub(in super::super) const NO_ERROR: u32 = 0x0;
    pub(in super::super) const PROTOCOL_ERROR: u32 = 0x1;
    pub(in super::super) const FLOW_CONTROL_ERROR: u32 = 0x3;
    pub(in super::super) const FRAME_SIZE_ERROR: u32 = 0x6;
    pub(in super::super) const REFUSED_STREAM: u32 = 0x7;
    pub(in super::super) const CANCEL: u32 = 0x8;
    pub(in super::super) const COMPRESSION_ERROR: u32 = 0x9;
    pub(in super::super) const ENHANCE_YOUR_CALM: u32 = 0xb;
}

/// The first nine bytes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHead {
    pub(super) len: usize,
    pub(super) kind: Kind,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

/// The settings that matter here; none where a frame does not name one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) header_table_size: Option<u32>,
    pub(super) enable_push: Option<u32>,
    pub(super) max_concurrent_streams: Option<u32>,
    pub(super) initial_window_size: Option<u32>,
    pub(super) max_frame_size: Option<u32>,
    pub(super) max_header_list_size: Option<u32>,
}

/// A violation that ends the connection, with its error code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Violation(pub(super) u32);

// === impl Kind ===

impl Kind {
    const fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Data,
            1 => Self::Headers,
            2 => Self::Priority,
            3 => Self::Reset,
            4 => Self::Settings,
            5 => Self::Push,
            6 => Self::Ping,
            7 => Self::GoAway,
            8 => Self::WindowUpdate,
            9 => Self::Continuation,
            _ => Self::Unknown,
        }
    }
}

// === impl FrameHead ===

impl FrameHead {
    /// Reads the head of a frame, once all of it is there.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let [a, b, c, kind, flags, s1, s2, s3, s4] = *bytes.first_chunk()?;
        Some(Self {
            len: u32::from_be_bytes([0, a, b, c]) as usize,
            kind: Kind::from_number(kind),
            flags,
            stream: u32::from_be_bytes([s1, s2, s3, s4]) & LARGEST_WINDOW,
        })
    }

    /// Whether the frame carries a flag.
    pub(super) const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The head as it is sent. Lengths are at most [`LARGEST_FRAME`].
    pub(super) fn to_bytes(self) -> [u8; HEAD] {
        let [_, a, b, c] = (self.len as u32).to_be_bytes();
        let [s1, s2, s3, s4] = self.stream.to_be_bytes();
        [a, b, c, self.kind as u8, self.flags, s1, s2, s3, s4]
    }
}

// === impl Settings ===

impl Settings {
    /// Reads the payload of a SETTINGS frame.
    pub(super) fn read(payload: &[u8]) -> Result<Self, Violation> {
        let (entries, []) = payload.as_chunks::<6>() else {
            return Err(Violation(reason::FRAME_SIZE_ERROR));
        };
        let mut settings = Self::default();
        for &[k1, k2, a, b, c, d] in entries {
            let value = u32::from_be_bytes([a, b, c, d]);
            match u16::from_be_bytes([k1, k2]) {
                1 => settings.header_table_size = Some(value),
                2 if value > 1 => return Err(Violation(reason::PROTOCOL_ERROR)),
                2 => settings.enable_push = Some(value),
                3 => settings.max_concurrent_streams = Some(value),
                4 if value > LARGEST_WINDOW => return Err(Violation(reason::FLOW_CONTROL_ERROR)),
                4 => settings.initial_window_size = Some(value),
                5 if !(DEFAULT_FRAME..=LARGEST_FRAME).contains(&(value as usize)) => {
                    return Err(Violation(reason::PROTOCOL_ERROR));
                }
                5 => settings.max_frame_size = Some(value),
                6 => settings.max_header_list_size = Some(value),
                _ => {}
            }
        }
        Ok(settings)
    }

    /// Writes a SETTINGS frame.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let fields = [
            (1_u16, self.header_table_size),
            (2, self.enable_push),
            (3, self.max_concurrent_streams),
            (4, self.initial_window_size),
            (5, self.max_frame_size),
            (6, self.max_header_list_size),
        ];
        let set = fields
            .into_iter()
            .filter_map(|(number, value)| value.map(|value| (number, value)));
        put_head(out, 6 * set.clone().count(), Kind::Settings, 0, 0);
        for (number, value) in set {
            out.extend_from_slice(&number.to_be_bytes());
            out.extend_from_slice(&value.to_be_bytes());
        }
    }
}

pub(super) fn put_head(out: &mut Vec<u8>, len: usize, kind: Kind, flags: u8, stream: u32) {
    let head = FrameHead {
        len,
        kind,
        flags,
        stream,
    };
    out.extend_from_slice(&head.to_bytes());
}

pub(super) fn put_settings_ack(out: &mut Vec<u8>) {
    put_head(out, 0, Kind::Settings, flag::ACK, 0);
}

pub(super) fn put_ping(out: &mut Vec<u8>, flags: u8, payload: &[u8]) {
    put_head(out, payload.len(), Kind::Ping, flags, 0);
    out.extend_from_slice(payload);
}

pub(super) fn put_reset(out: &mut Vec<u8>, stream: u32, reason: u32) {
    put_head(out, 4, Kind::Reset, 0, stream);
    out.extend_from_slice(&reason.to_be_bytes());
}

pub(super) fn put_window_update(out: &mut Vec<u8>, stream: u32, increment: u32) {
    put_head(out, 4, Kind::WindowUpdate, 0, stream);
    out.extend_from_slice(&increment.to_be_bytes());
}

pub(super) fn put_go_away(out: &mut Vec<u8>, last_stream: u32, reason: u32, debug: &[u8]) {
    put_head(out, 8 + debug.len(), Kind::GoAway, 0, 0);
    out.extend_from_slice(&last_stream.to_be_bytes());
    out.extend_from_slice(&reason.to_be_bytes());
    out.extend_from_slice(debug);
}

/// Writes a header block as a HEADERS frame, and CONTINUATION frames if it is longer than a frame may be.
pub(super) fn put_block(out: &mut Vec<u8>, stream: u32, flags: u8, block: &[u8], max_frame: usize) {
    let (first, mut rest) = block.split_at(block.len().min(max_frame));
    let end = |rest: &[u8]| if rest.is_empty() { flag::END_HEADERS } else { 0 };
    put_head(out, first.len(), Kind::Headers, flags | end(rest), stream);
    out.extend_from_slice(first);
    while !rest.is_empty() {
        let (next, after) = rest.split_at(rest.len().min(max_frame));
        put_head(out, next.len(), Kind::Continuation, end(after), stream);
        out.extend_from_slice(next);
        rest = after;
    }
}

/// The payload of a DATA or HEADERS frame without its padding; the range within the frame.
pub(super) fn without_padding(head: FrameHead, payload: &[u8]) -> Result<std::ops::Range<usize>, Violation> {
    if !head.has(flag::PADDED) {
        return Ok(0..payload.len());
    }
    let padding = usize::from(*payload.first().ok_or(Violation(reason::FRAME_SIZE_ERROR))?);
    let end = payload.len().checked_sub(padding).filter(|end| *end >= 1);
    end.map(|end| 1..end).ok_or(Violation(reason::PROTOCOL_ERROR))
}

/// The four bytes of a WINDOW_UPDATE or RST_STREAM frame.
pub(super) fn read_u32(payload: &[u8]) -> Result<u32, Violation> {
    let bytes = payload
        .try_into()
        .map_err(|_| Violation(reason::FRAME_SIZE_ERROR))?;
    Ok(u32::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_back() {
        for (number, kind) in [(0, Kind::Data), (1, Kind::Headers), (9, Kind::Continuation)] {
            let head = FrameHead {
                len: 0x01_02_03,
                kind,
                flags: 0x25,
                stream: 0x7f_00_00_01,
            };
            let bytes = head.to_bytes();
            assert_eq!(bytes[3], number);
            assert_eq!(FrameHead::read(&bytes), Some(head));
            assert_eq!(FrameHead::read(&bytes[..8]), None);
        }
        assert_eq!(
            FrameHead::read(&[0, 0, 0, 77, 0, 0x80, 0, 0, 5]).unwrap().kind,
            Kind::Unknown
        );
        assert_eq!(
            FrameHead::read(&[0, 0, 0, 77, 0, 0x80, 0, 0, 5]).unwrap().stream,
            5
        );
    }

    #[test]
    fn settings_are_read_back_and_checked() {
        let settings = Settings {
            initial_window_size: Some(1 << 20),
            max_frame_size: Some(16_384),
            max_header_list_size: Some(7),
            ..Settings::default()
        };
        let mut out = Vec::new();
        settings.write(&mut out);
        assert_eq!(Settings::read(&out[HEAD..]), Ok(settings));
        let cases: [(&[u8], u32); 5] = [
            (&[0, 1, 0], reason::FRAME_SIZE_ERROR),
            (&[0, 2, 0, 0, 0, 2], reason::PROTOCOL_ERROR),
            (&[0, 4, 0x80, 0, 0, 0], reason::FLOW_CONTROL_ERROR),
            (&[0, 5, 0, 0, 0, 1], reason::PROTOCOL_ERROR),
            (&[0, 5, 1, 0, 0, 0], reason::PROTOCOL_ERROR),
        ];
        for (payload, code) in cases {
            assert_eq!(Settings::read(payload), Err(Violation(code)));
        }
        assert_eq!(Settings::read(&[0, 99, 1, 2, 3, 4]), Ok(Settings::default()));
    }

    #[test]
    fn long_blocks_are_continued() {
        let mut out = Vec::new();
        put_block(&mut out, 3, flag::END_STREAM, &[7; 25], 10);
        let heads: Vec<_> = [0, 19, 38]
            .iter()
            .filter_map(|at| FrameHead::read(&out[*at..]))
            .collect();
        let shape: Vec<_> = heads
            .iter()
            .map(|head| (head.kind, head.len, head.flags))
            .collect();
        let expected = [
            (Kind::Headers, 10, flag::END_STREAM),
            (Kind::Continuation, 10, 0),
            (Kind::Continuation, 5, flag::END_HEADERS),
        ];
        assert_eq!(shape, expected);
    }

    #[test]
    fn padding_is_taken_off_and_checked() {
        let head = |flags| FrameHead {
            len: 0,
            kind: Kind::Data,
            flags,
            stream: 1,
        };
        assert_eq!(without_padding(head(0), b"abc"), Ok(0..3));
        assert_eq!(without_padding(head(flag::PADDED), b"\x02abc\0\0"), Ok(1..4));
        assert_eq!(without_padding(head(flag::PADDED), b"\x05abc\0\0"), Ok(1..1));
        assert_eq!(
            without_padding(head(flag::PADDED), b"\x06abc\0\0"),
            Err(Violation(reason::PROTOCOL_ERROR))
        );
        assert_eq!(
            without_padding(head(flag::PADDED), b""),
            Err(Violation(reason::FRAME_SIZE_ERROR))
        );
    }
}
