//! Components that come up late, not at all, or are not well.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_component_that_comes_up_too_late_has_failed() {
    let world = World::new(&Configuration::default());
    let began = Instant::now();
    let error = world
        .error("metadata: {name: c}\nspec: {type: middleware.http.slow, initTimeout: 2s}")
        .await;
    assert_eq!(
        error,
        "process component c error: [INIT_COMPONENT_FAILURE]: initialization error occurred for c \
         (middleware.http.slow): init timeout for component c (middleware.http.slow)"
    );
    assert_eq!(began.elapsed().as_secs(), 2);
    assert_eq!(world.listed(), [""; 0]);
}

#[tokio::test]
async fn a_component_that_is_not_well_shows_it() {
    let (logger, lines) = Logger::in_memory(&LogSettings::default());
    let _guard = tracing::subscriber::set_default(logger);
    let world = World::new(&Configuration::default());
    let weak = named("w", "type: middleware.http.weak, version: v1");
    world.components.add(weak).await.unwrap();
    assert_eq!(world.state("w"), None);
    tokio::task::yield_now().await;
    assert_eq!(
        (world.state("w").as_deref(), world.listed().len()),
        (Some("degraded"), 1)
    );
    tokio::task::yield_now().await;
    assert_eq!(world.state("w"), None);
    let log = lines.lines().join("\n");
    assert!(
        log.contains(
            "level=warning msg=\"Component is degraded: w (middleware.http.weak/v1): keys are old\""
        ),
        "{log}"
    );
    assert!(log.contains("Component is ready again: w"), "{log}");
}

#[tokio::test(start_paused = true)]
async fn a_component_whose_error_is_ignored_is_tried_until_it_comes_up() {
    let (logger, lines) = Logger::in_memory(&LogSettings::default());
    let _guard = tracing::subscriber::set_default(logger);
    let world = World::new(&Configuration::default());
    let late = "type: middleware.http.late, ignoreErrors: true, metadata: [{name: calls, value: 4}]";
    world.components.load(vec![named("l", late)]).await.unwrap();
    assert_eq!(world.state("l").as_deref(), Some("failed"));
    let began = Instant::now();
    while world.listed() != ["l"] {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // Pauses of about 1, 2 and 4 seconds.
    let took = began.elapsed().as_secs_f64();
    assert!((5.6..8.6).contains(&took), "{took}");
    assert_eq!(world.state("l"), None);
    let log = lines.lines().join("\n");
    for part in [
        "Ignoring error processing component: process component l error: ",
        "level=warning msg=\"Component l (middleware.http.late) still cannot be used, and is tried again: \
         [CREATE_COMPONENT_FAILURE]: ",
        "level=info msg=\"Component loaded: l (middleware.http.late)\"",
    ] {
        assert!(log.contains(part), "{part} is not in {log}");
    }
    assert_eq!(log.matches("Failed to init component").count(), 1);
    let of = |name: &str| world.series(name).concat();
    let failed = of("dapr_runtime_component_init_fail_total");
    assert!(failed.ends_with(" 3"), "{failed}");
    assert!(of("dapr_runtime_component_init_total").ends_with(" 1"));
    assert!(of("dapr_runtime_component_loaded").ends_with(" 1"));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_tried_any_more_once_its_resource_is_gone_or_another() {
    let world = World::new(&Configuration::default());
    let late = |calls: u32| {
        let spec = format!(
            "type: middleware.http.late, ignoreErrors: true, metadata: [{{name: calls, value: {calls}}}]"
        );
        named("l", &spec)
    };
    world.components.add(late(3)).await.unwrap();
    world.components.delete("l").await.unwrap();
    assert_eq!(world.state("l"), None);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(world.listed(), [""; 0]);

    world.components.add(late(1000)).await.unwrap();
    world.components.update(say("l", "another")).await.unwrap();
    assert_eq!(world.listed(), ["l"]);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(
        world.components.installed("l").unwrap().kind,
        "middleware.http.say"
    );

    world
        .components
        .add(named("m", "type: middleware.http.bad, ignoreErrors: true"))
        .await
        .unwrap();
    world.components.close_all().await;
    let before = world.series("dapr_runtime_component_init_fail_total");
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(world.series("dapr_runtime_component_init_fail_total"), before);
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_late_store_follows_it_and_may_end_the_run() {
    let world = World::new(&Configuration::default());
    let store = named("vault", "type: secretstores.late, ignoreErrors: true");
    let waiting = |name: &str, kind: &str| {
        component(&format!(
            "metadata: {{name: {name}}}\nspec: {{type: {kind}, metadata: [{{name: text, secretKeyRef: {{name: known, \
             key: key}}}}]}}\nauth: {{secretStore: vault}}"
        ))
    };
    let all = vec![
        store,
        waiting("a", "middleware.http.say"),
        waiting("b", "middleware.http.bad"),
    ];
    world.components.load(all).await.unwrap();
    assert_eq!(world.listed(), [""; 0]);
    let error = world.components.failed().await.to_string();
    assert!(
        error.starts_with("process component b error: [INIT_COMPONENT_FAILURE]: "),
        "{error}"
    );
    assert_eq!(world.listed(), ["vault", "a"]);
    let installed = world.components.installed("a").unwrap();
    assert_eq!(
        installed.property("text").unwrap().value.text(),
        "secret of the store"
    );
}
