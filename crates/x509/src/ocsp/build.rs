//! Making OCSP responses, and requests for those who ask.

use bytes::Bytes;
use lamassu_crypto::{PublicKey, SignatureScheme};
use time::OffsetDateTime;

use super::{CertId, CertStatus, OcspResponseStatus, ResponderId};
use crate::algorithm::{AlgorithmError, AlgorithmIdentifier};
use crate::crl::CrlReason;
use crate::datetime::{is_encodable, write_generalized_time};
use crate::extensions::{Criticality, Extension, Extensions};
use crate::oids;
use crate::signed::{SignatureError, ToBeSigned};
use crate::tlv::{
    ENUMERATED, OCTET_STRING, Reader, Writer, context, context_constructed, sequence_of,
};

/// Why a response cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OcspBuildError {
    /// A date outside the years 1 to 9999.
    #[error("a date of the OCSP response is outside the years 1 to 9999")]
    DateOutOfRange,
    /// The scheme has no algorithm identifier.
    #[error(transparent)]
    Algorithm(#[from] AlgorithmError),
}

/// The answer to one question.
#[derive(Debug, Clone)]
pub struct SingleResponse {
    /// The certificate, as the client named it.
    pub cert_id: CertId,
    /// Its status.
    pub status: CertStatus,
    /// When the status was known to be true; fractions of a second are cut.
    pub this_update: OffsetDateTime,
    /// When the client should ask again; RFC 5019 wants it always.
    pub next_update: Option<OffsetDateTime>,
    /// Since when statuses of expired certificates are kept (RFC 6960 §4.4.4).
    pub archive_cutoff: Option<OffsetDateTime>,
}

/// What a responder signs: `ResponseData` (RFC 6960 §4.2.1).
#[derive(Debug, Clone)]
pub struct BasicResponse {
    /// Who answers.
    pub responder_id: ResponderId,
    /// When this answer was made; fractions of a second are cut.
    pub produced_at: OffsetDateTime,
    /// The answers, in the order of the questions.
    pub responses: Vec<SingleResponse>,
    /// The value of the request's nonce extension.
    pub nonce: Option<Bytes>,
    /// DER of the certificates that the client needs to believe the signature: that of a
    /// delegated responder, nothing when the issuer itself signs.
    pub certificates: Vec<Bytes>,
}

impl BasicResponse {
    /// The part to be signed.
    ///
    /// ```text
    /// SEQUENCE { responderID, producedAt, responses SEQUENCE OF SingleResponse,
    ///            [1] responseExtensions OPTIONAL }
    /// ```
    ///
    /// # Errors
    ///
    /// [`OcspBuildError`] when a date or the scheme cannot be written.
    pub fn to_be_signed(self, scheme: SignatureScheme) -> Result<BasicToBeSigned, OcspBuildError> {
        if !self.dates().all(is_encodable) {
            return Err(OcspBuildError::DateOutOfRange);
        }
        let algorithm = AlgorithmIdentifier::of_scheme(scheme)?;
        let der = sequence_of(|data| {
            match &self.responder_id {
                ResponderId::ByName(name) => {
                    data.element(context_constructed(1), name.as_der());
                }
                ResponderId::ByKey(hash) => {
                    data.nested(context_constructed(2), |explicit| {
                        explicit.octet_string(hash);
                    });
                }
            }
            write_generalized_time(data, self.produced_at);
            data.sequence(|list| {
                for response in &self.responses {
                    response.write(list);
                }
            });
            if let Some(nonce) = &self.nonce {
                let nonce = Extension::new(
                    &oids::PKIX_OCSP_NONCE,
                    Criticality::NonCritical,
                    nonce.clone(),
                );
                write_extensions(data, nonce);
            }
        });
        Ok(BasicToBeSigned {
            data: ToBeSigned::new(der, scheme, algorithm),
            certificates: self.certificates,
        })
    }

    fn dates(&self) -> impl Iterator<Item = OffsetDateTime> {
        let of_responses = self.responses.iter().flat_map(|response| {
            let revoked = match response.status {
                CertStatus::Revoked {
                    revocation_time, ..
                } => Some(revocation_time),
                CertStatus::Good | CertStatus::Unknown => None,
            };
            [
                Some(response.this_update),
                response.next_update,
                response.archive_cutoff,
                revoked,
            ]
        });
        of_responses.flatten().chain([self.produced_at])
    }
}

impl SingleResponse {
    /// `SEQUENCE { certID, certStatus, thisUpdate, [0] nextUpdate OPTIONAL,
    /// [1] singleExtensions OPTIONAL }`
    fn write(&self, out: &mut Writer) {
        out.sequence(|response| {
            response.raw(self.cert_id.as_der());
            write_status(response, self.status);
            write_generalized_time(response, self.this_update);
            if let Some(next_update) = self.next_update {
                response.nested(context_constructed(0), |explicit| {
                    write_generalized_time(explicit, next_update);
                });
            }
            if let Some(cutoff) = self.archive_cutoff {
                let mut value = Writer::new();
                write_generalized_time(&mut value, cutoff);
                let cutoff = Extension::new(
                    &oids::PKIX_OCSP_ARCHIVE_CUTOFF,
                    Criticality::NonCritical,
                    value.into_vec(),
                );
                write_extensions(response, cutoff);
            }
        });
    }
}

