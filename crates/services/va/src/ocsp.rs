//! Answering OCSP requests (RFC 6960).
//!
//! Every answer is made from the certificate's status as the CA service has it at that moment, or was
//! made before and is still true (`presigned.rs`): what was revoked before the question is never
//! called good.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::try_join_all;
use lamassu_core::ca::{CaError, CertificateStatus, StatusInfo};
use lamassu_core::caller::Caller;
use lamassu_core::error::{ErrorKind, ServiceError, ToldOnce};
use lamassu_core::ids::{CaId, SerialNumber};
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
use crate::delegates::Delegation;
use crate::metrics::{self, Presence};
use crate::presigned::{Known, Presigned};
use crate::responder::Responder;
use crate::service::VaService;
use crate::signing::SigningError;

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

/// Who issued a certificate that an answer is about, and how it stands.
type About = Option<(CaId, StatusInfo)>;

/// A signed answer and what it was made of.
#[derive(Debug)]
struct FreshAnswer {
    answer: OcspAnswer,
    /// Of an answer to one question.
    about: About,
    delegation: Option<Arc<Delegation>>,
    times: Times,
}

/// A question that others ask alike: about one certificate, and nothing but its status.
#[derive(Debug)]
struct Plain<'a> {
    cert_id: &'a CertId,
    serial: SerialNumber,
}

