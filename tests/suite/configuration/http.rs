//! Values over HTTP, and news that are posted to the app.

use outrigger_test_kit::servers::Redis;
use outrigger_test_kit::{HttpApp, HttpRequest, HttpResponse, isolated};

use super::sidecar;

#[test]
fn values_are_read() {
    isolated!(async {
        let Some(redis) = Redis::start().await? else {
            return Ok(());
        };
        redis.cli(&["SET", "color", "red||3"]).await?;
        redis.cli(&["SET", "a b", "<x>"]).await?;
        let daprd = sidecar(&redis)?.start().await?;
        let color = r#""color":{"value":"red","version":"3"}"#;
        let table = [
            ("cfg?key=color", 200, format!("{{{color}}}\n")),
            (
                "cfg",
                200,
                format!("{{\"a b\":{{\"value\":\"\\u003cx\\u003e\"}},{color}}}\n"),
            ),
            ("cfg?key=none", 204, String::new()),
            (
                "other?key=a",
                400,
                r#"{"errorCode":"ERR_CONFIGURATION_STORE_NOT_FOUND","message":"configuration store other not found"}"#
                    .to_owned(),
            ),
            (
                "cfg/subscribe?key=a",
                500,
                r#"{"errorCode":"ERR_APP_CHANNEL_NIL","message":"app channel is not initialized. cannot subscribe to configuration updates"}"#
                    .to_owned(),
            ),
            (
                "cfg/nobody/unsubscribe",
                500,
                r#"{"message":"failed to unsubscribe to configuration request nobody: subscription with id nobody does not exist"}"#
                    .to_owned(),
            ),
        ];
        for version in ["v1.0", "v1.0-alpha1"] {
            for (path, status, body) in &table {
                let reply = daprd.get(&format!("/{version}/configuration/{path}")).await?;
                assert_eq!((reply.status, &reply.text()), (*status, body), "{version} {path}");
            }
        }
        let labels = [("component", "cfg"), ("operation", "get"), ("success", "true")];
        let count = daprd
            .metric("dapr_component_configuration_count", &labels)
            .await?;
        assert_eq!(count, Some(6.0));
        Ok(())
    });
}

#[test]
fn the_app_hears_of_changes_until_it_wants_no_more() {
    isolated!(async {
        let Some(redis) = Redis::start().await? else {
            return Ok(());
        };
        let app = HttpApp::start(async |_: HttpRequest| HttpResponse::ok("")).await?;
        let daprd = sidecar(&redis)?.app("http", app.port()).start().await?;
        let begun = daprd
            .get("/v1.0/configuration/cfg/subscribe?key=color&key=size")
            .await?;
        assert_eq!(begun.status, 200);
        let id = begun.json()?["id"].as_str().unwrap_or_default().to_owned();
        assert_eq!(begun.text(), format!("{{\"id\":\"{id}\"}}\n"));

        redis.cli(&["SET", "other", "1"]).await?;
        redis.cli(&["SET", "color", "red||1"]).await?;
        let told = app.wait_for_requests("/configuration/cfg/color", 1).await?;
        let body =
            format!("{{\"id\":\"{id}\",\"items\":{{\"color\":{{\"value\":\"red\",\"version\":\"1\"}}}}}}\n");
        assert_eq!((told[0].method.as_str(), told[0].text()), ("POST", body));
        assert_eq!(told[0].headers.get("content-type"), Some("application/json"));
        redis.cli(&["DEL", "color"]).await?;
        let told = app.wait_for_requests("/configuration/cfg/color", 2).await?;
        assert_eq!(
            told[1].text(),
            format!("{{\"id\":\"{id}\",\"items\":{{\"color\":{{}}}}}}\n")
        );
        assert_eq!(app.requests_for("/configuration/cfg/other").len(), 0);

        let ended = daprd
            .get(&format!("/v1.0/configuration/cfg/{id}/unsubscribe"))
            .await?;
        assert_eq!((ended.status, ended.text().as_str()), (200, "{\"ok\":true}\n"));
        let again = daprd
            .get(&format!("/v1.0/configuration/cfg/{id}/unsubscribe"))
            .await?;
        assert_eq!(again.status, 500);
        Ok(())
    });
}
