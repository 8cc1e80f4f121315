//! Announces the own instance and answers those who ask for it.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::network::{Channel, To};
use super::packet;
use super::records::Records;
use super::{MAX_PACKET, RECEIVE_PAUSE};

/// Longest pause after a probe in milliseconds, exclusive.
const PROBE_PAUSE: u64 = 250;

/// What is said unasked after the start, and the pause that follows it.
struct Script {
    probe: Vec<u8>,
    announcement: Vec<u8>,
    step: u32,
}

/// Probes, announces and answers until `stop`, then says goodbye.
pub(crate) async fn respond(mut channel: Box<dyn Channel>, records: Records, stop: CancellationToken) {
    let mut buffer = vec![0; MAX_PACKET];
    let mut script = Script::new(&records);
    let mut next = Some(Instant::now());
    loop {
        let due = next;
        let timer = async {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => break,
            () = timer => {
                next = match script.next() {
                    Some((packet, pause)) => {
                        channel.send(packet, To::Everybody).await;
                        Some(Instant::now() + pause)
                    }
                    None => None,
                };
            }
            received = channel.receive(&mut buffer) => {
                let Ok(received) = received else {
                    tokio::time::sleep(RECEIVE_PAUSE).await;
                    continue;
                };
                let packet = &buffer[..received.length];
                if !packet::is_question(packet) {
                    continue;
                }
                let Some(message) = packet::parse(packet) else { continue };
                for reply in records.replies(&message) {
                    let to = match reply.unicast {
                        true => To::One(received.link, received.sender),
                        false => To::Link(received.link),
                    };
                    channel.send(&reply.packet, to).await;
                }
            }
        }
    }
    if let Some(goodbye) = records.goodbye() {
        channel.send(&goodbye, To::Everybody).await;
    }
}

// === impl Script ===

impl Script {
    fn new(records: &Records) -> Self {
        Self {
            // Both probes carry the same id.
            probe: records.probe(fastrand::u16(..)).unwrap_or_default(),
            announcement: records.announcement().unwrap_or_default(),
            step: 0,
        }
    }

    fn next(&mut self) -> Option<(&[u8], Duration)> {
        self.step += 1;
        match self.step {
            1 | 2 => Some((&self.probe, Duration::from_millis(fastrand::u64(..PROBE_PAUSE)))),
            3 => Some((&self.announcement, Duration::from_secs(1))),
            4 => Some((&self.announcement, Duration::from_secs(2))),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mdns::network::Network;
    use crate::mdns::testing::Hub;

    fn callee() -> Records {
        Records::new("callee", "vm", 21963, 26102, "192.0.2.2".parse().unwrap()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn an_instance_is_probed_announced_and_withdrawn() {
        let hub = Hub::new();
        let mut ear = hub.ear();
        let stop = CancellationToken::new();
        let begin = Instant::now();
        let responder = tokio::spawn(respond(hub.open().unwrap(), callee(), stop.clone()));

        let probe = ear.hear().await;
        assert_eq!(
            probe,
            callee().probe(u16::from_be_bytes([probe[0], probe[1]])).unwrap()
        );
        assert_eq!(ear.hear().await, probe);
        assert!(begin.elapsed() < Duration::from_millis(250));
        assert_eq!(ear.hear().await, callee().announcement().unwrap());
        assert!(begin.elapsed() < Duration::from_millis(500));
        let first = Instant::now();
        assert_eq!(ear.hear().await, callee().announcement().unwrap());
        assert_eq!(first.elapsed().as_millis() / 10, 100);

        stop.cancel();
        assert_eq!(ear.hear().await, callee().goodbye().unwrap());
        responder.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_is_answered_on_its_link_while_probes_are_still_out() {
        let hub = Hub::new();
        let mut ear = hub.ear();
        let stop = CancellationToken::new();
        tokio::spawn(respond(hub.open().unwrap(), callee(), stop.clone()));
        ear.hear().await;

        let query = packet::query(7, &packet::service_name("callee").unwrap()).unwrap();
        ear.say(&query);
        let answer = loop {
            let packet = ear.hear().await;
            if packet[..2] == [0, 7] {
                break packet;
            }
        };
        let expected = &callee().replies(&packet::parse(&query).unwrap())[0].packet;
        assert_eq!(answer, *expected);
    }

    #[tokio::test(start_paused = true)]
    async fn noise_is_passed_over() {
        let hub = Hub::new();
        let mut ear = hub.ear();
        tokio::spawn(respond(hub.open().unwrap(), callee(), CancellationToken::new()));
        ear.hear().await;
        for noise in [&b""[..], b"\0\0\0\0\0\x01", &[0xff; 64]] {
            ear.say(noise);
        }
        ear.hear().await;
        assert_eq!(ear.hear().await, callee().announcement().unwrap());
    }
}
