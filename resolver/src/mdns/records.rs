//! What the own instance says.

use std::net::IpAddr;

use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::rdata::{PTR, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder, NameEncoding};

use super::packet::{DOMAIN, name, service_name};

const ENUMERATION: &str = "_services._dns-sd._udp.local";

/// Lifetime of PTR, SRV and TXT records in seconds.
const SERVICE_TTL: u32 = 3200;

/// Lifetime of A and AAAA records in seconds.
const HOST_TTL: u32 = 120;

/// The records of the own instance.
#[derive(Clone, Debug)]
pub(crate) struct Records {
    /// `<app id>.local.`
    service: Name,
    /// `<host name>:<process id>.<app id>.local.`
    instance: Name,
    /// `<host name>.local.`
    host: Name,
    enumeration: Name,
    app_id: String,
    port: u16,
    address: IpAddr,
}

/// An answer to a query and who gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) packet: Vec<u8>,
    /// Whether the one who asked wants it sent to itself only.
    pub(crate) unicast: bool,
}

/// A record's lifetime and the cache-flush bit.
#[derive(Clone, Copy)]
enum Tone {
    /// Answers to a query.
    Answer,
    /// Unasked: replaces what others remember.
    Announcement,
    /// Unasked: erases what others remember.
    Goodbye,
}

// === impl Records ===

impl Records {
    /// The records of an instance; none if a part of its names is too long for the DNS.
    pub(crate) fn new(
        app_id: &str,
        host_name: &str,
        process_id: u32,
        port: u16,
        address: IpAddr,
    ) -> Option<Self> {
        let host_name = host_name.trim_matches('.');
        let records = Self {
            service: service_name(app_id)?,
            instance: name(&[&format!("{host_name}:{process_id}"), app_id, DOMAIN])?,
            host: name(&[host_name, DOMAIN])?,
            enumeration: name(&[ENUMERATION])?,
            app_id: app_id.to_owned(),
            port,
            address,
        };
        // A text of more than 255 bytes has no place in a TXT string.
        (app_id.len() <= 255).then_some(records)
    }

    /// Asks whether somebody else has the own name.
    pub(crate) fn probe(&self, id: u16) -> Option<Vec<u8>> {
        let mut message = Message::new(id, MessageType::Query, OpCode::Query);
        message.add_query(Query::query(self.instance.clone(), RecordType::PTR));
        message.add_authority(self.srv(Tone::Answer));
        message.add_authority(self.txt(Tone::Answer));
        let mut packet = Vec::with_capacity(512);
        let mut encoder = BinEncoder::new(&mut packet);
        encoder.set_name_encoding(NameEncoding::Uncompressed);
        message.emit(&mut encoder).ok()?;
        Some(packet)
    }

    /// Tells everybody of the instance.
    pub(crate) fn announcement(&self) -> Option<Vec<u8>> {
        self.unasked(Tone::Announcement)
    }

    /// Tells everybody that the instance is gone.
    pub(crate) fn goodbye(&self) -> Option<Vec<u8>> {
        self.unasked(Tone::Goodbye)
    }

    /// The answers to a packet, one for each question about this instance.
    pub(crate) fn replies(&self, message: &Message) -> Vec<Reply> {
        if !message.authorities.is_empty() {
            return Vec::new();
        }
        let questions = message.queries.iter();
        questions
            .filter_map(|question| {
                let reply = self.answer(message, &question.name)?;
                Some(Reply {
                    packet: reply.to_vec().ok()?,
                    unicast: question.mdns_unicast_response,
                })
            })
            .collect()
    }

    fn answer(&self, message: &Message, name: &Name) -> Option<Message> {
        let mut reply = Message::response(message.metadata.id, OpCode::Query);
        reply.metadata.authoritative = true;
        let tone = Tone::Answer;
        if name.eq_case(&self.service) {
            let ptr = self.ptr(tone);
            if is_known(message, &ptr) {
                return None;
            }
            reply.add_answer(ptr);
            reply.add_additionals([self.srv(tone), self.txt(tone), self.host(tone)]);
        } else if name.eq_case(&self.instance) {
            reply.add_answers(self.all(tone));
        } else if name.eq_case(&self.enumeration) {
            let enumeration = self.enumeration(tone);
            if is_known(message, &enumeration) {
                return None;
            }
            reply.add_answer(enumeration);
        } else {
            return None;
        }
        Some(reply)
    }

    fn unasked(&self, tone: Tone) -> Option<Vec<u8>> {
        let mut message = Message::response(0, OpCode::Query);
        message.add_answers(self.all(tone));
        message.to_vec().ok()
    }

