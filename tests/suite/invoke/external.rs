//! Targets that are no apps: URLs, and names of HTTPEndpoint resources.

use outrigger_test_kit::http::{Flavor, HttpConnection, Piece};
use outrigger_test_kit::{
    Authority, Daprd, HttpApp, HttpRequest, HttpResponse, Leaf, free_port, isolated, tls,
};

use super::{app, assert_failure};

fn endpoint(name: &str, spec: &str) -> String {
    format!("apiVersion: dapr.io/v1alpha1\nkind: HTTPEndpoint\nmetadata: {{name: {name}}}\nspec: {spec}\n")
}

#[test]
fn a_url_is_called_with_the_headers_of_the_client_and_nothing_else() {
    isolated!(async {
        let own = HttpApp::echo().await?;
        let server = app(async |request: HttpRequest| match request.path() {
            "/base/old" => HttpResponse::new(302, "").header("Location", "/base/new"),
            "/base/teapot" => HttpResponse::new(418, "short").header("Content-Type", "text/plain"),
            _ => HttpResponse::ok(request.body).header("X-Server", "1"),
        })
        .await?;
        let sidecar = Daprd::builder("caller")?
            .app("http", own.port())
            .env("APP_API_TOKEN", "secret")
            .start()
            .await?;
        let host = format!("127.0.0.1:{}", server.port());
        for target in [
            format!("http://{host}/base"),
            format!("http%3A%2F%2F{host}%2Fbase"),
        ] {
            let request = HttpRequest::new("PUT", format!("/v1.0/invoke/{target}/method/a/b?x=%20y"))
                .header("Content-Type", "text/plain")
                .header("Authorization", "Bearer t")
                .header("X-Mine", "1")
                .header("Connection", "X-Hop")
                .header("X-Hop", "1")
                .body("hello");
            let reply = sidecar.send(&request).await?;
            assert_eq!((reply.status, reply.text().as_str()), (200, "hello"), "{target}");
            assert_eq!(reply.header("x-server"), Some("1"));
            let received = server.requests().remove(0);
            assert_eq!(
                (received.method.as_str(), received.target.as_str()),
                ("PUT", "/base/a/b?x=%20y")
            );
            let mut names: Vec<_> = received
                .headers
                .iter()
                .map(|(name, _)| name.to_ascii_lowercase())
                .collect();
            names.sort();
            assert_eq!(
                names,
                [
                    "authorization",
                    "content-length",
                    "content-type",
                    "host",
                    "traceparent",
                    "x-mine"
                ]
            );
            assert_eq!(received.headers.get("host"), Some(host.as_str()));
            server.clear();
        }
        let redirect = sidecar
            .get(&format!("/v1.0/invoke/http://{host}/base/method/old"))
            .await?;
        assert_eq!(
            (redirect.status, redirect.header("location")),
            (302, Some("/base/new"))
        );
        let teapot = sidecar
            .get(&format!("/v1.0/invoke/http://{host}/base/method/teapot"))
            .await?;
        assert_eq!((teapot.status, teapot.text().as_str()), (418, "short"));
        assert!(
            !own.requests()
                .iter()
                .any(|request| request.path().contains("base"))
        );

        let nobody = format!("http://127.0.0.1:{}", free_port()?);
        let reply = sidecar.get(&format!("/v1.0/invoke/{nobody}/method/x")).await?;
        let address = nobody.trim_start_matches("http://");
        assert_failure(
            &reply,
            &nobody,
            &format!("Get \"{nobody}/x\": dial tcp {address}: connect: connection refused"),
        );
        Ok(())
    });
}

