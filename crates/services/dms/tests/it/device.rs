//! A device: its key, its requests, and what EST answers it.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use lamassu_core::pem::CertificateDer;
use lamassu_crypto::{Curve, KeySpec, Message, ObjectIdentifier, PrivateKey};
use lamassu_x509::issue::{
    CertificateRole, ExtendedKeyUsageRule, Issuer, KeyPolicy, KeyUsageRule, Profile, Subject,
    SubjectAltNameRule, SubjectRule, Terms, Validity, prepare,
};
use lamassu_x509::lint::LintPolicy;
use lamassu_x509::pkcs7;
use lamassu_x509::{
    AccessLocations, Certificate, CertificationRequest, Extensions, GeneralName, RequestTemplate,
    SerialNumber, SubjectFields,
};
use serde_json::Value;
use time::Duration;

use crate::support::{LIFETIME, START};

/// A device with a key of its own.
pub(crate) struct Device {
    pub(crate) name: String,
    key: PrivateKey,
}

impl Device {
    pub(crate) fn new(name: &str) -> Self {
        let key = PrivateKey::generate(KeySpec::Ec(Curve::P256)).unwrap();
        Self {
            name: name.to_owned(),
            key,
        }
    }

    /// A request for the device's own name.
    pub(crate) fn csr(&self) -> Vec<u8> {
        self.csr_of(&SubjectFields::with_common_name(&self.name))
    }

    /// A request for any subject.
    pub(crate) fn csr_of(&self, subject: &SubjectFields) -> Vec<u8> {
        let template = RequestTemplate::new(subject.to_name(), self.key.public_key());
        let to_be_signed = template.to_be_signed(self.key.default_scheme()).unwrap();
        let signature = self
            .key
            .sign(to_be_signed.scheme(), Message::Raw(to_be_signed.as_bytes()));
        to_be_signed.assemble(&signature.unwrap()).to_vec()
    }

    /// A request for any subject and these DNS names.
    pub(crate) fn csr_with_names(&self, subject: &SubjectFields, names: &[&str]) -> Vec<u8> {
        let names: Vec<_> = names
            .iter()
            .map(|name| GeneralName::Dns((*name).to_owned()))
            .collect();
        let template = RequestTemplate::new(subject.to_name(), self.key.public_key());
        let template = template.with_subject_alt_names(&names);
        let to_be_signed = template.to_be_signed(self.key.default_scheme()).unwrap();
        let signature = self
            .key
            .sign(to_be_signed.scheme(), Message::Raw(to_be_signed.as_bytes()));
        to_be_signed.assemble(&signature.unwrap()).to_vec()
    }

    /// A device with this key.
    pub(crate) fn with_key(name: &str, spec: KeySpec) -> Self {
        Self {
            name: name.to_owned(),
            key: PrivateKey::generate(spec).unwrap(),
        }
    }

    pub(crate) fn into_key(self) -> PrivateKey {
        self.key
    }

    pub(crate) fn key(&self) -> &PrivateKey {
        &self.key
    }

    /// A request for the device's own name with these attributes: type, and value as DER.
    pub(crate) fn csr_with(&self, attributes: &[(ObjectIdentifier, Vec<u8>)]) -> Vec<u8> {
        let attributes: Vec<u8> = attributes
            .iter()
            .flat_map(|(oid, value)| {
                let oid = element(0x06, &[oid.as_bytes()]);
                element(0x30, &[&oid, &element(0x31, &[value])])
            })
            .collect();
        let subject = SubjectFields::with_common_name(&self.name).to_name();
        let info = element(
            0x30,
            &[
                &[2, 1, 0],
                subject.as_der(),
                self.key.public_key().spki_der(),
                &element(0xa0, &[&attributes]),
            ],
        );
        let scheme = self.key.default_scheme();
        let signature = self.key.sign(scheme, Message::Raw(&info)).unwrap();
        let algorithm = scheme.to_algorithm_identifier_der().unwrap();
        let signature = element(0x03, &[&[0], &signature]);
        element(0x30, &[&info, &algorithm, &signature])
    }

    /// A certificate that the holder of `issuer` makes for another device by itself.
    pub(crate) fn certify(
        &self,
        issuer: &CertificateDer,
        other: &Self,
        serial: &[u8],
    ) -> CertificateDer {
        let parsed = |der: &CertificateDer| Certificate::from_der(der.der().clone()).unwrap();
        let csr = CertificationRequest::from_der(other.csr()).unwrap();
        let profile = Profile {
            validity: Validity::Duration(LIFETIME),
            back_dating: Duration::ZERO,
            subject: SubjectRule::Honor,
            key_usage: KeyUsageRule::Honor,
            extended_key_usage: ExtendedKeyUsageRule::Honor,
            subject_alt_name: SubjectAltNameRule::Drop,
            role: CertificateRole::EndEntity,
            further_extensions: Extensions::none(),
            key_policy: KeyPolicy::Any,
        };
        let terms = Terms {
            profile: &profile,
            serial: &SerialNumber::from_bytes(serial).unwrap(),
            now: START,
            locations: &AccessLocations::default(),
            lint: &LintPolicy::default(),
        };
        let subject = Subject::of_csr(&csr.verify().unwrap()).unwrap();
        let issuer = Issuer::with_certificate(&parsed(issuer), self.key.default_scheme());
        let to_be_signed = prepare(&subject, &issuer, &terms).unwrap().to_be_signed;
        let message = Message::Raw(to_be_signed.as_bytes());
        let signature = self.key.sign(to_be_signed.scheme(), message).unwrap();
        CertificateDer::from_der(to_be_signed.assemble(&signature))
    }

    /// A request whose signature does not verify.
    pub(crate) fn broken_csr(&self) -> Vec<u8> {
        let mut csr = self.csr();
        *csr.last_mut().unwrap() ^= 1;
        csr
    }
}

/// DER by hand: an element with these parts.
pub(crate) fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let [high, low] = u16::try_from(content.len()).unwrap().to_be_bytes();
    let mut der = match content.len() {
        0..=0x7f => vec![tag, low],
        0x80..=0xff => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    der.extend(content);
    der
}

/// What EST answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// A header's text, empty when it is absent.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Status, text and code of a refusal.
    pub(crate) fn refusal(&self) -> (u16, String, String) {
        let json = self.json();
        let member = |name: &str| json[name].as_str().unwrap_or_default().to_owned();
        (self.status.as_u16(), member("err"), member("code"))
    }

    /// The certificates of a PKCS#7 answer.
    pub(crate) fn certificates(&self) -> Vec<Certificate> {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text());
        let base64: String = self.text().split_ascii_whitespace().collect();
        let der =
            base64::Engine::decode(&base64::engine::general_purpose::STANDARD, base64).unwrap();
        pkcs7::certificates(der).unwrap()
    }

    /// The one certificate of an enrollment.
    pub(crate) fn certificate(&self) -> CertificateDer {
        let certificates = self.certificates();
        assert_eq!(certificates.len(), 1);
        CertificateDer::from_der(certificates[0].as_der().clone())
    }
}

/// The serial number as the API writes it.
pub(crate) fn serial_of(certificate: &CertificateDer) -> lamassu_core::ids::SerialNumber {
    let parsed = Certificate::from_der(certificate.der().clone()).unwrap();
    lamassu_core::ids::SerialNumber::parse(&parsed.serial().to_hex()).unwrap()
}