    fn all(&self, tone: Tone) -> [Record; 5] {
        [
            self.srv(tone),
            self.txt(tone),
            self.ptr(tone),
            self.enumeration(tone),
            self.host(tone),
        ]
    }

    fn srv(&self, tone: Tone) -> Record {
        tone.unique(
            &self.instance,
            SERVICE_TTL,
            RData::SRV(SRV::new(0, 0, self.port, self.host.clone())),
        )
    }

    fn txt(&self, tone: Tone) -> Record {
        tone.unique(
            &self.instance,
            SERVICE_TTL,
            RData::TXT(TXT::new(vec![self.app_id.clone()])),
        )
    }

    fn ptr(&self, tone: Tone) -> Record {
        tone.shared(&self.service, RData::PTR(PTR(self.instance.clone())))
    }

    fn enumeration(&self, tone: Tone) -> Record {
        tone.shared(&self.enumeration, RData::PTR(PTR(self.service.clone())))
    }

    fn host(&self, tone: Tone) -> Record {
        tone.unique(&self.host, HOST_TTL, RData::from(self.address))
    }
}

// === impl Tone ===

impl Tone {
    /// A record that only this instance has.
    fn unique(self, owner: &Name, ttl: u32, data: RData) -> Record {
        let mut record = Record::from_rdata(owner.clone(), self.ttl(ttl), data);
        record.mdns_cache_flush = !matches!(self, Self::Answer);
        record
    }

    /// A record that others have beside this instance.
    fn shared(self, owner: &Name, data: RData) -> Record {
        Record::from_rdata(owner.clone(), self.ttl(SERVICE_TTL), data)
    }

    fn ttl(self, ttl: u32) -> u32 {
        match self {
            Self::Answer | Self::Announcement => ttl,
            Self::Goodbye => 0,
        }
    }
}

