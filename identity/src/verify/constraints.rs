//! Name constraints: the names that an authority may issue for.
//!
//! Source: RFC 5280 4.2.1.10.

use crate::certificate::{NameConstraints, Names};

/// A name that an authority may not issue for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The name matches an excluded one.
    #[error("{kind} \"{name}\" is excluded by a constraint")]
    Excluded {
        /// Kind of the name.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// The name matches none of the permitted ones.
    #[error("{kind} \"{name}\" is not permitted by any constraint")]
    NotPermitted {
        /// Kind of the name.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// The name has no part that constraints speak of.
    #[error("{kind} \"{name}\" cannot be matched against constraints")]
    Unmatchable {
        /// Kind of the name.
        kind: &'static str,
        /// The name.
        name: String,
    },
}

/// Checks every name of a certificate against the constraints of an authority above it.
///
/// # Errors
/// With the first name that is excluded, or not permitted while others of its kind are.
pub(super) fn check(names: &Names, constraints: &NameConstraints) -> Result<(), NameError> {
    let (permitted, excluded) = (&constraints.permitted, &constraints.excluded);
    for uri in &names.uri {
        check_name(
            "URI",
            uri,
            host_of(uri),
            &permitted.uri,
            &excluded.uri,
            matches_domain,
        )?;
    }
    for dns in &names.dns {
        check_name(
            "DNS name",
            dns,
            Some(dns.as_str()),
            &permitted.dns,
            &excluded.dns,
            matches_domain,
        )?;
    }
    for mail in &names.mail {
        check_name(
            "email address",
            mail,
            mail.contains('@').then_some(mail.as_str()),
            &permitted.mail,
            &excluded.mail,
            matches_mail,
        )?;
    }
    for ip in &names.ip {
        check_name(
            "IP address",
            &display_ip(ip),
            Some(ip.as_slice()),
            &permitted.ip,
            &excluded.ip,
            |ip: &[u8], range: &Vec<u8>| matches_range(ip, range),
        )?;
    }
    Ok(())
}

fn check_name<N: ?Sized, C>(
    kind: &'static str,
    name: &str,
    part: Option<&N>,
    permitted: &[C],
    excluded: &[C],
    matches: impl Fn(&N, &C) -> bool,
) -> Result<(), NameError> {
    if permitted.is_empty() && excluded.is_empty() {
        return Ok(());
    }
    let name = name.to_owned();
    let Some(part) = part else {
        return Err(NameError::Unmatchable { kind, name });
    };
    if excluded.iter().any(|constraint| matches(part, constraint)) {
        return Err(NameError::Excluded { kind, name });
    }
    if !permitted.is_empty() && !permitted.iter().any(|constraint| matches(part, constraint)) {
        return Err(NameError::NotPermitted { kind, name });
    }
    Ok(())
}

/// The host of a URI, unless it has none or it is an IP address.
fn host_of(uri: &str) -> Option<&str> {
    let (_, rest) = uri.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = host.split_once(':').map_or(host, |(host, _)| host);
    let is_address = host.starts_with('[') || host.parse::<std::net::Ipv4Addr>().is_ok();
    (!host.is_empty() && !is_address).then_some(host)
}

/// Whether a domain is the constraint or below it; with a leading dot, only below it.
#[allow(clippy::ptr_arg, reason = "the type of a list's entries")]
fn matches_domain(domain: &str, constraint: &String) -> bool {
    let (constraint, only_below) = match constraint.strip_prefix('.') {
        Some(parent) => (parent, true),
        None => (constraint.as_str(), false),
    };
    if constraint.is_empty() {
        return !only_below || domain.contains('.');
    }
    let mut labels = domain.rsplit('.');
    let fits = constraint.rsplit('.').all(|expected| {
        labels
            .next()
            .is_some_and(|label| label.eq_ignore_ascii_case(expected))
    });
    fits && (!only_below || labels.next().is_some())
}

/// Whether a mail address is the constraint, or its host matches it.
fn matches_mail(address: &str, constraint: &String) -> bool {
    let Some((local, host)) = address.rsplit_once('@') else {
        return false;
    };
    match constraint.rsplit_once('@') {
        Some((expected, expected_host)) => local == expected && host.eq_ignore_ascii_case(expected_host),
        None => matches_domain(host, constraint),
    }
}

/// Whether an address lies in a range that is given as an address and a mask.
fn matches_range(address: &[u8], range: &[u8]) -> bool {
    range.len() == address.len() * 2
        && address
            .iter()
            .zip(range.iter().zip(range.iter().skip(address.len())))
            .all(|(byte, (network, mask))| byte & mask == network & mask)
}

fn display_ip(address: &[u8]) -> String {
    if let Ok(octets) = <[u8; 4]>::try_from(address) {
        std::net::Ipv4Addr::from(octets).to_string()
    } else if let Ok(octets) = <[u8; 16]>::try_from(address) {
        std::net::Ipv6Addr::from(octets).to_string()
    } else {
        format!("{address:02x?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_matches_itself_and_what_is_below_it() {
        let rows = [
            ("example.org", "example.org", true),
            ("EXAMPLE.org", "example.ORG", true),
            ("a.example.org", "example.org", true),
            ("a.example.org", ".example.org", true),
            ("example.org", ".example.org", false),
            ("badexample.org", "example.org", false),
            ("org", "example.org", false),
            ("anything", "", true),
        ];
        for (domain, constraint, expected) in rows {
            assert_eq!(
                matches_domain(domain, &constraint.to_owned()),
                expected,
                "{domain} against {constraint}"
            );
        }
    }

    #[test]
    fn the_host_of_a_uri_is_what_constraints_speak_of() {
        let rows = [
            ("spiffe://public/ns/a/b", Some("public")),
            ("https://me@host:8080/x", Some("host")),
            ("https://host?x", Some("host")),
            ("https://10.0.0.1/x", None),
            ("https://[::1]/x", None),
            ("urn:x", None),
            ("https:///x", None),
        ];
        for (uri, expected) in rows {
            assert_eq!(host_of(uri), expected, "{uri}");
        }
    }

    #[test]
    fn mail_and_addresses_match_by_their_own_rules() {
        assert!(matches_mail("a@example.org", &"a@EXAMPLE.org".to_owned()));
        assert!(matches_mail("a@example.org", &"example.org".to_owned()));
        assert!(!matches_mail("b@example.org", &"a@example.org".to_owned()));
        let range = [10, 1, 0, 0, 255, 255, 0, 0];
        assert!(matches_range(&[10, 1, 2, 3], &range));
        assert!(!matches_range(&[10, 2, 2, 3], &range));
        assert!(!matches_range(&[0; 16], &range));
    }

    #[test]
    fn exclusion_goes_before_permission() {
        let names = Names {
            uri: vec!["spiffe://public/ns/a/b".to_owned()],
            ..Names::default()
        };
        let uri = |domain: &str| Names {
            uri: vec![domain.to_owned()],
            ..Names::default()
        };
        let verdict = |permitted: Names, excluded: Names| {
            check(&names, &NameConstraints { permitted, excluded }).map_err(|error| error.to_string())
        };
        assert_eq!(verdict(uri("public"), Names::default()), Ok(()));
        assert_eq!(verdict(Names::default(), uri("other")), Ok(()));
        assert_eq!(
            verdict(uri("other"), Names::default()),
            Err("URI \"spiffe://public/ns/a/b\" is not permitted by any constraint".to_owned())
        );
        assert_eq!(
            verdict(uri("public"), uri("public")),
            Err("URI \"spiffe://public/ns/a/b\" is excluded by a constraint".to_owned())
        );
    }
}
