//! Values: what is written is read, whatever it is and whatever its key.

use bytes::Bytes;
use futures_util::future::try_join_all;
use serde_json::json;

use super::{Subject, bytes};
use crate::conformance::report::{Case, Outcome, cases, check, equal};
use crate::state::{Json, Value};

pub(super) const CASES: &[Case<Subject>] = cases![
    a_store_shows_its_features,
    a_store_answers,
    a_missing_key_has_no_value,
    bytes_are_read_as_they_were_written,
    bytes_that_are_no_text_are_read_as_they_were_written,
    json_is_read_as_its_text,
    an_empty_value_is_a_value,
    a_large_value_is_read_whole,
    a_write_replaces_a_value_of_another_kind,
    unusual_keys_are_keys_like_others,
    a_deleted_key_is_gone_and_can_be_written_again,
    many_keys_are_written_and_read_at_once,
];

async fn a_store_shows_its_features(subject: &Subject) -> Outcome {
    let found: Vec<_> = subject.store.features().iter().map(ToString::to_string).collect();
    let expected: Vec<_> = subject.traits.features.iter().map(ToString::to_string).collect();
    equal("features", &found, &expected)?;
    let found = (
        subject.store.transactions().is_some(),
        subject.store.queries().is_some(),
        subject.store.listing().is_some(),
        subject.store.prefixes().is_some(),
    );
    let has = |feature| subject.traits.has(feature);
    let expected = (
        has("TRANSACTIONAL"),
        has("QUERY_API") || subject.traits.queries.are_refused_by_the_store,
        has("KEYS_LIKE"),
        has("DELETE_WITH_PREFIX"),
    );
    equal("transactions, queries, listing, prefixes", &found, &expected)
}

async fn a_store_answers(subject: &Subject) -> Outcome {
    Ok(subject.store.ping().await?)
}

async fn a_missing_key_has_no_value(subject: &Subject) -> Outcome {
    subject.expect_none(&subject.key("missing")).await
}

async fn bytes_are_read_as_they_were_written(subject: &Subject) -> Outcome {
    let texts = [
        "text",
        "\"quoted\"",
        "{\"a\":1}",
        "[1,2]",
        "null",
        "7",
        " spaces and\nlines\t",
        "ünïcödé 日本 𝄞",
        "bm90IGJhc2U2NA==",
        "'; DROP TABLE state; --",
    ];
    for (number, text) in texts.into_iter().enumerate() {
        let key = subject.key(&format!("bytes-{number}"));
        subject.set(&key, bytes(text)).await?;
        subject.expect(&key, text).await?;
    }
    Ok(())
}

async fn bytes_that_are_no_text_are_read_as_they_were_written(subject: &Subject) -> Outcome {
    if !subject.traits.is_binary_safe {
        return Ok(());
    }
    let all: Vec<u8> = (0..=255).collect();
    for (number, data) in [&b"\0"[..], b"\xff\xfe", b"a\0b\0", &all].into_iter().enumerate() {
        let key = subject.key(&format!("binary-{number}"));
        subject.set(&key, Bytes::copy_from_slice(data)).await?;
        equal(&key, &subject.data(&key).await?.as_deref(), &Some(data))?;
    }
    Ok(())
}

async fn json_is_read_as_its_text(subject: &Subject) -> Outcome {
    let values = [
        json!(null),
        json!(true),
        json!(false),
        json!(0),
        json!(-7),
        json!(1.5),
        json!(123_456_789),
        json!(1e21),
        json!(1.5e-7),
        json!(""),
        json!("text"),
        json!("\"quoted\" \\ / \n\t"),
        json!("<&> \u{2028} ünïcödé 日本 𝄞"),
        json!([]),
        json!([1, "a", null, { "b": [true] }]),
        json!({}),
        json!({ "zebra": 1, "ant": { "y": "2", "x": [] }, "bee": "<tag>" }),
    ];
    for (number, value) in values.into_iter().enumerate() {
        let key = subject.key(&format!("json-{number}"));
        let json = Json::new(value);
        let text = String::from_utf8_lossy(json.text());
        subject.set(&key, Value::Json(json.clone())).await?;
        let found = subject.data(&key).await?.unwrap_or_default();
        let found = String::from_utf8_lossy(&found).into_owned();
        equal(format_args!("JSON {text}"), &found, &(subject.traits.json)(&text))?;
    }
    Ok(())
}