impl<'a> Plain<'a> {
    fn of(request: &'a OcspRequest) -> Option<Self> {
        let [question] = request.requests() else {
            return None;
        };
        if request.nonce().is_some() || !request.preferred_schemes().is_empty() {
            return None;
        }
        Some(Self {
            cert_id: &question.cert_id,
            serial: SerialNumber::parse(&question.cert_id.serial().to_hex())?,
        })
    }
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
        match Plain::of(&request) {
            Some(plain) => self.plain_answer(caller, &request, &plain).await,
            None => Ok(self.fresh_answer(caller, &request).await?.answer),
        }
    }

    /// Answers a question that others ask alike, by an answer that is there already if it is true.
    async fn plain_answer(
        &self,
        caller: &Caller,
        request: &OcspRequest,
        plain: &Plain<'_>,
    ) -> Result<OcspAnswer, OcspRefusal> {
        let (serial, now) = (plain.serial.as_str(), self.db.now());
        // Before anything is read: what becomes untrue from here on is not kept.
        let epoch = self.presigned.epoch();
        let known = match self.presigned.look(serial, plain.cert_id, now) {
            Known::Answer(known) => Some(known),
            Known::IfUnchanged(known) => {
                let asked = self
                    .ca
                    .certificate_status(caller, &known.ca_id, &plain.serial);
                let is_same = asked.await?.as_ref() == Some(&known.info);
                let is_true = is_same && self.is_by_good_signer(caller, &known, now).await;
                is_true.then_some(known).map(|known| {
                    let seen = Presigned {
                        read_at: Some(now),
                        ..known
                    };
                    self.presigned.keep(serial, &seen, epoch);
                    seen
                })
            }
            Known::Nothing => None,
        };
        if let Some(known) = known {
            metrics::ocsp_presigned(Presence::Found);
            metrics::ocsp_certificate(known.status);
            return Ok(known.answer);
        }
        metrics::ocsp_presigned(Presence::Missing);
        let fresh = self.fresh_answer(caller, request).await?;
        if let Some((ca_id, info)) = fresh.about {
            let answer = fresh.answer.clone();
            // Until the other half of its validity, or the certificate's end, which it says.
            let middle = now.saturating_add((fresh.times.next_update - now) / 2);
            let end = info.valid_to.0;
            let presigned = Presigned {
                // A copy of its own: the request behind it may be much longer.
                cert_id: Bytes::copy_from_slice(plain.cert_id.as_der()),
                answer,
                status: cert_status(&info),
                ca_id,
                renew_at: if end > now { middle.min(end) } else { middle },
                info,
                delegation: fresh.delegation,
                read_at: Some(now),
            };
            self.presigned.keep(serial, &presigned, epoch);
        }
        Ok(fresh.answer)
    }

    /// Whether the delegated responder that signed an answer is still good. Where nobody knows, an answer that is
    /// made meets the same.
    async fn is_by_good_signer(
        &self,
        caller: &Caller,
        known: &Presigned,
        now: OffsetDateTime,
    ) -> bool {
        match &known.delegation {
            None => true,
            Some(delegation) => {
                let is_good = self.is_still_good(caller, delegation, now).await;
                is_good.is_ok_and(|is_good| is_good)
            }
        }
    }

    /// Reads the status of all certificates and signs. Where the key of a delegated responder is gone,
    /// whoever takes its place answers.
    async fn fresh_answer(
        &self,
        caller: &Caller,
        request: &OcspRequest,
    ) -> Result<FreshAnswer, OcspRefusal> {
        match self.try_fresh_answer(caller, request).await {
            Err(OcspRefusal::Signing(SigningError::LostDelegate(_))) => {
                self.try_fresh_answer(caller, request).await
            }
            outcome => outcome,
        }
    }

    async fn try_fresh_answer(
        &self,
        caller: &Caller,
        request: &OcspRequest,
    ) -> Result<FreshAnswer, OcspRefusal> {
        // 2. Find who answers.
        let authorities = self.responders(caller, request).await?;
        let authority = authorities.first().ok_or(OcspRefusal::UnknownIssuer)?;
        let responder = self.responder(caller, authority).await?;
        let scheme = responder.scheme(request);
        // 3. Ask the CA for the status of each certificate.
        let times = self.ocsp_times(&responder);
        let questions = request.requests().iter();
        let answers = questions.map(|question| {
            self.single_response(caller, &authorities, question.cert_id.clone(), times)
        });
        let answers = try_join_all(answers).await?;
        let about = match answers.as_slice() {
            [(_, about)] => about.clone(),
            _ => None,
        };
        // 4. Sign, with the client's nonce.
        let nonce = request.nonce().cloned();
        let cache = nonce.is_none().then_some(OcspLifetime {
            this_update: Timestamp(times.this_update),
            next_update: Timestamp(times.next_update),
        });
        let response = BasicResponse {
            responder_id: responder.id.clone(),
            produced_at: times.produced_at,
            responses: answers.into_iter().map(|(single, _)| single).collect(),
            nonce,
            certificates: responder.certificates.clone(),
        };
        let response = response.to_be_signed(scheme)?;
        let signature = responder
            .signer
            .sign(scheme, Message::Raw(response.as_bytes()))
            .await
            .map_err(|error| {
                let is_lasting = error.kind() != ErrorKind::Unavailable;
                if is_lasting && responder.is_delegate() {
                    self.delegates.forget(&authority.id, &responder);
                    SigningError::LostDelegate(error)
                } else {
                    SigningError::from(error)
                }
            })?;
        let der = response.assemble(&signature);
        Ok(FreshAnswer {
            answer: OcspAnswer { der, cache },
            about,
            delegation: responder.delegation,
            times,
        })
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

    /// `nextUpdate` never lies behind the end of the responder's certificate, unless that is past.
    fn ocsp_times(&self, responder: &Responder) -> Times {
        let now = self.db.now();
        let validity = Duration::from(self.config.ocsp.response_validity);
        let wanted = now.saturating_add(validity);
        let not_after = responder.not_after;
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
    ) -> Result<(SingleResponse, About), OcspRefusal> {
        let known = self.status_info(caller, responders, &cert_id).await?;
        let status = known
            .as_ref()
            .map_or(CertStatus::Unknown, |(_, info)| cert_status(info));
        metrics::ocsp_certificate(status);
        // Statuses of expired certificates are kept since the CA exists (RFC 6960 §4.4.4).
        let archive_cutoff = known
            .as_ref()
            .filter(|(_, info)| info.valid_to.0 < times.produced_at)
            .map(|(authority, _)| authority.certificate.not_before());
        let single = SingleResponse {
            cert_id,
            status,
            this_update: times.this_update,
            next_update: Some(times.next_update),
            archive_cutoff,
        };
        let about = known.map(|(authority, info)| (authority.id.clone(), info));
        Ok((single, about))
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
}

/// An expired certificate keeps the status that it had: it was never revoked.
pub(crate) fn cert_status(info: &StatusInfo) -> CertStatus {
    match info.status {
        CertificateStatus::Active | CertificateStatus::Expired => CertStatus::Good,
        CertificateStatus::Revoked => CertStatus::Revoked {
            // As answers say it.
            revocation_time: info.revocation_timestamp.0.truncate_to_second(),
            reason: CrlReason::from_code(info.revocation_reason.code()).unwrap_or_default(),
        },
        CertificateStatus::Inactive => CertStatus::Unknown,
    }
}
