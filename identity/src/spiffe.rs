//! SPIFFE ids: the names of workloads and of the control plane.
//!
//! ```text
//! spiffe://<trust domain>/ns/<namespace>/<app id>
//! ```
//!
//! An id is compared byte for byte; nothing is case-folded or percent-decoded. No limit is set on its length:
//! the size of a TLS message bounds it. Source: SPIFFE-ID 2, specification: identity 2.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

const SCHEME: &str = "spiffe://";

/// The name of a group of workloads that one authority speaks for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrustDomain(Arc<str>);

/// The verified or expected name of a workload.
///
/// Every value obeys the character rules; the path may be empty or of any number of segments.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId {
    text: Arc<str>,
    /// Length of the scheme and the trust domain.
    domain_end: usize,
}

/// Namespace and app id out of a [`SpiffeId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workload<'a> {
    /// Second segment of the path.
    pub namespace: &'a str,
    /// Third segment of the path.
    pub app_id: &'a str,
}

/// A process of the control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ControlPlane {
    /// The certificate authority.
    Sentry,
    /// The Kubernetes operator.
    Operator,
    /// The sidecar injector.
    Injector,
    /// The actor placement service.
    Placement,
    /// The job scheduler.
    Scheduler,
}

/// Why a text is no SPIFFE id, or no trust domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpiffeIdError {
    /// The text is empty.
    #[error("cannot be empty")]
    Empty,
    /// The text does not start with `spiffe://`.
    #[error("scheme is missing or invalid")]
    Scheme,
    /// The trust domain is empty.
    #[error("trust domain is missing")]
    NoTrustDomain,
    /// The trust domain has a byte that none may have.
    #[error(
        "trust domain characters are limited to lowercase letters, numbers, dots, dashes, and underscores"
    )]
    TrustDomainCharacter,
    /// A segment has a byte that none may have.
    #[error("path segment characters are limited to letters, numbers, dots, dashes, and underscores")]
    SegmentCharacter,
    /// A segment is `.` or `..`.
    #[error("path cannot contain dot segments")]
    DotSegment,
    /// A segment is empty.
    #[error("path cannot contain empty segments")]
    EmptySegment,
    /// The path ends with a slash.
    #[error("path cannot have a trailing slash")]
    TrailingSlash,
}

/// An id whose path names no workload.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed SPIFFE ID: {0}")]
pub struct MalformedSpiffeId(pub SpiffeId);

// === impl TrustDomain ===

impl TrustDomain {
    /// Name of the trust domain of apps for which none is configured.
    pub const PUBLIC: &str = "public";

    /// Reads a trust domain, written plainly (`example.org`) or as an id of which only the domain is kept
    /// (`spiffe://example.org/anything`).
    ///
    /// # Errors
    /// When the text breaks the character rules.
    pub fn parse(text: &str) -> Result<Self, SpiffeIdError> {
        if text.is_empty() {
            return Err(SpiffeIdError::NoTrustDomain);
        }
        if text.contains(":/") {
            return SpiffeId::parse(text).map(|id| Self(id.trust_domain().into()));
        }
        check_trust_domain(text)?;
        Ok(Self(text.into()))
    }

    /// The trust domain `public`.
    #[must_use]
    pub fn public() -> Self {
        Self(Self::PUBLIC.into())
    }

    /// The name, without a scheme.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TrustDomain {
    type Err = SpiffeIdError;

    fn from_str(text: &str) -> Result<Self, SpiffeIdError> {
        Self::parse(text)
    }
}

// === impl SpiffeId ===

impl SpiffeId {
    /// Reads an id.
    ///
    /// # Errors
    /// When the text breaks the rules of the scheme, the trust domain or the path.
    pub fn parse(text: &str) -> Result<Self, SpiffeIdError> {
        if text.is_empty() {
            return Err(SpiffeIdError::Empty);
        }
        let rest = text.strip_prefix(SCHEME).ok_or(SpiffeIdError::Scheme)?;
        let domain_length = rest.find('/').unwrap_or(rest.len());
        let (domain, path) = rest.split_at(domain_length);
        check_trust_domain(domain)?;
        check_path(path)?;
        Ok(Self {
            text: text.into(),
            domain_end: SCHEME.len() + domain_length,
        })
    }

    /// Builds an id from the segments of its path.
    ///
    /// # Errors
    /// When a segment is empty, `.`, `..`, or has a byte that none may have.
    pub fn from_segments(trust_domain: &TrustDomain, segments: &[&str]) -> Result<Self, SpiffeIdError> {
        let mut text = format!("{SCHEME}{trust_domain}");
        let domain_end = text.len();
        for segment in segments {
            if segment.is_empty() {
                return Err(SpiffeIdError::EmptySegment);
            }
            check_segment(segment)?;
            text.push('/');
            text.push_str(segment);
        }
        Ok(Self {
            text: text.into(),
            domain_end,
        })
    }

