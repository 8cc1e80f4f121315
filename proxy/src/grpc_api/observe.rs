//! Watching a call until it has ended, whichever way it ends.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use outrigger_link::{Status, code};
use outrigger_svc::{Body, BoxError, Response};
use pin_project_lite::pin_project;

/// One who wants to know how a call went.
pub(crate) trait Observer: Send + Unpin + 'static {
    /// The answer begins; its header metadata may be added to.
    fn begin(&mut self, headers: &mut HeaderMap) {
        let _ = headers;
    }

    /// The call has ended with this status.
    fn end(&mut self, status: &Status);
}

pin_project! {
    /// The answer to a call that is watched.
    #[derive(Debug)]
    pub(crate) struct Observed<F, O: Observer> {
        #[pin]
        inner: F,
        observer: Guard<O>,
    }
}

/// Tells its observer of the end once: also when the client goes away and all is dropped.
#[derive(Debug)]
struct Guard<O: Observer>(Option<O>);

/// A body whose trailers are watched for.
struct Watched<O: Observer> {
    inner: Body,
    observer: Guard<O>,
}

/// Watches what `inner` resolves to until its last byte; nobody watches if there is no observer.
pub(crate) fn observe<F, O: Observer>(inner: F, observer: Option<O>) -> Observed<F, O> {
    Observed {
        inner,
        observer: Guard(observer),
    }
}

// === impl Observed ===

impl<F, O> Future for Observed<F, O>
where
    F: Future<Output = Result<Response, Infallible>>,
    O: Observer,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Ok(mut response) = ready!(this.inner.poll(cx));
        let Some(observer) = &mut this.observer.0 else {
            return Poll::Ready(Ok(response));
        };
        observer.begin(response.headers_mut());
        if let Some(status) = Status::from_trailers(response.headers()) {
            this.observer.end(&status);
            return Poll::Ready(Ok(response));
        }
        let observer = Guard(this.observer.0.take());
        Poll::Ready(Ok(response.map(|inner| Body::new(Watched { inner, observer }))))
    }
}

// === impl Guard ===

impl<O: Observer> Guard<O> {
    fn end(&mut self, status: &Status) {
        if let Some(mut observer) = self.0.take() {
            observer.end(status);
        }
    }
}

impl<O: Observer> Drop for Guard<O> {
    fn drop(&mut self) {
        if self.0.is_some() {
            self.end(&Status::new(code::CANCELED, "context canceled"));
        }
    }
}

// === impl Watched ===

impl<O: Observer> HttpBody for Watched<O> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.inner).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_ref() {
                    let status = Status::from_trailers(trailers);
                    let missing = || Status::internal("server closed the stream without sending trailers");
                    this.observer.end(&status.unwrap_or_else(missing));
                }
            }
            Some(Err(error)) => this.observer.end(&Status::unavailable(error.to_string())),
            None => this.observer.end(&Status::internal(
                "server closed the stream without sending trailers",
            )),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use http_body_util::{BodyExt, StreamBody};

    use super::super::answer::answer;
    use super::*;

    #[derive(Clone, Default)]
    struct Seen(Arc<Mutex<Vec<(i32, String)>>>);

    impl Observer for Seen {
        fn begin(&mut self, headers: &mut HeaderMap) {
            headers.insert("seen", "1".parse().unwrap());
        }

        fn end(&mut self, status: &Status) {
            self.0.lock().unwrap().push((status.code, status.message.clone()));
        }
    }

    fn streamed(frames: Vec<Frame<Bytes>>) -> Response {
        let frames = frames.into_iter().map(Ok::<_, BoxError>);
        Response::new(Body::new(StreamBody::new(futures_util::stream::iter(frames))))
    }

    async fn watch(response: Response) -> (Response, Seen) {
        let seen = Seen::default();
        let Ok(response) = observe(std::future::ready(Ok(response)), Some(seen.clone())).await;
        (response, seen)
    }

    fn statuses(seen: &Seen) -> Vec<(i32, String)> {
        seen.0.lock().unwrap().clone()
    }

    #[tokio::test]
    async fn a_status_in_the_headers_ends_the_call() {
        let (response, seen) = watch(answer(&Status::new(20, "odd"))).await;
        assert_eq!(response.headers()["seen"], "1");
        assert_eq!(statuses(&seen), [(20, "odd".to_owned())]);
    }

    #[tokio::test]
    async fn a_status_in_the_trailers_ends_the_call_once() {
        let mut trailers = HeaderMap::new();
        Status::new(0, "").write_to(&mut trailers);
        let frames = vec![Frame::data(Bytes::from("x")), Frame::trailers(trailers)];
        let (response, seen) = watch(streamed(frames)).await;
        assert!(statuses(&seen).is_empty());
        response.into_body().collect().await.unwrap();
        assert_eq!(statuses(&seen), [(0, String::new())]);
    }

    #[tokio::test]
    async fn a_call_that_is_dropped_was_cancelled() {
        let (response, seen) = watch(streamed(vec![Frame::data(Bytes::from("x"))])).await;
        drop(response);
        assert_eq!(statuses(&seen), [(1, "context canceled".to_owned())]);

        let seen = Seen::default();
        drop(observe(
            std::future::pending::<Result<Response, Infallible>>(),
            Some(seen.clone()),
        ));
        assert_eq!(statuses(&seen), [(1, "context canceled".to_owned())]);
    }
}
