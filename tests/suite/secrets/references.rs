//! Values of resources that are secrets.

use outrigger_test_kit::{Daprd, Directory, HttpApp, HttpRequest, HttpResponse, Result, isolated, until};
use serde_json::json;

use super::store;
use crate::suite::state::component;

/// What nobody may read but those it is for.
const SECRET: &str = "s3cr3t-hunter2";

/// A middleware that shouts or not, as a secret says.
fn loud(secret: &str, key: &str, store: &str) -> String {
    let direction = format!(
        "metadata: [{{name: direction, secretKeyRef: {{name: {secret}, key: {key}}}}}]\nauth: {{secretStore: {store}}}"
    );
    component("loud", "middleware.http.uppercase", &[]).replace("metadata: []", &direction)
}

const PIPELINE: &str = "spec: {appHttpPipeline: {handlers: [{name: loud, type: middleware.http.uppercase}]}}";

async fn answer(daprd: &Daprd) -> Result<String> {
    Ok(daprd.post("/v1.0/invoke/a/method/x", "Quiet").await?.text())
}

#[test]
fn a_store_may_itself_need_a_secret_of_another_store() {
    isolated!(async {
        let app = HttpApp::start(async |_: HttpRequest| HttpResponse::ok("Answer")).await?;
        let folder = Directory::new()?;
        let file = folder.write("secrets.json", json!({"mode": {"value": "response"}}).to_string())?;
        // Its file is a secret of a store that comes later.
        let inner = store("inner", "file", &[]).replace(
            "metadata: []",
            "metadata: [{name: secretsFile, secretKeyRef: {name: FILE}}, {name: nestedSeparator, value: /}]\nauth: \
             {secretStore: outer}",
        );
        let daprd = Daprd::builder("a")?
            .app("http", app.port())
            .env("SHOP_FILE", &file.display().to_string())
            .configuration(PIPELINE)?
            .resource("1.yaml", &loud("mode/value", "mode/value", "inner"))?
            .resource("2.yaml", &inner)?
            .resource("3.yaml", &store("outer", "env", &[("prefix", "SHOP_")]))?
            .start()
            .await?;
        assert_eq!(answer(&daprd).await?, "ANSWER");
        let metadata = daprd.get("/v1.0/metadata").await?.json()?;
        let names: Vec<_> = (0..3)
            .map(|index| metadata["components"][index]["name"].clone())
            .collect();
        assert_eq!(names, ["outer", "inner", "loud"]);
        daprd
            .process
            .wait_for_line("Component inner references a secret store that isn't loaded: outer")
            .await?;
        Ok(())
    });
}

#[test]
fn what_waits_for_a_store_comes_up_when_the_store_is_added() {
    isolated!(async {
        let app = HttpApp::start(async |_: HttpRequest| HttpResponse::ok("Answer")).await?;
        let daprd = Daprd::builder("a")?
            .app("http", app.port())
            .env("MODE", "response")
            .configuration(PIPELINE)?
            .resource("1.yaml", &loud("MODE", "MODE", "late"))?
            .start()
            .await?;
        assert_eq!(answer(&daprd).await?, "Answer");
        daprd
            .directory()
            .write("resources/2.yaml", store("late", "env", &[]))?;
        until("the middleware to be there", async || {
            (answer(&daprd).await.ok()? == "ANSWER").then_some(())
        })
        .await
        .map_err(|error| error.context(daprd.process.tail()))?;
        assert_eq!(
            daprd.get("/v1.0/metadata").await?.json()?["extended"].get("componentState/loud"),
            None
        );
        Ok(())
    });
}

