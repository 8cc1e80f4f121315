//! An app with several instances: calls go where they are answered best.

use std::collections::BTreeMap;
use std::time::Duration;

use outrigger_test_kit::{Daprd, Directory, HttpApp, HttpResponse, Result, Signal, isolated, until};
use tokio::time::Instant;

use super::{named, sidecar};

/// A caller and instances of `callee`, each with an app that answers with its name.
struct Fleet {
    _directory: Directory,
    caller: Daprd,
    instances: Vec<(Daprd, HttpApp)>,
}

impl Fleet {
    async fn start(names: &[&'static str]) -> Result<Self> {
        let directory = Directory::new()?;
        let mut instances = Vec::new();
        for name in names {
            let app = named(name).await?;
            let daprd = sidecar("callee", &directory)?
                .app("http", app.port())
                .start()
                .await?;
            instances.push((daprd, app));
        }
        Ok(Self {
            caller: sidecar("caller", &directory)?.start().await?,
            _directory: directory,
            instances,
        })
    }

    /// Makes calls one after the other in several lines at once; how often each instance answered.
    ///
    /// A status other than 200 is an answer too.
    async fn call(&self, lines: usize, calls: usize) -> Result<BTreeMap<String, usize>> {
        let url = self.caller.url("/v1.0/invoke/callee/method/x");
        let lines = (0..lines).map(|_| {
            let url = url.clone();
            tokio::spawn(async move {
                let mut answers = Vec::new();
                for _ in 0..calls {
                    let reply = outrigger_test_kit::http::get(url.clone()).await?;
                    answers.push(match reply.status {
                        200 => reply.text(),
                        status => format!("{status}: {}", reply.text()),
                    });
                }
                anyhow::Ok(answers)
            })
        });
        let mut counts = BTreeMap::new();
        for line in lines.collect::<Vec<_>>() {
            for answer in line.await?? {
                *counts.entry(answer).or_default() += 1;
            }
        }
        Ok(counts)
    }
}

#[test]
fn instances_that_are_alike_share_the_calls() {
    isolated!(async {
        let fleet = Fleet::start(&["one", "two", "three"]).await?;
        let counts = fleet.call(4, 75).await?;
        assert_eq!(counts.len(), 3, "{counts:?}");
        assert!(counts.values().all(|&count| count >= 50), "{counts:?}");
        Ok(())
    });
}

#[test]
fn no_call_fails_when_an_instance_is_killed() {
    isolated!(async {
        let mut fleet = Fleet::start(&["one", "two", "three"]).await?;
        fleet.call(1, 10).await?;
        // The app lives: only its sidecar dies.
        let (killed, _app) = fleet.instances.remove(0);
        let calls = fleet.call(8, 200);
        let killing = async {
            killed.process.signal(Signal::Kill).await?;
            anyhow::Ok(())
        };
        let (counts, killing) = tokio::join!(calls, killing);
        killing?;
        let counts = counts?;
        let answered: usize = ["one", "two", "three"]
            .iter()
            .filter_map(|&name| counts.get(name))
            .sum();
        assert_eq!(answered, 1600, "{counts:?}");
        let labels = [("app_id", "caller"), ("dst_app_id", "callee")];
        let ejections = fleet
            .caller
            .metric("outrigger_balance_ejections_total", &labels)
            .await?;
        assert!(ejections >= Some(1.0), "{ejections:?}");
        assert!(!fleet.caller.process.lines_with("is left out for").is_empty());
        // The registry has forgotten it by now, and the metrics with it.
        until("the killed instance to be forgotten", async || {
            fleet.call(1, 1).await.ok()?;
            let ejected = fleet
                .caller
                .metric("outrigger_balance_ejected", &labels)
                .await
                .ok()?;
            (ejected == Some(0.0)).then_some(())
        })
        .await
    });
}

#[test]
fn a_hung_instance_holds_few_calls_and_none_is_lost() {
    isolated!(async {
        let fleet = Fleet::start(&["one", "two"]).await?;
        fleet.call(2, 20).await?;
        fleet.instances[0].0.process.signal(Signal::Pause).await?;
        let began = Instant::now();
        let counts = fleet.call(4, 100).await?;
        // Those that were caught wait for the pings to go unanswered and are then made again.
        assert_eq!(counts.get("two"), Some(&400), "{counts:?}");
        assert!(began.elapsed() < Duration::from_secs(40), "{:?}", began.elapsed());
        fleet.instances[0].0.process.signal(Signal::Continue).await?;
        Ok(())
    });
}

#[test]
fn traffic_moves_away_from_a_slow_instance() {
    isolated!(async {
        let directory = Directory::new()?;
        let slow = HttpApp::start(|_| async {
            tokio::time::sleep(Duration::from_millis(150)).await;
            HttpResponse::ok("slow")
        })
        .await?;
        let fast = named("fast").await?;
        let slow_daprd = sidecar("callee", &directory)?
            .app("http", slow.port())
            .start()
            .await?;
        let fast_daprd = sidecar("callee", &directory)?
            .app("http", fast.port())
            .start()
            .await?;
        let caller = sidecar("caller", &directory)?.start().await?;
        let fleet = Fleet {
            caller,
            _directory: directory,
            instances: vec![(slow_daprd, slow), (fast_daprd, fast)],
        };
        let counts = fleet.call(4, 100).await?;
        let slow = counts.get("slow").copied().unwrap_or_default();
        assert!(slow > 0 && slow < 40, "{counts:?}");
        Ok(())
    });
}

#[test]
fn an_instance_that_comes_back_gets_calls_again() {
    isolated!(async {
        let directory = Directory::new()?;
        let (one, two) = (named("one").await?, named("two").await?);
        let caller = sidecar("caller", &directory)?.start().await?;
        let _one = sidecar("callee", &directory)?
            .app("http", one.port())
            .start()
            .await?;
        let port = outrigger_test_kit::free_port()?;
        let start_two = async || {
            sidecar("callee", &directory)?
                .flag("dapr-internal-grpc-port", port)
                .app("http", two.port())
                .start()
                .await
        };
        let mut second = start_two().await?;
        until("both to be called", async || {
            caller.invoke("callee", "x").await.ok();
            (!one.requests().is_empty() && !two.requests().is_empty()).then_some(())
        })
        .await?;
        second.process.signal(Signal::Kill).await?;
        second.process.exit().await?;
        for _ in 0..20 {
            assert_eq!(caller.invoke("callee", "x").await?.text(), "one");
        }
        let _second = start_two().await?;
        until("the second to be called again", async || {
            (caller.invoke("callee", "x").await.ok()?.text() == "two").then_some(())
        })
        .await
    });
}
