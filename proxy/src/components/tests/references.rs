//! Values of resources that are secrets or variables, and what waits for them.

use super::*;

#[tokio::test]
async fn secret_stores_come_first_and_what_waits_for_them_follows() {
    let world = World::new(&Configuration::default());
    let waiting = component(
        "metadata: {name: waits}\nspec: {type: middleware.http.say, version: v1, metadata: [{name: text, secretKeyRef: \
         {name: known, key: key}}]}\nauth: {secretStore: late}",
    );
    let others = vec![
        waiting,
        say("plain", "p"),
        named("vault", "type: secretstores.few, version: v1"),
    ];
    world.components.load(others).await.unwrap();
    assert_eq!(world.listed(), ["vault", "plain"]);
    assert_eq!(world.state("waits").as_deref(), Some("starting"));
    let late = named("late", "type: secretstores.few, version: v1");
    world.components.add(late).await.unwrap();
    assert_eq!(world.listed(), ["vault", "plain", "late", "waits"]);
    let installed = world.components.installed("waits").unwrap();
    assert_eq!(
        installed.property("text").unwrap().value.text(),
        "secret of the store"
    );
    let vault = world.metadata.snapshot().components.remove(0);
    assert_eq!(vault.capabilities, ["MULTIPLE_KEY_VALUES_PER_SECRET"]);
}

#[tokio::test]
async fn secrets_that_are_not_found_leave_the_literal() {
    let (logger, lines) = Logger::in_memory(&LogSettings::default());
    let _guard = tracing::subscriber::set_default(logger);
    let world = World::new(&Configuration::default());
    let store = named("vault", "type: secretstores.few, version: v1");
    let literal = component(
        "metadata: {name: a}\nspec: {type: middleware.http.say, metadata: [{name: text, value: literal, secretKeyRef: \
         {name: unknown}}]}\nauth: {secretStore: vault}",
    );
    // A store that is not named is not waited for.
    let unnamed = component(
        "metadata: {name: b}\nspec: {type: middleware.http.say, metadata: [{name: text, secretKeyRef: {name: known}}]}",
    );
    // A component of another kind is no store.
    let elsewhere = component(
        "metadata: {name: c}\nspec: {type: middleware.http.say, metadata: [{name: text, secretKeyRef: {name: known}}]}\n\
         auth: {secretStore: a}",
    );
    world
        .components
        .load(vec![store, literal, unnamed, elsewhere])
        .await
        .unwrap();
    assert_eq!(world.listed(), ["vault", "a", "b"]);
    let installed = world.components.installed("a").unwrap();
    assert_eq!(installed.property("text").unwrap().value.text(), "literal");
    let log = lines.lines().join("\n");
    for part in [
        "level=error msg=\"Error getting secret: no secret unknown\"",
        "level=warning msg=\"Component b references a secret store that isn't loaded: \"",
        "level=warning msg=\"Component c references a secret store that isn't loaded: a\"",
    ] {
        assert!(log.contains(part), "{part} is not in {log}");
    }
}

#[tokio::test]
async fn references_are_resolved_in_order_and_each_secret_is_asked_for_once() {
    let world = World::new(&Configuration::default());
    let store = named("vault", "type: secretstores.few");
    let yaml = "metadata: {name: a, namespace: default}
spec:
  type: middleware.http.say
  metadata:
    - {name: byKey, secretKeyRef: {name: known, key: key}}
    - {name: byName, secretKeyRef: {name: known}}
    - {name: quoted, secretKeyRef: {name: known, key: quoted}}
    - {name: empty, value: literal, secretKeyRef: {name: known, key: empty}}
    - {name: absent, value: literal, secretKeyRef: {name: known, key: no}}
    - {name: overwritten, value: literal, secretKeyRef: {name: known, key: key}}
    - {name: nothing, value: literal, secretKeyRef: {name: nothing, key: key}}
    - {name: variable, envRef: CARGO_PKG_NAME}
    - {name: forbidden, envRef: DAPR_API_TOKEN}
    - {name: unset, envRef: NO_SUCH_VARIABLE}
    - {name: text, value: plain}
auth: {secretStore: vault}";
    world.components.load(vec![component(yaml), store]).await.unwrap();
    let installed = world.components.installed("a").unwrap();
    let variable = std::env::var("CARGO_PKG_NAME").unwrap_or_default();
    let expected = [
        ("byKey", "secret of the store"),
        ("byName", "by name"),
        ("quoted", "q"),
        ("empty", "literal"),
        ("absent", "literal"),
        ("overwritten", "secret of the store"),
        ("nothing", "literal"),
        ("variable", &variable),
        ("forbidden", ""),
        ("unset", ""),
        ("text", "plain"),
    ];
    for (name, value) in expected {
        assert_eq!(installed.property(name).unwrap().value.text(), value, "{name}");
    }
    assert_eq!(
        *world.asked.lock().unwrap(),
        ["known in default", "nothing in default"]
    );
    assert!(!format!("{:?}", world.components).contains("secret of the store"));
}