/// Whether the one who asks knows the answer, and will for a while (RFC 6762, section 7.1).
fn is_known(message: &Message, answer: &Record) -> bool {
    message.answers.iter().any(|known| {
        let same_target = match (&known.data, &answer.data) {
            (RData::PTR(known), RData::PTR(answer)) => known.0.eq_case(&answer.0),
            _ => false,
        };
        same_target && known.name.eq_case(&answer.name) && known.ttl >= answer.ttl / 2
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mdns::packet::{is_question, parse, query};

    /// The instance of the recorded packets.
    fn callee() -> Records {
        Records::new("callee", "vm", 21963, 26102, "192.0.2.2".parse().unwrap()).unwrap()
    }

    /// A name without escapes.
    fn plain(name: &Name) -> String {
        name.to_string().replace('\\', "")
    }

    /// One line for a record, in the words of the recording.
    fn line(record: &Record) -> String {
        let flush = if record.mdns_cache_flush {
            "(Cache flush) "
        } else {
            ""
        };
        let data = match &record.data {
            RData::SRV(srv) => format!("SRV {}:{} {} {}", srv.target, srv.port, srv.priority, srv.weight),
            RData::TXT(txt) => format!("TXT {:?}", String::from_utf8_lossy(&txt.txt_data[0])),
            RData::PTR(target) => format!("PTR {}", plain(&target.0)),
            other => format!("{} {}", other.record_type(), other.ip_addr().unwrap()),
        };
        format!("{} {flush}[{}] {data}", plain(&record.name), record.ttl)
    }

    fn lines(records: &[Record]) -> Vec<String> {
        records.iter().map(line).collect()
    }

    fn ask(name: &Name) -> Message {
        let mut message = Message::new(7, MessageType::Query, OpCode::Query);
        message.add_query(Query::query(name.clone(), RecordType::PTR));
        message
    }

    #[test]
    fn a_probe_looks_like_the_recorded_one() {
        let packet = callee().probe(17431).unwrap();
        assert_eq!(packet.len(), 128);
        assert_eq!(packet[..12], [0x44, 0x17, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0]);
        let message = parse(&packet).unwrap();
        let question = &message.queries[0];
        assert_eq!(plain(&question.name), "vm:21963.callee.local.");
        assert!(question.query_type == RecordType::PTR && !question.mdns_unicast_response);
        assert_eq!(
            lines(&message.authorities),
            [
                "vm:21963.callee.local. [3200] SRV vm.local.:26102 0 0",
                "vm:21963.callee.local. [3200] TXT \"callee\"",
            ]
        );
    }

    #[test]
    fn an_announcement_looks_like_the_recorded_one() {
        let packet = callee().announcement().unwrap();
        assert_eq!(packet.len(), 147);
        assert_eq!(packet[..12], [0, 0, 0x80, 0, 0, 0, 0, 5, 0, 0, 0, 0]);
        assert_eq!(
            lines(&parse(&packet).unwrap().answers),
            [
                "vm:21963.callee.local. (Cache flush) [3200] SRV vm.local.:26102 0 0",
                "vm:21963.callee.local. (Cache flush) [3200] TXT \"callee\"",
                "callee.local. [3200] PTR vm:21963.callee.local.",
                "_services._dns-sd._udp.local. [3200] PTR callee.local.",
                "vm.local. (Cache flush) [120] A 192.0.2.2",
            ]
        );
    }

    #[test]
    fn a_goodbye_takes_every_record_back() {
        let packet = callee().goodbye().unwrap();
        assert_eq!(packet.len(), 147);
        let message = parse(&packet).unwrap();
        assert_eq!(message.answers.len(), 5);
        assert!(message.answers.iter().all(|record| record.ttl == 0));
        let flushed: Vec<_> = message
            .answers
            .iter()
            .map(|record| record.mdns_cache_flush)
            .collect();
        assert_eq!(flushed, [true, true, false, false, true]);
    }

    #[test]
    fn a_query_and_its_answer_look_like_the_recorded_ones() {
        let packet = query(46595, &service_name("callee").unwrap()).unwrap();
        assert_eq!(packet.len(), 30);
        assert_eq!(packet[..12], [0xb6, 0x03, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);

        let replies = callee().replies(&parse(&packet).unwrap());
        assert_eq!(replies.len(), 1);
        assert!(!replies[0].unicast);
        assert_eq!(replies[0].packet.len(), 110);
        assert_eq!(
            replies[0].packet[..12],
            [0xb6, 0x03, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 3]
        );
        let reply = parse(&replies[0].packet).unwrap();
        assert_eq!(
            lines(&reply.answers),
            ["callee.local. [3200] PTR vm:21963.callee.local."]
        );
        assert_eq!(
            lines(&reply.additionals),
            [
                "vm:21963.callee.local. [3200] SRV vm.local.:26102 0 0",
                "vm:21963.callee.local. [3200] TXT \"callee\"",
                "vm.local. [120] A 192.0.2.2",
            ]
        );
    }

    #[test]
    fn the_instance_and_the_enumeration_are_answered_too() {
        let records = callee();
        let reply = parse(&records.replies(&ask(&records.instance))[0].packet).unwrap();
        assert_eq!(reply.answers.len(), 5);
        assert!(reply.additionals.is_empty());
        assert!(reply.answers.iter().all(|record| !record.mdns_cache_flush));
        let reply = parse(&records.replies(&ask(&records.enumeration))[0].packet).unwrap();
        assert_eq!(
            lines(&reply.answers),
            ["_services._dns-sd._udp.local. [3200] PTR callee.local."]
        );
    }

    #[test]
    fn names_are_compared_exactly() {
        for other in ["Callee", "caller"] {
            assert_eq!(callee().replies(&ask(&service_name(other).unwrap())), []);
        }
    }

    #[test]
    fn a_probe_of_somebody_else_is_not_answered() {
        let mut probe = ask(&callee().instance);
        probe.add_authority(callee().txt(Tone::Answer));
        assert_eq!(callee().replies(&probe), []);
        assert!(!is_question(&probe.to_vec().unwrap()));
    }

    #[test]
    fn an_answer_that_is_known_for_long_enough_is_not_repeated() {
        let records = callee();
        for (ttl, answers) in [(1600, 0), (1599, 1)] {
            for (name, mut known) in [
                (&records.service, records.ptr(Tone::Answer)),
                (&records.enumeration, records.enumeration(Tone::Answer)),
            ] {
                known.ttl = ttl;
                let mut message = ask(name);
                message.add_answer(known);
                assert_eq!(records.replies(&message).len(), answers, "{name} {ttl}");
            }
        }
    }

    #[test]
    fn one_who_asks_for_it_is_answered_alone() {
        let mut message = ask(&callee().service);
        message.queries[0].mdns_unicast_response = true;
        assert!(callee().replies(&message)[0].unicast);
    }

    #[test]
    fn a_host_name_with_dots_becomes_several_labels() {
        let records = Records::new("a", ".vm.example.", 1, 2, "fd00::1".parse().unwrap()).unwrap();
        assert_eq!(records.host.to_string(), "vm.example.local.");
        assert_eq!(plain(&records.instance), "vm.example:1.a.local.");
        let reply = parse(&records.announcement().unwrap()).unwrap();
        assert_eq!(
            line(&reply.answers[4]),
            "vm.example.local. (Cache flush) [120] AAAA fd00::1"
        );
    }
}
