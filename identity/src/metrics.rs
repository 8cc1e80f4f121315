//! What the client half of identity counts.

/// Receives the events that are counted. All methods do nothing unless overridden.
pub trait IdentityMetrics: Send + Sync + 'static {
    /// The process has obtained its first identity.
    fn initialized(&self) {}

    /// A certificate could not be obtained or renewed.
    fn rotation_failed(&self, _reason: FailureReason) {}
}

/// Why a certificate could not be obtained or renewed: the `reason` label of the metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureReason {
    /// No connection to the certificate authority.
    SentryConnection,
    /// No token to show to it.
    SentryToken,
    /// It did not sign, or not in a usable way.
    Sign,
    /// The time in its answer is no time.
    InvalidTimestamp,
    /// A token in its answer cannot be read.
    JwtParse,
    /// A token in its answer is for somebody else.
    JwtAudience,
}

// === impl FailureReason ===

impl FailureReason {
    /// The value of the label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SentryConnection => "sentry_conn",
            Self::SentryToken => "sentry_token",
            Self::Sign => "sign",
            Self::InvalidTimestamp => "invalid_ts",
            Self::JwtParse => "jwt_parse",
            Self::JwtAudience => "jwt_aud",
        }
    }
}

/// Counts nothing.
impl IdentityMetrics for () {}
