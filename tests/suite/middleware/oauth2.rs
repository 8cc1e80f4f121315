//! OAuth 2.0 at a token server in the same test.

use std::sync::atomic::{AtomicUsize, Ordering};

use outrigger_test_kit::{HttpApp, HttpRequest, HttpResponse, Result, isolated};

use super::{middleware, own, pipelines, sidecar};

/// A server that gives tokens `t0`, `t1`, … to clients that prove themselves in the header.
async fn token_server() -> Result<HttpApp> {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    HttpApp::start(async |request: HttpRequest| {
        if request.headers.get("authorization").is_none() {
            return HttpResponse::new(401, "who are you");
        }
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let body =
            format!("{{\"access_token\":\"t{number}\",\"token_type\":\"bearer\",\"expires_in\":3600}}");
        HttpResponse::ok(body).header("Content-Type", "application/json")
    })
    .await
}

#[test]
fn the_app_gets_a_token_that_the_sidecar_asked_for() {
    isolated!(async {
        let (app, server) = (HttpApp::echo().await?, token_server().await?);
        let url = format!("http://127.0.0.1:{}/token", server.port());
        let settings = [
            ("clientID", "id"),
            ("clientSecret", "secret"),
            ("scopes", "a,b"),
            ("tokenURL", &url),
            ("headerName", "x-token"),
            ("pathFilter", "method/secure"),
        ];
        let daprd = sidecar(&app)?
            .resource(
                "1.yaml",
                &middleware("oauth", "oauth2clientcredentials", &settings),
            )?
            .configuration(&pipelines(&[("oauth", "oauth2clientcredentials")], &[]))?
            .start()
            .await?;
        for _ in 0..3 {
            assert_eq!(daprd.get(&own("secure")).await?.status, 200);
        }
        daprd.get(&own("open")).await?;
        let received = app.requests_for("/secure");
        assert!(received.iter().all(|request| {
            request
                .headers
                .get("x-token")
                .is_some_and(|token| token.starts_with("Bearer t"))
        }));
        assert_eq!(app.requests_for("/open")[0].headers.get("x-token"), None);
        let asked = server.requests_for("/token");
        assert_eq!(asked.len(), 1);
        assert_eq!(asked[0].text(), "grant_type=client_credentials&scope=a+b");
        Ok(())
    });
}

#[test]
fn a_browser_is_sent_to_the_login_and_back() {
    isolated!(async {
        let (app, server) = (HttpApp::echo().await?, token_server().await?);
        let base = format!("http://127.0.0.1:{}", server.port());
        let settings = [
            ("clientID", "id"),
            ("clientSecret", "secret"),
            ("scopes", "a"),
            ("authURL", &format!("{base}/login")),
            ("tokenURL", &format!("{base}/token")),
            ("redirectURL", "http://127.0.0.1/back"),
            ("authHeaderName", "authorization"),
            ("pathFilter", "invoke|back"),
        ];
        let daprd = sidecar(&app)?
            .resource("1.yaml", &middleware("oauth", "oauth2", &settings))?
            .configuration(&pipelines(&[("oauth", "oauth2")], &[]))?
            .start()
            .await?;
        let first = daprd.get(&own("x?y=1")).await?;
        assert_eq!(first.status, 302);
        let location = first.header("location").unwrap_or_default().to_owned();
        let (login, state) = location.rsplit_once("&state=").expect("the state is last");
        assert_eq!(
            login,
            format!(
                "{base}/login?access_type=offline&client_id=id&redirect_uri=http%3A%2F%2F127.0.0.1%2Fback&\
                 response_type=code&scope=a"
            )
        );
        let cookie = first.header("set-cookie").unwrap_or_default();
        let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
        assert!(cookie.starts_with("gosessionsid="), "{cookie}");
        let ask = async |target: &str| {
            let request = HttpRequest::new("GET", target).header("Cookie", &cookie);
            daprd.send(&request).await
        };
        let wrong = ask("/back?code=c&state=wrong").await?;
        assert_eq!((wrong.status, wrong.text().as_str()), (400, "invalid state"));
        let back = ask(&format!("/back?code=c&state={state}")).await?;
        assert_eq!(
            (back.status, back.header("location")),
            (302, Some(&*own("x?y=1")))
        );
        assert_eq!(ask(&own("x?y=1")).await?.status, 200);
        let token = app.requests_for("/x")[0]
            .headers
            .get("authorization")
            .map(str::to_owned);
        assert!(token.is_some_and(|token| token.starts_with("Bearer t")));
        Ok(())
    });
}