/// `CHOICE { good [0] NULL, revoked [1] SEQUENCE { revocationTime, [0] reason OPTIONAL },
/// unknown [2] NULL }`
fn write_status(out: &mut Writer, status: CertStatus) {
    match status {
        CertStatus::Good => out.element(context(0), &[]),
        CertStatus::Revoked {
            revocation_time,
            reason,
        } => out.nested(context_constructed(1), |revoked| {
            write_generalized_time(revoked, revocation_time);
            if reason != CrlReason::Unspecified {
                revoked.nested(context_constructed(0), |explicit| {
                    explicit.element(ENUMERATED, &[reason.code()]);
                });
            }
        }),
        CertStatus::Unknown => out.element(context(2), &[]),
    };
}

/// `[1] EXPLICIT SEQUENCE OF Extension`
fn write_extensions(out: &mut Writer, extension: Extension) {
    out.nested(context_constructed(1), |explicit| {
        Extensions::from_iter([extension]).write(explicit);
    });
}

/// A response that waits for its signature.
#[derive(Debug)]
#[must_use = "without a signature this is nothing"]
pub struct BasicToBeSigned {
    data: ToBeSigned,
    certificates: Vec<Bytes>,
}

impl BasicToBeSigned {
    /// The message to sign.
    pub fn as_bytes(&self) -> &[u8] {
        self.data.as_bytes()
    }

    /// How it must be signed.
    pub fn scheme(&self) -> SignatureScheme {
        self.data.scheme()
    }

    /// The DER of the whole `OCSPResponse`, status `successful`.
    pub fn assemble(self, signature: &[u8]) -> Bytes {
        let basic = self.data.assemble(signature);
        successful_response(&with_certificates(basic, &self.certificates))
    }

    /// As [`BasicToBeSigned::assemble`], after checking the signature.
    ///
    /// # Errors
    ///
    /// [`SignatureError::Mismatch`] when `key` did not make the signature.
    pub fn assemble_verified(
        self,
        signature: &[u8],
        key: &PublicKey,
    ) -> Result<Bytes, SignatureError> {
        let basic = self.data.assemble_verified(signature, key)?;
        Ok(successful_response(&with_certificates(
            basic,
            &self.certificates,
        )))
    }
}

/// Appends `[0] SEQUENCE OF Certificate` inside the signed response's SEQUENCE.
fn with_certificates(basic: Bytes, certificates: &[Bytes]) -> Bytes {
    if certificates.is_empty() {
        return basic;
    }
    let parts = Reader::new(&basic)
        .any()
        .map_or(&[][..], |frame| frame.value);
    sequence_of(|out| {
        out.raw(parts).nested(context_constructed(0), |explicit| {
            explicit.sequence(|list| {
                for certificate in certificates {
                    list.raw(certificate);
                }
            });
        });
    })
    .into()
}

/// `SEQUENCE { successful, [0] SEQUENCE { id-pkix-ocsp-basic, OCTET STRING } }`
fn successful_response(basic: &[u8]) -> Bytes {
    sequence_of(|out| {
        out.element(ENUMERATED, &[OcspResponseStatus::Successful.code()])
            .nested(context_constructed(0), |explicit| {
                explicit.sequence(|bytes| {
                    bytes
                        .oid(&oids::PKIX_OCSP_BASIC)
                        .element(OCTET_STRING, basic);
                });
            });
    })
    .into()
}

/// The DER of a response without a signed part: `SEQUENCE { responseStatus }`.
pub fn error_response(status: OcspResponseStatus) -> Bytes {
    sequence_of(|out| {
        out.element(ENUMERATED, &[status.code()]);
    })
    .into()
}

/// The DER of an unsigned request with these questions. `nonce` is the random octets; they are
/// wrapped into their OCTET STRING here.
pub fn request_to_der(cert_ids: &[CertId], nonce: Option<&[u8]>) -> Bytes {
    sequence_of(|request| {
        request.sequence(|tbs| {
            tbs.sequence(|list| {
                for cert_id in cert_ids {
                    list.sequence(|single| {
                        single.raw(cert_id.as_der());
                    });
                }
            });
            if let Some(nonce) = nonce {
                let mut value = Writer::new();
                value.octet_string(nonce);
                let nonce = Extension::new(
                    &oids::PKIX_OCSP_NONCE,
                    Criticality::NonCritical,
                    value.into_vec(),
                );
                tbs.nested(context_constructed(2), |explicit| {
                    Extensions::from_iter([nonce]).write(explicit);
                });
            }
        });
    })
    .into()
}
