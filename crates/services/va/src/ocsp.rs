//! Answering OCSP requests (RFC 6960).
//!
//! Every answer is made from the certificate's status as the CA service has it at that moment,
//! and signed by the CA itself: what was revoked before the question is never called good.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::try_join_all;
use lamassu_core::ca::{CaError, CertificateStatus, StatusInfo};
use lamassu_core::caller::Caller;
use lamassu_core::error::{ErrorKind, ServiceError, ToldOnce};
use lamassu_core::ids::SerialNumber;
use lamassu_core::timestamp::Timestamp;
use lamassu_core::va::{OcspAnswer, OcspLifetime};
use lamassu_crypto::Message;
use lamassu_x509::ParseError;
use lamassu_x509::crl::CrlReason;
use lamassu_x509::ocsp::{
    BasicResponse, CertId, CertStatus, OcspBuildError, OcspRequest, OcspResponseStatus,
    SingleResponse, error_response,
};
use time::{Duration, OffsetDateTime};

use crate::authority::Authority;
use crate::crl::whole_seconds;
use crate::metrics;
use crate::service::VaService;
use crate::signing::{SigningError, signer};

/// Why a request gets no signed answer.
#[derive(Debug, thiserror::Error)]
enum OcspRefusal {
    /// It is no OCSP request, or one that breaks a rule.
    #[error(transparent)]
    Malformed(#[from] ParseError),
    /// The client takes no answer of a type that exists.
    #[error("the client does not take basic responses")]
    ResponseType,
    /// No CA here issued what it asks about.
    #[error("the issuer is not known")]
    UnknownIssuer,
    /// The CA does not say.
    #[error("the status could not be read")]
    Status(#[from] CaError),
    /// The CA does not sign.
    #[error(transparent)]
    Signing(#[from] SigningError),
    /// The answer cannot be encoded.
    #[error(transparent)]
    Encoding(#[from] OcspBuildError),
}

impl OcspRefusal {
    fn status(&self) -> OcspResponseStatus {
        match self {
            Self::Malformed(_) | Self::ResponseType => OcspResponseStatus::MalformedRequest,
            Self::UnknownIssuer | Self::Signing(SigningError::NoKey(_)) => {
                OcspResponseStatus::Unauthorized
            }
            Self::Status(error) if error.kind() == ErrorKind::Unavailable => {
                OcspResponseStatus::TryLater
            }
            Self::Signing(error) if error.is_temporary() => OcspResponseStatus::TryLater,
            Self::Status(_) | Self::Signing(_) | Self::Encoding(_) => {
                OcspResponseStatus::InternalError
            }
        }
    }

    /// The reply carries nothing but a number, so the cause is told here.
    fn log(&self, status: OcspResponseStatus) {
        let error = self as &(dyn std::error::Error + 'static);
        match status {
            OcspResponseStatus::InternalError => tracing::error!(error, "ocsp request failed"),
            OcspResponseStatus::TryLater if ToldOnce::is_behind(error) => {
                tracing::debug!(error, "ocsp request put off");
            }
            OcspResponseStatus::TryLater => tracing::warn!(error, "ocsp request put off"),
            OcspResponseStatus::Successful
            | OcspResponseStatus::MalformedRequest
            | OcspResponseStatus::SigRequired
            | OcspResponseStatus::Unauthorized => tracing::debug!(error, "ocsp request refused"),
        }
    }
}

/// The times of one answer, in whole seconds.
#[derive(Clone, Copy, Debug)]
struct Times {
    produced_at: OffsetDateTime,
    this_update: OffsetDateTime,
    next_update: OffsetDateTime,
}

impl VaService {
    /// Answers a request; what goes wrong is an answer, too.
    pub(crate) async fn answer_ocsp(&self, caller: &Caller, request: Bytes) -> OcspAnswer {
        match self.try_answer(caller, request).await {
            Ok(answer) => {
                metrics::ocsp_response(OcspResponseStatus::Successful);
                answer
            }
            Err(refusal) => {
                let status = refusal.status();
                refusal.log(status);
                metrics::ocsp_response(status);
                OcspAnswer {
                    der: error_response(status),
                    cache: None,
                }
            }
        }
    }

    async fn try_answer(&self, caller: &Caller, request: Bytes) -> Result<OcspAnswer, OcspRefusal> {
        // 1. Read the request.
        let request = OcspRequest::from_der(request)?;
        if !request.accepts_basic_response() {
            return Err(OcspRefusal::ResponseType);
        }
        // 2. Find who answers.
        let responders = self.responders(caller, &request).await?;
        let responder = responders.first().ok_or(OcspRefusal::UnknownIssuer)?;
        // 3. Ask the CA for the status of each certificate.
        let times = self.ocsp_times(responder);
        let questions = request.requests().iter();
        let answers = questions.map(|question| {
            self.single_response(caller, &responders, question.cert_id.clone(), times)
        });
        let responses = try_join_all(answers).await?;
        // 4. Sign, with the client's nonce.
        let nonce = request.nonce().cloned();
        let cache = nonce.is_none().then_some(OcspLifetime {
            this_update: Timestamp(times.this_update),
            next_update: Timestamp(times.next_update),
        });
        let response = BasicResponse {
            responder_id: responder.responder_id(),
            produced_at: times.produced_at,
            responses,
            nonce,
            certificates: Vec::new(),
        };
        let der = self.sign_response(caller, responder, response).await?;
        Ok(OcspAnswer { der, cache })
    }

    /// The CAs that the first known issuer in the request means; they share name and key.
    async fn responders(
        &self,
        caller: &Caller,
        request: &OcspRequest,
    ) -> Result<Vec<Arc<Authority>>, OcspRefusal> {
        for question in request.requests() {
            if let Some(issuer) = question.cert_id.issuer() {
                let found = self.authorities.by_issuer(caller, issuer).await?;
                if !found.is_empty() {
                    return Ok(found);
                }
            }
        }
        Ok(Vec::new())
    }

    /// `nextUpdate` never lies behind the end of the CA's certificate, unless that is past.
    fn ocsp_times(&self, responder: &Authority) -> Times {
        let now = self.db.now();
        let validity = Duration::from(self.config.ocsp.response_validity);
        let wanted = now.saturating_add(validity);
        let not_after = responder.certificate.not_after();
        let next_update = if not_after > now {
            wanted.min(not_after)
        } else {
            wanted
        };
        Times {
            produced_at: whole_seconds(now),
            this_update: whole_seconds(self.back_dated(now)),
            next_update: whole_seconds(next_update),
        }
    }

    async fn single_response(
        &self,
        caller: &Caller,
        responders: &[Arc<Authority>],
        cert_id: CertId,
        times: Times,
    ) -> Result<SingleResponse, OcspRefusal> {
        let known = self.status_info(caller, responders, &cert_id).await?;
        let status = known
            .as_ref()
            .map_or(CertStatus::Unknown, |(_, info)| cert_status(info));
        metrics::ocsp_certificate(status);
        // Statuses of expired certificates are kept since the CA exists (RFC 6960 §4.4.4).
        let archive_cutoff = known
            .filter(|(_, info)| info.valid_to.0 < times.produced_at)
            .map(|(authority, _)| authority.certificate.not_before());
        Ok(SingleResponse {
            cert_id,
            status,
            this_update: times.this_update,
            next_update: Some(times.next_update),
            archive_cutoff,
        })
    }

    /// What the CA that issued the certificate says about it; `None` when nobody here issued it.
    async fn status_info<'a>(
        &self,
        caller: &Caller,
        responders: &'a [Arc<Authority>],
        cert_id: &CertId,
    ) -> Result<Option<(&'a Arc<Authority>, StatusInfo)>, CaError> {
        let Some(serial) = SerialNumber::parse(&cert_id.serial().to_hex()) else {
            return Ok(None);
        };
        for authority in responders {
            // Another responder would have to answer for another issuer.
            if !cert_id
                .issuer()
                .is_some_and(|issuer| authority.is_named(issuer))
            {
                return Ok(None);
            }
            let status = self.ca.certificate_status(caller, &authority.id, &serial);
            if let Some(info) = status.await? {
                return Ok(Some((authority, info)));
            }
        }
        Ok(None)
    }

    async fn sign_response(
        &self,
        caller: &Caller,
        responder: &Authority,
        response: BasicResponse,
    ) -> Result<Bytes, OcspRefusal> {
        let signer = signer(self.kms.as_ref(), caller, responder).await?;
        let scheme = signer.public_key().default_scheme();
        let response = response.to_be_signed(scheme)?;
        let signature = signer
            .sign(scheme, Message::Raw(response.as_bytes()))
            .await
            .map_err(SigningError::from)?;
        Ok(response.assemble(&signature))
    }
}

/// An expired certificate keeps the status that it had: it was never revoked.
fn cert_status(info: &StatusInfo) -> CertStatus {
    match info.status {
        CertificateStatus::Active | CertificateStatus::Expired => CertStatus::Good,
        CertificateStatus::Revoked => CertStatus::Revoked {
            revocation_time: info.revocation_timestamp.0,
            reason: CrlReason::from_code(info.revocation_reason.code()).unwrap_or_default(),
        },
        CertificateStatus::Inactive => CertStatus::Unknown,
    }
}
