//! Making certification requests.

use lamassu_crypto::{PublicKey, SignatureScheme};

use crate::algorithm::{AlgorithmError, AlgorithmIdentifier};
use crate::extensions::{
    BasicConstraints, Criticality, Extension, Extensions, GeneralName, KeyUsage,
    general_names_to_der,
};
use crate::issue::extended_key_usage_to_der;
use crate::name::Name;
use crate::oids;
use crate::signed::ToBeSigned;
use crate::tlv::{SET, UTF8_STRING, Writer, context_constructed, sequence_of};
use const_oid::ObjectIdentifier;

/// What a certification request asks for.
#[derive(Debug, Clone)]
pub struct RequestTemplate {
    subject: Name,
    spki: Vec<u8>,
    extensions: Extensions,
    challenge_password: Option<String>,
}

impl RequestTemplate {
    /// A request for this subject and key, without extensions.
    pub fn new(subject: Name, public_key: &PublicKey) -> Self {
        Self {
            subject,
            spki: public_key.spki_der().to_vec(),
            extensions: Extensions::none(),
            challenge_password: None,
        }
    }

    /// Carries this as challenge password (RFC 2985 §5.4.1): in EST what ties the request to its
    /// connection (RFC 7030 §3.5).
    #[must_use]
    pub fn with_challenge_password(mut self, password: impl Into<String>) -> Self {
        self.challenge_password = Some(password.into());
        self
    }

    /// Asks for these key usages, critical.
    #[must_use]
    pub fn with_key_usage(self, key_usage: KeyUsage) -> Self {
        let value = key_usage.to_der();
        self.with_extension(Extension::new(
            &oids::CE_KEY_USAGE,
            Criticality::Critical,
            value,
        ))
    }

    /// Asks for these extended key usages.
    #[must_use]
    pub fn with_extended_key_usage(self, purposes: &[ObjectIdentifier]) -> Self {
        let value = extended_key_usage_to_der(purposes);
        self.with_extension(Extension::new(
            &oids::CE_EXT_KEY_USAGE,
            Criticality::NonCritical,
            value,
        ))
    }

    /// Asks to become a CA, critical (RFC 5280 §4.2.1.9).
    #[must_use]
    pub fn as_ca(self) -> Self {
        let constraints = BasicConstraints {
            ca: true,
            path_len_constraint: None,
        };
        self.with_extension(Extension::new(
            &oids::CE_BASIC_CONSTRAINTS,
            Criticality::Critical,
            constraints.to_der(),
        ))
    }

    /// Asks for these alternative names.
    #[must_use]
    pub fn with_subject_alt_names(self, names: &[GeneralName]) -> Self {
        let value = general_names_to_der(names);
        self.with_extension(Extension::new(
            &oids::CE_SUBJECT_ALT_NAME,
            Criticality::NonCritical,
            value,
        ))
    }

    /// Asks for an extension as it stands, for example one of another request or certificate.
    #[must_use]
    pub fn with_extension(mut self, extension: Extension) -> Self {
        self.extensions.push(extension);
        self
    }

    /// The `CertificationRequestInfo`, to be signed by the subject's own key with this scheme.
    ///
    /// ```text
    /// SEQUENCE { version 0, subject, subjectPKInfo, attributes [0] IMPLICIT SET OF Attribute }
    /// ```
    ///
    /// # Errors
    ///
    /// [`AlgorithmError`] when the scheme has no algorithm identifier.
    pub fn to_be_signed(&self, scheme: SignatureScheme) -> Result<ToBeSigned, AlgorithmError> {
        let algorithm = AlgorithmIdentifier::of_scheme(scheme)?;
        let der = sequence_of(|info| {
            info.unsigned(&[0])
                .raw(self.subject.as_der())
                .raw(&self.spki)
                .nested(context_constructed(0), |attributes| {
                    if let Some(password) = &self.challenge_password {
                        write_challenge_password(attributes, password);
                    }
                    if !self.extensions.is_empty() {
                        self.write_extension_request(attributes);
                    }
                });
        });
        Ok(ToBeSigned::new(der, scheme, algorithm))
    }

    /// `SEQUENCE { extensionRequest, SET { SEQUENCE OF Extension } }`
    fn write_extension_request(&self, attributes: &mut Writer) {
        attributes.sequence(|attribute| {
            attribute
                .oid(&oids::EXTENSION_REQUEST)
                .nested(SET, |values| self.extensions.write(values));
        });
    }
}

/// `SEQUENCE { challengePassword, SET { DirectoryString } }`
fn write_challenge_password(attributes: &mut Writer, password: &str) {
    attributes.sequence(|attribute| {
        attribute
            .oid(&oids::CHALLENGE_PASSWORD)
            .nested(SET, |values| {
                values.element(UTF8_STRING, password.as_bytes());
            });
    });
}
