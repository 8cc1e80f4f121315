//! Middleware in its pipelines.

use super::*;

#[tokio::test]
async fn a_pipeline_names_components_by_name_type_and_version() {
    let table = [
        ("m", "middleware.http.say", "v1", Some("hello")),
        ("m", "middleware.http.say", "", Some("hello")),
        ("m", "middleware.http.say", "v0", Some("hello")),
        ("m", "middleware.http.say", "v2", None),
        ("m", "middleware.http.Say", "v1", None),
        ("n", "middleware.http.say", "v1", None),
    ];
    for (name, kind, version, expected) in table {
        let world = World::new(&piped(&[handler(name, kind, version)]));
        assert_eq!(world.answer().await, None);
        world.components.add(say("m", "hello")).await.unwrap();
        assert_eq!(
            world.answer().await.as_deref(),
            expected,
            "{name} {kind}/{version}"
        );
    }
}

#[tokio::test]
async fn an_update_changes_the_pipeline_for_the_next_request() {
    let (logger, lines) = Logger::in_memory(&LogSettings::default());
    let _guard = tracing::subscriber::set_default(logger);
    let world = World::new(&piped(&[
        handler("b", "middleware.http.say", "v1"),
        handler("a", "middleware.http.say", "v1"),
    ]));
    let components = &world.components;
    components.add(say("a", "one")).await.unwrap();
    assert_eq!(world.answer().await.as_deref(), Some("one"));
    let old = world.pipelines.server.chain().unwrap();
    components.update(say("a", "two")).await.unwrap();
    assert_eq!(world.answer().await.as_deref(), Some("two"));
    components.update(say("b", "three")).await.unwrap();
    assert_eq!(world.answer().await.as_deref(), Some("three"));
    components.update(say("b", "three")).await.unwrap();
    components.delete("b").await.unwrap();
    components.delete("nothing").await.unwrap();
    assert_eq!(world.answer().await.as_deref(), Some("two"));
    assert_eq!(world.listed(), ["a"]);
    // What began with the old chain ends with it.
    let response = old
        .run(Request::default(), async |_| Ok(Response::default()))
        .await;
    assert_eq!(testing::text(response.unwrap().into_body()).await, "one");

    let mut newer = say("a", "newer");
    newer.metadata.generation = 7;
    components.update(newer).await.unwrap();
    let mut stale = say("a", "stale");
    stale.metadata.generation = 6;
    components.update(stale).await.unwrap();
    assert_eq!(world.answer().await.as_deref(), Some("newer"));
    let mut foreign = say("a", "foreign");
    foreign.scopes = vec!["other".to_owned()];
    components.update(foreign).await.unwrap();
    assert_eq!(world.answer().await, None);

    let log = lines.lines().join("\n");
    let a = "a (middleware.http.say/v1)";
    for part in [
        "msg=\"Building pipeline server\"".to_owned(),
        "msg=\"Removing middleware.http.say/v1 a middleware\"".to_owned(),
        format!("level=info msg=\"Closing existing Component to reload: {a}\""),
        format!("level=info msg=\"Adding Component for processing: {a}\""),
        format!("level=info msg=\"Component updated: {a}\""),
        format!("level=warning msg=\"Ignoring stale Component event for {a} (generation 6 < installed 7)\""),
        format!("level=warning msg=\"Received unauthorized component update, ignored: {a}\""),
    ] {
        assert!(log.contains(&part), "{part} is not in {log}");
    }
}
