//! Names, kinds, attributes and parents of the spans of a call over two sidecars.

use anyhow::Context as _;
use http::HeaderMap;
use outrigger_api::common::InvokeResponse;
use outrigger_test_kit::grpc::metadata;
use outrigger_test_kit::{
    Collector, GrpcApp, HttpApp, HttpRequest, HttpResponse, Result, SpanRecord, isolated,
};

use super::{INVOKE_SERVICE, Pair, SAMPLED, TRACE_ID, exporting_to, invocation, map, parts};

const CLIENT: &str = "SPAN_KIND_CLIENT";
const SERVER: &str = "SPAN_KIND_SERVER";

/// The spans of the caller and of the callee that have this name.
async fn two(collector: &Collector, name: &str) -> Result<(SpanRecord, SpanRecord)> {
    let spans = collector.wait_for_spans(2, |span| span.name == name).await?;
    assert_eq!(spans.len(), 2, "{spans:?}");
    let of = |app_id: &str| {
        let span = spans.iter().find(|span| span.resource["service.name"] == app_id);
        span.cloned()
            .with_context(|| format!("no span {name} of {app_id}"))
    };
    Ok((of("caller")?, of("callee")?))
}

#[test]
fn an_http_call_is_a_client_span_and_a_server_span_below_the_callers_own() {
    isolated!(async {
        let collector = Collector::start().await?;
        let app = HttpApp::echo().await?;
        let pair = Pair::start("http", app.port(), &exporting_to(&collector)).await?;
        let request = HttpRequest::new("POST", "/v1.0/invoke/callee/method/orders/1?x=1")
            .header("traceparent", SAMPLED)
            .header("tracestate", "vendor=1")
            .header("Dapr-Custom", "mine");
        let reply = pair.caller.send(&request).await?;
        assert_eq!(reply.status, 200);

        let (client, server) = two(&collector, "CallLocal/callee/orders/1").await?;
        assert_eq!((client.kind.as_str(), server.kind.as_str()), (CLIENT, SERVER));
        assert_eq!(
            (client.trace_id.as_str(), server.trace_id.as_str()),
            (TRACE_ID, TRACE_ID)
        );
        assert_eq!(client.parent_span_id, "b7ad6b7169203331");
        assert_eq!(server.parent_span_id, client.span_id);
        assert_eq!((client.status_code, server.status_code), (0, 0));
        assert!(client.times.0 <= server.times.0 && server.times.0 < server.times.1);

        let mut attributes = client.attributes;
        let port = attributes
            .remove("server.port")
            .context("the port of the client")?;
        assert!(port.parse::<u16>().is_ok(), "{port}");
        let expected = [
            ("dapr.protocol", "http"),
            ("dapr.api", "POST /v1.0/invoke/callee/method/orders/1"),
            ("dapr.status_code", "200"),
            ("http.request.method", "POST"),
            ("url.full", "/v1.0/invoke/callee/method/orders/1?x=1"),
            ("server.address", "127.0.0.1"),
            ("dapr-custom", "mine"),
            ("rpc.service", "ServiceInvocation"),
            ("net.peer.name", "callee"),
        ];
        assert_eq!(attributes, map(expected));
        let expected = [
            ("dapr.protocol", "grpc"),
            (
                "dapr.api",
                "/dapr.proto.internals.v1.ServiceInvocation/CallLocalStream",
            ),
            ("rpc.service", "ServiceInvocation"),
            ("dapr.invoke_method", "orders/1"),
        ];
        assert_eq!(server.attributes, map(expected));

        let answered = reply.header("traceparent").unwrap_or_default();
        assert_eq!(parts(answered), (TRACE_ID, client.span_id.as_str(), "01"));
        assert_eq!(reply.header("tracestate"), Some("vendor=1"));
        let received = &app.requests_for("/orders/1")[0];
        let handed = received.headers.get("traceparent").unwrap_or_default();
        assert_eq!(parts(handed), (TRACE_ID, server.span_id.as_str(), "01"));
        assert_eq!(received.headers.get("tracestate"), Some("vendor=1"));
        Ok(())
    });
}

#[test]
fn a_status_from_400_makes_the_span_of_an_http_call_an_error() {
    isolated!(async {
        let collector = Collector::start().await?;
        let app = HttpApp::start(async |_| HttpResponse::new(404, "nothing")).await?;
        let pair = Pair::start("http", app.port(), &exporting_to(&collector)).await?;
        assert_eq!(pair.caller.invoke("callee", "lost").await?.status, 404);
        assert_eq!(pair.caller.invoke("nobody", "m").await?.status, 500);

        let (client, server) = two(&collector, "CallLocal/callee/lost").await?;
        assert_eq!(
            (client.status_code, client.status_message.as_str()),
            (2, "Code(404): Not Found")
        );
        assert_eq!(server.status_code, 0);
        assert_eq!(client.parent_span_id, "", "a root");
        let failed = collector
            .wait_for_spans(1, |span| span.name == "CallLocal/nobody/m")
            .await?
            .remove(0);
        assert_eq!(
            (failed.status_code, failed.status_message.as_str()),
            (2, "Code(500): Internal Server Error")
        );
        assert_eq!(failed.attributes["dapr.status_code"], "500");
        Ok(())
    });
}

