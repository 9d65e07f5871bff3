//! Delegated OCSP responders (RFC 6960 §4.2.2.2): keys that CAs certify for signing answers, so that a
//! CA's own key signs once in days and not once per question.
//!
//! The keys are in the KMS (`responder_key.rs`); each process has its own certificates for them, in
//! memory. A certificate is short-lived, says that nobody needs
//! to ask whether it is revoked, and is renewed by whoever asks first after two thirds of its validity;
//! others are answered under the one before meanwhile. Where a CA does not certify a responder, because
//! it is revoked for example, its own key signs. A responder is given up when a certificate of its key is
//! revoked or its CA has another certificate: what this process commits or reads of the log says so at
//! once, and where the CA service is elsewhere it is asked, as about answers that were signed before.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use bytes::Bytes;
use lamassu_core::ca::{CaError, CaService, CertificateStatus};
use lamassu_core::caller::Caller;
use lamassu_core::crypto_engine::{EngineError, Signer};
use lamassu_core::duration::WireDuration;
use lamassu_core::error::{ErrorKind, ServiceError, StorageFailure};
use lamassu_core::ids::{CaId, SerialNumber};
use lamassu_core::kms::KmsError;
use lamassu_core::pem::CsrDer;
use lamassu_crypto::Message;
use lamassu_db::{CommitError, CommitWatcher, DbError, Event, WriteSet};
use lamassu_x509::ocsp::ResponderId;
use lamassu_x509::{AlgorithmError, Certificate, ParseError, RequestTemplate, SubjectFields};
use time::{Duration, OffsetDateTime};

use crate::authorities::Asker;
use crate::authority::Authority;
use crate::presigned::PresignedAnswers;
use crate::responder::Responder;
use crate::service::VaService;
use crate::signing::SigningError;
use crate::store::responder_key;

/// When a certificate that was not renewed is tried again.
const RETRY: Duration = Duration::MINUTE;