#[test]
fn headers_of_an_endpoint_may_be_secrets() {
    isolated!(async {
        let server = HttpApp::start(async |request: HttpRequest| {
            HttpResponse::ok(
                request
                    .headers
                    .get("authorization")
                    .unwrap_or_default()
                    .to_owned(),
            )
        })
        .await?;
        let endpoint = format!(
            "apiVersion: dapr.io/v1alpha1\nkind: HTTPEndpoint\nmetadata: {{name: web}}\nspec:\n  baseUrl: \
             http://127.0.0.1:{}\n  headers:\n  - {{name: Authorization, secretKeyRef: {{name: TOKEN}}}}\n  - {{name: \
             X-Env, envRef: SHOP_TOKEN}}\n  - {{name: X-None, secretKeyRef: {{name: NOTHING}}}}\nauth: {{secretStore: \
             vault}}\n",
            server.port()
        );
        let daprd = Daprd::builder("a")?
            .env("SHOP_TOKEN", SECRET)
            .resource("1.yaml", &endpoint)?
            .resource("2.yaml", &store("vault", "env", &[("prefix", "SHOP_")]))?
            .start()
            .await?;
        assert_eq!(daprd.invoke("web", "x").await?.text(), SECRET);
        let seen = server.requests().remove(0);
        assert_eq!(
            (seen.headers.get("x-env"), seen.headers.get("x-none")),
            (Some(SECRET), Some(""))
        );
        Ok(())
    });
}

#[test]
fn secrets_are_never_told() {
    isolated!(async {
        let server = HttpApp::echo().await?;
        let folder = Directory::new()?;
        let secrets = json!({"token": SECRET, "redis": {"password": SECRET}, "list": [SECRET]});
        let file = folder
            .write("secrets.json", secrets.to_string())?
            .display()
            .to_string();
        let vault = store("vault", "file", &[("secretsFile", &file)]);
        let endpoint = format!(
            "apiVersion: dapr.io/v1alpha1\nkind: HTTPEndpoint\nmetadata: {{name: web}}\nspec:\n  baseUrl: \
             http://127.0.0.1:{}\n  headers: [{{name: Authorization, secretKeyRef: {{name: token}}}}]\nauth: \
             {{secretStore: vault}}\n",
            server.port()
        );
        // Each of these is made of the secret, and most of them cannot be.
        let settings = "metadata:\n  - {name: direction, secretKeyRef: {name: 'redis:password'}}\n  - {name: secretsFile, \
                        value: literal, secretKeyRef: {name: token}}\n  - {name: connectionString, secretKeyRef: {name: \
                        'list:0'}}\nauth: {secretStore: vault}";
        let component = |name: &str, kind: &str| {
            component(name, kind, &[])
                .replace("version: v1", "version: v1\n  ignoreErrors: true")
                .replace("metadata: []", settings)
        };
        let daprd = Daprd::builder("a")?
            .flag("log-level", "debug")
            .flag("enable-api-logging", true)
            .env("DAPR_HOT", SECRET)
            .resource("1.yaml", &vault)?
            .resource("2.yaml", &component("loud", "middleware.http.uppercase"))?
            .resource("3.yaml", &component("nothing", "state.nothing"))?
            .resource("4.yaml", &endpoint)?
            .start()
            .await?;
        assert!(
            daprd
                .get("/v1.0/secrets/vault/token")
                .await?
                .text()
                .contains(SECRET)
        );
        assert!(
            daprd
                .get("/v1.0/secrets/vault/bulk")
                .await?
                .text()
                .contains(SECRET)
        );
        assert_eq!(daprd.get("/v1.0/secrets/vault/unknown").await?.status, 500);
        assert_eq!(daprd.invoke("web", "x").await?.status, 200);
        // A store whose document is broken is not shown either.
        folder.write("broken.json", format!(r#"{{"a": "{SECRET}" {SECRET}}}"#))?;
        let broken = folder.path().join("broken.json").display().to_string();
        let broken = store("broken", "file", &[("secretsFile", &broken)])
            .replace("version: v1", "version: v1\n  ignoreErrors: true");
        daprd.directory().write("resources/5.yaml", broken)?;
        daprd
            .process
            .wait_for_line("Ignoring error processing component: process component broken error: ")
            .await?;

        let told = [
            daprd.process.lines().join("\n"),
            daprd.get("/v1.0/metadata").await?.text(),
            daprd.metrics().await?,
        ];
        for text in told {
            assert!(!text.contains(SECRET), "{text}");
        }
        Ok(())
    });
}