#[test]
fn an_endpoint_resource_names_a_server_its_headers_and_its_certificates() {
    isolated!(async {
        let authority = Authority::new()?;
        let certificate = authority.issue(&Leaf {
            dns_names: vec!["localhost".to_owned()],
            ..Leaf::default()
        })?;
        let answer = async |request: HttpRequest| match request.path() {
            "/old" => HttpResponse::new(302, "").header("Location", "/new"),
            path => HttpResponse::ok(path.to_owned()),
        };
        let plain = app(answer).await?;
        let config = tls::server_config(&certificate, &["http/1.1"])?;
        let secure = HttpApp::start_as(Flavor::Https(config), 0, answer).await?;
        let anchors: String = authority
            .anchors()
            .lines()
            .map(|line| format!("        {line}\n"))
            .collect();
        let sidecar = Daprd::builder("caller")?
            .resource(
                "plain.yaml",
                &endpoint(
                    "plain",
                    &format!(
                        "{{baseUrl: 'http://127.0.0.1:{}', headers: [{{name: X-Key, value: k}}, {{name: X-Mine, value: \
                         theirs}}]}}",
                        plain.port()
                    ),
                ),
            )?
            .resource(
                "secure.yaml",
                &endpoint(
                    "secure",
                    &format!(
                        "\n  baseUrl: https://localhost:{}\n  clientTLS:\n    rootCA:\n      value: |\n{anchors}",
                        secure.port()
                    ),
                ),
            )?
            .resource(
                "doubtful.yaml",
                &endpoint(
                    "doubtful",
                    &format!("{{baseUrl: 'https://localhost:{}'}}", secure.port()),
                ),
            )?
            .start()
            .await?;
        let request = HttpRequest::new("GET", "/v1.0/invoke/plain/method/hello?q=1").header("X-Mine", "mine");
        let reply = sidecar.send(&request).await?;
        assert_eq!((reply.status, reply.text().as_str()), (200, "/hello"));
        let received = &plain.requests_for("/hello")[0];
        assert_eq!(received.target, "/hello?q=1");
        assert_eq!(received.headers.get("x-key"), Some("k"));
        assert_eq!(received.headers.all("x-mine").collect::<Vec<_>>(), ["theirs"]);
        assert_eq!(received.headers.get("dapr-caller-app-id"), None);
        // Unlike those of apps, redirects are followed.
        assert_eq!(sidecar.invoke("plain", "old").await?.text(), "/new");

        let reply = sidecar.invoke("secure", "hello").await?;
        assert_eq!((reply.status, reply.text().as_str()), (200, "/hello"));

        let reply = sidecar.invoke("doubtful", "hello").await?;
        assert_eq!(reply.status, 500);
        let text = reply.text();
        assert!(text.contains("tls: failed to verify certificate"), "{text}");
        assert!(
            text.starts_with(&format!(
                "{{\"errorCode\":\"ERR_DIRECT_INVOKE\",\"message\":\"failed to invoke, id: doubtful, err: Get \
                 \\\"https://localhost:{}/hello\\\": ",
                secure.port()
            )),
            "{text}"
        );
        assert_eq!(
            sidecar.get("/v1.0/metadata").await?.json()?["httpEndpoints"]
                .as_array()
                .map(Vec::len),
            Some(3)
        );
        Ok(())
    });
}

#[test]
fn bodies_of_servers_stream_as_those_of_apps() {
    isolated!(async {
        let (give, mut take) = tokio::sync::mpsc::channel(4);
        let server = app(move |_| {
            let (response, sender) = HttpResponse::stream(200);
            let give = give.clone();
            async move {
                give.send(sender).await.ok();
                response
            }
        })
        .await?;
        let own = HttpApp::echo().await?;
        let sidecar = Daprd::builder("caller")?.app("http", own.port()).start().await?;
        let mut connection = HttpConnection::open(sidecar.http_port).await?;
        let path = format!("/v1.0/invoke/http://127.0.0.1:{}/method/x", server.port());
        connection.send_head(&HttpRequest::new("GET", path)).await?;
        let sender = take.recv().await.expect("the server is asked");
        for text in ["first", "second"] {
            sender.send(Piece::Data(text.into())).await?;
            if text == "first" {
                assert_eq!(connection.reply_head().await?.status, 200);
            }
            assert_eq!(connection.piece().await?.as_deref(), Some(text.as_bytes()));
        }
        drop(sender);
        assert_eq!(connection.piece().await?, None);
        Ok(())
    });
}
