//! A CA to test with: keys, a profile that allows everything, and signing in one step.

use std::sync::LazyLock;

use bytes::Bytes;
use lamassu_crypto::{Curve, KeySpec, Message, PrivateKey, SignatureScheme};
use lamassu_x509::issue::{
    CertificateRole, ExtendedKeyUsageRule, Issuer, KeyPolicy, KeyUsageRule, Profile, Subject,
    SubjectAltNameRule, SubjectRule, Terms, Validity, prepare,
};
use lamassu_x509::lint::LintPolicy;
use lamassu_x509::{
    AccessLocations, Certificate, CertificationRequest, Extensions, KeyUsage, Name,
    RequestTemplate, SerialNumber, SubjectFields, ToBeSigned, VerifiedCsr,
};
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

pub(crate) const NOW: OffsetDateTime = datetime!(2026-03-04 05:06:07.89 UTC);

/// A key of the kind that most tests use, made once.
pub(crate) static P256: LazyLock<PrivateKey> = LazyLock::new(|| key(KeySpec::Ec(Curve::P256)));

/// The key of devices, made once.
pub(crate) static DEVICE: LazyLock<PrivateKey> = LazyLock::new(|| key(KeySpec::Ec(Curve::P256)));

pub(crate) fn key(spec: KeySpec) -> PrivateKey {
    PrivateKey::generate(spec).unwrap()
}

pub(crate) fn sign(key: &PrivateKey, scheme: SignatureScheme, message: &[u8]) -> Vec<u8> {
    key.sign(scheme, Message::Raw(message)).unwrap()
}

pub(crate) fn signed(to_be_signed: ToBeSigned, key: &PrivateKey) -> Bytes {
    let signature = sign(key, to_be_signed.scheme(), to_be_signed.as_bytes());
    to_be_signed
        .assemble_verified(&signature, key.public_key())
        .unwrap()
}

/// DER by hand: an element with these parts.
pub(crate) fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = u16::try_from(content.len()).unwrap();
    let mut der = match length {
        0..=0x7f => vec![tag, length.to_be_bytes()[1]],
        0x80..=0xff => vec![tag, 0x81, length.to_be_bytes()[1]],
        _ => vec![tag, 0x82, length.to_be_bytes()[0], length.to_be_bytes()[1]],
    };
    der.extend(content);
    der
}

pub(crate) fn common_name(text: &str) -> Name {
    SubjectFields::with_common_name(text).to_name()
}

pub(crate) fn serial(last_octet: u8) -> SerialNumber {
    let mut random = [0x5a; SerialNumber::RANDOM_LEN];
    random[19] = last_octet;
    SerialNumber::from_random(random).unwrap()
}

/// Ninety days, everything honoured, no CA.
pub(crate) fn honouring_profile() -> Profile {
    Profile {
        validity: Validity::Duration(Duration::days(90)),
        back_dating: Duration::ZERO,
        subject: SubjectRule::Honor,
        key_usage: KeyUsageRule::Honor,
        extended_key_usage: ExtendedKeyUsageRule::Honor,
        subject_alt_name: SubjectAltNameRule::Honor,
        role: CertificateRole::EndEntity,
        key_policy: KeyPolicy::Any,
        further_extensions: Extensions::none(),
    }
}

/// As [`honouring_profile`], for CAs.
pub(crate) fn ca_profile() -> Profile {
    Profile {
        key_usage: KeyUsageRule::Replace(KeyUsage::ca()),
        role: CertificateRole::Ca {
            path_len_constraint: None,
        },
        ..honouring_profile()
    }
}

/// What a test wants of the terms.
pub(crate) struct Conditions {
    pub(crate) profile: Profile,
    pub(crate) serial: SerialNumber,
    pub(crate) locations: AccessLocations,
    pub(crate) lint: LintPolicy,
}

impl Conditions {
    pub(crate) fn new(profile: Profile) -> Self {
        Self {
            profile,
            serial: serial(1),
            locations: AccessLocations::default(),
            lint: LintPolicy::default(),
        }
    }

    pub(crate) fn at_domain(mut self, domain: &str, issuer: &Certificate) -> Self {
        self.locations = AccessLocations::at_domains(&[domain], &issuer.key_identifier());
        self
    }

    pub(crate) fn terms(&self) -> Terms<'_> {
        Terms {
            profile: &self.profile,
            serial: &self.serial,
            now: NOW,
            locations: &self.locations,
            lint: &self.lint,
        }
    }
}

/// A CA with its key.
pub(crate) struct Ca {
    pub(crate) key: PrivateKey,
    pub(crate) certificate: Certificate,
}

impl Ca {
    pub(crate) fn root(spec: KeySpec) -> Self {
        let key = key(spec);
        let certificate = root_certificate(&key, &common_name("Root"), &ca_profile());
        Self { key, certificate }
    }

    pub(crate) fn issuer(&self) -> Issuer {
        Issuer::with_certificate(&self.certificate, self.key.default_scheme())
    }

    pub(crate) fn issue(&self, subject: &Subject, conditions: &Conditions) -> Certificate {
        let prepared = prepare(subject, &self.issuer(), &conditions.terms()).unwrap();
        Certificate::from_der(signed(prepared.to_be_signed, &self.key)).unwrap()
    }
}

/// A root that signs itself.
pub(crate) fn root_certificate(key: &PrivateKey, name: &Name, profile: &Profile) -> Certificate {
    let identifier = hex::decode(key.public_key().key_id_sha256_hex()).unwrap();
    let subject = Subject::root(name.clone(), key.public_key(), identifier);
    let issuer = Issuer::Itself {
        scheme: key.default_scheme(),
    };
    let conditions = Conditions::new(profile.clone());
    let prepared = prepare(&subject, &issuer, &conditions.terms()).unwrap();
    Certificate::from_der(signed(prepared.to_be_signed, key)).unwrap()
}

/// A root on a P-256 key, made once.
pub(crate) static ROOT: LazyLock<Ca> = LazyLock::new(|| Ca::root(KeySpec::Ec(Curve::P256)));

pub(crate) fn csr(template: &RequestTemplate, key: &PrivateKey) -> CertificationRequest {
    let to_be_signed = template.to_be_signed(key.default_scheme()).unwrap();
    CertificationRequest::from_der(signed(to_be_signed, key)).unwrap()
}

pub(crate) fn device_template(name: &str) -> RequestTemplate {
    RequestTemplate::new(common_name(name), DEVICE.public_key())
}

pub(crate) fn device_csr(template: &RequestTemplate) -> VerifiedCsr {
    csr(template, &DEVICE).verify().unwrap()
}

pub(crate) fn device_subject(template: &RequestTemplate) -> Subject {
    Subject::of_csr(&device_csr(template)).unwrap()
}
