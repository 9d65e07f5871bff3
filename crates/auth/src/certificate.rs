//! Client certificates as credentials of management calls.
//!
//! A certificate is a credential only where its key was proven in the handshake of this very
//! connection, one of the configured CAs stands behind it, it is one for clients, and its subject
//! is mapped to a role. Any doubt is a refusal: a certificate gives nothing by itself.
//!
//! Absent: revocation. Whether one of these certificates was revoked is known to the CA service
//! alone, which may be in another process; a certificate that must not be believed any more loses
//! its mapping.

use std::path::Path;
use std::sync::Arc;

use http::request::Parts;
use lamassu_core::caller::Principal;
use lamassu_core::permission::Role;
use lamassu_http::{Authority, Identity, ProvenCertificate};
use lamassu_x509::client_auth::{ClientAnchors, ClientCertificateError};
use lamassu_x509::path::PathError;
use lamassu_x509::{Certificate, GeneralName, oids, pem};
use time::OffsetDateTime;

use crate::config::{ClientCertificateConfig, NeedsToken, Pattern, SubjectField};
use crate::refusal::Refusal;
use crate::roles::named_roles;
use crate::verifier::{Hearsay, Refused};

/// Why a configured file of CAs cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ClientCaError {
    /// It cannot be read.
    #[error("{file} cannot be read")]
    Unreadable {
        /// The file.
        file: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It holds no certificate, or one that cannot be read.
    #[error("{file} holds no readable certificate")]
    NoCertificate {
        /// The file.
        file: String,
    },
}

/// Why a client certificate is no credential; the text is safe to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateRefusal {
    /// None was presented where one is needed beside a token.
    #[error("none was presented")]
    Missing,
    /// It is not one.
    #[error("certificate cannot be read")]
    Unreadable,
    /// No configured CA stands behind it, or it is not for clients.
    #[error(transparent)]
    Untrusted(ClientCertificateError),
    /// Its subject has no role.
    #[error("certificate has no role here")]
    NoRole,
}

impl CertificateRefusal {
    /// The machine-readable word.
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::Missing => "client_certificate_missing",
            Self::Untrusted(ClientCertificateError::Path(PathError::NotYetValid)) => {
                "client_certificate_not_yet_valid"
            }
            Self::Untrusted(ClientCertificateError::Path(PathError::Expired)) => {
                "client_certificate_expired"
            }
            Self::Untrusted(ClientCertificateError::Usage | ClientCertificateError::Authority) => {
                "client_certificate_usage"
            }
            Self::Unreadable | Self::Untrusted(ClientCertificateError::Path(_)) => {
                "client_certificate_untrusted"
            }
            Self::NoRole => "client_certificate_without_role",
        }
    }
}

/// Judges client certificates.
#[derive(Debug)]
pub(crate) struct Certificates {
    anchors: ClientAnchors,
    field: SubjectField,
    mappings: Vec<(Pattern, Vec<Role>)>,
    pub(crate) needs_token: NeedsToken,
}

impl Certificates {
    /// Reads the CAs of the block; `None` where it is off.
    pub(crate) fn open(config: &ClientCertificateConfig) -> Result<Option<Self>, ClientCaError> {
        if !config.enabled {
            return Ok(None);
        }
        let mut anchors = Vec::new();
        for file in &config.ca_cert_files {
            anchors.extend(read_anchors(file)?);
        }
        let Some(anchors) = ClientAnchors::new(anchors) else {
            let file = "client_certificate.ca_cert_files".to_owned();
            return Err(ClientCaError::NoCertificate { file });
        };
        let mappings = config.role_mappings.iter();
        Ok(Some(Self {
            anchors,
            field: config.subject_field,
            // Validation refuses beforehand what is no pattern; here it would match nothing.
            mappings: mappings
                .filter_map(|(text, names)| Some((Pattern::parse(text)?, named_roles(names))))
                .collect(),
            needs_token: config.required_with_jwt.into(),
        }))
    }

    /// Who the certificate says the caller is; `None` when none was presented.
    pub(crate) fn identity(
        &self,
        request: &Parts,
        now: OffsetDateTime,
    ) -> Result<Option<Identity>, Refused> {
        let Some(certificate) = self.trusted(request, now)? else {
            return Ok(None);
        };
        self.assigned(&certificate)
            .map(Some)
            .ok_or_else(|| refused(CertificateRefusal::NoRole, Some(&certificate)))
    }

    /// Refuses a request without a certificate that is believed.
    pub(crate) fn demand(&self, request: &Parts, now: OffsetDateTime) -> Result<(), Refused> {
        match self.trusted(request, now)? {
            Some(_) => Ok(()),
            None => Err(refused(CertificateRefusal::Missing, None)),
        }
    }