    /// Builds the id of an app: `spiffe://<trust domain>/ns/<namespace>/<app id>`.
    ///
    /// # Errors
    /// When the namespace or the app id cannot be a segment.
    pub fn workload(
        trust_domain: &TrustDomain,
        namespace: &str,
        app_id: &str,
    ) -> Result<Self, SpiffeIdError> {
        Self::from_segments(trust_domain, &["ns", namespace, app_id])
    }

    /// The whole id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The whole id as a value that is shared without copying.
    #[must_use]
    pub fn to_shared(&self) -> Arc<str> {
        self.text.clone()
    }

    /// Name of the trust domain.
    #[must_use]
    pub fn trust_domain(&self) -> &str {
        self.text.split_at(self.domain_end).0.split_at(SCHEME.len()).1
    }

    /// The path: empty, or starting with a slash.
    #[must_use]
    pub fn path(&self) -> &str {
        self.text.split_at(self.domain_end).1
    }

    /// Takes the id apart into namespace and app id. Segments behind the app id are accepted and ignored.
    ///
    /// # Errors
    /// When the path is not `/ns/<namespace>/<app id>`.
    pub fn split(&self) -> Result<Workload<'_>, MalformedSpiffeId> {
        let mut segments = self.path().split('/');
        match (segments.next(), segments.next(), segments.next(), segments.next()) {
            (Some(""), Some("ns"), Some(namespace), Some(app_id))
                if !namespace.is_empty() && !app_id.is_empty() =>
            {
                Ok(Workload { namespace, app_id })
            }
            _ => Err(MalformedSpiffeId(self.clone())),
        }
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SpiffeId").field(&self.text).finish()
    }
}

impl FromStr for SpiffeId {
    type Err = SpiffeIdError;

    fn from_str(text: &str) -> Result<Self, SpiffeIdError> {
        Self::parse(text)
    }
}

// === impl ControlPlane ===

impl ControlPlane {
    /// All processes of the control plane.
    pub const ALL: [Self; 5] = [
        Self::Sentry,
        Self::Operator,
        Self::Injector,
        Self::Placement,
        Self::Scheduler,
    ];

    /// The app id that the process asks a certificate for.
    #[must_use]
    pub fn app_id(self) -> &'static str {
        match self {
            Self::Sentry => "dapr-sentry",
            Self::Operator => "dapr-operator",
            Self::Injector => "dapr-injector",
            Self::Placement => "dapr-placement",
            Self::Scheduler => "dapr-scheduler",
        }
    }

    /// The process that an app id names.
    #[must_use]
    pub fn from_app_id(app_id: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|process| process.app_id() == app_id)
    }

    /// The id of the process in a control plane of the given trust domain and namespace.
    ///
    /// # Errors
    /// When the namespace cannot be a segment.
    pub fn id(self, trust_domain: &TrustDomain, namespace: &str) -> Result<SpiffeId, SpiffeIdError> {
        SpiffeId::workload(trust_domain, namespace, self.app_id())
    }
}

fn check_trust_domain(domain: &str) -> Result<(), SpiffeIdError> {
    if domain.is_empty() {
        return Err(SpiffeIdError::NoTrustDomain);
    }
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_');
    if domain.bytes().all(allowed) {
        Ok(())
    } else {
        Err(SpiffeIdError::TrustDomainCharacter)
    }
}

fn check_path(path: &str) -> Result<(), SpiffeIdError> {
    let Some(segments) = path.strip_prefix('/') else {
        return Ok(());
    };
    let mut segments = segments.split('/').peekable();
    while let Some(segment) = segments.next() {
        match (segment.is_empty(), segments.peek().is_some()) {
            (true, true) => return Err(SpiffeIdError::EmptySegment),
            (true, false) => return Err(SpiffeIdError::TrailingSlash),
            (false, _) => check_segment(segment)?,
        }
    }
    Ok(())
}

