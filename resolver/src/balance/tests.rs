use tokio::time::advance;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn members(addresses: &[&str]) -> Members {
    Arc::new(addresses.iter().map(|&address| Endpoint::new(address)).collect())
}

/// Keeps the address of each instance.
fn balance(addresses: &[&str]) -> Balance<Arc<str>> {
    let mut balance = Balance::new(Rng::with_seed(7));
    balance.update(&members(addresses), |member| Arc::clone(&member.address));
    balance
}

/// Makes a call to the instance that is chosen; its name.
fn call(balance: &mut Balance<Arc<str>>, ending: Ending) -> String {
    let (place, ticket) = balance.choose().unwrap();
    balance.end(&ticket, ending);
    place.to_string()
}

/// Calls until `address` is chosen, and ends that call so.
fn call_of(balance: &mut Balance<Arc<str>>, address: &str, ending: Ending) -> Option<Change> {
    for _ in 0..1000 {
        let (place, ticket) = balance.choose().unwrap();
        if &*place == address {
            return balance.end(&ticket, ending);
        }
        balance.end(&ticket, Ending::Answered);
    }
    panic!("{address} is never chosen");
}

fn counted(balance: &mut Balance<Arc<str>>, calls: usize, address: &str) -> usize {
    (0..calls)
        .filter(|_| call(balance, Ending::Answered) == address)
        .count()
}

#[tokio::test(start_paused = true)]
async fn nothing_is_chosen_of_nothing() {
    assert!(balance(&[]).choose().is_none());
}

#[tokio::test(start_paused = true)]
async fn equal_instances_share_the_calls() {
    let mut balance = balance(&["a", "b", "c"]);
    for address in ["a", "b", "c"] {
        let share = counted(&mut balance, 300, address);
        assert!((60..=140).contains(&share), "{address}: {share}");
    }
}

