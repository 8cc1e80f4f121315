//! The span that the thread works on at this moment.
//!
//! What is logged and measured meanwhile belongs to it: exported log records carry its ids, and a latency is an
//! exemplar of its trace. It is set around each poll of a request, and only if the request has a trace at all.

use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::context::TraceContext;

/// The ids of a span, without what other vendors say about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    pub(crate) trace_id: [u8; 16],
    pub(crate) span_id: [u8; 8],
    pub(crate) flags: u8,
}

pin_project! {
    /// A future that works on a span.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless they are polled"]
    pub struct Within<F> {
        #[pin]
        inner: F,
        position: Position,
    }
}

/// Puts back the span that was worked on before.
struct Restore(Position);

thread_local! {
    static CURRENT: Cell<Position> = const { Cell::new(Position::NONE) };
}

/// The span that is worked on, if it belongs to a trace.
pub(crate) fn position() -> Option<Position> {
    Some(Position::current()).filter(Position::is_traced)
}

/// The span that is worked on, if its trace is sampled.
pub(crate) fn sampled() -> Option<Position> {
    Some(Position::current()).filter(|position| position.flags & 1 == 1)
}

// === impl Position ===

impl Position {
    /// No span.
    pub const NONE: Self = Self {
        trace_id: [0; 16],
        span_id: [0; 8],
        flags: 0,
    };

    /// The span that is worked on at this moment, for what ends later.
    #[must_use]
    pub fn current() -> Self {
        CURRENT.get()
    }

    /// Works on the span; without a trace the work is simply done.
    pub fn during<R>(self, work: impl FnOnce() -> R) -> R {
        if !self.is_traced() {
            return work();
        }
        let _restore = Restore(CURRENT.replace(self));
        work()
    }

    /// A future that works on the span whenever it is polled.
    pub fn around<F: Future>(self, inner: F) -> Within<F> {
        Within {
            inner,
            position: self,
        }
    }

    fn is_traced(&self) -> bool {
        self.trace_id != [0; 16]
    }
}

impl Default for Position {
    fn default() -> Self {
        Self::NONE
    }
}

impl From<&TraceContext> for Position {
    fn from(context: &TraceContext) -> Self {
        Self {
            trace_id: context.trace_id,
            span_id: context.span_id,
            flags: context.flags,
        }
    }
}

// === impl Within ===

impl<F: Future> Future for Within<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        this.position.during(|| this.inner.poll(cx))
    }
}

// === impl Restore ===

impl Drop for Restore {
    fn drop(&mut self) {
        CURRENT.set(self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Position = Position {
        trace_id: [7; 16],
        span_id: [8; 8],
        flags: 0,
    };

    #[test]
    fn a_span_is_worked_on_only_during_the_work() {
        assert_eq!(position(), None);
        let inner = Position {
            span_id: [9; 8],
            flags: 1,
            ..SPAN
        };
        SPAN.during(|| {
            assert_eq!((position(), sampled()), (Some(SPAN), None));
            inner.during(|| assert_eq!((position(), sampled()), (Some(inner), Some(inner))));
            assert_eq!(position(), Some(SPAN));
        });
        assert_eq!(position(), None);
    }

    #[test]
    fn a_panic_ends_the_work() {
        std::panic::catch_unwind(|| SPAN.during(|| panic!("on purpose"))).unwrap_err();
        assert_eq!(position(), None);
    }

    #[tokio::test]
    async fn a_future_works_on_its_span_whenever_it_is_polled() {
        let work = async {
            for _ in 0..2 {
                assert_eq!(position(), Some(SPAN));
                tokio::task::yield_now().await;
            }
        };
        let other = async {
            for _ in 0..2 {
                assert_eq!(position(), None);
                tokio::task::yield_now().await;
            }
        };
        tokio::join!(SPAN.around(work), Position::NONE.around(other));
    }
}
