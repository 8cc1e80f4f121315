//! The trace context and the baggage of callers: taken, handed on, refused.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use http::HeaderMap;
use outrigger_api::common::InvokeResponse;
use outrigger_test_kit::grpc::metadata;
use outrigger_test_kit::{Collector, GrpcApp, HttpApp, HttpRequest, isolated};

use super::{INVOKE_SERVICE, Pair, SAMPLED, TRACE_ID, UNSAMPLED, exporting_to, invocation, parts};

const ZERO: &str = "00-00000000000000000000000000000000-0000000000000000-00";

const ON_INVOKE: &str = "/dapr.proto.runtime.v1.AppCallback/OnInvoke";

fn call() -> HttpRequest {
    HttpRequest::new("GET", "/v1.0/invoke/callee/method/orders")
}

/// The text of a metadata value.
fn text<'a>(metadata: &'a HeaderMap, name: &str) -> Option<&'a str> {
    metadata.get(name)?.to_str().ok()
}

/// The bytes of a metadata value whose name ends `-bin`.
fn binary(metadata: &HeaderMap, name: &str) -> Option<Vec<u8>> {
    STANDARD_NO_PAD
        .decode(text(metadata, name)?.trim_end_matches('='))
        .ok()
}

/// 29 bytes of a `grpc-trace-bin`.
fn trace_bin(trace_id: [u8; 16], span_id: [u8; 8], flags: u8) -> Vec<u8> {
    [&[0, 0][..], &trace_id, &[1], &span_id, &[2, flags]].concat()
}

#[test]
fn without_a_configuration_apps_and_callers_see_the_zero_context() {
    isolated!(async {
        let app = HttpApp::echo().await?;
        let pair = Pair::start("http", app.port(), "{}").await?;
        let reply = pair.caller.send(&call()).await?;
        assert_eq!(reply.header("traceparent"), Some(ZERO));
        assert!(
            reply.headers.names().contains(&"Traceparent"),
            "{:?}",
            reply.headers
        );
        let received = &app.requests_for("/orders")[0];
        assert_eq!(received.headers.get("traceparent"), Some(ZERO));
        Ok(())
    });
}

#[test]
fn without_a_configuration_a_callers_context_goes_through_unchanged() {
    isolated!(async {
        let app = HttpApp::echo().await?;
        let pair = Pair::start("http", app.port(), "{}").await?;
        let request = call()
            .header("traceparent", SAMPLED)
            .header("tracestate", "a=1,b=2");
        let reply = pair.caller.send(&request).await?;
        assert_eq!(reply.header("traceparent"), Some(SAMPLED));
        let received = &app.requests_for("/orders")[0];
        assert_eq!(received.headers.get("traceparent"), Some(SAMPLED));
        assert_eq!(received.headers.get("tracestate"), Some("a=1,b=2"));
        Ok(())
    });
}

#[test]
fn a_grpc_app_gets_the_zero_context_in_both_forms() {
    isolated!(async {
        let app = GrpcApp::on_invoke(|_, _| Ok(InvokeResponse::default())).await?;
        let pair = Pair::start("grpc", app.port(), "{}").await?;
        assert_eq!(pair.caller.send(&call()).await?.status, 200);
        let received = &app.calls(ON_INVOKE)[0];
        assert_eq!(text(received, "traceparent"), Some(ZERO));
        assert_eq!(
            binary(received, "grpc-trace-bin"),
            Some(trace_bin([0; 16], [0; 8], 0))
        );
        Ok(())
    });
}

#[test]
fn a_rate_of_zero_turns_headers_and_baggage_checks_off() {
    isolated!(async {
        let app = HttpApp::echo().await?;
        let pair = Pair::start("http", app.port(), "{tracing: {samplingRate: '0'}}").await?;
        let reply = pair
            .caller
            .send(&call().header("baggage", "invalid-baggage"))
            .await?;
        assert_eq!(reply.status, 200);
        assert_eq!(reply.header("traceparent"), None);
        assert_eq!(reply.header("baggage"), None);
        Ok(())
    });
}

#[test]
fn a_callers_choice_of_sampling_is_honoured() {
    isolated!(async {
        let collector = Collector::start().await?;
        let app = HttpApp::echo().await?;
        let pair = Pair::start("http", app.port(), &exporting_to(&collector)).await?;
        let reply = pair.caller.send(&call().header("traceparent", UNSAMPLED)).await?;
        let (trace_id, span_id, flags) = parts(reply.header("traceparent").unwrap_or_default());
        assert_eq!((trace_id, flags), (TRACE_ID, "00"));
        assert_ne!(span_id, "b7ad6b7169203331", "a span of its own");
        let handed = app.requests_for("/orders")[0].headers.clone();
        let (trace_id, handed_id, flags) = parts(handed.get("traceparent").unwrap_or_default());
        assert_eq!((trace_id, flags), (TRACE_ID, "00"));
        assert_ne!(handed_id, span_id, "the span of the callee");

        // A later call that is exported shows that the exporter is not merely behind.
        assert_eq!(pair.caller.invoke("callee", "later").await?.status, 200);
        collector
            .wait_for_spans(2, |span| span.name == "CallLocal/callee/later")
            .await?;
        assert!(collector.spans().iter().all(|span| span.trace_id != TRACE_ID));
        Ok(())
    });
}