    /// The certificate, if one was presented and is believed.
    fn trusted(
        &self,
        request: &Parts,
        now: OffsetDateTime,
    ) -> Result<Option<Certificate>, Refused> {
        let Some(ProvenCertificate(chain)) = request.extensions.get() else {
            return Ok(None);
        };
        let read: Result<Vec<_>, _> = chain
            .0
            .iter()
            .map(|der| Certificate::from_der(der.clone()))
            .collect();
        let mut chain = read
            .map_err(|_| refused(CertificateRefusal::Unreadable, None))?
            .into_iter();
        let Some(certificate) = chain.next() else {
            return Ok(None);
        };
        match self.anchors.verify(&certificate, chain.as_slice(), now) {
            Ok(()) => Ok(Some(certificate)),
            Err(error) => {
                let refusal = CertificateRefusal::Untrusted(error);
                Err(refused(refusal, Some(&certificate)))
            }
        }
    }

    /// The first name of the certificate that has a role, with all roles that it has.
    fn assigned(&self, certificate: &Certificate) -> Option<Identity> {
        names(certificate, self.field).into_iter().find_map(|name| {
            let mut roles: Vec<Role> = self
                .mappings
                .iter()
                .filter(|(pattern, _)| pattern.matches(&name))
                .flat_map(|(_, roles)| roles.iter().copied())
                .collect();
            roles.sort_by_key(|role| role.name());
            roles.dedup();
            (!roles.is_empty()).then(|| identity(name, roles, certificate))
        })
    }
}

fn identity(name: String, roles: Vec<Role>, certificate: &Certificate) -> Identity {
    let principal = if roles.contains(&Role::Service) {
        Principal::Service {
            name: Arc::from(name),
        }
    } else {
        Principal::Certificate { common_name: name }
    };
    Identity {
        principal,
        authority: Authority::Granted {
            roles,
            scopes: Vec::new(),
        },
        expires_at: Some(certificate.not_after().unix_timestamp()),
    }
}

/// The names of this kind. Several common names are none: which one its CA vouched for as *the*
/// name nobody knows, and readers differ in the one that they take.
fn names(certificate: &Certificate, field: SubjectField) -> Vec<String> {
    let mut names = written_names(certificate, field);
    // Such a name cannot be recorded, and what it is cut to elsewhere is somebody else's.
    names.retain(|name| !name.contains('\0'));
    names
}

fn written_names(certificate: &Certificate, field: SubjectField) -> Vec<String> {
    if field == SubjectField::Cn {
        let names = certificate.subject().values(&oids::AT_COMMON_NAME);
        return if names.len() == 1 { names } else { Vec::new() };
    }
    let alternatives = certificate.extensions().subject_alt_names();
    let chosen = |name| match (field, name) {
        (SubjectField::SanDns, GeneralName::Dns(text))
        | (SubjectField::SanEmail, GeneralName::Rfc822(text))
        | (SubjectField::SanUri, GeneralName::Uri(text)) => Some(text),
        _ => None,
    };
    // What cannot be read names nobody.
    alternatives
        .unwrap_or_default()
        .into_iter()
        .filter_map(chosen)
        .collect()
}

fn refused(refusal: CertificateRefusal, certificate: Option<&Certificate>) -> Refused {
    let hearsay = certificate.map(Hearsay::of_certificate).unwrap_or_default();
    Refused {
        refusal: Refusal::Certificate(refusal),
        hearsay: Box::new(hearsay),
    }
}

fn read_anchors(path: &Path) -> Result<Vec<Certificate>, ClientCaError> {
    let file = || path.display().to_string();
    let text = std::fs::read(path).map_err(|source| ClientCaError::Unreadable {
        file: file(),
        source,
    })?;
    let anchors: Option<Vec<_>> = pem::certificate_ders(&text)
        .map(|der| Certificate::from_der(der.ok()?).ok())
        .collect();
    anchors
        .filter(|anchors| !anchors.is_empty())
        .ok_or_else(|| ClientCaError::NoCertificate { file: file() })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use lamassu_testing::TlsFiles;
    use lamassu_x509::Certificate;
    use lamassu_x509::pem::pem_to_der;

    use super::{SubjectField, names};

    #[test]
    fn a_name_with_nul_names_nobody() {
        let files = TlsFiles::make().unwrap();
        files
            .issue("front", "/CN=operator-Xy", "keyUsage=digitalSignature")
            .unwrap();
        let pem = std::fs::read(files.certificate("front")).unwrap();
        let mut der = pem_to_der(&pem).unwrap();
        let named = |der: &[u8]| {
            let certificate = Certificate::from_der(Bytes::copy_from_slice(der)).unwrap();
            names(&certificate, SubjectField::Cn)
        };
        assert_eq!(named(&der), ["operator-Xy"]);
        let place = der.windows(2).position(|two| two == b"Xy").unwrap();
        der[place] = 0;
        assert_eq!(named(&der), [""; 0]);
    }
}
