//! What tests share: certificates of a real bundle, valid at [`NOW`], and folders to write to.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// 2026-11-23T06:00:00Z.
pub(crate) const NOW: u64 = 1_795_413_600;

/// The self-signed root.
pub(crate) const ROOT: &str = "-----BEGIN CERTIFICATE-----
MIIBKDCB26ADAgECAhEAmjieAoBoH1fRtZn0uz9DkDAFBgMrZXAwFDESMBAGA1UE
ChMJbG9jYWxob3N0MB4XDTI2MTEyMzA1MDc1MloXDTI3MTEyMzA1MjI1MlowFDES
MBAGA1UEChMJbG9jYWxob3N0MCowBQYDK2VwAyEA+5hkr26HfdlL8jZAwRXy6b6F
CR2lxRvzVZREXO0Fq/ejQjBAMA4GA1UdDwEB/wQEAwIChDAPBgNVHRMBAf8EBTAD
AQH/MB0GA1UdDgQWBBSGpEXQSCQxOPBVXl/u2ab1ltPKSTAFBgMrZXADQQB1KkNN
OiMKL6fYW866sAs6hTnAAQOtwURFX4S2QStoANpDNHqngDO9T3kvczeEUfobsLIz
seOvbzTt97gPytgG
-----END CERTIFICATE-----
";

/// The intermediate that issues leafs.
pub(crate) const ISSUER: &str = "-----BEGIN CERTIFICATE-----
MIIBRzCB+qADAgECAhBLDJCI+pfywY6QYkTO+S/1MAUGAytlcDAUMRIwEAYDVQQK
Ewlsb2NhbGhvc3QwHhcNMjYxMTIzMDUwNzUyWhcNMjcxMTIzMDUyMjUyWjA0MTIw
MAYDVQQKEylzcGlmZmU6Ly9sb2NhbGhvc3QvbnMvZGVmYXVsdC9kYXByLXNlbnRy
eTAqMAUGAytlcAMhANlTq4epoaL0RmLkOVmudGKmtXuNjoUwtETvwsWWv2woo0Iw
QDAOBgNVHQ8BAf8EBAMCAYYwDwYDVR0TAQH/BAUwAwEB/zAdBgNVHQ4EFgQUrbTk
VBbo9AtVjkbWo0A/qtz8HjYwBQYDK2VwA0EATj1VZlf3yxCM18p3I1sTVX7tUq9+
GKJioNyJer94y8p7rqpRq0ueIJTvyhH78seJSQ9Ccos3dxOQsc08eP28Dg==
-----END CERTIFICATE-----
";

/// A leaf of `spiffe://public/ns/default/myapp`.
pub(crate) const LEAF: &str = "-----BEGIN CERTIFICATE-----
MIIBdzCCASmgAwIBAgIRALgepQAyEBNLqYbA2lVLLTYwBQYDK2VwMDQxMjAwBgNV
BAoTKXNwaWZmZTovL2xvY2FsaG9zdC9ucy9kZWZhdWx0L2RhcHItc2VudHJ5MB4X
DTI2MTEyMzA1MDgyN1oXDTI2MTEyNDA1MjMyN1owADAqMAUGAytlcAMhABbZZvhy
MuzmqDPPferMG6Mqe7ID3MAzZ/NANlLRweXIo4GDMIGAMA4GA1UdDwEB/wQEAwIH
gDAdBgNVHSUEFjAUBggrBgEFBQcDAQYIKwYBBQUHAwIwHwYDVR0jBBgwFoAUrbTk
VBbo9AtVjkbWo0A/qtz8HjYwLgYDVR0RAQH/BCQwIoYgc3BpZmZlOi8vcHVibGlj
L25zL2RlZmF1bHQvbXlhcHAwBQYDK2VwA0EAU0ECeAybPaAgIVxjteFDxXr4DFJZ
66FMZFWhhc3rfgx8wSgidE0cQY2tBDRPZgkVMRPS3J8DXnYGWU1gNfpVCg==
-----END CERTIFICATE-----
";

/// [`NOW`] as a verifier takes it.
pub(crate) fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(NOW)
}

/// A folder for one test, removed at its end.
pub(crate) struct Folder(PathBuf);

// === impl Folder ===

impl Folder {
    pub(crate) fn new() -> Self {
        let path = std::env::temp_dir().join(format!("outrigger-identity-{}", outrigger_kit::id::uuid()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Nothing depends on it.
        drop(std::fs::remove_dir_all(&self.0));
    }
}
