//! The CA behind the installation's own server certificate.

use std::path::Path;

use bytes::Bytes;
use lamassu_crypto::{Curve, HashAlgorithm, KeySpec, Message, PrivateKey};
use lamassu_x509::issue::{
    CertificateRole, ExtendedKeyUsageRule, Issuer, KeyPolicy, KeyUsageRule, Profile, Subject,
    SubjectAltNameRule, SubjectRule, Terms, Validity, prepare,
};
use lamassu_x509::lint::LintPolicy;
use lamassu_x509::pem::{PemLabel, der_to_pem};
use lamassu_x509::{
    AccessLocations, Certificate, CertificationRequest, Extensions, GeneralName, KeyUsage,
    KeyUsageBit, Name, RequestTemplate, SerialNumber, SubjectFields, ToBeSigned, oids,
};
use rustls::crypto::CryptoProvider;
use time::{Duration, OffsetDateTime};

use super::files::{self, Readers};
use super::names::CertificateNames;
use crate::error::GatewayError;
use crate::tls::pem_files;

/// Life of the trust anchor.
const CA_LIFE: Duration = Duration::days(3_650);

/// Life of a server certificate: browsers accept 398 days at most.
const SERVER_LIFE: Duration = Duration::days(397);

/// How far certificates are dated back, for clients whose clocks are behind.
const BACK_DATING: Duration = Duration::hours(1);

/// Keys of the CA and the server: what every TLS client in the field verifies.
pub(super) const KEY: KeySpec = KeySpec::Ec(Curve::P256);

/// The CA: its key and its current certificate.
#[derive(Debug)]
pub(super) struct Authority {
    key: PrivateKey,
    certificate: Certificate,
}

impl Authority {
    /// Reads the CA from its two files, or makes it where there is none. A CA that a new server
    /// certificate would outlive gets a new certificate for the same name and key, so that what
    /// clients trust stays valid.
    pub(super) fn open(
        cert_file: &Path,
        key_file: &Path,
        provider: &CryptoProvider,
        now: OffsetDateTime,
    ) -> Result<Self, GatewayError> {
        let stored = pem_files::read_if_present(cert_file)?;
        let key = match pem_files::read_if_present(key_file)? {
            Some(pem) => PrivateKey::from_pem(&pem).map_err(|_| GatewayError::PrivateKey {
                path: key_file.to_owned(),
            })?,
            // A trust anchor without its key must not be replaced silently: clients believe it.
            None if stored.is_some() => {
                return Err(GatewayError::PrivateKey {
                    path: key_file.to_owned(),
                });
            }
            None => new_key(key_file)?,
        };
        let Some(_) = stored else {
            return Self::certify(key, None, cert_file, provider, now);
        };
        let chain = pem_files::read_chain(cert_file)?;
        let certificate = chain
            .first()
            .and_then(|der| Certificate::from_der(der.to_vec()).ok());
        let Some(certificate) = certificate else {
            return Err(GatewayError::Certificate {
                path: cert_file.to_owned(),
            });
        };
        if **certificate.spki_der() != *key.public_key().spki_der() {
            return Err(GatewayError::KeyMismatch {
                certificate: cert_file.to_owned(),
                key: key_file.to_owned(),
            });
        }
        let due = now < certificate.not_before() || now + SERVER_LIFE > certificate.not_after();
        if due {
            let name = certificate.subject().clone();
            return Self::certify(key, Some(name), cert_file, provider, now);
        }
        Ok(Self { key, certificate })
    }

    /// Makes and stores the CA's certificate.
    fn certify(
        key: PrivateKey,
        name: Option<Name>,
        cert_file: &Path,
        provider: &CryptoProvider,
        now: OffsetDateTime,
    ) -> Result<Self, GatewayError> {
        let identifier = HashAlgorithm::Sha256.digest(key.public_key().spki_der());
        let name = name.unwrap_or_else(|| ca_name(&identifier));
        let subject = Subject::root(name, key.public_key(), identifier);
        let issuer = Issuer::Itself {
            scheme: key.default_scheme(),
        };
        let der = issue(&subject, &issuer, &key, &ca_profile(), provider, now)?;
        let pem = der_to_pem(PemLabel::Certificate, &der);
        files::replace(cert_file, pem.as_bytes(), Readers::Everybody)?;
        let certificate = Certificate::from_der(der).map_err(not_made)?;
        Ok(Self { key, certificate })
    }

