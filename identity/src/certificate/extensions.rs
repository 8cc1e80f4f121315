//! The extensions of a certificate that matter here.

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, GeneralSubtree, ParsedExtension, X509Extension};

use super::{BasicConstraints, CertificateError, KeyUsage, NameConstraints, Names};

/// The extensions that matter here, while the certificate is parsed.
#[derive(Default)]
pub(super) struct Extensions<'a> {
    pub(super) basic_constraints: Option<BasicConstraints>,
    pub(super) key_usage: Option<KeyUsage>,
    pub(super) subject_key_id: Option<&'a [u8]>,
    pub(super) authority_key_id: Option<&'a [u8]>,
    pub(super) names: Names,
    pub(super) name_constraints: Option<NameConstraints>,
    pub(super) unhandled_critical: Option<String>,
}

// === impl Extensions ===

impl<'a> Extensions<'a> {
    /// Reads every extension of a certificate.
    ///
    /// # Errors
    /// When one is there twice, or one that matters is malformed.
    pub(super) fn collect(certificate: &'a X509Certificate<'a>) -> Result<Self, CertificateError> {
        let mut found = Self::default();
        let extensions = certificate.extensions();
        for (index, extension) in extensions.iter().enumerate() {
            if extensions
                .iter()
                .take(index)
                .any(|other| other.oid == extension.oid)
            {
                return Err(CertificateError::DuplicateExtension);
            }
            if !found.add(extension)? && extension.critical {
                found
                    .unhandled_critical
                    .get_or_insert(extension.oid.to_id_string());
            }
        }
        Ok(found)
    }

    /// Notes an extension. Returns whether everything in it is understood.
    fn add(&mut self, extension: &'a X509Extension<'a>) -> Result<bool, CertificateError> {
        match extension.parsed_extension() {
            ParsedExtension::BasicConstraints(constraints) => {
                self.basic_constraints = Some(BasicConstraints {
                    is_authority: constraints.ca,
                    path_length: constraints.path_len_constraint,
                });
            }
            ParsedExtension::KeyUsage(usage) => {
                self.key_usage = Some(KeyUsage {
                    cert_sign: usage.key_cert_sign(),
                    crl_sign: usage.crl_sign(),
                });
            }
            ParsedExtension::SubjectKeyIdentifier(id) => self.subject_key_id = Some(id.0),
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                self.authority_key_id = id.key_identifier.as_ref().map(|id| id.0);
            }
            ParsedExtension::SubjectAlternativeName(names) => {
                for name in &names.general_names {
                    if matches!(name, GeneralName::Invalid(..)) {
                        return Err(CertificateError::Extension(extension.oid.to_id_string()));
                    }
                    self.names.add(name);
                }
                return Ok(!self.names.is_empty());
            }
            ParsedExtension::NameConstraints(constraints) => {
                let mut understood = true;
                let mut subtrees = |list: &Option<Vec<GeneralSubtree<'_>>>| {
                    let mut names = Names::default();
                    for subtree in list.iter().flatten() {
                        understood &= names.add(&subtree.base);
                    }
                    names
                };
                self.name_constraints = Some(NameConstraints {
                    permitted: subtrees(&constraints.permitted_subtrees),
                    excluded: subtrees(&constraints.excluded_subtrees),
                });
                return Ok(understood);
            }
            // Any usage will do, and policies bind only whoever asks for one.
            ParsedExtension::ExtendedKeyUsage(_)
            | ParsedExtension::CertificatePolicies(_)
            | ParsedExtension::CRLDistributionPoints(_) => {}
            ParsedExtension::ParseError { .. } => {
                return Err(CertificateError::Extension(extension.oid.to_id_string()));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

// === impl Names ===

impl Names {
    /// Adds a name. Returns whether it is of a kind that is kept.
    fn add(&mut self, name: &GeneralName<'_>) -> bool {
        match name {
            GeneralName::URI(uri) => self.uri.push((*uri).to_owned()),
            GeneralName::DNSName(name) => self.dns.push((*name).to_owned()),
            GeneralName::RFC822Name(address) => self.mail.push((*address).to_owned()),
            GeneralName::IPAddress(address) => self.ip.push(address.to_vec()),
            _ => return false,
        }
        true
    }
}