fn check_segment(segment: &str) -> Result<(), SpiffeIdError> {
    if matches!(segment, "." | "..") {
        return Err(SpiffeIdError::DotSegment);
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if segment.bytes().all(allowed) {
        Ok(())
    } else {
        Err(SpiffeIdError::SegmentCharacter)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};

    use super::*;

    #[test]
    fn ids_that_break_a_rule_are_refused_with_its_text() {
        let domain_characters = "trust domain characters are limited to lowercase letters, numbers, dots, dashes, and underscores";
        let segment_characters =
            "path segment characters are limited to letters, numbers, dots, dashes, and underscores";
        let rows = [
            ("", "cannot be empty"),
            ("public/ns/default/a", "scheme is missing or invalid"),
            ("https://public/ns/default/a", "scheme is missing or invalid"),
            ("SPIFFE://public/ns/default/a", "scheme is missing or invalid"),
            ("spiffe:/public", "scheme is missing or invalid"),
            ("spiffe://", "trust domain is missing"),
            ("spiffe:///ns/default/a", "trust domain is missing"),
            ("spiffe://PUBLIC/ns/default/a", domain_characters),
            ("spiffe://pub lic", domain_characters),
            ("spiffe://user@public/a", domain_characters),
            ("spiffe://public:8080/a", domain_characters),
            ("spiffe://públic/a", domain_characters),
            ("spiffe://public/", "path cannot have a trailing slash"),
            ("spiffe://public/ns/", "path cannot have a trailing slash"),
            ("spiffe://public//", "path cannot contain empty segments"),
            ("spiffe://public/ns//a", "path cannot contain empty segments"),
            ("spiffe://public/./a", "path cannot contain dot segments"),
            ("spiffe://public/ns/..", "path cannot contain dot segments"),
            ("spiffe://public/ns/def%61ult/a", segment_characters),
            ("spiffe://public/ns/default/a?b", segment_characters),
            ("spiffe://public/ns/default/a#b", segment_characters),
            ("spiffe://public/ns/default/ä", segment_characters),
        ];
        for (text, expected) in rows {
            assert_eq!(SpiffeId::parse(text).unwrap_err().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn an_id_has_a_trust_domain_and_a_path() {
        let rows = [
            (
                "spiffe://public/ns/default/My_App-1.x",
                "public",
                "/ns/default/My_App-1.x",
            ),
            ("spiffe://a.b-c_9", "a.b-c_9", ""),
            ("spiffe://td/...", "td", "/..."),
        ];
        for (text, trust_domain, path) in rows {
            let id = SpiffeId::parse(text).unwrap();
            assert_eq!(
                (id.as_str(), id.trust_domain(), id.path()),
                (text, trust_domain, path)
            );
        }
    }

    #[test]
    fn an_id_is_built_from_segments_that_obey_the_rules() {
        let domain = TrustDomain::public();
        let id = SpiffeId::workload(&domain, "default", "myapp").unwrap();
        assert_eq!(id, SpiffeId::parse("spiffe://public/ns/default/myapp").unwrap());
        assert_eq!(
            SpiffeId::workload(&domain, "", "a"),
            Err(SpiffeIdError::EmptySegment)
        );
        assert_eq!(
            SpiffeId::workload(&domain, "x", "."),
            Err(SpiffeIdError::DotSegment)
        );
        for bad in ["a:b", "a/b", "a b", "ü"] {
            assert_eq!(
                SpiffeId::workload(&domain, "x", bad),
                Err(SpiffeIdError::SegmentCharacter)
            );
        }
    }

    #[test]
    fn a_trust_domain_may_be_written_as_an_id() {
        assert_eq!(TrustDomain::parse("foo").unwrap().as_str(), "foo");
        assert_eq!(TrustDomain::parse("spiffe://foo").unwrap().as_str(), "foo");
        assert_eq!(TrustDomain::parse("spiffe://foo/bar").unwrap().as_str(), "foo");
        let rows = [
            ("", SpiffeIdError::NoTrustDomain),
            ("Bad", SpiffeIdError::TrustDomainCharacter),
            ("foo/bar", SpiffeIdError::TrustDomainCharacter),
            ("spiffe:/foo", SpiffeIdError::Scheme),
        ];
        for (text, expected) in rows {
            assert_eq!(TrustDomain::parse(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn a_workload_id_splits_into_namespace_and_app_id() {
        let split = |text: &str| {
            let id = SpiffeId::parse(text).unwrap();
            id.split()
                .map(|workload| (workload.namespace.to_owned(), workload.app_id.to_owned()))
                .map_err(|error| error.to_string())
        };
        let app = Ok(("default".to_owned(), "myapp".to_owned()));
        assert_eq!(split("spiffe://public/ns/default/myapp"), app);
        assert_eq!(split("spiffe://public/ns/default/myapp/extra"), app);
        for malformed in [
            "spiffe://public/myapp",
            "spiffe://public",
            "spiffe://public/ns/default",
            "spiffe://public/sn/a/b",
        ] {
            assert_eq!(split(malformed), Err(format!("malformed SPIFFE ID: {malformed}")));
        }
    }

    #[test]
    fn the_control_plane_has_well_known_ids() {
        let domain = TrustDomain::parse("cluster.local").unwrap();
        for process in ControlPlane::ALL {
            assert_eq!(ControlPlane::from_app_id(process.app_id()), Some(process));
        }
        assert_eq!(
            ControlPlane::Sentry.id(&domain, "dapr-system").unwrap().as_str(),
            "spiffe://cluster.local/ns/dapr-system/dapr-sentry"
        );
        assert_eq!(ControlPlane::from_app_id("myapp"), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn no_text_makes_the_parser_panic(text in any::<String>()) {
            if let Ok(id) = SpiffeId::parse(&text) {
                prop_assert_eq!(id.as_str(), text);
            }
        }

        #[test]
        fn an_id_is_the_sum_of_its_parts(
            domain in "[a-z0-9._-]{1,20}",
            namespace in "[a-zA-Z0-9_-]{1,20}",
            app_id in "[a-zA-Z0-9_-]{1,20}",
        ) {
            let text = format!("spiffe://{domain}/ns/{namespace}/{app_id}");
            let id = SpiffeId::parse(&text).unwrap();
            prop_assert_eq!(id.trust_domain(), domain);
            let workload = id.split().unwrap();
            prop_assert!(workload.namespace == namespace && workload.app_id == app_id);
        }
    }
}