#[test]
fn a_call_of_invoke_service_is_a_client_span_and_a_server_span() {
    isolated!(async {
        let collector = Collector::start().await?;
        let app = GrpcApp::on_invoke(|request, _| match request.method.as_str() {
            "orders" => Ok(InvokeResponse::default()),
            _ => Err((5, "no such order".to_owned())),
        })
        .await?;
        let pair = Pair::start("grpc", app.port(), &exporting_to(&collector)).await?;
        let client = pair.caller.grpc().await?;
        let headers = || metadata([("traceparent", SAMPLED), ("dapr-custom", "mine")]);
        client
            .unary::<InvokeResponse>(INVOKE_SERVICE, headers(), &invocation("orders"))
            .await?;
        let refused = client
            .unary::<InvokeResponse>(INVOKE_SERVICE, headers(), &invocation("lost"))
            .await;
        assert_eq!(refused.unwrap_err().to_string(), "status 5: no such order");

        let (outer, inner) = two(&collector, "CallLocal/callee/orders").await?;
        assert_eq!((outer.kind.as_str(), inner.kind.as_str()), (CLIENT, SERVER));
        assert_eq!(
            (outer.trace_id.as_str(), outer.parent_span_id.as_str()),
            (TRACE_ID, "b7ad6b7169203331")
        );
        assert_eq!(inner.parent_span_id, outer.span_id);
        let expected = [
            ("dapr.protocol", "grpc"),
            ("dapr.api", INVOKE_SERVICE),
            ("dapr-custom", "mine"),
            ("rpc.service", "ServiceInvocation"),
            ("net.peer.name", "callee"),
        ];
        assert_eq!(outer.attributes, map(expected));
        assert_eq!(inner.attributes["dapr.invoke_method"], "orders");
        assert_eq!((outer.status_code, inner.status_code), (0, 0));

        let (outer, _) = two(&collector, "CallLocal/callee/lost").await?;
        assert_eq!(
            (outer.status_code, outer.status_message.as_str()),
            (2, "no such order")
        );
        Ok(())
    });
}

#[test]
fn a_proxied_call_is_named_by_its_method_on_both_sides() {
    isolated!(async {
        let collector = Collector::start().await?;
        let app = GrpcApp::echo().await?;
        let pair = Pair::start("grpc", app.port(), &exporting_to(&collector)).await?;
        let client = pair.caller.grpc().await?;
        let headers = metadata([("dapr-app-id", "callee"), ("traceparent", SAMPLED)]);
        let reply = client.call("/shop.v1.Orders/Get", headers, ["order"]).await?;
        assert_eq!((reply.status, &reply.messages[0][..]), (0, &b"order"[..]));

        let (outer, inner) = two(&collector, "/shop.v1.Orders/Get").await?;
        assert_eq!((outer.kind.as_str(), inner.kind.as_str()), (CLIENT, SERVER));
        assert_eq!(
            (outer.trace_id.as_str(), outer.parent_span_id.as_str()),
            (TRACE_ID, "b7ad6b7169203331")
        );
        assert_eq!(inner.parent_span_id, outer.span_id);
        let expected = [("dapr.protocol", "grpc"), ("dapr-app-id", "callee")];
        assert_eq!(outer.attributes, map(expected));
        let expected = [
            ("dapr.protocol", "grpc"),
            ("dapr-caller-app-id", "caller"),
            ("dapr-callee-app-id", "callee"),
        ];
        assert_eq!(inner.attributes, map(expected));
        Ok(())
    });
}

#[test]
fn a_call_of_another_api_is_one_span_with_the_path_as_its_name() {
    isolated!(async {
        let collector = Collector::start().await?;
        let app = HttpApp::echo().await?;
        let pair = Pair::start("http", app.port(), &exporting_to(&collector)).await?;
        assert_eq!(pair.caller.get("/v1.0/metadata").await?.status, 200);
        let client = pair.caller.grpc().await?;
        let path = "/dapr.proto.runtime.v1.Dapr/GetMetadata";
        assert_eq!(client.call(path, HeaderMap::new(), [""]).await?.status, 0);

        for (name, api) in [("/v1.0/metadata", "GET /v1.0/metadata"), (path, path)] {
            let span = collector
                .wait_for_spans(1, |span| span.name == name)
                .await?
                .remove(0);
            assert_eq!(
                (span.kind.as_str(), span.attributes["dapr.api"].as_str()),
                (CLIENT, api)
            );
        }
        let names: Vec<_> = collector.spans().into_iter().map(|span| span.name).collect();
        assert!(!names.iter().any(|name| name.contains("healthz")), "{names:?}");
        Ok(())
    });
}
