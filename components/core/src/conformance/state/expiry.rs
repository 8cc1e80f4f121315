//! Values that live for a while.

use std::time::{Duration, SystemTime};

use outrigger_kit::time::parse_rfc3339;

use super::{NoTime, Refusal, Subject, bytes, first, tagged, timed};
use crate::conformance::report::{Case, Outcome, cases, check};
use crate::state::{GetRequest, Operation, TTL_EXPIRE_TIME};

pub(super) const CASES: &[Case<Subject>] = cases![
    a_value_is_gone_when_its_time_is_over,
    a_value_without_a_time_shows_none,
    a_later_write_has_its_own_time,
    no_time_at_all_is_as_the_store_says,
    a_time_that_is_no_number_is_refused,
    an_expired_value_is_no_value_for_etags_and_first_writes,
    a_transaction_gives_times_too,
];

/// The shortest time that all stores tell from none.
const SHORT: &str = "2";

impl Subject {
    /// Waits until a value is gone whose time is short.
    async fn expect_expired(&self, key: &str) -> Outcome {
        self.expect_gone_within(key, Duration::from_secs(2) + self.traits.expiry_delay)
            .await
    }
}

async fn a_value_is_gone_when_its_time_is_over(subject: &Subject) -> Outcome {
    if !subject.traits.has("TTL") {
        return Ok(());
    }
    let key = subject.key("time-over");
    let before = SystemTime::now();
    subject.write(&timed(&key, "1", SHORT)).await?;
    let after = SystemTime::now();
    let item = subject.item(&key).await?.unwrap_or_default();
    check!(
        item.data.as_deref() == Some(b"1"),
        "it is not there before its time is over"
    );
    let shown = item.metadata.get(TTL_EXPIRE_TIME);
    if subject.traits.shows_expiry {
        let shown = shown.map(|text| parse_rfc3339(text)).transpose()?;
        let Some(shown) = shown else {
            check!(false, "it does not say when its time is over");
            return Ok(());
        };
        // Stores round to whole seconds, and their clock need not be ours to the last bit.
        let (least, most) = (
            before + Duration::from_millis(900),
            after + Duration::from_millis(3100),
        );
        check!(
            (least..=most).contains(&shown),
            "{shown:?} is not between {least:?} and {most:?}"
        );
    } else {
        check!(shown.is_none(), "it says when its time is over");
    }
    subject.expect_expired(&key).await?;
    let answers = subject.store.bulk_get(&[GetRequest::new(&*key)], 1).await?;
    for answer in answers {
        let item = answer.outcome?;
        check!(
            item.is_none_or(|item| item.data.is_none()),
            "several answers have it still"
        );
    }
    Ok(())
}

async fn a_value_without_a_time_shows_none(subject: &Subject) -> Outcome {
    let key = subject.key("time-none");
    subject.set(&key, bytes("1")).await?;
    let item = subject.item(&key).await?.unwrap_or_default();
    check!(
        !item.metadata.contains_key(TTL_EXPIRE_TIME),
        "it shows {:?}",
        item.metadata
    );
    Ok(())
}

async fn a_later_write_has_its_own_time(subject: &Subject) -> Outcome {
    if !subject.traits.has("TTL") {
        return Ok(());
    }
    let (key, sooner, other) = (
        subject.key("time-later"),
        subject.key("time-sooner"),
        subject.key("time-other"),
    );
    subject.write(&timed(&key, "1", SHORT)).await?;
    subject.set(&key, bytes("2")).await?;
    subject.write(&timed(&sooner, "1", "1000")).await?;
    subject.write(&timed(&sooner, "2", SHORT)).await?;
    subject.write(&timed(&other, "1", SHORT)).await?;
    subject.expect_expired(&other).await?;
    subject
        .expect_gone_within(&sooner, Duration::from_secs(1) + subject.traits.expiry_delay)
        .await?;
    if subject.traits.write_clears_expiry {
        subject.expect(&key, "2").await
    } else {
        subject.expect_gone_within(&key, Duration::from_secs(1)).await
    }
}

async fn no_time_at_all_is_as_the_store_says(subject: &Subject) -> Outcome {
    if !subject.traits.has("TTL") {
        return Ok(());
    }
    for seconds in ["0", "-1"] {
        let key = subject.key(&format!("time-zero{seconds}"));
        subject.write(&timed(&key, "1", "1000")).await?;
        let written = subject.store.set(&timed(&key, "2", seconds)).await;
        match subject.traits.no_time {
            NoTime::Forever => {
                written?;
                let item = subject.item(&key).await?.unwrap_or_default();
                check!(item.data.as_deref() == Some(b"2"), "{seconds}: it is gone");
                check!(
                    !item.metadata.contains_key(TTL_EXPIRE_TIME),
                    "{seconds}: it shows {:?}",
                    item.metadata
                );
            }
            NoTime::Gone => {
                written?;
                subject.expect_none(&key).await?;
            }
            NoTime::Refused => Refusal::Other.expect(seconds, written)?,
            NoTime::Untested => {}
        }
    }
    Ok(())
}

async fn a_time_that_is_no_number_is_refused(subject: &Subject) -> Outcome {
    if !subject.traits.has("TTL") {
        return Ok(());
    }
    let key = subject.key("time-text");
    for text in ["soon", "1.5", "5s"] {
        let refused = subject.store.set(&timed(&key, "1", text)).await;
        Refusal::Other.expect(text, refused)?;
    }
    subject.expect_none(&key).await
}

async fn an_expired_value_is_no_value_for_etags_and_first_writes(subject: &Subject) -> Outcome {
    if !subject.traits.has("TTL") || !subject.traits.has("ETAG") || subject.traits.inserts_with_etag {
        return Ok(());
    }
    let (key, free) = (subject.key("time-etag"), subject.key("time-first"));
    subject.write(&timed(&key, "1", SHORT)).await?;
    let etag = subject.etag(&key).await?;
    subject.write(&timed(&free, "1", SHORT)).await?;
    subject.expect_expired(&free).await?;
    subject
        .expect_gone_within(&key, subject.traits.expiry_delay)
        .await?;
    let refused = subject.store.set(&tagged(&key, "2", &etag)).await;
    Refusal::Mismatch.expect("a write with the etag of an expired value", refused)?;
    subject.expect_none(&key).await?;
    if subject.traits.first_write != Refusal::None && !subject.traits.expired_blocks_first_write {
        subject.write(&first(&free, "2")).await?;
        subject.expect(&free, "2").await?;
    }
    Ok(())
}

async fn a_transaction_gives_times_too(subject: &Subject) -> Outcome {
    let Some(transactions) = subject.transactions().filter(|_| subject.traits.has("TTL")) else {
        return Ok(());
    };
    let (key, other) = (
        subject.key("time-transaction"),
        subject.key("time-transaction-other"),
    );
    let writes = [timed(&key, "1", SHORT), timed(&other, "1", "1000")].map(Operation::Set);
    transactions.transact(&subject.transaction(writes.into())).await?;
    check!(
        subject.transacted(&key).await?.is_some(),
        "it is not there before its time is over"
    );
    let limit = Duration::from_secs(2) + subject.traits.expiry_delay;
    let gone = async {
        while subject.transacted(&key).await?.is_some() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Outcome::Ok(())
    };
    let gone = tokio::time::timeout(limit, gone).await;
    check!(gone.is_ok(), "it is still there after {limit:?}");
    check!(
        subject.transacted(&other).await?.is_some(),
        "the other value is gone as well"
    );
    Ok(())
}
