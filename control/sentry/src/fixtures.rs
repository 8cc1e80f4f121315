//! Certificates of a known good authority, for tests; nobody has their keys.

use outrigger_identity::certificate::Certificate;
use outrigger_identity::pem;

/// The root of a self-made bundle.
pub(crate) const ROOT: &str = "\
-----BEGIN CERTIFICATE-----
MIIBKDCB26ADAgECAhEAmjieAoBoH1fRtZn0uz9DkDAFBgMrZXAwFDESMBAGA1UE
ChMJbG9jYWxob3N0MB4XDTI2MTEyMzA1MDc1MloXDTI3MTEyMzA1MjI1MlowFDES
MBAGA1UEChMJbG9jYWxob3N0MCowBQYDK2VwAyEA+5hkr26HfdlL8jZAwRXy6b6F
CR2lxRvzVZREXO0Fq/ejQjBAMA4GA1UdDwEB/wQEAwIChDAPBgNVHRMBAf8EBTAD
AQH/MB0GA1UdDgQWBBSGpEXQSCQxOPBVXl/u2ab1ltPKSTAFBgMrZXADQQB1KkNN
OiMKL6fYW866sAs6hTnAAQOtwURFX4S2QStoANpDNHqngDO9T3kvczeEUfobsLIz
seOvbzTt97gPytgG
-----END CERTIFICATE-----
";

/// The issuer of the same bundle.
pub(crate) const ISSUER: &str = "\
-----BEGIN CERTIFICATE-----
MIIBRzCB+qADAgECAhBLDJCI+pfywY6QYkTO+S/1MAUGAytlcDAUMRIwEAYDVQQK
Ewlsb2NhbGhvc3QwHhcNMjYxMTIzMDUwNzUyWhcNMjcxMTIzMDUyMjUyWjA0MTIw
MAYDVQQKEylzcGlmZmU6Ly9sb2NhbGhvc3QvbnMvZGVmYXVsdC9kYXByLXNlbnRy
eTAqMAUGAytlcAMhANlTq4epoaL0RmLkOVmudGKmtXuNjoUwtETvwsWWv2woo0Iw
QDAOBgNVHQ8BAf8EBAMCAYYwDwYDVR0TAQH/BAUwAwEB/zAdBgNVHQ4EFgQUrbTk
VBbo9AtVjkbWo0A/qtz8HjYwBQYDK2VwA0EATj1VZlf3yxCM18p3I1sTVX7tUq9+
GKJioNyJer94y8p7rqpRq0ueIJTvyhH78seJSQ9Ccos3dxOQsc08eP28Dg==
-----END CERTIFICATE-----
";

/// A workload's certificate by that issuer: `spiffe://public/ns/default/myapp`.
pub(crate) const LEAF: &str = "\
-----BEGIN CERTIFICATE-----
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

/// Root, issuer and leaf.
pub(crate) fn chain() -> (Certificate, Certificate, Certificate) {
    let parse = |text: &str| Certificate::parse(&pem::certificates(text.as_bytes())[0]).unwrap();
    (parse(ROOT), parse(ISSUER), parse(LEAF))
}
