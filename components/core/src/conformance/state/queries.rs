//! Documents by what is in them.

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{Subject, metadata};
use crate::conformance::report::{Case, Failure, Outcome, cases, check, equal};
use crate::state::{Direction, Filter, Page, Queries, Query, SetRequest, Sort};

pub(super) const CASES: &[Case<Subject>] = cases![documents_are_found_by_what_is_in_them];

/// Name, city and age of people; all are of one run by `person.run`.
const PEOPLE: [(&str, &str, u32); 5] = [
    ("Ann", "Oslo", 31),
    ("Bob", "Rome", 45),
    ("Cid", "Oslo", 27),
    ("Dee", "Bern", 45),
    ("Eve", "Rome", 31),
];

async fn documents_are_found_by_what_is_in_them(subject: &Subject) -> Outcome {
    let Some(queries) = subject
        .store
        .queries()
        .filter(|_| subject.traits.has("QUERY_API"))
    else {
        return Ok(());
    };
    let run = subject.prefix.replace('-', "");
    for (name, city, age) in PEOPLE {
        let key = subject.key(&format!("query-{name}"));
        let document = json!({ "person": { "run": run, "name": name, "city": city, "age": age } });
        let mut request = SetRequest::new(key, document);
        request.metadata = metadata(subject.traits.queries.item_metadata);
        subject.write(&request).await?;
    }
    let is_run = || Filter::Eq("person.run".to_owned(), run.as_str().into());
    wait(subject, queries, is_run()).await?;

    let of = |path: &str, value: Value| Filter::Eq(format!("person.{path}"), value);
    let texts = [
        (of("city", json!("Oslo")), "Ann Cid"),
        (
            Filter::Neq("person.city".to_owned(), json!("Oslo")),
            "Bob Dee Eve",
        ),
        (
            Filter::In("person.city".to_owned(), vec![json!("Bern"), json!("Rome")]),
            "Bob Dee Eve",
        ),
        (
            Filter::Or(vec![of("name", json!("Ann")), of("city", json!("Bern"))]),
            "Ann Dee",
        ),
        (of("city", json!("Paris")), ""),
    ];
    let numbers = [
        (of("age", json!(45)), "Bob Dee"),
        (Filter::Gt("person.age".to_owned(), json!(31)), "Bob Dee"),
        (Filter::Lte("person.age".to_owned(), json!(31)), "Ann Cid Eve"),
    ];
    let numbers = numbers
        .into_iter()
        .filter(|_| subject.traits.queries.compares_numbers);
    for (filter, expected) in texts.into_iter().chain(numbers) {
        let what = format!("{filter:?}");
        let query = Query {
            filter: Some(Filter::And(vec![is_run(), filter])),
            sort: vec![by_name(None)],
            ..Query::default()
        };
        let (found, _) = names(subject, queries, &query)
            .await
            .map_err(|failure| failure.of(&what))?;
        equal(what, &found.as_str(), &expected)?;
    }

    let mut query = Query {
        filter: Some(is_run()),
        sort: vec![by_name(Some(Direction::Descending))],
        ..Query::default()
    };
    let (found, _) = names(subject, queries, &query).await?;
    equal("the other way round", &found.as_str(), &"Eve Dee Cid Bob Ann")?;
    query.page.limit = 2;
    let mut pages = Vec::new();
    while pages.len() < PEOPLE.len() {
        let (found, token) = names(subject, queries, &query).await?;
        if found.is_empty() {
            break;
        }
        pages.push(found);
        if token.is_none() {
            break;
        }
        query.page.token = token;
    }
    equal(
        "pages of 2",
        &pages,
        &["Eve Dee", "Cid Bob", "Ann"].map(str::to_owned).into(),
    )
}

/// Waits until an index has all documents.
async fn wait(subject: &Subject, queries: &dyn Queries, filter: Filter) -> Outcome {
    let query = Query {
        filter: Some(filter),
        page: Page::default(),
        ..Query::default()
    };
    let limit = Instant::now() + subject.traits.queries.patience;
    loop {
        let answer = queries
            .query(&query, &metadata(subject.traits.queries.metadata))
            .await?;
        if answer.items.len() == PEOPLE.len() {
            return Ok(());
        }
        check!(
            Instant::now() < limit,
            "{} documents of {} are found",
            answer.items.len(),
            PEOPLE.len()
        );
        sleep(std::time::Duration::from_millis(100)).await;
    }
}

/// The names of the people that are found, and where the next page begins.
async fn names(
    subject: &Subject,
    queries: &dyn Queries,
    query: &Query,
) -> Result<(String, Option<String>), Failure> {
    let answer = queries
        .query(query, &metadata(subject.traits.queries.metadata))
        .await?;
    let mut names = Vec::new();
    for item in &answer.items {
        let document: Value = serde_json::from_slice(&item.data)?;
        let name = document["person"]["name"].as_str().unwrap_or_default().to_owned();
        equal("key", &item.key, &subject.key(&format!("query-{name}")))?;
        check!(
            item.etag.as_deref().is_some_and(|etag| !etag.is_empty()),
            "{} has no etag",
            item.key
        );
        names.push(name);
    }
    Ok((names.join(" "), answer.token))
}

fn by_name(order: Option<Direction>) -> Sort {
    Sort {
        key: "person.name".to_owned(),
        order,
    }
}
