//! `middleware.http.uppercase`: bodies in capital letters, as they stream.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http_body::{Body as HttpBody, Frame, SizeHint};
use outrigger_component::{HttpMiddleware, Init, Next};
use outrigger_svc::{Body, BoxError, BoxFuture, Request, Response};

/// Turns the letters of bodies into capitals; headers stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uppercase {
    request: bool,
    response: bool,
}

/// A body in capital letters. Bytes that are no UTF-8 become the replacement character.
struct Capitals {
    inner: Body,
    /// Bytes of a character whose rest has not arrived.
    pending: Vec<u8>,
}

// === impl Uppercase ===

impl Uppercase {
    pub(super) async fn make(init: Init) -> Result<Arc<dyn HttpMiddleware>, BoxError> {
        let fields = init.properties.fields()?;
        let direction = fields.text("direction").unwrap_or_default().to_lowercase();
        Ok(Arc::new(match direction.as_str() {
            "response" => Self {
                request: false,
                response: true,
            },
            "both" => Self {
                request: true,
                response: true,
            },
            _ => Self {
                request: true,
                response: false,
            },
        }))
    }
}

impl HttpMiddleware for Uppercase {
    fn call<'a>(&'a self, mut request: Request, next: Next<'a>) -> BoxFuture<'a, Result<Response, BoxError>> {
        Box::pin(async move {
            if self.request {
                request = request.map(Capitals::of);
            }
            let mut response = next.run(request).await?;
            if self.response && !response.body().is_end_stream() {
                // Capitals may take more bytes than what they are made of, or fewer.
                response.headers_mut().remove(CONTENT_LENGTH);
                response = response.map(Capitals::of);
            }
            Ok(response)
        })
    }
}

// === impl Capitals ===

impl Capitals {
    fn of(inner: Body) -> Body {
        if inner.is_end_stream() {
            return inner;
        }
        Body::new(Self {
            inner,
            pending: Vec::new(),
        })
    }

    /// The capitals of what has arrived, but for a character at the end that is not whole.
    fn convert(&mut self, data: &[u8]) -> Bytes {
        let whole;
        let mut rest = if self.pending.is_empty() {
            data
        } else {
            whole = [&std::mem::take(&mut self.pending), data].concat();
            &whole[..]
        };
        let mut capitals = String::with_capacity(rest.len());
        for chunk in rest.utf8_chunks() {
            capitals.extend(chunk.valid().chars().map(capital));
            rest = rest.get(chunk.valid().len()..).unwrap_or_default();
            let is_last = rest.len() == chunk.invalid().len();
            if is_last && is_beginning(chunk.invalid()) {
                self.pending = chunk.invalid().to_vec();
                break;
            }
            push_replacements(&mut capitals, chunk.invalid());
            rest = rest.get(chunk.invalid().len()..).unwrap_or_default();
        }
        capitals.into()
    }

    /// What is left when the body ends within a character.
    fn finish(&mut self) -> Option<Bytes> {
        let mut replacements = String::new();
        push_replacements(&mut replacements, &std::mem::take(&mut self.pending));
        (!replacements.is_empty()).then(|| replacements.into())
    }
}

impl HttpBody for Capitals {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        loop {
            let frame = match ready!(Pin::new(&mut this.inner).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(this.finish().map(|rest| Ok(Frame::data(rest)))),
            };
            match frame.into_data() {
                Ok(data) => {
                    let capitals = this.convert(&data);
                    if !capitals.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(capitals))));
                    }
                }
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.pending.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

/// The capital of one letter, one for one: letters whose capital is a sequence stay, but for those of Greek
/// that have a title form of their own.
fn capital(letter: char) -> char {
    if letter.is_ascii() {
        return letter.to_ascii_uppercase();
    }
    let mut capitals = letter.to_uppercase();
    match (capitals.next(), capitals.next()) {
        (Some(single), None) => single,
        _ => title(letter).unwrap_or(letter),
    }
}