    /// The trust anchor.
    pub(super) fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Issues a certificate for `key` under `names`, DER.
    pub(super) fn issue_server(
        &self,
        key: &PrivateKey,
        names: &CertificateNames,
        provider: &CryptoProvider,
        now: OffsetDateTime,
    ) -> Result<Bytes, GatewayError> {
        let subject = server_subject(key, names)?;
        let issuer = Issuer::with_certificate(&self.certificate, self.key.default_scheme());
        issue(
            &subject,
            &issuer,
            &self.key,
            &server_profile(),
            provider,
            now,
        )
    }
}

/// Makes a key and stores it.
pub(super) fn new_key(path: &Path) -> Result<PrivateKey, GatewayError> {
    let key = PrivateKey::generate(KEY).map_err(not_made)?;
    let der = key.to_pkcs8_der().map_err(not_made)?;
    let pem = zeroize::Zeroizing::new(der_to_pem(PemLabel::PrivateKey, &der));
    files::replace(path, pem.as_bytes(), Readers::Owner)?;
    Ok(key)
}

/// When this CA issued `certificate`.
pub(super) fn issued_at(certificate: &Certificate) -> OffsetDateTime {
    certificate.not_before() + BACK_DATING
}

/// A name of its own for each installation, since a client may trust several.
fn ca_name(key_identifier: &[u8]) -> Name {
    let short: String = key_identifier
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let mut fields = SubjectFields::with_common_name(format!("Lamassu TLS {short}"));
    "Lamassu".clone_into(&mut fields.organization);
    fields.to_name()
}

fn ca_profile() -> Profile {
    Profile {
        validity: Validity::Duration(CA_LIFE),
        back_dating: BACK_DATING,
        subject: SubjectRule::Honor,
        key_usage: KeyUsageRule::Replace(KeyUsage::ca()),
        extended_key_usage: ExtendedKeyUsageRule::Replace(Vec::new()),
        subject_alt_name: SubjectAltNameRule::Drop,
        role: CertificateRole::Ca {
            path_len_constraint: Some(0),
        },
        key_policy: KeyPolicy::Any,
        further_extensions: Extensions::none(),
    }
}

fn server_profile() -> Profile {
    Profile {
        // Both ends count as valid.
        validity: Validity::Duration(SERVER_LIFE - BACK_DATING - Duration::SECOND),
        back_dating: BACK_DATING,
        subject: SubjectRule::Honor,
        key_usage: KeyUsageRule::Replace([KeyUsageBit::DigitalSignature].into_iter().collect()),
        extended_key_usage: ExtendedKeyUsageRule::Replace(vec![oids::KP_SERVER_AUTH]),
        subject_alt_name: SubjectAltNameRule::Honor,
        role: CertificateRole::EndEntity,
        key_policy: KeyPolicy::Any,
        further_extensions: Extensions::none(),
    }
}

/// What the server asks its CA for: a request as any other, signed with the server's key.
fn server_subject(key: &PrivateKey, names: &CertificateNames) -> Result<Subject, GatewayError> {
    let dns = names.dns.iter().cloned().map(GeneralName::Dns);
    let ip = names.ip.iter().copied().map(GeneralName::Ip);
    let alternatives: Vec<_> = dns.chain(ip).collect();
    let name = SubjectFields::with_common_name("Lamassu").to_name();
    let request = RequestTemplate::new(name, key.public_key())
        .with_subject_alt_names(&alternatives)
        .to_be_signed(key.default_scheme())
        .map_err(not_made)?;
    let request = CertificationRequest::from_der(sign(request, key)?).map_err(not_made)?;
    Subject::of_csr(&request.verify().map_err(not_made)?).map_err(not_made)
}

fn issue(
    subject: &Subject,
    issuer: &Issuer,
    key: &PrivateKey,
    profile: &Profile,
    provider: &CryptoProvider,
    now: OffsetDateTime,
) -> Result<Bytes, GatewayError> {
    let mut random = [0; SerialNumber::RANDOM_LEN];
    provider
        .secure_random
        .fill(&mut random)
        .map_err(|_| GatewayError::SelfIssue("no random numbers".into()))?;
    let terms = Terms {
        profile,
        serial: &SerialNumber::from_random(random).map_err(not_made)?,
        now,
        locations: &AccessLocations::default(),
        lint: &LintPolicy::default(),
    };
    let prepared = prepare(subject, issuer, &terms).map_err(not_made)?;
    sign(prepared.to_be_signed, key)
}

fn sign(tbs: ToBeSigned, key: &PrivateKey) -> Result<Bytes, GatewayError> {
    let signature = key
        .sign(tbs.scheme(), Message::Raw(tbs.as_bytes()))
        .map_err(not_made)?;
    Ok(tbs.assemble(&signature))
}

fn not_made(cause: impl std::error::Error + Send + Sync + 'static) -> GatewayError {
    GatewayError::SelfIssue(Box::new(cause))
}
