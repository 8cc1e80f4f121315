//! Searches the network for instances.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::rr::Name;
use tokio::time::Instant;

use super::network::{Channel, To};
use super::packet::{self, Found};
use super::{MAX_PACKET, RECEIVE_PAUSE};

/// An app whose instances are searched for.
struct Target {
    app_id: Arc<str>,
    service: Name,
    /// Instances that were reported already.
    seen: Vec<Name>,
}

/// When the next query is due: twice at once, then after growing pauses.
struct Schedule {
    sent: u32,
    pause: Duration,
}

/// Searches for all instances of `app_ids` at once and shows each to `heard`, until that breaks the
/// search or `limit` is over.
///
/// An app is asked for until a first instance answers; what others ask for and announce counts too.
pub(crate) async fn browse(
    mut channel: Box<dyn Channel>,
    app_ids: impl IntoIterator<Item = Arc<str>>,
    limit: Duration,
    mut heard: impl FnMut(&Arc<str>, &Found) -> ControlFlow<()>,
) {
    let mut targets: Vec<Target> = app_ids.into_iter().filter_map(Target::new).collect();
    if targets.is_empty() {
        return;
    }
    let mut buffer = vec![0; MAX_PACKET];
    let end = Instant::now() + limit;
    let mut schedule = Schedule::new();
    let mut next = Instant::now();
    loop {
        tokio::select! {
            () = tokio::time::sleep_until(end) => return,
            () = tokio::time::sleep_until(next) => {
                for target in targets.iter().filter(|target| target.seen.is_empty()) {
                    if let Some(query) = packet::query(fastrand::u16(..), &target.service) {
                        channel.send(&query, To::Everybody).await;
                    }
                }
                next = Instant::now() + schedule.pause();
            }
            received = channel.receive(&mut buffer) => {
                let Ok(received) = received else {
                    tokio::time::sleep(RECEIVE_PAUSE).await;
                    continue;
                };
                let packet = &buffer[..received.length];
                if packet::has_records(packet)
                    && let Some(message) = packet::parse(packet)
                    && targets.iter_mut().any(|target| target.read(&message, &mut heard).is_break())
                {
                    return;
                }
            }
        }
    }
}

// === impl Target ===

impl Target {
    fn new(app_id: Arc<str>) -> Option<Self> {
        Some(Self {
            service: packet::service_name(&app_id)?,
            app_id,
            seen: Vec::new(),
        })
    }

    fn read(
        &mut self,
        message: &hickory_proto::op::Message,
        heard: &mut impl FnMut(&Arc<str>, &Found) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        for found in packet::instances(message, &self.service, &self.app_id) {
            if self.seen.iter().any(|seen| seen.eq_case(&found.instance)) {
                continue;
            }
            heard(&self.app_id, &found)?;
            self.seen.push(found.instance);
        }
        ControlFlow::Continue(())
    }
}

// === impl Schedule ===

impl Schedule {
    const FIRST: Duration = Duration::from_secs(4);
    const LONGEST: Duration = Duration::from_secs(60);
    const GROWTH: f64 = 1.5;

    fn new() -> Self {
        Self {
            sent: 0,
            pause: Self::FIRST,
        }
    }

    /// The pause after a query: none after the first, then half to one and a half of a growing time.
    fn pause(&mut self) -> Duration {
        self.sent += 1;
        if self.sent == 1 {
            return Duration::ZERO;
        }
        let pause = self.pause.mul_f64(0.5 + fastrand::f64());
        self.pause = self.pause.mul_f64(Self::GROWTH).min(Self::LONGEST);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mdns::network::Network;
    use crate::mdns::records::Records;
    use crate::mdns::testing::Hub;

    fn announcement(app_id: &str, process_id: u32) -> Vec<u8> {
        let address = "192.0.2.2".parse().unwrap();
        Records::new(app_id, "vm", process_id, 26102, address)
            .unwrap()
            .announcement()
            .unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn two_queries_go_out_at_once_and_more_after_seconds() {
        let hub = Hub::new();
        let mut ear = hub.ear();
        let begin = Instant::now();
        let channel = hub.open().unwrap();
        tokio::spawn(browse(
            channel,
            ["callee".into()],
            Duration::from_secs(600),
            |_, _| ControlFlow::Continue(()),
        ));

        let service = packet::service_name("callee").unwrap();
        let mut times = Vec::new();
        for _ in 0..10 {
            let query = ear.hear().await;
            assert_eq!(
                query,
                packet::query(u16::from_be_bytes([query[0], query[1]]), &service).unwrap()
            );
            times.push(begin.elapsed());
        }
        assert!(times[1] < Duration::from_millis(10));
        let pauses: Vec<_> = times
            .windows(2)
            .map(|pair| (pair[1] - pair[0]).as_secs_f64())
            .collect();
        let mut expected = 4.0;
        for pause in &pauses[1..] {
            assert!((expected * 0.49..=expected * 1.51).contains(pause), "{pauses:?}");
            expected = f64::min(expected * 1.5, 60.0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_instance_is_reported_once_and_ends_the_queries() {
        let hub = Hub::new();
        let mut ear = hub.ear();
        let channel = hub.open().unwrap();
        let search = tokio::spawn(async move {
            let mut found = Vec::new();
            browse(
                channel,
                ["callee".into(), "other".into()],
                Duration::from_secs(30),
                |app_id, instance| {
                    found.push((app_id.to_string(), instance.ipv4.unwrap().to_string()));
                    ControlFlow::Continue(())
                },
            )
            .await;
            found
        });
        ear.hear().await;
        for _ in 0..2 {
            ear.say(&announcement("callee", 1));
        }
        ear.say(&announcement("stranger", 1));
        assert_eq!(
            search.await.unwrap(),
            [("callee".to_owned(), "192.0.2.2:26102".to_owned())]
        );

        let mut asked_for_callee = 0;
        while let Ok(query) = tokio::time::timeout(Duration::from_secs(1), ear.hear()).await {
            asked_for_callee += usize::from(query.windows(6).any(|window| window == b"callee"));
        }
        assert!(asked_for_callee <= 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_search_ends_when_it_is_told_so_or_when_its_time_is_over() {
        let hub = Hub::new();
        let mut ear = hub.ear();
        let begin = Instant::now();
        let limit = Duration::from_secs(1);
        browse(hub.open().unwrap(), ["callee".into()], limit, |_, _| {
            ControlFlow::Continue(())
        })
        .await;
        assert_eq!(begin.elapsed().as_millis() / 10, 100);

        let begin = Instant::now();
        let channel = hub.open().unwrap();
        let search = tokio::spawn(browse(channel, ["callee".into()], limit, |_, _| {
            ControlFlow::Break(())
        }));
        ear.hear().await;
        ear.say(&announcement("callee", 1));
        search.await.unwrap();
        assert!(begin.elapsed() < limit);

        let begin = Instant::now();
        let too_long = Arc::from("a".repeat(64));
        browse(hub.open().unwrap(), [too_long], limit, |_, _| {
            ControlFlow::Continue(())
        })
        .await;
        assert_eq!(begin.elapsed(), Duration::ZERO);
    }
}