async fn an_empty_value_is_a_value(subject: &Subject) -> Outcome {
    let key = subject.key("empty");
    subject.set(&key, bytes("")).await?;
    let found = subject.data(&key).await?;
    let expected = subject.traits.keeps_empty_values.then(Bytes::new);
    equal("an empty value", &found, &expected)
}

async fn a_large_value_is_read_whole(subject: &Subject) -> Outcome {
    let key = subject.key("large");
    let text = (0_u32..).flat_map(|number| number.to_string().into_bytes());
    let large = Bytes::from_iter(text.take(subject.traits.largest_value));
    subject.set(&key, large.clone()).await?;
    let found = subject.data(&key).await?.unwrap_or_default();
    check!(
        found == large,
        "{} bytes of {} are read",
        found.len(),
        large.len()
    );
    subject.set(&key, bytes("small")).await?;
    subject.expect(&key, "small").await
}

async fn a_write_replaces_a_value_of_another_kind(subject: &Subject) -> Outcome {
    let key = subject.key("replaced");
    subject.set(&key, bytes("bytes")).await?;
    subject.set(&key, json!("text")).await?;
    subject.expect(&key, "\"text\"").await?;
    subject.set(&key, bytes("bytes again")).await?;
    subject.expect(&key, "bytes again").await
}

async fn unusual_keys_are_keys_like_others(subject: &Subject) -> Outcome {
    let long = ["long".repeat(45), "longer".repeat(160)];
    let names = [
        "a b",
        "ünïcödé-日本-𝄞",
        "a/b/c",
        "/a",
        "a/",
        "a//b",
        "a\\b",
        "it's",
        "say \"x\"",
        "'; DROP TABLE state; --",
        "100%_[a-z]*?^$",
        "a;b,c:d=e&f#g",
        "new\nline",
        "tab\tkey",
        "key{tag}",
        "%2F+%00",
        "Case",
        "case",
        "end",
        "end ",
        ".",
        "..",
        "type||id||name",
        "nul\0byte",
        &long[0],
        &long[1],
    ];
    let keys = names.map(|name| subject.key(name));
    let keys: Vec<_> = keys
        .iter()
        .filter(|key| (subject.traits.accepts_key)(key))
        .collect();
    check!(keys.len() > 3, "all keys are left out");
    for (number, key) in keys.iter().enumerate() {
        subject.set(key, Bytes::from(format!("value {number}"))).await?;
    }
    for (number, key) in keys.iter().enumerate() {
        subject.expect(key, &format!("value {number}")).await?;
    }
    for key in &keys {
        subject.delete(key).await?;
        subject.expect_none(key).await?;
    }
    Ok(())
}

async fn a_deleted_key_is_gone_and_can_be_written_again(subject: &Subject) -> Outcome {
    let key = subject.key("deleted");
    subject.delete(&key).await?;
    subject.set(&key, bytes("1")).await?;
    subject.delete(&key).await?;
    subject.expect_none(&key).await?;
    subject.delete(&key).await?;
    subject.set(&key, bytes("2")).await?;
    subject.expect(&key, "2").await
}

async fn many_keys_are_written_and_read_at_once(subject: &Subject) -> Outcome {
    let workers = (0..32).map(async |worker| {
        let key = subject.key(&format!("at-once-{worker}"));
        for round in 0..5 {
            let text = format!("{worker} in round {round}");
            subject.set(&key, Bytes::from(text.clone())).await?;
            subject.expect(&key, &text).await?;
        }
        subject.delete(&key).await?;
        subject.expect_none(&key).await
    });
    try_join_all(workers).await.map(drop)
}