/// The title form of a Greek letter with iota below.
fn title(letter: char) -> Option<char> {
    let distance = match letter {
        '\u{1f80}'..='\u{1f87}' | '\u{1f90}'..='\u{1f97}' | '\u{1fa0}'..='\u{1fa7}' => 8,
        '\u{1fb3}' | '\u{1fc3}' | '\u{1ff3}' => 9,
        _ => return None,
    };
    char::from_u32(u32::from(letter) + distance)
}

/// Whether more bytes could make a character of these.
fn is_beginning(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

/// One replacement character a byte, as Go's text transformers write them.
fn push_replacements(text: &mut String, bytes: &[u8]) {
    text.extend(bytes.iter().map(|_| char::REPLACEMENT_CHARACTER));
}

#[cfg(test)]
mod tests {
    use outrigger_component::Chain;
    use outrigger_svc::collect_limited;

    use super::*;

    fn converted(pieces: &[&[u8]]) -> String {
        let mut capitals = Capitals {
            inner: Body::empty(),
            pending: Vec::new(),
        };
        let mut bytes = Vec::new();
        for piece in pieces {
            bytes.extend(capitals.convert(piece));
        }
        bytes.extend(capitals.finish().unwrap_or_default());
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn letters_become_capitals_one_for_one() {
        let table: [(&[&[u8]], &str); 9] = [
            (&[b"Hello, 1 world"], "HELLO, 1 WORLD"),
            (&["äöü ñ я ω".as_bytes()], "ÄÖÜ Ñ Я Ω"),
            (&["ß ŉ".as_bytes()], "ß ŉ"),
            (&["ᾳ ᾀ".as_bytes()], "ᾼ ᾈ"),
            (&["\u{131}".as_bytes()], "I"),
            (&[b"a\xc3", b"\xa4b"], "AÄB"),
            (&[b"a\xf0\x9f", b"\x9a", b"\xa2b"], "A🚢B"),
            (&[b"a\xffb\xc3"], "A\u{fffd}B\u{fffd}"),
            (&[b"\xe2\x82", b"x"], "\u{fffd}\u{fffd}X"),
        ];
        for (pieces, expected) in table {
            assert_eq!(converted(pieces), expected);
        }
    }

    async fn exchange(direction: &str) -> (String, String) {
        let table = [
            (
                "",
                Uppercase {
                    request: true,
                    response: false,
                },
            ),
            (
                "response",
                Uppercase {
                    request: false,
                    response: true,
                },
            ),
            (
                "both",
                Uppercase {
                    request: true,
                    response: true,
                },
            ),
        ];
        let (_, handler) = table.into_iter().find(|(name, _)| *name == direction).unwrap();
        let chain = Chain::new(vec![Arc::new(handler)]);
        let (tell, told) = tokio::sync::oneshot::channel();
        let answer = async move |request: Request| {
            let body = collect_limited(request.into_body(), 100).await?;
            tell.send(String::from_utf8(body.to_vec())?).ok();
            let mut response = Response::new(Body::from("pong"));
            response.headers_mut().insert(CONTENT_LENGTH, 4.into());
            Ok(response)
        };
        let response = chain.run(Request::new(Body::from("ping")), answer).await.unwrap();
        assert_eq!(
            response.headers().contains_key(CONTENT_LENGTH),
            direction.is_empty() || direction == "request"
        );
        let body = collect_limited(response.into_body(), 100).await.unwrap();
        (told.await.unwrap(), String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn bodies_change_in_the_direction_asked_for() {
        let table = [
            ("", ("PING", "pong")),
            ("response", ("ping", "PONG")),
            ("both", ("PING", "PONG")),
        ];
        for (direction, (request, response)) in table {
            assert_eq!(
                exchange(direction).await,
                (request.to_owned(), response.to_owned()),
                "{direction}"
            );
        }
    }
}
