//! Certificates that expire, that cannot be read, or that do not belong to their key.

use std::time::{Duration, SystemTime};

use outrigger_config::env::DAPR_TRUST_ANCHORS;
use outrigger_identity::certificate::Certificate;
use outrigger_identity::key::PrivateKey;
use outrigger_identity::pem;

use crate::Check;
use crate::document::Node;
use crate::finding::Place;

/// A certificate is near its end from here on.
const NEAR: Duration = Duration::from_secs(30 * 24 * 3600);

// === impl Check ===

impl Check<'_> {
    /// Looks at the trust anchors and at the TLS of endpoints.
    pub(crate) fn certificates(&mut self) {
        if let Some(anchors) = self.world.environment.get_filled(DAPR_TRUST_ANCHORS) {
            self.chain(&anchors, &Place::outside("environment"), DAPR_TRUST_ANCHORS);
        }
        for document in self.resources.clone() {
            if document.kind() != "HTTPEndpoint" {
                continue;
            }
            let Some(tls) = document.spec().get("clientTLS") else {
                continue;
            };
            if let Some((text, line)) = literal(tls, "rootCA") {
                self.chain(text, &document.place(line), "clientTLS.rootCA");
            }
            let Some((text, line)) = literal(tls, "certificate") else {
                continue;
            };
            let place = document.place(line);
            let leaf = self.chain(text, &place, "clientTLS.certificate");
            let Some((text, line)) = literal(tls, "privateKey") else {
                continue;
            };
            match (PrivateKey::from_pem(text.as_bytes()), leaf) {
                (Err(error), _) => {
                    let message = format!("clientTLS.privateKey cannot be read: {error}");
                    self.findings.add(document.place(line), message);
                }
                (Ok(key), Some(leaf)) => {
                    let belongs = key
                        .public_key_info()
                        .is_ok_and(|info| info == leaf.public_key_info());
                    if !belongs {
                        let message = "clientTLS.privateKey does not belong to clientTLS.certificate";
                        self.findings.add(document.place(line), message);
                    }
                }
                (Ok(_), None) => {}
            }
        }
    }

    /// Judges the certificates of a PEM text; the first one is given back.
    fn chain(&mut self, text: &str, place: &Place, what: &str) -> Option<Certificate> {
        let certificates = pem::certificates(text.as_bytes());
        if certificates.is_empty() {
            self.findings
                .add(place.clone(), format!("{what} holds no certificate in PEM form"));
        }
        let mut first = None;
        for encoding in certificates {
            match Certificate::parse(&encoding) {
                Ok(certificate) => {
                    if let Some(end) = ending(&certificate, self.world.now) {
                        let name = certificate.subject_name();
                        self.findings
                            .add(place.clone(), format!("{what}: certificate {name:?} {end}"));
                    }
                    first.get_or_insert(certificate);
                }
                Err(error) => {
                    let message = format!("{what}: a certificate cannot be read: {error}");
                    self.findings.add(place.clone(), message);
                }
            }
        }
        first
    }
}

/// What is wrong with the validity of a certificate, if anything.
fn ending(certificate: &Certificate, now: SystemTime) -> Option<String> {
    if now < certificate.not_before() {
        return Some("is not valid yet".to_owned());
    }
    let Ok(left) = certificate.not_after().duration_since(now) else {
        return Some("has expired".to_owned());
    };
    let days = left.as_secs() / (24 * 3600);
    (left < NEAR).then(|| match days {
        0 => "expires within a day".to_owned(),
        1 => "expires in 1 day".to_owned(),
        days => format!("expires in {days} days"),
    })
}

fn literal<'a>(tls: &'a Node, part: &str) -> Option<(&'a str, usize)> {
    let value = tls.get(part)?.get("value")?;
    Some((value.as_text()?, value.line))
}
