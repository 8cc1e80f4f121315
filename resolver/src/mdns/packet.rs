//! Reads packets and asks questions.
//!
//! Nothing here touches a network, and nothing here trusts a packet.

use std::net::SocketAddr;

use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RData, RecordType};

/// The domain of all names.
pub(super) const DOMAIN: &str = "local";

/// The smallest question and the smallest record on the wire.
const MIN_QUESTION: usize = 5;
const MIN_RECORD: usize = 11;
const HEADER: usize = 12;

/// An instance that a packet told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) instance: Name,
    pub(crate) ipv4: Option<SocketAddr>,
    pub(crate) ipv6: Option<SocketAddr>,
}

/// What the records of one packet say about one instance.
struct Entry {
    instance: Name,
    ttl: u32,
    port: u16,
    target: Option<Name>,
    /// The first string of the TXT record.
    text: Option<Box<[u8]>>,
}

/// The name under which instances of an app are found.
pub(crate) fn service_name(app_id: &str) -> Option<Name> {
    name(&[app_id, DOMAIN])
}

/// Asks for the instances of `service`.
pub(crate) fn query(id: u16, service: &Name) -> Option<Vec<u8>> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(service.clone(), RecordType::PTR));
    message.to_vec().ok()
}

/// Reads a packet, or nothing if it is malformed.
pub(crate) fn parse(packet: &[u8]) -> Option<Message> {
    // The parser reserves room by the header's counts: refuse those that the bytes cannot hold.
    let records: usize = [3, 4, 5].into_iter().map(|index| count(packet, index)).sum();
    if count(packet, 2) * MIN_QUESTION + records * MIN_RECORD > packet.len().checked_sub(HEADER)? {
        return None;
    }
    Message::from_vec(packet).ok()
}

/// Whether a packet asks something: cheaper than to parse it.
pub(crate) fn is_question(packet: &[u8]) -> bool {
    count(packet, 2) > 0 && count(packet, 4) == 0
}

/// Whether a packet carries records: cheaper than to parse it.
pub(crate) fn has_records(packet: &[u8]) -> bool {
    [3, 4, 5].into_iter().any(|index| count(packet, index) > 0)
}

/// The instances of `service`, whose text is `app_id`, that a packet tells of.
pub(crate) fn instances(message: &Message, service: &Name, app_id: &str) -> Vec<Found> {
    let records = || {
        message
            .answers
            .iter()
            .chain(&message.authorities)
            .chain(&message.additionals)
    };
    let mut entries: Vec<Entry> = Vec::new();
    for record in records() {
        match &record.data {
            RData::PTR(target) if record.name.eq_case(service) => {
                entry(&mut entries, &target.0).ttl = record.ttl;
            }
            RData::SRV(srv) if service.zone_of_case(&record.name) => {
                let entry = entry(&mut entries, &record.name);
                entry.ttl = record.ttl;
                entry.port = srv.port;
                entry.target = Some(srv.target.clone());
            }
            RData::TXT(txt) if service.zone_of_case(&record.name) => {
                let entry = entry(&mut entries, &record.name);
                entry.ttl = record.ttl;
                entry.text = txt.txt_data.first().cloned();
            }
            _ => {}
        }
    }
    let wanted = |entry: &Entry| entry.ttl > 0 && entry.text.as_deref() == Some(app_id.as_bytes());
    entries
        .into_iter()
        .filter(wanted)
        .filter_map(|entry| {
            let target = entry.target?;
            let addresses = || {
                records()
                    .filter(|record| record.name.eq_case(&target))
                    .filter_map(|record| record.data.ip_addr())
                    .map(|ip| SocketAddr::new(ip, entry.port))
            };
            let ipv4 = addresses().find(SocketAddr::is_ipv4);
            let ipv6 = addresses().find(SocketAddr::is_ipv6);
            (ipv4.is_some() || ipv6.is_some()).then_some(Found {
                instance: entry.instance,
                ipv4,
                ipv6,
            })
        })
        .collect()
}

