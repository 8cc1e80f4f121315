use std::convert::Infallible;

use outrigger_link::HttpExtension;
use outrigger_svc::{CallContext, Surface};
use outrigger_telemetry::trace::TraceSettings;

use super::*;
use crate::app::testing::{channel, echo, start_app, text};

fn internal(app: Option<AppChannel>, tracer: Tracer) -> impl Callee {
    let parts = InternalParts {
        app_id: "callee".into(),
        app,
        access: AccessControl::default(),
        tracer,
        metrics: Metrics::disabled(),
    };
    Internal::new(
        parts,
        tower::service_fn(|_: Request| async { Ok::<_, Infallible>(Response::new(Body::from("other"))) }),
    )
}

fn scope(trace: Option<TraceContext>) -> CallScope {
    CallScope {
        context: CallContext {
            surface: Surface::Internal,
            remote: None,
            peer: None,
        },
        trace,
        form: CallForm::Stream,
    }
}

fn call(method: &str) -> Invocation {
    let mut call = Invocation::new(method);
    call.http = Some(HttpExtension {
        verb: Verb::GET,
        query: "".into(),
    });
    call.metadata.push(CALLER_APP_ID, "caller");
    call
}

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[tokio::test]
async fn a_callee_without_an_app_admits_nothing() {
    let internal = internal(None, Tracer::off());
    let expected = "rpc error: code = Internal desc = app channel is not initialized";
    assert_eq!(internal.admit().unwrap_err().to_string(), expected);
}

#[tokio::test]
async fn the_method_is_judged_and_cleaned_here_too() {
    let internal = internal(Some(channel(start_app(echo).await.port())), Tracer::off());
    let refused = internal.invoke(scope(None), call("a?b")).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "rpc error: code = InvalidArgument desc = invalid method: method contains forbidden character: \"a?b\""
    );
    let reply = internal
        .invoke(scope(None), call("../admin/../public/"))
        .await
        .unwrap();
    assert!(text(reply.body).await.starts_with("GET /public\n"));
}

#[tokio::test]
async fn the_app_gets_a_span_below_that_of_the_caller() {
    let app = channel(start_app(echo).await.port());
    let parent = TraceContext::from_traceparent(PARENT.as_bytes()).unwrap();
    let settings = TraceSettings {
        sampling_rate: "1".to_owned(),
        ..TraceSettings::default()
    };
    let network = outrigger_telemetry::export::Network {
        connect: Arc::new(outrigger_link::TcpConnect),
        crypto: Arc::new(rustls::crypto::aws_lc_rs::default_provider()),
        metrics: Metrics::disabled(),
    };
    let tracer = Tracer::open(&settings, &tokio::runtime::Handle::current(), &network).unwrap();
    let reply = internal(Some(app.clone()), tracer)
        .invoke(scope(Some(parent.clone())), call("m"))
        .await
        .unwrap();
    let seen = text(reply.body).await;
    let line = seen
        .lines()
        .find_map(|line| line.strip_prefix("traceparent: "))
        .unwrap();
    assert!(
        line.starts_with("00-0af7651916cd43dd8448eb211c80319c-") && line != PARENT,
        "{line}"
    );
    // Passing through, the caller's own context goes on.
    let reply = internal(Some(app), Tracer::pass_through())
        .invoke(scope(Some(parent)), call("m"))
        .await
        .unwrap();
    assert!(
        text(reply.body)
            .await
            .contains(&format!("traceparent: {PARENT}\n"))
    );
}

#[tokio::test]
async fn other_requests_go_where_they_belong() {
    let internal = internal(None, Tracer::off());
    let response = internal.other(http::Request::new(Body::empty())).await;
    assert_eq!(text(response.into_body()).await, "other");
}
