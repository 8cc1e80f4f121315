//! Answers that belong to an attempt under a policy until their last byte.
//!
//! A policy's timeout covers the whole attempt, and its circuit breaker counts how the attempt ended; both go on
//! while the body of the answer streams to the client.
//!
//! Source: specification, resiliency 4 and service invocation 10.3 and 13.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use outrigger_link::{Status, code};
use outrigger_resilience::{Pending, PolicyError};
use outrigger_svc::{Body, BoxError};
use tokio::time::{Sleep, sleep_until};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// What ends an answer before its time, and how well it has ended.
#[derive(Debug)]
pub(crate) enum Kind {
    /// HTTP: whatever ends without an error has ended well.
    Http,
    /// gRPC: the status in the trailers decides. The token, if there is one, breaks the answer off with
    /// [`second_message`].
    Grpc(Option<CancellationToken>),
}

/// The body of an answer whose attempt goes on.
struct Attempted {
    inner: Body,
    ends_with_status: bool,
    /// None once the attempt is over.
    pending: Option<Pending>,
    deadline: Option<Pin<Box<Sleep>>>,
    broken_off: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    has_begun: bool,
}

/// The body of an answer, which ends the attempt with it.
pub(crate) fn attempted(body: Body, pending: Pending, kind: Kind) -> Body {
    let (ends_with_status, token) = match kind {
        Kind::Http => (false, None),
        Kind::Grpc(token) => (true, token),
    };
    let is_over = body.is_end_stream() || (pending.is_idle() && token.is_none());
    if is_over {
        pending.succeed();
        return body;
    }
    Body::new(Attempted {
        inner: body,
        ends_with_status,
        deadline: pending.deadline().map(|deadline| Box::pin(sleep_until(deadline))),
        pending: Some(pending),
        broken_off: token.map(|token| Box::pin(token.cancelled_owned())),
        has_begun: false,
    })
}

/// The status of a call that a policy has ended.
pub(crate) fn status_of<E>(error: &PolicyError<E>) -> Status
where
    PolicyError<E>: std::fmt::Display,
{
    let code = match error {
        PolicyError::DeadlineExceeded => code::DEADLINE_EXCEEDED,
        _ => code::UNKNOWN,
    };
    Status::new(code, error.to_string())
}

/// The status of a call that may be retried, and whose client sends more than can be sent again.
pub(crate) fn second_message() -> Status {
    Status::new(
        code::FAILED_PRECONDITION,
        "cannot use resiliency policies with retries on streaming RPCs",
    )
}

// === impl Attempted ===

impl Attempted {
    /// What ends the answer now, if anything does.
    fn poll_cut(&mut self, cx: &mut Context<'_>) -> Option<Status> {
        let is_due = |timer: &mut Option<Pin<Box<Sleep>>>, cx: &mut Context<'_>| {
            timer
                .as_mut()
                .is_some_and(|timer| timer.as_mut().poll(cx).is_ready())
        };
        if is_due(&mut self.deadline, cx) {
            if let Some(pending) = self.pending.take() {
                pending.time_out();
            }
            return Some(Status::new(code::DEADLINE_EXCEEDED, "context deadline exceeded"));
        }
        let broken_off = self.broken_off.as_mut()?;
        broken_off.as_mut().poll(cx).is_ready().then(second_message)
    }

    fn succeed(&mut self) {
        if let Some(pending) = self.pending.take() {
            pending.succeed();
        }
    }

    fn see(&mut self, frame: Option<&Frame<Bytes>>) {
        match frame.map(Frame::trailers_ref) {
            Some(Some(trailers)) if self.ends_with_status => {
                let status = Status::from_trailers(trailers);
                if status.is_some_and(|status| status.code == code::OK) {
                    self.succeed();
                }
                self.pending = None;
            }
            Some(_) if self.inner.is_end_stream() && !self.ends_with_status => self.succeed(),
            None if !self.ends_with_status => self.succeed(),
            // A gRPC answer without a status has failed.
            None => self.pending = None,
            Some(_) => {}
        }
    }
}

