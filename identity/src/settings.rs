//! What a process must know to obtain an identity.

use std::path::PathBuf;

use bytes::Bytes;

use crate::key::KeyType;

/// Where the process runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// On a machine of its own.
    #[default]
    Standalone,
    /// In a Kubernetes cluster.
    Kubernetes,
}

/// The inputs of [`crate::Identity::start`], as options and environment give them.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Where the process runs.
    pub mode: Mode,
    /// App id: the last segment of the own id, unless overridden.
    pub app_id: String,
    /// Value of the environment's `SENTRY_LOCAL_IDENTITY`: asked for in place of the app id unless empty.
    pub local_identity: Option<String>,
    /// Value of the environment's `NAMESPACE`, even if empty; unset means `default`.
    pub namespace: Option<String>,
    /// Trust domain of the control plane. Required.
    pub control_plane_trust_domain: String,
    /// Namespace of the control plane.
    pub control_plane_namespace: String,
    /// `host:port` of the certificate authority.
    pub sentry_address: String,
    /// Trust anchors as PEM text, for the life of the process. Either these or the file is required.
    pub trust_anchors: Option<Bytes>,
    /// File of trust anchors, followed as it changes.
    pub trust_anchors_file: Option<PathBuf>,
    /// Kind of the private keys.
    pub key_type: KeyType,
    /// File with the token to show to the authority, before any other.
    pub token_file: Option<PathBuf>,
    /// Value of the environment's `DAPR_SENTRY_TOKEN_FILE`, even if empty.
    pub token_file_variable: Option<String>,
    /// Audiences to ask JWTs for.
    pub jwt_audiences: Vec<String>,
    /// Folder to write the identity to.
    pub identity_directory: Option<PathBuf>,
    /// Value of the environment's `DAPR_UNSAFE_SKIP_CONTAINER_UID_GID_CHECK`; only `true` counts.
    pub skip_root_check: Option<String>,
}

/// The process runs as root in Kubernetes, where it must not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "current user UID(0) is root. Dapr must be run as a non-root user in Kubernetes environments. To override \
     this check, set the environment variable 'DAPR_UNSAFE_SKIP_CONTAINER_UID_GID_CHECK=true'"
)]
pub struct RootUser;

/// Refuses to run as root in Kubernetes; `skip` is the value of `DAPR_UNSAFE_SKIP_CONTAINER_UID_GID_CHECK`.
///
/// # Errors
/// When the effective user is root, the mode is Kubernetes, and `skip` is not `true`.
pub fn refuse_root(mode: Mode, skip: Option<&str>) -> Result<(), RootUser> {
    refuse_user(mode, skip, effective_user())
}

fn refuse_user(mode: Mode, skip: Option<&str>, user: Option<u32>) -> Result<(), RootUser> {
    if mode == Mode::Kubernetes && user == Some(0) && skip != Some("true") {
        return Err(RootUser);
    }
    Ok(())
}

/// The effective user id, where the system tells it.
fn effective_user() -> Option<u32> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

// === impl Settings ===

impl Settings {
    /// The namespace of the process.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or("default")
    }

    /// The id that is asked for.
    #[must_use]
    pub fn requested_id(&self) -> &str {
        self.local_identity
            .as_deref()
            .filter(|id| !id.is_empty())
            .unwrap_or(&self.app_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_refused_in_kubernetes_only() {
        use Mode::{Kubernetes, Standalone};
        let rows = [
            (Kubernetes, None, Some(0), true),
            (Kubernetes, Some("True"), Some(0), true),
            (Kubernetes, Some("true"), Some(0), false),
            (Kubernetes, None, Some(1000), false),
            (Kubernetes, None, None, false),
            (Standalone, None, Some(0), false),
        ];
        for (mode, skip, user, refused) in rows {
            assert_eq!(
                refuse_user(mode, skip, user).is_err(),
                refused,
                "{mode:?} {skip:?} {user:?}"
            );
        }
    }

    #[test]
    fn the_system_tells_the_effective_user() {
        use std::os::unix::fs::MetadataExt;
        let folder = crate::fixtures::Folder::new();
        let owner = std::fs::metadata(folder.path()).unwrap().uid();
        assert_eq!(effective_user(), Some(owner));
    }

    #[test]
    fn the_namespace_is_default_unless_set() {
        let mut settings = Settings {
            app_id: "app".to_owned(),
            local_identity: Some(String::new()),
            ..Settings::default()
        };
        assert_eq!(
            (settings.namespace(), settings.requested_id()),
            ("default", "app")
        );
        settings.namespace = Some(String::new());
        settings.local_identity = Some("other".to_owned());
        assert_eq!((settings.namespace(), settings.requested_id()), ("", "other"));
    }
}