fn entry<'a>(entries: &'a mut Vec<Entry>, instance: &Name) -> &'a mut Entry {
    let index = match entries.iter().position(|entry| entry.instance.eq_case(instance)) {
        Some(index) => index,
        None => {
            let instance = instance.clone();
            entries.push(Entry {
                instance,
                ttl: 0,
                port: 0,
                target: None,
                text: None,
            });
            entries.len() - 1
        }
    };
    &mut entries[index]
}

/// A name whose parts may hold several labels; none if it breaks a limit of the DNS.
pub(super) fn name(parts: &[&str]) -> Option<Name> {
    let labels = parts
        .iter()
        .flat_map(|part| part.split('.'))
        .filter(|label| !label.is_empty());
    Name::from_labels(labels.map(str::as_bytes)).ok()
}

/// The 16-bit number at `index` in the header: 2 to 5 are the sizes of the four sections.
fn count(packet: &[u8], index: usize) -> usize {
    match packet.get(2 * index..2 * index + 2) {
        Some(&[high, low]) => usize::from(u16::from_be_bytes([high, low])),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::rdata::TXT;
    use proptest::prelude::*;

    use super::*;
    use crate::mdns::records::Records;

    fn callee() -> Records {
        Records::new("callee", "vm", 21963, 26102, "192.0.2.2".parse().unwrap()).unwrap()
    }

    fn service() -> Name {
        service_name("callee").unwrap()
    }

    fn read(packet: &[u8]) -> Vec<Found> {
        instances(&parse(packet).unwrap(), &service(), "callee")
    }

    #[test]
    fn names_beyond_the_limits_are_refused() {
        assert!(service_name(&"a".repeat(63)).is_some());
        assert!(service_name(&"a".repeat(64)).is_none());
    }

    #[test]
    fn instances_are_read_from_announcements_and_answers() {
        let question = parse(&query(7, &service()).unwrap()).unwrap();
        let answer = callee().replies(&question).remove(0).packet;
        for packet in [callee().announcement().unwrap(), answer] {
            let found = read(&packet);
            assert_eq!(found.len(), 1);
            assert!(
                found[0]
                    .instance
                    .eq_case(&name(&["vm:21963", "callee", "local"]).unwrap())
            );
            assert_eq!(found[0].ipv4.unwrap().to_string(), "192.0.2.2:26102");
            assert_eq!(found[0].ipv6, None);
        }
    }

    #[test]
    fn what_is_not_an_instance_of_the_app_is_passed_over() {
        assert_eq!(read(&callee().goodbye().unwrap()), []);

        for other in ["caller", "my-callee", "Callee"] {
            let records = Records::new(other, "vm", 1, 2, "192.0.2.2".parse().unwrap()).unwrap();
            assert_eq!(read(&records.announcement().unwrap()), [], "{other}");
        }

        let announcement = parse(&callee().announcement().unwrap()).unwrap();
        for missing in [0, 1, 4] {
            let mut message = announcement.clone();
            message.answers.remove(missing);
            assert_eq!(read(&message.to_vec().unwrap()), [], "record {missing}");
        }

        let mut wrong_text = announcement;
        wrong_text.answers[1].data = RData::TXT(TXT::new(vec!["other".to_owned(), "callee".to_owned()]));
        assert_eq!(read(&wrong_text.to_vec().unwrap()), []);
    }

    #[test]
    fn counts_that_the_packet_cannot_hold_are_refused() {
        let mut packet = callee().announcement().unwrap();
        packet[6] = 0xff;
        assert!(parse(&packet).is_none());
        assert!(parse(&[]).is_none());
        assert!(!is_question(&[]) && !has_records(&[0; 5]));
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_reader(packet in proptest::collection::vec(any::<u8>(), 0..600)) {
            if let Some(message) = parse(&packet) {
                callee().replies(&message);
                instances(&message, &service(), "callee");
            }
        }

        #[test]
        fn no_damage_to_a_packet_breaks_the_reader(at in 0usize..147, byte in any::<u8>()) {
            let mut packet = callee().announcement().unwrap();
            packet[at] = byte;
            if let Some(message) = parse(&packet) {
                callee().replies(&message);
                instances(&message, &service(), "callee");
            }
        }
    }
}