#[tokio::test(start_paused = true)]
async fn single_calls_go_to_either_of_two_in_turn_whatever_chance_adds_to_their_latency() {
    let mut balance = balance(&["a", "b"]);
    advance(SECOND).await;
    let mut last = String::new();
    for latency in [300, 500, 280, 310, 450, 290] {
        let (place, ticket) = balance.choose().unwrap();
        assert_ne!(&*place, last);
        advance(Duration::from_micros(latency)).await;
        balance.end(&ticket, Ending::Answered);
        last = place.to_string();
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_instance_gets_few_calls_until_it_is_fast_again() {
    let mut balance = balance(&["fast", "slow"]);
    let latency =
        |place: &str, is_slow: bool| Duration::from_millis(if place == "slow" && is_slow { 200 } else { 5 });
    let mut counts = [0, 0];
    for (phase, (is_slow, calls)) in [(true, 4000), (false, 12_000)].into_iter().enumerate() {
        for _ in 0..calls {
            let (place, ticket) = balance.choose().unwrap();
            advance(latency(&place, is_slow)).await;
            balance.end(&ticket, Ending::Answered);
            counts[phase] += usize::from(&*place == "slow");
        }
    }
    assert!(counts[0] < 40, "{counts:?}");
    assert!(counts[1] > 1000, "{counts:?}");
}

#[tokio::test(start_paused = true)]
async fn open_calls_weigh() {
    let mut balance = balance(&["a", "b"]);
    let open: Vec<_> = (0..20).map(|_| balance.choose().unwrap()).collect();
    let first = open.iter().filter(|(place, _)| &**place == "a").count();
    assert_eq!(first, 10);
    for (place, ticket) in &open {
        if &**place == "a" {
            balance.end(ticket, Ending::Answered);
        }
    }
    assert_eq!(counted(&mut balance, 10, "a"), 10);
}

#[tokio::test(start_paused = true)]
async fn a_hung_instance_is_left_after_its_first_calls() {
    let mut balance = balance(&["well", "hung"]);
    let mut hanging = Vec::new();
    for _ in 0..1000 {
        let (place, ticket) = balance.choose().unwrap();
        advance(Duration::from_millis(2)).await;
        if &*place == "hung" {
            hanging.push(ticket);
        } else {
            balance.end(&ticket, Ending::Answered);
        }
    }
    assert!(hanging.len() <= 2, "{}", hanging.len());
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_is_not_reached_is_ejected_and_probed_by_single_calls() {
    let mut balance = balance(&["well", "gone"]);
    let Some(Change::Ejected { address, pause }) = call_of(&mut balance, "gone", Ending::Unreachable) else {
        panic!("not ejected");
    };
    assert_eq!(&*address, "gone");
    assert!(
        (SECOND.mul_f64(0.8)..=SECOND.mul_f64(1.2)).contains(&pause),
        "{pause:?}"
    );
    assert_eq!(balance.ejected(), 1);
    assert_eq!(counted(&mut balance, 100, "gone"), 0);

    advance(pause).await;
    let (probed, probe) = balance.choose().unwrap();
    assert_eq!(&*probed, "gone");
    assert_eq!(counted(&mut balance, 100, "gone"), 0);
    assert_eq!(
        balance.end(&probe, Ending::Answered),
        Some(Change::Returned {
            address: "gone".into()
        })
    );
    assert!(counted(&mut balance, 100, "gone") > 0);
}

#[tokio::test(start_paused = true)]
async fn each_failed_probe_doubles_the_pause_up_to_a_minute() {
    let mut balance = balance(&["well", "gone"]);
    let mut change = call_of(&mut balance, "gone", Ending::Unreachable);
    for expected in [1, 2, 4, 8, 16, 32, 60, 60] {
        let Some(Change::Ejected { pause, .. }) = change else {
            panic!("not ejected")
        };
        let expected = Duration::from_secs(expected);
        assert!(
            (expected.mul_f64(0.8)..=expected.mul_f64(1.2)).contains(&pause),
            "{pause:?}"
        );
        advance(pause).await;
        let (place, probe) = balance.choose().unwrap();
        assert_eq!(&*place, "gone");
        change = balance.end(&probe, Ending::Unreachable);
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_was_long_waited_for_ejects_for_long() {
    let mut balance = balance(&["well", "hung"]);
    let open: Vec<_> = (0..2).map(|_| balance.choose().unwrap()).collect();
    advance(SECOND * 15).await;
    let (_, ticket) = open.iter().find(|(place, _)| &**place == "hung").unwrap();
    let Some(Change::Ejected { pause, .. }) = balance.end(ticket, Ending::Unreachable) else {
        panic!("not ejected");
    };
    assert!(pause >= SECOND * 48, "{pause:?}");
}

#[tokio::test(start_paused = true)]
async fn failed_answers_eject_when_there_are_three_in_a_row() {
    let mut balance = balance(&["well", "sick"]);
    assert_eq!(call_of(&mut balance, "sick", Ending::Failed), None);
    assert_eq!(call_of(&mut balance, "sick", Ending::Failed), None);
    assert_eq!(call_of(&mut balance, "sick", Ending::Answered), None);
    assert_eq!(call_of(&mut balance, "sick", Ending::Failed), None);
    assert_eq!(call_of(&mut balance, "sick", Ending::Failed), None);
    assert!(call_of(&mut balance, "sick", Ending::Failed).is_some());
}

#[tokio::test(start_paused = true)]
async fn calls_that_break_together_count_as_one_failure() {
    let mut balance = balance(&["well", "gone"]);
    let open: Vec<_> = (0..20).map(|_| balance.choose().unwrap()).collect();
    let changes: Vec<_> = open
        .iter()
        .filter(|(place, _)| &**place == "gone")
        .filter_map(|(_, ticket)| balance.end(ticket, Ending::Unreachable))
        .collect();
    let [Change::Ejected { pause, .. }] = &changes[..] else {
        panic!("{changes:?}")
    };
    assert!(*pause <= SECOND.mul_f64(1.2), "{pause:?}");
}

#[tokio::test(start_paused = true)]
async fn the_last_instance_is_never_ejected() {
    let mut balance = balance(&["a", "b"]);
    assert!(call_of(&mut balance, "a", Ending::Unreachable).is_some());
    for _ in 0..10 {
        assert_eq!(call_of(&mut balance, "b", Ending::Unreachable), None);
    }
    assert_eq!(balance.ejected(), 1);
}

#[tokio::test(start_paused = true)]
async fn ejected_instances_are_called_if_there_are_no_others() {
    let mut balance = balance(&["a", "b"]);
    call_of(&mut balance, "a", Ending::Unreachable);
    balance.update(&members(&["a"]), |member| Arc::clone(&member.address));
    assert_eq!(call(&mut balance, Ending::Answered), "a");
    assert_eq!(balance.ejected(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_given_up_says_nothing_of_the_instance() {
    let mut balance = balance(&["a", "b"]);
    for _ in 0..20 {
        assert_eq!(call_of(&mut balance, "a", Ending::Abandoned), None);
    }
    assert_eq!(balance.ejected(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_given_up_is_made_again_a_second_later() {
    let mut balance = balance(&["well", "gone"]);
    let Some(Change::Ejected { pause, .. }) = call_of(&mut balance, "gone", Ending::Unreachable) else {
        panic!("not ejected");
    };
    advance(pause).await;
    assert_eq!(call(&mut balance, Ending::Abandoned), "gone");
    assert_eq!(counted(&mut balance, 100, "gone"), 0);
    advance(SECOND).await;
    assert_eq!(call(&mut balance, Ending::Answered), "gone");
}

#[tokio::test(start_paused = true)]
async fn a_retry_goes_to_an_instance_that_the_call_has_not_tried() {
    let mut balance = balance(&["a", "b", "c"]);
    for _ in 0..100 {
        let (first, ticket) = balance.choose().unwrap();
        balance.end(&ticket, Ending::Failed);
        let (second, ticket) = balance.choose_other(std::slice::from_ref(&first)).unwrap();
        balance.end(&ticket, Ending::Answered);
        let (third, ticket) = balance.choose_other(&[first.clone(), second.clone()]).unwrap();
        balance.end(&ticket, Ending::Answered);
        assert!(first != second && first != third && second != third);
        assert!(balance.choose_other(&[first, second, third]).is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_known_of_an_instance_survives_changes_of_the_set() {
    let mut balance = balance(&["a", "b"]);
    call_of(&mut balance, "b", Ending::Unreachable);
    let (_, open) = balance.choose().unwrap();
    balance.update(&members(&["c", "b"]), |member| Arc::clone(&member.address));
    assert_eq!(balance.ejected(), 1);
    assert_eq!(
        balance.end(&open, Ending::Unreachable),
        None,
        "its instance is gone"
    );
    assert_eq!(counted(&mut balance, 10, "c"), 10);
}

#[tokio::test(start_paused = true)]
async fn an_instance_without_weight_gets_no_calls_and_a_heavy_one_more() {
    let mut balance = Balance::new(Rng::with_seed(7));
    let weights = [("none", 0), ("one", 1), ("three", 3)];
    let members = weights.map(|(address, weight)| Endpoint {
        weight,
        ..Endpoint::new(address)
    });
    balance.update(&Arc::new(members.to_vec()), |member| Arc::clone(&member.address));
    let open: Vec<_> = (0..40).map(|_| balance.choose().unwrap()).collect();
    let count = |address: &str| open.iter().filter(|(place, _)| &**place == address).count();
    assert_eq!(count("none"), 0);
    assert!((27..=33).contains(&count("three")), "{}", count("three"));
}