impl HttpBody for Attempted {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        this.has_begun = true;
        if this.pending.is_some()
            && let Some(status) = this.poll_cut(cx)
        {
            this.pending = None;
            this.inner = Body::empty();
            return Poll::Ready(Some(if this.ends_with_status {
                let mut trailers = HeaderMap::new();
                status.write_to(&mut trailers);
                Ok(Frame::trailers(trailers))
            } else {
                Err(status.message.into())
            }));
        }
        let polled = Pin::new(&mut this.inner).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Err(_))) => this.pending = None,
            Poll::Ready(Some(Ok(frame))) => this.see(Some(frame)),
            Poll::Ready(None) => this.see(None),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for Attempted {
    fn drop(&mut self) {
        // Nobody has asked for the body: the answer to HEAD, say. Its head was all there was to bring.
        if !self.has_begun && !self.ends_with_status {
            self.succeed();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http_body_util::{BodyExt, StreamBody};
    use outrigger_config::resources::{Resiliency, Resource};
    use outrigger_kit::yaml;
    use outrigger_resilience::{Class, Failure, Policies};
    use outrigger_telemetry::metrics::Metrics;

    use super::*;

    #[derive(Debug)]
    struct Never;

    impl std::fmt::Display for Never {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            unreachable!("operations of this test succeed")
        }
    }

    impl Failure for Never {
        fn class(&self) -> Class {
            Class::Plain
        }
    }

    /// A timeout of three seconds and a breaker that opens at the first failure.
    fn policies() -> Policies {
        let text = "spec: {policies: {timeouts: {t: 3s}, circuitBreakers: {b: {trip: consecutiveFailures > 0}}}, \
                    targets: {apps: {a: {timeout: t, circuitBreaker: b}}}}";
        let resource = Resiliency::from_document("dapr.io/v1alpha1", &yaml::to_json(text).unwrap()).unwrap();
        Policies::load(&[resource], &Metrics::disabled()).policies
    }

    async fn begin(policies: &Policies) -> Option<Pending> {
        let policy = policies.app("a", || "a:m".to_owned()).unwrap();
        let begun = policy.begin(async |_| Ok::<_, Never>(())).await;
        begun.ok().map(|((), pending)| pending)
    }

    /// Whether the breaker has counted the last attempt as failed.
    async fn has_failed(policies: &Policies) -> bool {
        begin(policies).await.map(Pending::succeed).is_none()
    }

    fn frames(frames: Vec<Result<Frame<Bytes>, BoxError>>) -> Body {
        Body::new(StreamBody::new(futures_util::stream::iter(frames)))
    }

    fn data() -> Result<Frame<Bytes>, BoxError> {
        Ok(Frame::data("x".into()))
    }

    fn trailers(code: i32) -> Result<Frame<Bytes>, BoxError> {
        let mut trailers = HeaderMap::new();
        Status::new(code, "").write_to(&mut trailers);
        Ok(Frame::trailers(trailers))
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_ends_with_its_answer() {
        let table = [
            ("HTTP", frames(vec![data(), data()]), false, false),
            ("HTTP at hand", Body::from("x"), false, false),
            ("HTTP empty", Body::empty(), false, false),
            (
                "HTTP broken",
                frames(vec![data(), Err("cut".into())]),
                false,
                true,
            ),
            ("gRPC", frames(vec![data(), trailers(0)]), true, false),
            ("gRPC failed", frames(vec![data(), trailers(5)]), true, true),
            ("gRPC cut", frames(vec![data()]), true, true),
        ];
        for (name, body, is_grpc, expected) in table {
            let policies = policies();
            let pending = begin(&policies).await.unwrap();
            let kind = if is_grpc { Kind::Grpc(None) } else { Kind::Http };
            let read = attempted(body, pending, kind).collect().await;
            assert_eq!(read.is_err(), name == "HTTP broken");
            assert_eq!(has_failed(&policies).await, expected, "{name}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_cut_at_the_deadline_of_its_attempt() {
        let endless = || frames(vec![data()]).with_trailers(std::future::pending());
        let policies = policies();
        let pending = begin(&policies).await.unwrap();
        let mut body = attempted(Body::new(endless()), pending, Kind::Http);
        assert!(body.frame().await.unwrap().is_ok());
        let error = body.frame().await.unwrap().unwrap_err();
        assert_eq!(error.to_string(), "context deadline exceeded");
        assert!(body.frame().await.is_none());
        assert!(has_failed(&policies).await);

        tokio::time::advance(Duration::from_secs(61)).await;
        let pending = begin(&policies).await.unwrap();
        let body = attempted(Body::new(endless()), pending, Kind::Grpc(None));
        let collected = body.collect().await.unwrap();
        let status = Status::from_trailers(collected.trailers().unwrap()).unwrap();
        assert_eq!(
            (status.code, status.message.as_str()),
            (4, "context deadline exceeded")
        );
        assert!(has_failed(&policies).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_leaves_in_the_middle_makes_a_failure_and_one_that_wants_no_body_does_not() {
        let policies = policies();
        let pending = begin(&policies).await.unwrap();
        drop(attempted(frames(vec![data()]), pending, Kind::Http));
        assert!(!has_failed(&policies).await);
        let pending = begin(&policies).await.unwrap();
        let mut body = attempted(frames(vec![data(), data()]), pending, Kind::Http);
        body.frame().await.unwrap().unwrap();
        drop(body);
        assert!(has_failed(&policies).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_message_breaks_an_answer_off() {
        let policies = policies();
        let pending = begin(&policies).await.unwrap();
        let token = CancellationToken::new();
        let endless = frames(vec![data()]).with_trailers(std::future::pending());
        let mut body = attempted(Body::new(endless), pending, Kind::Grpc(Some(token.clone())));
        body.frame().await.unwrap().unwrap();
        token.cancel();
        let trailers = body.frame().await.unwrap().unwrap().into_trailers().unwrap();
        assert_eq!(Status::from_trailers(&trailers), Some(second_message()));
        assert!(body.frame().await.is_none());
    }
}