/// Why a CA has no delegated responder.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DelegateError {
    /// The CA does not certify it.
    #[error("the CA does not certify an OCSP responder")]
    Refused(#[source] CaError),
    /// The KMS has no key for it.
    #[error("the KMS has no key for the OCSP responder")]
    Kms(#[from] KmsError),
    /// Another process makes the key at this moment.
    #[error("the key of the OCSP responder is being made")]
    Busy,
    /// The database does not say which key it is.
    #[error("the key of the OCSP responder is not known")]
    Storage(#[from] StorageFailure),
    /// The request for its certificate cannot be made.
    #[error("the request of the OCSP responder cannot be made")]
    Request(#[from] AlgorithmError),
    /// The request cannot be signed.
    #[error("the key of the OCSP responder does not sign")]
    Sign(#[from] EngineError),
    /// The certificate cannot be read.
    #[error("the certificate of the OCSP responder cannot be read")]
    Certificate(#[from] ParseError),
}

impl DelegateError {
    /// Whether it may work later.
    pub(crate) fn is_temporary(&self) -> bool {
        match self {
            Self::Refused(error) => error.kind() == ErrorKind::Unavailable,
            Self::Kms(error) => error.kind() == ErrorKind::Unavailable,
            Self::Sign(error) => error.kind() == ErrorKind::Unavailable,
            Self::Storage(error) => error.kind() == ErrorKind::Unavailable,
            Self::Busy => true,
            Self::Request(_) | Self::Certificate(_) => false,
        }
    }
}

impl From<DbError> for DelegateError {
    fn from(error: DbError) -> Self {
        Self::Storage(error.into())
    }
}

impl From<CommitError> for DelegateError {
    fn from(error: CommitError) -> Self {
        Self::Storage(error.into())
    }
}

/// The responders of all CAs that were asked about.
#[derive(Debug)]
pub(crate) struct Delegates {
    slots: Mutex<HashMap<CaId, Arc<Slot>>>,
    /// Which responders have signed.
    answers: Arc<PresignedAnswers>,
}

/// The responder of one CA.
#[derive(Debug, Default)]
struct Slot {
    current: RwLock<Option<Arc<Delegate>>>,
    /// Held by who makes the next one.
    making: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Delegate {
    responder: Responder,
    /// Of its certificate.
    serial: SerialNumber,
    /// Of the certificates that its key had before, which others may still use.
    before: Vec<SerialNumber>,
    /// The certificate of the CA, DER, as it was when it certified this one.
    issuer: Bytes,
    renew_at: OffsetDateTime,
    /// When the CA service was asked last whether the certificate is still good.
    seen_at: Mutex<OffsetDateTime>,
}

impl Delegate {
    /// Whether the CA has the certificate that it had when it certified this one.
    fn is_of(&self, authority: &Authority) -> bool {
        self.issuer == *authority.certificate.as_der()
    }

    fn seen_at(&self) -> OffsetDateTime {
        *self.seen_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn current(&self) -> Option<Arc<Delegate>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.clone()
    }

    fn set(&self, delegate: Arc<Delegate>) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        *current = Some(delegate);
    }

    fn clear_if(&self, is_it: impl FnOnce(&Delegate) -> bool) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.as_deref().is_some_and(is_it) {
            *current = None;
        }
    }
}

impl Delegates {
    pub(crate) fn new(answers: Arc<PresignedAnswers>) -> Self {
        Self {
            slots: Mutex::default(),
            answers,
        }
    }

    fn slot(&self, ca: &CaId) -> Arc<Slot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(slots.entry(ca.clone()).or_default())
    }

    /// Follows what is told of certificates and CAs, here or in another process.
    pub(crate) fn heard(&self, event_type: &str, subject: Option<&str>) {
        match event_type {
            "certificate.status.update" => {
                let subject = subject.unwrap_or_default();
                self.give_up(subject.strip_prefix("certificate/"));
            }
            "ca.import" | "ca.reissue" | "ca.status.update" | "ca.delete" => self.give_up(None),
            _ => {}
        }
    }

    /// Gives up the responder of a CA whose key did not sign, unless there is another by now.
    pub(crate) fn forget(&self, ca: &CaId, failed: &Responder) {
        let slot = self.slot(ca);
        let is_it = |current: &Delegate| Arc::ptr_eq(&current.responder.signer, &failed.signer);
        slot.clear_if(is_it);
    }

    /// Gives up responders: all, or the one a certificate of whose key has this serial number. It is revoked
    /// then, perhaps because others have the key: what that signed is given no more.
    fn give_up(&self, serial: Option<&str>) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.retain(|_, slot| match (serial, slot.current()) {
            (Some(serial), Some(current)) => {
                let mut of_key = current.before.iter().chain([&current.serial]);
                let is_it = of_key.any(|of_key| of_key.as_str() == serial);
                if is_it {
                    self.answers.forget_all();
                }
                !is_it
            }
            (Some(_), None) => true,
            (None, _) => false,
        });
    }
}

impl CommitWatcher for Delegates {
    fn committed(&self, events: &[Event]) {
        for event in events {
            self.heard(event.event_type(), event.subject_text());
        }
    }

    fn doubted(&self) {
        self.give_up(None);
    }
}

impl VaService {
    /// The delegated responder of a CA; made or renewed here where it is due.
    pub(crate) async fn delegate(
        &self,
        caller: &Caller,
        authority: &Authority,
    ) -> Result<Responder, SigningError> {
        let slot = self.delegates.slot(&authority.id);
        let now = self.db.now();
        let found = slot
            .current()
            .filter(|delegate| now < delegate.responder.not_after && delegate.is_of(authority));
        let (usable, refused) = match found {
            Some(found) if self.is_still_good(caller, authority, &found, now).await? => {
                (Some(found), None)
            }
            found => (None, found),
        };
        if let Some(refused) = &refused {
            // Not looked at again: where the CA certifies nobody any more, each question would.
            slot.clear_if(|current| current.serial == refused.serial);
        }
        if let Some(usable) = &usable {
            if now < usable.renew_at {
                return Ok(usable.responder.clone());
            }
            // Somebody is at it: this one still answers.
            let Ok(_making) = slot.making.try_lock() else {
                return Ok(usable.responder.clone());
            };
            return Ok(self.renewed(caller, authority, &slot, usable).await);
        }
        // It may have another certificate than the one that the question was understood with.
        let current = match &refused {
            Some(_) => self
                .authorities
                .of_role(caller, &authority.id, &authority.ski, Asker::Job)
                .await
                .map_err(DelegateError::Refused)?,
            None => None,
        };
        let authority = current.as_deref().unwrap_or(authority);
        let _making = slot.making.lock().await;
        let made_meanwhile = slot.current().filter(|delegate| {
            let is_refused = refused.is_some_and(|refused| refused.serial == delegate.serial);
            now < delegate.renew_at && delegate.is_of(authority) && !is_refused
        });
        if let Some(made) = made_meanwhile {
            return Ok(made.responder.clone());
        }
        let made = self.make_delegate(caller, authority, now).await?;
        let responder = made.responder.clone();
        slot.set(Arc::new(made));
        Ok(responder)
    }

    /// Whether no certificate of a responder's key is revoked, and its CA has the certificate that it had:
    /// asked once a second where others may change that, else known without asking.
    async fn is_still_good(
        &self,
        caller: &Caller,
        authority: &Authority,
        delegate: &Delegate,
        now: OffsetDateTime,
    ) -> Result<bool, DelegateError> {
        if !self.presigned.must_be_seen(delegate.seen_at(), now) {
            return Ok(true);
        }
        let (ca, status) = tokio::join!(
            self.ca.ca(caller, &authority.id),
            self.ca
                .certificate_status(caller, &authority.id, &delegate.serial),
        );
        let status = status.map_err(DelegateError::Refused)?;
        let is_same = match ca {
            Ok(ca) => *ca.certificate.certificate.der() == delegate.issuer,
            Err(CaError::CaNotFound) => false,
            Err(error) => return Err(DelegateError::Refused(error)),
        };
        if !is_same {
            self.authorities.outdate();
        }
        let is_active = status.is_some_and(|info| info.status == CertificateStatus::Active);
        let is_good =
            is_same && is_active && !responder_key::is_revoked(&self.db, &authority.id).await?;
        if is_good {
            let seen_at = delegate.seen_at.lock();
            *seen_at.unwrap_or_else(PoisonError::into_inner) = now;
        }
        Ok(is_good)
    }

    /// The next responder, or for a while the one before if that cannot be had.
    async fn renewed(
        &self,
        caller: &Caller,
        authority: &Authority,
        slot: &Slot,
        before: &Delegate,
    ) -> Responder {
        let now = self.db.now();
        let next = match self.make_delegate(caller, authority, now).await {
            Ok(made) => made,
            Err(error) => {
                tracing::warn!(
                    ca_id = %authority.id,
                    error = &error as &(dyn std::error::Error + 'static),
                    "ocsp responder not renewed"
                );
                Delegate {
                    responder: before.responder.clone(),
                    serial: before.serial.clone(),
                    before: before.before.clone(),
                    issuer: before.issuer.clone(),
                    renew_at: now.saturating_add(RETRY),
                    seen_at: Mutex::new(before.seen_at()),
                }
            }
        };
        let responder = next.responder.clone();
        slot.set(Arc::new(next));
        responder
    }

    async fn make_delegate(
        &self,
        caller: &Caller,
        authority: &Authority,
        now: OffsetDateTime,
    ) -> Result<Delegate, DelegateError> {
        let issuer = authority.certificate.subject().common_name();
        let issuer = issuer.unwrap_or_default();
        let key = self.responder_key(&authority.id, &issuer).await?;
        // It must not outlive the CA's certificate.
        let wanted = Duration::from(self.config.ocsp.responder_validity);
        let validity = wanted.min(authority.certificate.not_after() - now);
        let certificate = certified(
            self.ca.as_ref(),
            caller,
            (authority, &issuer),
            key.signer.as_ref(),
            validity,
        )
        .await?;
        let serial = SerialNumber::from_bytes(certificate.serial().as_bytes());
        let mut set = WriteSet::new();
        responder_key::certified(
            &mut set,
            (&authority.id, &key.operation),
            (&serial, certificate.not_after()),
            now,
        );
        self.db.commit(set).await?;
        tracing::info!(
            ca_id = %authority.id,
            serial_number = %serial,
            "ocsp responder certified"
        );
        let id =
            ResponderId::by_key(&certificate).unwrap_or_else(|| ResponderId::by_name(&certificate));
        Ok(Delegate {
            responder: Responder {
                id,
                signer: key.signer,
                certificates: vec![certificate.as_der().clone()],
                not_after: certificate.not_after(),
            },
            serial,
            before: key.certificates,
            issuer: authority.certificate.as_der().clone(),
            seen_at: Mutex::new(now),
            renew_at: now.saturating_add((certificate.not_after() - now) * 2 / 3),
        })
    }
}

/// A certificate of the CA for this key.
async fn certified(
    ca: &dyn CaService,
    caller: &Caller,
    (authority, issuer): (&Authority, &str),
    key: &dyn Signer,
    validity: Duration,
) -> Result<Certificate, DelegateError> {
    let name = format!("{issuer} OCSP");
    let subject = SubjectFields::with_common_name(name.trim_start()).to_name();
    let request = RequestTemplate::new(subject, key.public_key());
    let request = request.to_be_signed(key.public_key().default_scheme())?;
    let message = Message::Raw(request.as_bytes());
    let signature = key.sign(request.scheme(), message).await?;
    let csr = CsrDer::from_der(request.assemble(&signature));
    let seconds = WireDuration::from_secs(validity.whole_seconds());
    let issued = ca
        .issue_ocsp_responder(caller, &authority.id, csr, seconds)
        .await
        .map_err(DelegateError::Refused)?;
    Ok(Certificate::from_der(issued.certificate.der().clone())?)
}