#[test]
fn a_context_that_cannot_be_read_begins_a_new_trace() {
    isolated!(async {
        let collector = Collector::start().await?;
        let app = HttpApp::echo().await?;
        let pair = Pair::start("http", app.port(), &exporting_to(&collector)).await?;
        for broken in [
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "nonsense",
        ] {
            let reply = pair.caller.send(&call().header("traceparent", broken)).await?;
            let (trace_id, _, flags) = parts(reply.header("traceparent").unwrap_or_default());
            assert_eq!((trace_id.len(), flags), (32, "01"), "{broken}");
            assert!(
                trace_id != TRACE_ID && !trace_id.trim_matches('0').is_empty(),
                "{broken}"
            );
        }
        Ok(())
    });
}

#[test]
fn a_binary_context_of_a_grpc_client_wins_over_the_text() {
    isolated!(async {
        let app = GrpcApp::on_invoke(|_, _| Ok(InvokeResponse::default())).await?;
        let pair = Pair::start("grpc", app.port(), "{}").await?;
        let context = trace_bin([0x11; 16], [0x22; 8], 1);
        let encoded = STANDARD.encode(&context);
        let headers = metadata([("grpc-trace-bin", encoded.as_str()), ("traceparent", SAMPLED)]);
        let client = pair.caller.grpc().await?;
        client
            .unary::<InvokeResponse>(INVOKE_SERVICE, headers, &invocation("orders"))
            .await?;
        let received = &app.calls(ON_INVOKE)[0];
        assert_eq!(binary(received, "grpc-trace-bin"), Some(context));
        let expected = format!("00-{}-{}-01", "11".repeat(16), "22".repeat(8));
        assert_eq!(text(received, "traceparent"), Some(expected.as_str()));
        Ok(())
    });
}

#[test]
fn the_grpc_api_answers_with_its_span_in_the_binary_form() {
    isolated!(async {
        let collector = Collector::start().await?;
        let app = HttpApp::echo().await?;
        let pair = Pair::start("http", app.port(), &exporting_to(&collector)).await?;
        let client = pair.caller.grpc().await?;
        let path = "/dapr.proto.runtime.v1.Dapr/GetMetadata";
        let reply = client
            .call(path, metadata([("traceparent", SAMPLED)]), [""])
            .await?;
        let context = binary(&reply.metadata, "grpc-trace-bin").unwrap_or_default();
        let span = collector
            .wait_for_spans(1, |span| span.name == path)
            .await?
            .remove(0);
        let hex: String = context.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, format!("0000{TRACE_ID}01{}0201", span.span_id));
        Ok(())
    });
}

#[test]
fn baggage_is_handed_on_and_repeated_to_the_caller() {
    isolated!(async {
        let app = HttpApp::echo().await?;
        let pair = Pair::start("http", app.port(), "{}").await?;
        let reply = pair
            .caller
            .send(&call().header("baggage", "user=ann,tier=gold;since=2020"))
            .await?;
        assert_eq!(reply.header("baggage"), Some("user=ann,tier=gold;since=2020"));
        let received = &app.requests_for("/orders")[0];
        assert_eq!(
            received.headers.get("baggage"),
            Some("user=ann,tier=gold;since=2020")
        );
        let joined = call().header("baggage", "a=1").header("baggage", "b=2");
        assert_eq!(
            pair.caller.send(&joined).await?.header("baggage"),
            Some("a=1,b=2")
        );
        Ok(())
    });
}

#[test]
fn baggage_that_is_none_is_refused_by_both_apis() {
    isolated!(async {
        let app = HttpApp::echo().await?;
        let pair = Pair::start("http", app.port(), "{}").await?;
        let reply = pair
            .caller
            .send(&call().header("baggage", "invalid-baggage"))
            .await?;
        assert_eq!(reply.status, 400);
        assert_eq!(reply.header("content-type"), Some("text/plain; charset=utf-8"));
        let refusal = "invalid baggage header: invalid baggage list-member: \"invalid-baggage\"";
        assert_eq!(reply.text(), format!("{refusal}\n"));
        assert!(app.requests_for("/orders").is_empty());

        let client = pair.caller.grpc().await?;
        let headers = metadata([("baggage", "invalid-baggage")]);
        let refused = client
            .unary::<InvokeResponse>(INVOKE_SERVICE, headers, &invocation("orders"))
            .await;
        assert_eq!(refused.unwrap_err().to_string(), format!("status 3: {refusal}"));
        assert!(app.requests_for("/orders").is_empty());

        let headers = metadata([("baggage", "user=ann")]);
        let path = "/dapr.proto.runtime.v1.Dapr/GetMetadata";
        let reply = client.call(path, headers, [""]).await?;
        assert_eq!(text(&reply.metadata, "baggage"), Some("user=ann"));
        Ok(())
    });
}
